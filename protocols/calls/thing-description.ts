/**
 * A device's model as W3C WoT Thing Description 1.1, and back. Made for whoever asks: a guest gets
 * what `onlyAllowed` leaves of the model. Read back, it is a stranger's: bounded, and what is not
 * understood is left out. SPEC.md "Description".
 */
import { peerIdOf } from '../identity/index.ts'
import { isMember, isName, schemaFrom } from './data-schema.ts'
import { formatJson, parseJson, type Json, type JsonBounds } from './json.ts'
import type { ActionModel, DataSchema, EventModel, PropertyModel, ThingModel } from './model.ts'
import { BOUNDS } from './protocol.ts'

/** What a device's description can offer. A property is observed by whoever may read it. */
export type Right = 'read' | 'write' | 'invoke' | 'observe'
export type Allows = (right: Right, name: string) => boolean

/** Bounds of a description as text. */
export const DESCRIPTION: JsonBounds = {
  maxBytes: BOUNDS.maxDescriptionBytes,
  maxDepth: 32,
  maxValues: 20_000,
}

const TD_CONTEXT = 'https://www.w3.org/2022/wot/td/v1.1'
/** Words that the standard does not have; only those named here are written and read. */
const VOCABULARY = 'urn:kith:vocabulary#'
const SECURITY = 'home'
const TEXT_BYTES = 1024
const MAX_AFFORDANCES = 512
/** Properties that one action says it sets. */
const MAX_CHANGES = 64

type Members = Readonly<Record<string, Json>>

/**
 * The Thing Description of the device with `key`, 32 bytes.
 *
 * @throws RangeError for a name that is none, or a schema that `schemaFrom` refuses
 */
export function thingDescription(
  { title, description, properties, actions, events }: ThingModel,
  { key }: { readonly key: Uint8Array },
): { readonly [name: string]: Json } {
  const peer = peerIdOf(key)
  const form = (kind: string, name: string, op: readonly string[]): Json => [
    { href: `kith://${peer}/${kind}/${name}`, contentType: 'application/json', op },
  ]
  return {
    '@context': [TD_CONTEXT, { kith: VOCABULARY }],
    '@type': 'Thing',
    id: `urn:kith:${peer}`,
    title,
    ...some({ description }),
    securityDefinitions: { [SECURITY]: { scheme: 'kith:membership' } },
    security: SECURITY,
    properties: each(properties, (one, name) => ({
      ...propertyPart(one),
      forms: form('properties', name, opsOf(one)),
    })),
    actions: each(actions, (one, name) => ({
      ...actionPart(one),
      forms: form('actions', name, ['invokeaction']),
    })),
    events: each(events, ({ data, description: what }, name) => ({
      ...some({ description: what, data: data && schemaPart(data) }),
      forms: form('events', name, ['subscribeevent', 'unsubscribeevent']),
    })),
  }
}

/** The same as text, at most 64 KiB. @throws CallsError CALLS_BAD_JSON, RangeError */
export function descriptionText(model: ThingModel, of: { readonly key: Uint8Array }): string {
  return formatJson(thingDescription(model, of), DESCRIPTION)
}

/** What of a model is left for somebody with these rights. */
export function onlyAllowed(model: ThingModel, allows: Allows): ThingModel {
  const properties = Object.entries(model.properties).flatMap(([name, one]) => {
    const read = allows('read', name)
    const left: PropertyModel = {
      ...one,
      readable: one.readable && read,
      observable: one.observable && read,
      writable: one.writable && allows('write', name),
    }
    return opsOf(left).length === 0 ? [] : [[name, left] as const]
  })
  const seen = new Set(properties.map(([name]) => name))
  const actions = Object.entries(model.actions).flatMap(([name, one]) =>
    allows('invoke', name) ? [[name, changesOf(one, seen)] as const] : [],
  )
  const events = Object.entries(model.events).filter(([name]) => allows('observe', name))
  return {
    ...model,
    properties: Object.fromEntries(properties),
    actions: Object.fromEntries(actions),
    events: Object.fromEntries(events),
  }
}

/** Names that somebody does not see are not told either. */
function changesOf({ changes, ...rest }: ActionModel, seen: ReadonlySet<string>): ActionModel {
  const left = changes?.filter((name) => seen.has(name)) ?? []
  return left.length === 0 ? rest : { ...rest, changes: left }
}

function opsOf({ readable, writable, observable }: PropertyModel): string[] {
  return [
    ...(readable ? ['readproperty'] : []),
    ...(writable ? ['writeproperty'] : []),
    ...(observable ? ['observeproperty', 'unobserveproperty'] : []),
  ]
}

function propertyPart(one: PropertyModel): Members {
  const { schema, description = schema.description, readable, writable, observable } = one
  return {
    ...schemaPart(schema),
    ...some({ description, 'kith:coalesce': one.coalesce, 'kith:sensor': one.sensor }),
    observable,
    readOnly: !writable,
    writeOnly: writable && !readable && !observable,
  }
}

function actionPart(one: ActionModel): Members {
  const { description, safe, idempotent, input, output, changes, coalesce, deadlineMs } = one
  return some({
    description,
    safe,
    idempotent,
    input: input && schemaPart(input),
    output: output && schemaPart(output),
    'kith:changes': changes,
    'kith:coalesce': coalesce,
    'kith:deadlineMs': deadlineMs,
  })
}

