import { systemClock } from '../../node/env.ts'
import {
  CALLS,
  openCaller,
  serveCalls,
  type CalleeDeps,
  type Observed,
} from '../../protocols/calls/index.ts'
import { channelPair } from './channels.ts'
import { deviceOf } from './telemetry.ts'

export const peer = deviceOf('caller').key
export const forever = new AbortController().signal

/** A device that answers each call with the bytes of the call. */
export function deviceThat(changes: Partial<CalleeDeps> = {}): CalleeDeps {
  return {
    peer,
    clock: systemClock,
    answer: (call) => Promise.resolve(call),
    describe: () => '{}',
    observe: () => events(),
    why: () => [],
    ...changes,
  }
}

export async function* events(...values: readonly number[]): AsyncGenerator<Observed> {
  for (const value of values) yield await Promise.resolve({ value, atMs: value })
}

/** Whatever comes until `signal` aborts, and the function that lets something come. */
export function source() {
  const waiting: Observed[] = []
  const wakes = new Set<() => void>()
  async function* observe(_: Uint8Array, _name: string, signal: AbortSignal) {
    let wake = (): void => undefined
    wakes.add(() => wake())
    signal.addEventListener('abort', () => wake(), { once: true })
    while (!signal.aborted) {
      const next = waiting.shift()
      if (next !== undefined) yield next
      else await new Promise<void>((resolve) => void (wake = resolve))
    }
  }
  const emit = (value: number): void => {
    waiting.push({ value, atMs: value })
    for (const wake of wakes) wake()
  }
  return { observe, emit }
}

export async function connect(deps: CalleeDeps, signal = forever) {
  const [near, far] = await channelPair(CALLS, deps.clock)
  const serving = serveCalls(far.channel, deps, signal)
  serving.catch((error: unknown) => far.stream.abort(error as Error))
  const caller = openCaller(near.channel, { abort: (error) => near.stream.abort(error) })
  return { near, far, serving, caller }
}

/** A raw caller: what it sends is not held back by our own side's manners. */
export async function connectRaw(deps: CalleeDeps) {
  const [near, far] = await channelPair(CALLS, deps.clock)
  const serving = serveCalls(far.channel, deps, forever)
  return { near: near.channel, far, serving }
}

/** A callee that says what the test says. */
export async function connectFake() {
  const [near, far] = await channelPair(CALLS)
  let aborted: Error | undefined
  const caller = openCaller(near.channel, {
    abort: (error) => {
      aborted = error
      near.stream.abort(error)
    },
  })
  return { far: far.channel, caller, aborted: () => aborted }
}
