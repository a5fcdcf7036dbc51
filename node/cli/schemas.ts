/**
 * What a Thing Description says a device takes: as words for people, and to read what they typed.
 * Whether a value really fits is for the device to say.
 */
import type { Json, JsonObject } from '../api/view.ts'
import { NodeError } from '../errors.ts'
import { valueText } from './values.ts'

/** The properties, actions or events of a description by name, in the order of their names. */
export function affordances(
  description: JsonObject,
  kind: 'properties' | 'actions' | 'events',
): readonly (readonly [string, JsonObject])[] {
  return Object.entries(objectOf(description[kind]))
    .map(([name, one]) => [name, objectOf(one)] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
}

export function objectOf(value: Json | undefined): JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : {}
}

export function textOf(value: Json | undefined): string {
  return typeof value === 'string' ? value : ''
}

/** "true or false", "0 to 100 %", "low, medium or high", "{to: 0 to 100}". */
export function takesText(schema: JsonObject): string {
  const { enum: choices, const: only, type } = schema
  if (Array.isArray(choices)) return orText(choices.map(plainText))
  if (only !== undefined) return plainText(only)
  const known = typeof type === 'string' && Object.hasOwn(TYPES, type)
  return (known ? TYPES[type]?.(schema) : undefined) ?? 'anything'
}

const TYPES: Readonly<Record<string, (schema: JsonObject) => string>> = {
  boolean: () => 'true or false',
  integer: (schema) => numberText(schema, 'whole number'),
  number: (schema) => numberText(schema, 'number'),
  string: ({ maxLength }) => (typeof maxLength === 'number' ? `text up to ${maxLength}` : 'text'),
  object: membersText,
  array: ({ items }) => `list of ${takesText(objectOf(items))}`,
  null: () => 'null',
}

function numberText({ minimum, maximum, unit }: JsonObject, what: string): string {
  const shown = shownUnit(textOf(unit))
  const [low, high] = [minimum, maximum].map((limit) =>
    typeof limit === 'number' ? `${limit}` : undefined,
  )
  const kind = what === 'number' ? '' : 'whole '
  if (low !== undefined && high !== undefined) return `${kind}${low} to ${high}${shown}`
  if (low !== undefined) return `${what} from ${low}${shown}`
  return high === undefined ? `${what}${shown}` : `${what} up to ${high}${shown}`
}

function shownUnit(unit: string): string {
  const shown = unit === '' ? '' : valueText(0, unit).replace(/^0\s*/, '')
  return shown === '' ? '' : ` ${shown}`
}

function membersText({ properties, required }: JsonObject): string {
  const needed = new Set(Array.isArray(required) ? required : [])
  const members = Object.entries(objectOf(properties)).map(
    ([name, schema]) => `${name}${needed.has(name) ? '' : '?'}: ${takesText(objectOf(schema))}`,
  )
  return members.length === 0 ? '{…}' : `{${members.join(', ')}}`
}

function orText(words: readonly string[]): string {
  const last = words.at(-1) ?? 'nothing'
  return words.length < 2 ? last : `${words.slice(0, -1).join(', ')} or ${last}`
}

/** Text as it is, everything else as JSON. */
export function plainText(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** A value of a property with its unit. */
export function valueOf(value: Json, schema: JsonObject): string {
  return typeof value === 'number' ? valueText(value, textOf(schema['unit'])) : plainText(value)
}

/**
 * What was typed, as JSON; where the device takes text, or the word is one of its choices, as that
 * text. `schema` is undefined where the device's description is not known.
 *
 * @throws NodeError NODE_USAGE
 */
export function readValue(typed: string, schema: JsonObject | undefined): Json {
  const choices = schema?.['enum']
  const isText =
    schema?.['type'] === 'string' || (Array.isArray(choices) && choices.includes(typed))
  const json = parse(typed)
  if (isText) return typeof json === 'string' ? json : typed
  if (json !== undefined) return json
  throw new NodeError('NODE_USAGE', `"${typed}" is no JSON.`, {
    hint:
      schema === undefined
        ? 'Nothing was changed. Write text in quotes inside quotes: \'"text"\''
        : `Nothing was changed. It takes ${takesText(schema)}.`,
  })
}

function parse(typed: string): Json | undefined {
  try {
    return JSON.parse(typed) as Json
  } catch {
    return undefined
  }
}
