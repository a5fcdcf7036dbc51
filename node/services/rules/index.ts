/** Rules: when a sensor says so, call. */
export { BUDGET, NEW_RULE, step } from './machine.ts'
export type { RuleEvent, RuleState } from './machine.ts'
export { FRESH_MS, MAX_RUNNING, startRules } from './rules.ts'
export type {
  Measured,
  RemoteReading,
  RuleFailure,
  RuleOutcome,
  Rules,
  RulesDeps,
  RuleWish,
} from './rules.ts'
