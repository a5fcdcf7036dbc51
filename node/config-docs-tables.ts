/** The tables of the settings file for readers: every key of every kind, from the schemas. */
import * as v from 'valibot'

import { ACTION_SCHEMAS } from './config-actions.ts'
import { PROPERTY_SCHEMAS } from './config-properties.ts'
import { EVENT_SCHEMA, RULE_SCHEMA } from './config-rules.ts'
import { SENSOR_SCHEMAS } from './config-sensors.ts'
import type { TableSchema } from './config-tables.ts'
import { PLUGIN_SCHEMA } from './config-things.ts'

export interface TableKeyView {
  /** As in `[sensor.NAME]`. */
  readonly table: string
  readonly key: string
  /** The types of table that have it; empty for all, where a table has no types. */
  readonly types: readonly string[]
  /** None of them has a default or goes without it. */
  readonly required: boolean
  /** As it is written; empty for none. */
  readonly default: string
  readonly meaning: string
}

type Kinds = Readonly<Record<string, TableSchema>>

/** A table without types is one kind without a name. */
const TABLES: Readonly<Record<string, Kinds>> = {
  sensor: SENSOR_SCHEMAS,
  property: PROPERTY_SCHEMAS,
  action: ACTION_SCHEMAS,
  event: { '': EVENT_SCHEMA },
  rule: { '': RULE_SCHEMA },
  plugin: { '': PLUGIN_SCHEMA },
}

/** What each key means; where it differs from table to table, with the table before it. */
const MEANINGS: Readonly<Record<string, string>> = {
  above: 'it comes when the reading is above this',
  'action.command': 'the program and its arguments; `{NAME}` is where an argument goes',
  args: 'arguments by their names, each like `{ type = "integer", min = 0, max = 100 }`',
  below: 'it comes when the reading is below this',
  body: 'what is sent, with `{value}` or `{NAME}` as JSON',
  broker: 'mqtt:// or mqtts:// address',
  ca_file: 'certificate of the authority to trust',
  changes: 'true: it comes at every other reading',
  channel: 'channel of the chip',
  chip: 'chip of the kernel, like `gpiochip0` or `pwmchip0`',
  choices: 'the only values that it may have',
  client_id: 'name at the broker',
  coalesce: 'while this device sleeps, only the last one counts',
  content_type: 'type of `body`: JSON, a form or text',
  cooldown: 'the shortest time between two times that it calls',
  deadband: 'a reading that differs by less is left out',
  deadline: 'how long it may take',
  description: 'one line for people',
  device: 'name of the chip',
  enabled: 'false: it rests',
  equals: 'it comes when the reading is this',
  each: 'it comes with every reading that is this: a button that says `single` each time',
  for: 'how long it must hold before it comes',
  format: 'what the program prints: number, json or ndjson',
  frequency: 'pulses in a second',
  get: 'program that prints the value',
  heartbeat: 'after this time a reading is kept, changed or not',
  alarm: 'true: a device that sleeps wakes at once when it has another value',
  hysteresis: 'how far the reading goes back before it can come again',
  id: 'name of the sensor on the bus',
  idempotent: 'twice is the same as once',
  initial: 'what it is set to at the start',
  input: 'the one argument, like `{ type = "number" }`, written where `{value}` is',
  interval: 'how often it is read, or the shortest time between two readings',
  invert: '0 means true',
  led: 'name of the light',
  line: 'number of the line of the chip',
  map: 'what texts mean, like `{ ON = 1, OFF = 0 }`',
  max: 'largest value',
  max_length: 'longest text, in characters',
  method: 'GET, POST, PUT, PATCH or DELETE',
  min: 'smallest value',
  module: 'file beside the settings file, like `lamp.mjs`',
  off: 'what false is called there',
  offset: 'added, after `scale`',
  on: 'what true is called there',
  output: 'what its result is: none, text or json',
  password_file: 'file with the password alone',
  path: 'the file',
  pattern: 'where in the text the value is, as a regular expression',
  payload: 'what is sent: `{value}` alone as it is, in a longer text as JSON',
  pointer: 'where in the JSON the value is, like `/state/on`',
  property: 'name of the property',
  readable: 'whether others may read it',
  resolution: 'values are whole multiples of this',
  retain: 'the broker keeps the message for those who come later',
  retained: 'a message that the broker has kept counts, too',
  safe: 'it changes nothing',
  scale: 'the value is multiplied by this',
  sensor: 'one of this device’s own sensors',
  'sensor.command': 'the program and its arguments',
  set: 'program that sets it; `{value}` is where the value goes',
  settings: 'a table for the plug-in itself',
  state_topic: 'where it says what it is',
  state_url: 'address that tells what it is',
  step: 'values are whole multiples of this',
  'rule.then': 'calls, like `[{ device = "lamp", invoke = "toggle" }]`',
  timeout: 'how long one answer may take',
  token_file: 'file with what is sent as `Authorization: Bearer`',
  topic: 'the topic',
  type: 'what it is',
  unit: 'unit of the value',
  url: 'the address, with `{value}` or `{NAME}` where a value goes',
  'sensor.url': 'the address',
  user: 'name for the broker to know it by',
  value: 'boolean, integer, number or string',
  'action.value': 'what the property is set to',
  version: 'of MQTT: 4 (3.1.1) or 5',
  watch: 'true: it is read when it changes too; only other values are readings',
  when: 'condition, like `{ sensor = "button", equals = 1 }`, with `device` for another’s sensor',
  writable: 'whether others may set it',
}

