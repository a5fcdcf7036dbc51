/** What a plug-in says that it has, held against what a description can say. */
import {
  isName,
  parseJson,
  schemaFrom,
  type ActionModel,
  type DataSchema,
  type EventModel,
  type Json,
  type PropertyModel,
} from '../../../protocols/calls/index.ts'

export interface PartModel {
  readonly properties: Readonly<Record<string, PropertyModel>>
  readonly actions: Readonly<Record<string, ActionModel>>
  readonly events: Readonly<Record<string, EventModel>>
}

const BOUNDS = { maxBytes: 48 * 1024 }
const MAX_PARTS = 64
const MAX_DESCRIPTION = 256
const MAX_DEADLINE_MS = 10 * 60_000

type Members = Readonly<Record<string, Json>>

/** @throws RangeError that names the part */
export function pluginModel(text: string): PartModel {
  const all = tableOf(
    attempt('all of it', () => parseJson(text, BOUNDS)),
    'all of it',
  )
  const { properties, actions, events } = all
  return {
    properties: parts(properties, 'property', propertyOf),
    actions: parts(actions, 'action', actionOf),
    events: parts(events, 'event', eventOf),
  }
}

function parts<T>(
  written: Json | undefined,
  kind: string,
  read: (part: Members) => T,
): Record<string, T> {
  const entries = Object.entries(tableOf(written ?? {}, kind))
  if (entries.length > MAX_PARTS) throw misunderstood(`more than ${MAX_PARTS} of kind ${kind}`)
  return Object.fromEntries(
    entries.map(([name, part]) => {
      if (!isName(name)) throw misunderstood(`the name of a ${kind}`)
      const place = `the ${kind} ${name}`
      return [name, attempt(place, () => read(tableOf(part, place)))]
    }),
  )
}

function propertyOf(part: Members): PropertyModel {
  const { readable = true, writable = false } = part
  if (readable !== true && writable !== true) throw new RangeError('neither readable nor writable')
  return {
    schema: schemaOf(part['schema']),
    readable: flag(readable),
    writable: flag(writable),
    observable: readable === true,
    ...described(part),
    ...flags(part, ['coalesce']),
  }
}

function actionOf(part: Members): ActionModel {
  const { deadlineMs } = part
  if (
    deadlineMs !== undefined &&
    !(Number(deadlineMs) >= 1 && Number(deadlineMs) <= MAX_DEADLINE_MS)
  ) {
    throw new RangeError('deadline')
  }
  return {
    ...schemas(part, ['input', 'output']),
    ...described(part),
    ...flags(part, ['safe', 'idempotent', 'coalesce']),
    ...changesIn(part['changes']),
    ...(deadlineMs === undefined ? {} : { deadlineMs: Math.round(Number(deadlineMs)) }),
  }
}

function changesIn(written: Json | undefined): { readonly changes?: readonly string[] } {
  if (written === undefined) return {}
  const names: readonly unknown[] = Array.isArray(written) ? written : [undefined]
  const changes = names.filter((name) => typeof name === 'string').filter(isName)
  if (changes.length < names.length || names.length > MAX_PARTS) throw new RangeError('changes')
  return { changes }
}

function eventOf(part: Members): EventModel {
  return { ...schemas(part, ['data']), ...described(part) }
}

function schemas(part: Members, keys: readonly string[]): Record<string, DataSchema> {
  const found = keys.filter((key) => part[key] !== undefined)
  return Object.fromEntries(found.map((key) => [key, schemaOf(part[key])]))
}

function schemaOf(written: Json | undefined): DataSchema {
  const schema = schemaFrom(written)
  if (schema === undefined) throw new RangeError('schema')
  return schema
}

function flags(part: Members, keys: readonly string[]): Record<string, boolean> {
  const found = keys.filter((key) => part[key] !== undefined)
  return Object.fromEntries(found.map((key) => [key, flag(part[key])]))
}

function flag(value: Json | undefined): boolean {
  if (typeof value !== 'boolean') throw new RangeError('flag')
  return value
}

function described({ description }: Members): { readonly description?: string } {
  if (description === undefined) return {}
  if (typeof description !== 'string') throw new RangeError('description')
  return { description: description.slice(0, MAX_DESCRIPTION).toWellFormed() }
}

function tableOf(value: Json, place: string): Members {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Members
  throw misunderstood(place)
}

function attempt<T>(place: string, run: () => T): T {
  try {
    return run()
  } catch (cause) {
    throw misunderstood(place, cause)
  }
}

function misunderstood(place: string, cause?: unknown): RangeError {
  return new RangeError(`it describes ${place} in a way that is not understood`, { cause })
}
