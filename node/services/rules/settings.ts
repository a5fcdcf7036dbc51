/** A rule as the settings give it, checked. */
import type { Json } from '../../../protocols/calls/index.ts'

/** What must be so. One of `equals`, `above`, `below` and `changes`, at least. */
export interface RuleCondition {
  /** Name of the device that measures; absent for this one. */
  readonly device?: string
  readonly sensor: string
  readonly equals?: boolean | number | string
  readonly above?: number
  readonly below?: number
  /** Another value than before. */
  readonly changes?: boolean
  /** How far past `above` or `below` a value must go back before it counts as over; default 0. */
  readonly hysteresis?: number
  /** How long it must be so without a break; default 0. */
  readonly forMs?: number
}

/** What is called then. */
export interface RuleAction {
  /** Name of the device that is called; absent for this one. */
  readonly device?: string
  readonly verb: 'invoke' | 'write'
  readonly name: string
  readonly args?: Json
  readonly ttlMs?: number
}

export interface RuleSettings {
  readonly name: string
  readonly enabled: boolean
  readonly when: RuleCondition
  readonly then: readonly RuleAction[]
  /** Shortest time between two firings; default 0. */
  readonly cooldownMs?: number
}