export function tableViews(): readonly TableKeyView[] {
  return Object.entries(TABLES).flatMap(([table, kinds]) => {
    const keys = new Set(Object.values(kinds).flatMap(({ entries }) => Object.keys(entries)))
    return Array.from(keys, (key) => view(table, kinds, key))
  })
}

function view(table: string, kinds: Kinds, key: string): TableKeyView {
  const having = Object.entries(kinds).filter(([, { entries }]) => Object.hasOwn(entries, key))
  const schemas = having.map(([, { entries }]) => entries[key])
  const all = having.length === Object.keys(kinds).length
  return {
    table,
    key,
    types: all ? [] : having.map(([type]) => type),
    required: schemas.every((schema) => schema?.type !== 'optional'),
    default: defaultsOf(having, key),
    meaning: MEANINGS[`${table}.${key}`] ?? MEANINGS[key] ?? '',
  }
}

/** One for all, or each with the types that have it. */
function defaultsOf(having: readonly (readonly [string, TableSchema])[], key: string): string {
  const given = having.map(([type, { entries }]) => ({ type, text: defaultOf(entries[key]) }))
  const texts = [...new Set(given.map(({ text }) => text))]
  const [only = ''] = texts
  if (texts.length <= 1) return only
  return texts
    .filter((text) => text !== '')
    .map((text) => {
      const types = given.filter((one) => one.text === text).map(({ type }) => type)
      return `${text} (${types.join(', ')})`
    })
    .join(', ')
}

function defaultOf(schema: v.GenericSchema | undefined): string {
  if (schema === undefined) return ''
  const value: unknown = v.getDefault(schema)
  return value === undefined ? '' : JSON.stringify(value)
}

/** Markdown: for each table one row for each key. */
export function tablesMarkdown(): string {
  const views = tableViews()
  return Object.keys(TABLES)
    .map((table) =>
      [
        `\`[${table}.NAME]\``,
        '',
        '| key | of | default | meaning |',
        '|---|---|---|---|',
        ...views.filter((one) => one.table === table).map(row),
        '',
      ].join('\n'),
    )
    .join('\n')
}

function row({ key, types, required, default: usual, meaning }: TableKeyView): string {
  const cells = [
    `\`${key}\``,
    types.join(', '),
    usual === '' ? (required ? 'needed' : '') : `\`${usual}\``,
    meaning,
  ]
  return `| ${cells.join(' | ')} |`
}
