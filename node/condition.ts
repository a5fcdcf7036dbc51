/** When a condition on a sensor comes: at the moment it begins to hold, or has held for long enough. */
import type { ConditionSettings } from './config-rules.ts'
import type { Clock } from './env.ts'

export type SensorValue = boolean | number | string

export interface ConditionState {
  readonly last?: SensorValue
  readonly holds: boolean
  /** It came already, and does not come again before it has ended. */
  readonly came: boolean
  /** Monotonic: when it began to hold. */
  readonly sinceMs: number
}

export interface ConditionStep {
  readonly state: ConditionState
  readonly came: boolean
  /** Monotonic: when to step again where no value comes before. */
  readonly dueMs?: number
}

export const NEW_CONDITION: ConditionState = { holds: false, came: false, sinceMs: 0 }

/**
 * One value of the sensor, or none where only time has passed. A first value for which it holds makes
 * it come: a leak that was there before the start is a leak. `atMs` is monotonic.
 */
export function stepCondition(
  when: ConditionSettings,
  state: ConditionState,
  { atMs, value }: { readonly atMs: number; readonly value?: SensorValue | undefined },
): ConditionStep {
  const passed = passTime(when, state, atMs)
  if (value === undefined) return passed
  const { last } = state
  if (when.changes === true) {
    return { state: { ...state, last: value }, came: last !== undefined && !isSame(last, value) }
  }
  if (when.each !== undefined) {
    return { state: { ...state, last: value }, came: isSame(when.each, value) }
  }
  const holds = holdsFor(when, value, state.holds)
  const began = holds && !state.holds
  const next = {
    last: value,
    holds,
    came: holds && passed.state.came,
    sinceMs: began ? atMs : state.sinceMs,
  }
  const step = passTime(when, next, atMs)
  return { ...step, came: step.came || passed.came }
}

/** Whether it has held for long enough by now. */
function passTime(
  { forMs = 0 }: ConditionSettings,
  state: ConditionState,
  atMs: number,
): ConditionStep {
  if (!state.holds || state.came) return { state, came: false }
  const dueMs = state.sinceMs + forMs
  return atMs >= dueMs
    ? { state: { ...state, came: true }, came: true }
    : { state, came: false, dueMs }
}

function holdsFor(when: ConditionSettings, value: SensorValue, before: boolean): boolean {
  const { equals, above, below, hysteresis = 0 } = when
  if (equals !== undefined) return isSame(equals, value)
  const slack = before ? hysteresis : 0
  const number = Number(value)
  if (above !== undefined) return number > above - slack
  return below !== undefined && number < below + slack
}

/** Readings are numbers, and a person may write true for 1. */
function isSame(a: SensorValue, b: SensorValue): boolean {
  const plain = (value: SensorValue): number | string =>
    typeof value === 'boolean' ? Number(value) : value
  return plain(a) === plain(b)
}

export interface ConditionWatch extends Disposable {
  /** The sensor says `value`, now. */
  take(value: SensorValue): void
}

/** `onCame` gets the newest value each time that the condition comes. */
export function watchCondition(
  when: ConditionSettings,
  clock: Pick<Clock, 'monotonic' | 'timer'>,
  onCame: (value: SensorValue) => void,
): ConditionWatch {
  let state = NEW_CONDITION
  let cancel = (): void => undefined
  const step = (value?: SensorValue): void => {
    cancel()
    const next = stepCondition(when, state, { atMs: clock.monotonic(), value })
    state = next.state
    if (next.dueMs !== undefined) {
      // A timer may be early by less than a millisecond.
      cancel = clock.timer(Math.ceil(next.dueMs - clock.monotonic()) + 1, () => step())
    }
    const newest = state.last
    if (next.came && newest !== undefined) onCame(newest)
  }
  return { take: step, [Symbol.dispose]: () => cancel() }
}
