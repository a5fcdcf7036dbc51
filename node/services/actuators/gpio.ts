/**
 * A line of a GPIO chip, through gpioset and gpioget of libgpiod 1.6 or 2. A line keeps its level
 * only while a program holds it, so one gpioset runs on for each line that was set. What is set is
 * therefore known here; a line that was not set yet can be looked at by libgpiod 2 alone, as the
 * older one would make an input of it.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import type { PropertyOf } from '../../config-properties.ts'
import type { Clock } from '../../env.ts'
import { holdProgram, outputOf, type Held } from '../../machine/program.ts'
import type { Driver } from './actuator.ts'

const FOLDERS = ['usr/local/bin', 'usr/bin']
const TIMEOUT_MS = 5000
/** libgpiod 1 does not say when it has set a line; it is there at once, or ends. */
const SETTLE_MS = 100
/** libgpiod 2 says so. */
const SAY_MS = 5000

interface Holder {
  readonly held: Held
  readonly level: boolean
}

export function gpioDriver(
  settings: PropertyOf<'gpio'> & { readonly line: number },
  { root, clock }: { readonly root: string; readonly clock: Clock },
): Driver {
  const { chip, line, invert, writable } = settings
  let holder: Holder | undefined
  let known: number | undefined

  async function version(program: string, signal: AbortSignal): Promise<number> {
    if (known !== undefined) return known
    const text = await outputOf({ argv: [program, '--version'], clock }, TIMEOUT_MS, signal)
    return (known = Number(/\bv(\d+)\./.exec(text)?.[1] ?? 1))
  }

  async function look(signal: AbortSignal): Promise<boolean> {
    const program = find('gpioget', root)
    const modern = (await version(program, signal)) >= 2
    if (!modern && writable)
      throw new Error('what the line is set to is not known before it was set')
    const argv = modern
      ? [program, '--as-is', '--numeric', '--chip', chip, String(line)]
      : [program, chip, String(line)]
    const level = (await outputOf({ argv, clock }, TIMEOUT_MS, signal)).trim()
    if (level !== '0' && level !== '1') throw new Error('gpioget says neither 0 nor 1')
    return level === '1'
  }

  async function set(level: boolean, signal: AbortSignal): Promise<void> {
    const program = find('gpioset', root)
    const modern = (await version(program, signal)) >= 2
    const setting = `${line}=${level ? 1 : 0}`
    const argv = modern
      ? [program, '--banner', '--chip', chip, setting]
      : [program, '--mode=signal', chip, setting]
    await holder?.held[Symbol.asyncDispose]()
    holder = undefined
    const settleMs = modern ? SAY_MS : SETTLE_MS
    const held = await holdProgram({ argv, clock }, { settleMs }, signal)
    const mine: Holder = { held, level }
    holder = mine
    void held.gone.then(() => (holder === mine ? (holder = undefined) : undefined))
  }

  return {
    read: async (signal) => (holder?.level ?? (await look(signal))) !== invert,
    write: writable ? (value, signal) => set((value === true) !== invert, signal) : undefined,
    async close() {
      await holder?.held[Symbol.asyncDispose]()
    },
  }
}

function find(program: string, root: string): string {
  const found = FOLDERS.map((folder) => join(root, folder, program)).find((one) => existsSync(one))
  if (found !== undefined) return found
  throw new Error(`${program} is not installed; it comes with libgpiod (package gpiod)`)
}
