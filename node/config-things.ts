/**
 * What a device lets others do and does by itself, from the settings file: all of its tables but
 * those of sensors, with what is said of plug-ins, and what is wrong between them.
 */
import * as v from 'valibot'

import type { ActionSettings } from './config-actions.ts'
import { text } from './config-fields.ts'
import { valueOfProperty, type PropertySettings } from './config-properties.ts'
import { isJsonValue, type EventSettings, type RuleSettings } from './config-rules.ts'
import type { SensorSettings } from './config-sensors.ts'
import {
  checkKeys,
  isTable,
  wrongTable,
  type CheckedTable,
  type TableProblem,
} from './config-tables.ts'
import { fits } from './config-thing-values.ts'
import { nearest } from './nearest.ts'

export const PLUGIN_SCHEMA = v.object({
  module: v.pipe(
    text(128),
    v.regex(/^\w[\w.-]*\.m?js$/, 'must be a file beside the settings file, like "lamp.mjs"'),
  ),
  settings: v.optional(
    v.pipe(
      v.custom<Readonly<Record<string, unknown>>>(
        (value) => isTable(value) && isJsonValue(value),
        'must be a table of values as in JSON, like { pin = 17 }',
      ),
      v.transform((value) => structuredClone(value)),
    ),
    {},
  ),
})

export type PluginSettings = v.InferOutput<typeof PLUGIN_SCHEMA> & { readonly name: string }

/** All of a device's tables that are in order. */
export interface ThingSettings {
  readonly properties: readonly PropertySettings[]
  readonly actions: readonly ActionSettings[]
  readonly events: readonly EventSettings[]
  readonly rules: readonly RuleSettings[]
  readonly plugins: readonly PluginSettings[]
}

export const NO_THINGS: ThingSettings = {
  properties: [],
  actions: [],
  events: [],
  rules: [],
  plugins: [],
}

/** The table `[plugin.NAME]`, as TOML gives it. */
export function checkPlugin(name: string, table: unknown): CheckedTable<PluginSettings> {
  const group = { section: 'plugin', one: 'a plug-in' }
  const wrong = wrongTable(group, name, table)
  if (wrong !== undefined) return wrong
  return checkKeys(group, PLUGIN_SCHEMA, name, table as Record<string, unknown>)
}

/** What is right by itself and wrong beside the other tables. */
export function strangers(
  { properties, actions, plugins }: ThingSettings,
  sensors: readonly SensorSettings[],
): TableProblem[] {
  const taken = properties
    .filter(({ name }) => sensors.some((sensor) => sensor.name === name))
    .map(({ name }) => ({ key: `property.${name}`, why: 'a sensor has this name; take another' }))
  const known = new Map(properties.map((one) => [one.name, one]))
  const lost = actions.flatMap((action) => {
    if (!('property' in action)) return []
    const why = strangeProperty(action, known, plugins.length > 0)
    return why === undefined ? [] : [{ key: `action.${action.name}.${why.key}`, why: why.why }]
  })
  return [...taken, ...lost]
}

function strangeProperty(
  action: Extract<ActionSettings, { readonly property: string }>,
  known: ReadonlyMap<string, PropertySettings>,
  plugged: boolean,
): TableProblem | undefined {
  const target = known.get(action.property)
  if (target === undefined) {
    if (plugged) return undefined
    const near = nearest(action.property, [...known.keys()])
    const why = `there is no such property${near === undefined ? '' : `; did you mean ${near}?`}`
    return { key: 'property', why }
  }
  const value = valueOfProperty(target)
  if (action.type === 'toggle' && value.value !== 'boolean') {
    return { key: 'property', why: 'only what is true or false can be toggled' }
  }
  if (action.type === 'set' && !fits(value, action.value)) {
    return { key: 'value', why: 'is not a value that the property may have' }
  }
  return undefined
}
