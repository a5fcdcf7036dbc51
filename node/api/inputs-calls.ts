/**
 * What the routes for calls take. A value for a device is bounded here before anything looks at it:
 * the device that is called checks it against its own description.
 */
import * as v from 'valibot'

import { text, wholeNumber } from './inputs.ts'
import type { Json } from './view.ts'

const MAX_VALUE_BYTES = 8 * 1024
const MAX_DEPTH = 16
const MAX_VALUES = 1000
/** Names that mean something to JavaScript and nothing to a device. */
const FORBIDDEN = new Set(['__proto__', 'constructor', 'prototype'])

const SECOND_MS = 1000
const MAX_TTL_MS = 30 * 86_400_000
const MAX_WAIT_MS = 24 * 60 * 60_000

/** Whether a parsed value is small, shallow and without names that JavaScript would act on. */
export function isBoundedJson(value: unknown): boolean {
  const left: { readonly value: unknown; readonly depth: number }[] = [{ value, depth: 0 }]
  let seen = 0
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    seen += 1
    if (seen > MAX_VALUES || next.depth > MAX_DEPTH) return false
    if (typeof next.value !== 'object' || next.value === null) continue
    const depth = next.depth + 1
    const members = Object.entries(next.value)
    if (members.length > MAX_VALUES || members.some(([name]) => FORBIDDEN.has(name))) return false
    for (const [, member] of members) left.push({ value: member, depth })
  }
  return Buffer.byteLength(JSON.stringify(value)) <= MAX_VALUE_BYTES
}

const json = v.pipe(
  v.unknown(),
  v.rawTransform(({ dataset, addIssue, NEVER }): Json => {
    if (isBoundedJson(dataset.value)) return dataset.value as Json
    addIssue({ message: 'not a value for a device' })
    return NEVER
  }),
)

const ttl = v.pipe(v.number(), v.integer(), v.minValue(SECOND_MS), v.maxValue(MAX_TTL_MS))
const wait = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_WAIT_MS))
const options = { ttlMs: v.optional(ttl), waitMs: v.optional(wait) }

export const writeProperty = v.strictObject({ value: json, ...options })
export const invokeAction = v.strictObject({ args: v.optional(json), ...options })
export const readProperty = v.strictObject({
  ttlMs: v.optional(v.pipe(wholeNumber, ttl)),
  waitMs: v.optional(v.pipe(wholeNumber, wait)),
})
export const waitFor = v.strictObject({ waitMs: v.optional(v.pipe(wholeNumber, wait)) })
export const description = v.strictObject({
  values: v.optional(
    v.pipe(
      v.picklist(['true', 'false']),
      v.transform((told) => told === 'true'),
    ),
  ),
})
export const why = v.strictObject({
  name: v.optional(text(64)),
  limit: v.optional(v.pipe(wholeNumber, v.minValue(1), v.maxValue(1000))),
})
