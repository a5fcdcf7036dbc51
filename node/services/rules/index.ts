/** Rules: when a sensor says so, call. */
export type { RuleAction, RuleCondition, RuleSettings } from './settings.ts'
