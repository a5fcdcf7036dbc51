/** What devices let this one do, as the page shows it: fields and buttons of a Thing Description. */
import type { Json, JsonObject, PropertyValueView, WhyView } from '../../api/view.ts'
import type { Client } from './client.ts'

/** Something that a person can set: a switch, a choice, a number or text. */
export interface Field {
  readonly name: string
  readonly kind: 'boolean' | 'choice' | 'number' | 'text'
  readonly unit: string
  readonly choices: readonly string[]
  readonly min: number | undefined
  readonly max: number | undefined
  readonly whole: boolean
}

export interface PropertyUse {
  readonly field: Field
  readonly title: string
  readonly value: Json | undefined
}

export interface ActionUse {
  readonly name: string
  readonly title: string
  /** What to ask first. One field without a name is the whole value. */
  readonly fields: readonly Field[]
}

export interface Uses {
  readonly properties: readonly PropertyUse[]
  readonly actions: readonly ActionUse[]
  readonly why: WhyView | undefined
}

/** Peer id → what can be used there. */
export type AllUses = ReadonlyMap<string, Uses>

const MAX_FIELDS = 6

/** Undefined where the device lets this one do nothing that the page could offer. */
export function usesOf(
  description: JsonObject,
  values: readonly PropertyValueView[],
  why: WhyView | undefined,
): Uses | undefined {
  const known = new Map(values.map(({ name, value }) => [name, value]))
  const properties = members(description['properties']).flatMap(([name, schema]) => {
    const field = schema['readOnly'] === true ? undefined : fieldOf(name, schema)
    const title = textOf(schema['description'])
    return field === undefined ? [] : [{ field, title, value: known.get(name) }]
  })
  const actions = members(description['actions']).flatMap(([name, action]) => {
    const fields = fieldsOf(action['input'])
    return fields === undefined ? [] : [{ name, title: textOf(action['description']), fields }]
  })
  const nothing = properties.length === 0 && actions.length === 0 && why === undefined
  return nothing ? undefined : { properties, actions, why }
}

/** Undefined for a value that has no simple field. */
function fieldsOf(input: Json | undefined): readonly Field[] | undefined {
  if (input === undefined) return []
  const schema = objectOf(input)
  if (schema['type'] !== 'object') {
    const field = fieldOf('', schema)
    return field === undefined ? undefined : [field]
  }
  const inner = members(schema['properties'])
  const fields = inner.flatMap(([name, one]) => fieldOf(name, one) ?? [])
  return fields.length < inner.length || fields.length > MAX_FIELDS ? undefined : fields
}

function fieldOf(name: string, schema: JsonObject): Field | undefined {
  const { type, enum: choices, minimum, maximum, unit } = schema
  const base = {
    name,
    unit: textOf(unit),
    choices: [],
    min: numberOf(minimum),
    max: numberOf(maximum),
    whole: type === 'integer',
  }
  if (Array.isArray(choices)) {
    const words = choices.filter((one): one is string => typeof one === 'string')
    return words.length === choices.length ? { ...base, kind: 'choice', choices: words } : undefined
  }
  if (type === 'boolean') return { ...base, kind: 'boolean' }
  if (type === 'integer' || type === 'number') return { ...base, kind: 'number' }
  return type === 'string' ? { ...base, kind: 'text' } : undefined
}

/** What was typed, as the device takes it; undefined where it is no number. */
export function valueOf({ kind }: Field, typed: string | boolean): Json | undefined {
  if (kind !== 'number') return typed
  const value = typeof typed === 'string' && typed.trim() !== '' ? Number(typed) : Number.NaN
  return Number.isFinite(value) ? value : undefined
}

function members(value: Json | undefined): readonly (readonly [string, JsonObject])[] {
  return Object.entries(objectOf(value))
    .map(([name, one]) => [name, objectOf(one)] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
}

function objectOf(value: Json | undefined): JsonObject {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isObject ? (value as JsonObject) : {}
}

function textOf(value: Json | undefined): string {
  return typeof value === 'string' ? value : ''
}

function numberOf(value: Json | undefined): number | undefined {
  return typeof value === 'number' ? value : undefined
}

/** Undefined where the device says nothing, or lets this one do nothing. */
export async function loadUses(
  client: Client,
  device: string,
  signal: AbortSignal,
): Promise<Uses | undefined> {
  try {
    const { description, values = [], live } = await client.description(device, signal)
    // A device that sleeps cannot be asked.
    const [why] = live ? await client.why(device, signal) : []
    return usesOf(description, values, why)
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}

/** "on = true by hall-button, rule press-light because button = 1". */
export function showWhy({ verb, name, args, by, cause, status }: WhyView): string {
  const said = args === undefined ? '' : JSON.stringify(args)
  const what = verb === 'write' ? `${name} = ${said}` : said === '' ? name : `${name}(${said})`
  const who = by.name === '' ? by.id : by.name
  const why =
    cause === undefined
      ? ''
      : `, rule ${cause.rule} because ${cause.sensor} = ${JSON.stringify(cause.value)}`
  return `${what} by ${who}${why}: ${status}`
}
