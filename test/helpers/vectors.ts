import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

import { fromHex, toHex, type Message } from '../../protocols/wire/index.ts'

export interface Vectors<Run> {
  readonly messages: { name: string; message: string; value: unknown; hex: string }[]
  readonly invalid: { name: string; message: string; hex: string; code: string }[]
  readonly runs: Run
}

export type Messages = Readonly<Record<string, Message<unknown>>>

/** The vectors.json of a folder of protocols/. */
export function readVectors<Run>(folder: string): Vectors<Run> {
  const url = new URL(`../../protocols/${folder}/vectors.json`, import.meta.url)
  return JSON.parse(readFileSync(url, 'utf8')) as Vectors<Run>
}

export function byName(...messages: readonly { readonly name: string }[]): Messages {
  return Object.fromEntries(messages.map((one) => [one.name, one as Message<unknown>]))
}

/** Byte strings are hexadecimal in JSON, with `h'…'` around them. */
export function bytesIn(value: unknown): unknown {
  if (typeof value === 'string' && /^h'[0-9a-f]*'$/.test(value)) return fromHex(value.slice(2, -1))
  if (Array.isArray(value)) return value.map(bytesIn)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, bytesIn(one)]))
}

/** Each value becomes its bytes, and the bytes become the value. */
export function assertBothWays({ messages: all }: Vectors<unknown>, messages: Messages): void {
  for (const { name, message, value, hex } of all) {
    const type = messages[message]
    assert.ok(type, message)
    assert.equal(toHex(type.encode(bytesIn(value))), hex, name)
    assert.deepEqual(type.decode(fromHex(hex)), bytesIn(value), name)
  }
}
