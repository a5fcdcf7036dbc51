/**
 * One rule as a state machine without a clock: values in, firings out. It fires when its condition
 * begins to hold (or has held for as long as it says), never because it still holds. What it fires
 * is not its business, nor where values come from.
 *
 * After a start it takes up where it was: the last value in the log, where there is one, tells
 * whether the condition held already; otherwise the first value does. Either way a condition that
 * held before does not fire until it has ended and comes again: nothing moves because a device was
 * restarted. Only `each` takes every new value for news, the first one too.
 *
 * A rule whose calls lead back to it fires as fast as the network is. So every rule has a budget:
 * a burst, and then one firing in a second.
 */
import {
  NEW_CONDITION,
  stepCondition,
  type ConditionState,
  type SensorValue,
} from '../../condition.ts'
import type { RuleSettings } from '../../config-rules.ts'

/** Firings at once, and how long until there is another. */
export const BUDGET = { burst: 20, refillMs: 1000 } as const

export type RuleEvent =
  /** What the sensor said last, before this start. */
  | { readonly kind: 'before'; readonly value: SensorValue }
  | { readonly kind: 'value'; readonly value: SensorValue }
  /** Only time has passed. */
  | { readonly kind: 'time' }
  /** The device that measures is not there any more: what it measures now is not known. */
  | { readonly kind: 'gone' }

export interface RuleState {
  readonly condition: ConditionState
  /** Whether the condition held is known. */
  readonly known: boolean
  readonly firedMs?: number
  readonly budget: { readonly left: number; readonly atMs: number }
}

export interface RuleStep {
  readonly state: RuleState
  readonly fires: boolean
  /** It would have fired, but for this. */
  readonly held?: 'cooldown' | 'budget'
  /** Monotonic: step again then, where nothing comes before. */
  readonly dueMs?: number
}

export const NEW_RULE: RuleState = {
  condition: NEW_CONDITION,
  known: false,
  budget: { left: BUDGET.burst, atMs: 0 },
}

type Machine = Pick<RuleSettings, 'when' | 'cooldownMs'>

/** What becomes of a rule with `event`. `nowMs` is monotonic. */
export function step(rule: Machine, state: RuleState, event: RuleEvent, nowMs: number): RuleStep {
  if (event.kind === 'gone') return { state: lost(state), fires: false }
  const value = event.kind === 'time' ? undefined : event.value
  const next = stepCondition(rule.when, state.condition, { atMs: nowMs, value })
  const isFirst = !state.known && value !== undefined && rule.when.each === undefined
  if (event.kind === 'before' || isFirst) {
    const condition = { ...next.state, came: next.state.holds }
    return { state: { ...state, condition, known: true }, fires: false }
  }
  const due = next.dueMs === undefined ? {} : { dueMs: next.dueMs }
  const after = { ...state, condition: next.state }
  return next.came
    ? { ...fire(rule, after, nowMs), ...due }
    : { state: after, fires: false, ...due }
}

/** A wait that was not over begins again; what has come does not come again before it has ended. */
function lost(state: RuleState): RuleState {
  const { condition } = state
  if (!condition.holds || condition.came) return state
  return { ...state, condition: { ...condition, holds: false } }
}

function fire({ cooldownMs = 0 }: Machine, state: RuleState, nowMs: number): RuleStep {
  const { firedMs = -Infinity, budget } = state
  if (nowMs - firedMs < cooldownMs) return { state, fires: false, held: 'cooldown' }
  const gained = Math.floor(Math.max(0, nowMs - budget.atMs) / BUDGET.refillMs)
  const left = Math.min(BUDGET.burst, budget.left + gained)
  const atMs = left === BUDGET.burst ? nowMs : budget.atMs + gained * BUDGET.refillMs
  if (left < 1) return { state: { ...state, budget: { left, atMs } }, fires: false, held: 'budget' }
  return { state: { ...state, firedMs: nowMs, budget: { left: left - 1, atMs } }, fires: true }
}