/** The schema as it is held against arguments: an object has no members but those named. */
function schemaPart(schema: DataSchema): Members {
  const sound = schemaFrom(schema)
  if (sound === undefined) throw new RangeError('a schema that no other device would understand')
  return strict(sound)
}

function strict({ items, properties, ...rest }: DataSchema): Members {
  return {
    ...rest,
    ...some({
      items: items && strict(items),
      properties: properties && each(properties, strict, isMember),
      additionalProperties: properties && false,
    }),
  }
}

function each<T>(
  all: Readonly<Record<string, T>>,
  make: (one: T, name: string) => Members,
  sound = isName,
): Members {
  return Object.fromEntries(
    Object.entries(all).map(([name, one]) => {
      if (!sound(name)) throw new RangeError(`"${name}" is no name`)
      return [name, make(one, name)]
    }),
  )
}

/** Without the members that are undefined. */
function some(members: Readonly<Record<string, Json | undefined>>): Members {
  return Object.fromEntries(
    Object.entries(members).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value]],
    ),
  )
}

/**
 * The model in a description that a device served; undefined where it is not one. Affordances that
 * cannot be understood are left out.
 */
export function modelOf(text: string): ThingModel | undefined {
  let root: Members
  try {
    root = objectOf(parseJson(text, DESCRIPTION))
  } catch {
    return undefined
  }
  const title = textOf(root['title'])
  if (title === undefined) return undefined
  return {
    title,
    ...described(root),
    properties: readEach(root['properties'], readProperty),
    actions: readEach(root['actions'], readAction),
    events: readEach(root['events'], readEvent),
  }
}

function readEach<T>(
  all: Json | undefined,
  read: (one: Members) => T | undefined,
): Record<string, T> {
  const entries = Object.entries(objectOf(all)).slice(0, MAX_AFFORDANCES)
  return Object.fromEntries(
    entries.flatMap(([name, value]) => {
      const one = isName(name) ? read(objectOf(value)) : undefined
      return one === undefined ? [] : [[name, one]]
    }),
  )
}

function readProperty(one: Members): PropertyModel | undefined {
  const read = schemaFrom(one)
  if (read === undefined) return undefined
  const { description: _, readOnly: _readOnly, writeOnly: _writeOnly, ...schema } = read
  const ops = operations(one['forms'])
  const sensor = textOf(one['kith:sensor'])
  return {
    schema,
    ...described(one),
    readable: ops.has('readproperty'),
    writable: ops.has('writeproperty'),
    observable: ops.has('observeproperty'),
    ...flags(one, { coalesce: 'kith:coalesce' }),
    ...(sensor === undefined ? {} : { sensor }),
  }
}

function readAction(one: Members): ActionModel | undefined {
  const schemas = schemasOf(one, ['input', 'output'])
  if (schemas === undefined || !operations(one['forms']).has('invokeaction')) return undefined
  const deadlineMs = one['kith:deadlineMs']
  return {
    ...schemas,
    ...described(one),
    ...flags(one, { safe: 'safe', idempotent: 'idempotent', coalesce: 'kith:coalesce' }),
    ...changesIn(one['kith:changes']),
    ...(typeof deadlineMs === 'number' && deadlineMs > 0 ? { deadlineMs } : {}),
  }
}

function changesIn(names: Json | undefined): { readonly changes?: readonly string[] } {
  const all = Array.isArray(names) ? (names as readonly Json[]).slice(0, MAX_CHANGES) : []
  const changes = all.filter((name): name is string => typeof name === 'string' && isName(name))
  return changes.length === 0 ? {} : { changes }
}

function readEvent(one: Members): EventModel | undefined {
  const schemas = schemasOf(one, ['data'])
  if (schemas === undefined || !operations(one['forms']).has('subscribeevent')) return undefined
  return { ...schemas, ...described(one) }
}

/** The schemas under these names; undefined where one that is there is not understood. */
function schemasOf<K extends string>(
  one: Members,
  names: readonly K[],
): Partial<Record<K, DataSchema>> | undefined {
  const found: Partial<Record<K, DataSchema>> = {}
  for (const name of names) {
    if (one[name] === undefined) continue
    const schema = schemaFrom(one[name])
    if (schema === undefined) return undefined
    found[name] = schema
  }
  return found
}

function flags<K extends string>(
  one: Members,
  names: Readonly<Record<K, string>>,
): Partial<Record<K, boolean>> {
  const all = Object.entries(names) as [K, string][]
  const given = all.filter(([, name]) => typeof one[name] === 'boolean')
  return Object.fromEntries(given.map(([key, name]) => [key, one[name]])) as Partial<
    Record<K, boolean>
  >
}

/** What the forms of an affordance offer. */
function operations(forms: Json | undefined): ReadonlySet<Json> {
  const all = Array.isArray(forms) ? (forms as readonly Json[]) : []
  return new Set(all.flatMap((form) => objectOf(form)['op'] ?? []))
}

function described(one: Members): { readonly description?: string } {
  const description = textOf(one['description'])
  return description === undefined ? {} : { description }
}

function textOf(value: Json | undefined): string | undefined {
  return typeof value === 'string' && value.length <= TEXT_BYTES ? value : undefined
}

function objectOf(value: Json | undefined): Members {
  const is = typeof value === 'object' && value !== null && !Array.isArray(value)
  return is ? (value as Members) : {}
}
