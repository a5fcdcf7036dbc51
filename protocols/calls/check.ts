/**
 * Arguments held against the schema of what they are for, before anything runs. SPEC.md "Arguments".
 * The value and the schema may both be a stranger's: both are copied within bounds first, members of
 * an object by their own names alone, and only keywords that cost little are known. What the schema
 * does not name, an object may not have.
 */
import { Validator, type OutputUnit, type Schema } from '@cfworker/json-schema'

import { utf8 } from '../wire/index.ts'
import { schemaFrom } from './data-schema.ts'
import type { Json } from './json.ts'
import type { DataSchema } from './model.ts'
import { BOUNDS } from './protocol.ts'

/** What is wrong with a value, as a sentence of at most 200 bytes; undefined where nothing is. */
export type Check = (value: Json | undefined) => string | undefined

/** What is checked, where its name in a sentence is not known. */
const WHOLE = 'The argument'
/** Keywords whose errors only lead to the one that says what is wrong. */
const LEADING: ReadonlySet<string> = new Set(['properties', 'items', 'additionalProperties'])
const SHOWN = 100

/** A check made once for many values. Without a schema no value is right but none. */
export function compileInput(schema: DataSchema | undefined): Check {
  if (schema === undefined) {
    return (value) => (value === undefined ? undefined : `${WHOLE} is not expected.`)
  }
  const known = schemaFrom(schema)
  if (known === undefined) return () => 'The description of this cannot be understood.'
  const validator = new Validator(strict(known), '2020-12', true)
  return (value) => {
    if (value === undefined && !isOptional(known)) return `${WHOLE} is missing.`
    const copy = copyOf(value === undefined ? {} : value)
    if (copy === undefined) return `${WHOLE} is too large, too deep or not JSON.`
    const { valid, errors } = validator.validate(copy.value)
    return valid ? undefined : clip(sentence(errors, known, copy.value))
  }
}

/** The same for one value. */
export function checkInput(
  schema: DataSchema | undefined,
  value: Json | undefined,
): string | undefined {
  return compileInput(schema)(value)
}

/** An object of which nothing is required may be left out. */
function isOptional({ type, required = [] }: DataSchema): boolean {
  return type === 'object' && required.length === 0
}

/** The same keywords, and no members beside those named. A copy: the validator marks what it gets. */
function strict(schema: DataSchema): Schema {
  const { items, properties, required, ...rest } = schema
  return {
    ...(rest as Schema),
    ...(items === undefined ? {} : { items: strict(items) }),
    ...(required === undefined ? {} : { required: [...required] }),
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(properties).map(([name, one]) => [name, strict(one)]),
          ),
          additionalProperties: false,
        }),
  }
}

/** `value` within bounds, its objects without a prototype. */
function copyOf(value: unknown): { readonly value: unknown } | undefined {
  let left: number = BOUNDS.maxJsonValues
  const copy = (one: unknown, outside: number): unknown => {
    const depth = typeof one === 'object' && one !== null ? outside + 1 : outside
    if (--left < 0 || depth > BOUNDS.maxJsonDepth) throw new RangeError('too big')
    if (Array.isArray(one)) return Array.from(one, (item) => copy(item, depth))
    if (typeof one === 'object' && one !== null) return members(one, depth)
    if (!isScalar(one)) throw new RangeError('no JSON')
    return one
  }
  const members = (one: object, depth: number): unknown => {
    const made = Object.create(null) as Record<string, unknown>
    for (const [name, item] of Object.entries(one)) {
      if (name === '__proto__') throw new RangeError('name')
      made[name] = copy(item, depth)
    }
    return made
  }
  try {
    return { value: copy(value, 0) }
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function isScalar(value: unknown): boolean {
  if (typeof value === 'string') return value.length <= BOUNDS.maxResultBytes
  return value === null || typeof value === 'boolean' || Number.isFinite(value)
}

function sentence(errors: readonly OutputUnit[], schema: DataSchema, value: unknown): string {
  const error = errors.find(({ keyword }) => !LEADING.has(keyword))
  if (error === undefined) return `${WHOLE} does not fit.`
  const steps = error.instanceLocation.split('/').slice(1)
  // What no schema knows is not repeated: its name is the caller's.
  const known = error.keyword === 'false' ? steps.slice(0, -1) : steps
  const place = follow(known, schema, value)
  return `${place.label} ${wrong(error.keyword, place.schema, place.value)}.`
}

interface Place {
  readonly label: string
  readonly schema: DataSchema
  readonly value: unknown
}

/** Steps are names of members that the schema has, or numbers of items. */
function follow(steps: readonly string[], schema: DataSchema, value: unknown): Place {
  let place: Place = { label: '', schema, value }
  for (const step of steps) {
    const at = (place.value as Record<string, unknown>)[step]
    const { items, properties = {} } = place.schema
    place = Array.isArray(place.value)
      ? { label: `${place.label}[${step}]`, schema: items ?? {}, value: at }
      : {
          label: place.label === '' ? step : `${place.label}.${step}`,
          schema: properties[step] ?? {},
          value: at,
        }
  }
  return place.label === '' ? { ...place, label: WHOLE } : place
}

const ARTICLES: Readonly<Record<NonNullable<DataSchema['type']>, string>> = {
  boolean: 'true or false',
  integer: 'a whole number',
  number: 'a number',
  string: 'a text',
  object: 'an object',
  array: 'a list',
  null: 'null',
}

function wrong(keyword: string, schema: DataSchema, value: unknown): string {
  const say = SENTENCES.get(keyword)
  if (say !== undefined) return say(schema)
  if (keyword !== 'required') return 'does not fit'
  const missing = (schema.required ?? []).find((name) => !Object.hasOwn(value as object, name))
  return `has no ${missing}`
}

const SENTENCES = new Map<string, (schema: DataSchema) => string>([
  ['type', ({ type }) => `must be ${type === undefined ? 'another kind' : ARTICLES[type]}`],
  ['const', (schema) => `must be ${shown(schema.const)}`],
  ['enum', (schema) => `must be one of ${(schema.enum ?? []).map(shown).join(', ')}`],
  ['minimum', ({ minimum }) => `must be at least ${minimum}`],
  ['maximum', ({ maximum }) => `must be at most ${maximum}`],
  ['multipleOf', ({ multipleOf }) => `must be a multiple of ${multipleOf}`],
  ['minLength', ({ minLength }) => `must have at least ${minLength} characters`],
  ['maxLength', ({ maxLength }) => `must have at most ${maxLength} characters`],
  ['minItems', ({ minItems }) => `must have at least ${minItems} items`],
  ['maxItems', ({ maxItems }) => `must have at most ${maxItems} items`],
  ['false', () => 'has a member that is not known'],
])

function shown(value: unknown): string {
  const text = JSON.stringify(value)
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text
}

/** At most as long as the words of a receipt may be. */
function clip(text: string): string {
  if (utf8(text).length <= BOUNDS.maxDetailBytes) return text
  let kept = ''
  let bytes = utf8('…').length
  for (const character of text) {
    bytes += utf8(character).length
    if (bytes > BOUNDS.maxDetailBytes) break
    kept += character
  }
  return `${kept}…`
}
