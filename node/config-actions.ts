/**
 * The tables `[action.NAME]` of the settings file: what others may have this device do, with which
 * arguments. Each is checked; nothing that they name is touched here.
 */
import * as v from 'valibot'

import {
  argv,
  bool,
  broker,
  duration,
  NAME,
  needsTls,
  needsUser,
  pointer,
  server,
  text,
  topic,
  url,
} from './config-fields.ts'
import { checkKind, inner, isTable, type CheckedTable, type TableProblem } from './config-tables.ts'
import {
  about,
  fits,
  limits,
  message,
  scalar,
  sent,
  strayPlaces,
  valueType,
  wrongValue,
  type ValueSettings,
} from './config-thing-values.ts'

const argument = inner(
  {
    type: valueType,
    ...limits,
    description: v.optional(text(256)),
    default: v.optional(scalar),
  },
  '{ type = "integer", min = 0, max = 100 }',
)
const ARGUMENT = /^(?!constructor$|prototype$)[a-z][a-z0-9_]{0,31}$/

const called = {
  ...about,
  safe: v.optional(bool, false),
  idempotent: v.optional(bool, false),
  deadline: v.optional(duration(100, 10 * 60_000), '10s'),
}
const given = {
  input: v.optional(argument),
  args: v.optional(
    v.pipe(
      // A record leaves out the names that all objects have, without a word.
      v.custom<Record<string, unknown>>(
        (table) => isTable(table) && Object.keys(table).every((key) => ARGUMENT.test(key)),
        'must be a table with names like level, such as { level = { type = "integer" } }',
      ),
      v.record(v.string(), argument),
      v.maxEntries(16, 'must have at most 16 entries'),
    ),
  ),
}
const output = {
  output: v.optional(v.picklist(['none', 'text', 'json'], 'must be none, text or json'), 'none'),
  pointer: v.optional(pointer),
}
const property = v.pipe(v.string('must be text'), v.regex(NAME, 'must be a property’s name'))

export const ACTION_SCHEMAS = {
  toggle: v.object({ type: v.literal('toggle'), ...called, property }),
  set: v.object({ type: v.literal('set'), ...called, property, value: scalar }),
  command: v.object({ type: v.literal('command'), ...called, ...given, ...output, command: argv }),
  http: v.object({
    type: v.literal('http'),
    ...called,
    ...given,
    ...output,
    url,
    method: sent.method,
    body: sent.body,
    content_type: sent.content_type,
    token_file: server.token_file,
    ca_file: server.ca_file,
  }),
  mqtt: v.pipe(
    v.object({ type: v.literal('mqtt'), ...called, ...given, ...broker, topic, ...message }),
    v.forward(needsUser(), ['password_file']),
    v.forward(needsTls(), ['ca_file']),
  ),
} as const

export type ActionType = keyof typeof ACTION_SCHEMAS
/** One checked table; durations in milliseconds. */
export type ActionSettings = {
  [T in ActionType]: v.InferOutput<(typeof ACTION_SCHEMAS)[T]> & { readonly name: string }
}[ActionType]
export type ActionOf<T extends ActionType> = Extract<ActionSettings, { readonly type: T }>
export type ArgumentSettings = v.InferOutput<typeof argument>

/** The table `[action.NAME]`, as TOML gives it. */
export function checkAction(name: string, table: unknown): CheckedTable<ActionSettings> {
  const group = { section: 'action', one: 'an action' }
  const checked = checkKind(group, ACTION_SCHEMAS, name, table)
  if (!checked.ok) return checked
  const settings: ActionSettings = checked.table
  const wrong = wrongArguments(settings)
  return wrong === undefined ? { ok: true, table: settings } : { ok: false, problems: [wrong] }
}

/** The arguments of an action by the names under which they are written into its text. */
export function argumentsOf(
  settings: ActionSettings,
): ReadonlyMap<string, ArgumentSettings & ValueSettings> {
  const { input, args = {} } = 'args' in settings || 'input' in settings ? settings : {}
  const entries = input === undefined ? Object.entries(args) : [['value', input] as const]
  return new Map(entries.map(([key, one]) => [key, { ...one, value: one.type }]))
}

function wrongArguments(settings: ActionSettings): TableProblem | undefined {
  if (settings.type === 'toggle' || settings.type === 'set') return undefined
  if (settings.input !== undefined && settings.args !== undefined) {
    return { key: 'input', why: 'is for one value without a name: write either input or args' }
  }
  const all = argumentsOf(settings)
  for (const [key, one] of all) {
    const at = settings.input === undefined ? `args.${key}` : 'input'
    const wrong = wrongArgument(one)
    if (wrong !== undefined) return { key: `${at}.${wrong.key}`, why: wrong.why }
  }
  return strayPlace(settings, { allowed: Array.from(all.keys()) })
}

function wrongArgument(one: ArgumentSettings & ValueSettings): TableProblem | undefined {
  const wrong = wrongValue(one)
  if (wrong !== undefined) return { ...wrong, key: wrong.key === 'value' ? 'type' : wrong.key }
  if (one.default === undefined || fits(one, one.default)) return undefined
  return { key: 'default', why: 'is not a value that the argument may have' }
}

function strayPlace(
  settings: ActionOf<'command' | 'http' | 'mqtt'>,
  places: { readonly allowed: readonly string[] },
): TableProblem | undefined {
  switch (settings.type) {
    case 'command':
      return strayPlaces('command', settings.command, places)
    case 'http':
      return strayPlaces('url', settings.url, places) ?? strayPlaces('body', settings.body, places)
    case 'mqtt':
      return strayPlaces('payload', settings.payload, places)
  }
}
