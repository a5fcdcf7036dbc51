/**
 * The tables `[event.NAME]` and `[rule.NAME]` of the settings file: what is watched for on a sensor,
 * and what is called when it comes. This file checks them; it watches and calls nothing.
 */

/** As JSON has it, and as TOML can write it. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue }

/** What is watched for: exactly one of `equals`, `above`, `below` and `changes`. */
export interface ConditionSettings {
  readonly sensor: string
  readonly equals?: boolean | number | string
  readonly above?: number
  readonly below?: number
  readonly changes?: boolean
  /** How far back past `above` or `below` a value goes before the condition can come again. */
  readonly hysteresis?: number
  /** How long it holds without a break before it counts. */
  readonly forMs?: number
}

/** `[event.NAME]`: a condition on one of the device's own sensors. */
export interface EventSettings {
  readonly name: string
  readonly description?: string
  readonly when: ConditionSettings
}

/** A condition on a device's sensor; the device's own where none is named. */
export interface RuleWhen extends ConditionSettings {
  readonly device?: string
}

/** One call. */
export interface RuleCall {
  /** This device where none is named. */
  readonly device?: string
  readonly verb: 'invoke' | 'write'
  readonly name: string
  readonly args?: JsonValue
  readonly ttlMs?: number
}

/** `[rule.NAME]`. */
export interface RuleSettings {
  readonly name: string
  readonly description?: string
  readonly enabled: boolean
  readonly when: RuleWhen
  readonly then: readonly RuleCall[]
  /** The shortest time between two times that it calls. */
  readonly cooldownMs?: number
}
