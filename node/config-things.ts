/**
 * What a device lets others do, from the settings file: the tables `[property.NAME]`,
 * `[action.NAME]`, `[event.NAME]`, `[rule.NAME]` and `[plugin.NAME]`, checked.
 */
import type { EventSettings, RuleSettings } from './config-rules.ts'

export const VALUE_TYPES = ['boolean', 'integer', 'number', 'string'] as const
export type ValueType = (typeof VALUE_TYPES)[number]

/** What a value may be; `value` is its type. */
export interface ValueSettings {
  readonly value: ValueType
  readonly min?: number
  readonly max?: number
  /** The value is a whole multiple of this. */
  readonly step?: number
  readonly choices?: readonly (string | number)[]
  readonly unit?: string
}

export interface PropertySettings extends ValueSettings {
  readonly name: string
  readonly type: 'gpio' | 'led' | 'pwm' | 'file' | 'command' | 'http' | 'mqtt' | 'plugin'
  readonly description?: string
}

export interface ActionSettings {
  readonly name: string
  readonly type: 'toggle' | 'set' | 'command' | 'http' | 'mqtt' | 'plugin'
  readonly description?: string
}

export interface PluginSettings {
  readonly name: string
  /** A file beside the settings file. */
  readonly module: string
}

/** All of a device's tables that are in order. */
export interface ThingSettings {
  readonly properties: readonly PropertySettings[]
  readonly actions: readonly ActionSettings[]
  readonly events: readonly EventSettings[]
  readonly rules: readonly RuleSettings[]
  readonly plugins: readonly PluginSettings[]
}

export const NO_THINGS: ThingSettings = Object.freeze({
  properties: [],
  actions: [],
  events: [],
  rules: [],
  plugins: [],
})
