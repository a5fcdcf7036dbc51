/** Models of things, schemas and values, drawn at random. */
import fc from 'fast-check'

import type {
  ActionModel,
  DataSchema,
  EventModel,
  Json,
  PropertyModel,
  ThingModel,
} from '../../protocols/calls/index.ts'

const word = fc.constantFrom('eco', 'off', 'slow', '', 'ü', '😀', 'toString', 'a b')
const number = fc.oneof(
  fc.integer({ min: -5, max: 20 }),
  fc.constantFrom(0.5, 0.1, 0.3, 1e21, 1e-7, -0.5, 1e300),
)
const memberName = fc.constantFrom('to', 'mode', 'level', 'isPrototypeOf', '_x', 'a-b.c')
const scalar: fc.Arbitrary<Json> = fc.oneof(fc.boolean(), fc.constant(null), number, word)

/** Small JSON of every kind. */
export const someJson: fc.Arbitrary<Json> = fc.oneof(
  { weight: 3, arbitrary: scalar },
  fc.array(fc.oneof(scalar, fc.array(scalar, { maxLength: 2 })), { maxLength: 4 }),
  fc.dictionary(
    fc.oneof(memberName, fc.constantFrom('other', 'propertyIsEnumerable')),
    fc.oneof(
      scalar,
      fc.array(scalar, { maxLength: 2 }),
      fc.dictionary(memberName, scalar, { noNullPrototype: true }),
    ),
    { maxKeys: 4, noNullPrototype: true },
  ),
)

const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const about = fc.record(
  { title: text, description: text, unit: word },
  { requiredKeys: [], noNullPrototype: true },
)
const size = fc.nat(4)

function one(type: NonNullable<DataSchema['type']>, more: object = {}): fc.Arbitrary<DataSchema> {
  const keywords = { type: fc.constant(type), ...more }
  return fc
    .tuple(about, fc.record(keywords, { requiredKeys: [], noNullPrototype: true }))
    .map(([words, rest]) => ({ ...words, ...rest }))
}

const numbers = {
  minimum: number,
  maximum: number,
  multipleOf: fc.constantFrom(0.5, 1, 2, 0.1),
}
const values = fc.uniqueArray(someJson, {
  minLength: 1,
  maxLength: 4,
  selector: (value) => JSON.stringify(value),
})

function schemaOf(depth: number): fc.Arbitrary<DataSchema> {
  const flat = [
    one('boolean'),
    one('null'),
    one('integer', numbers),
    one('number', numbers),
    one('string', { minLength: size, maxLength: size }),
    about.chain((words) => values.map((all): DataSchema => ({ ...words, enum: all }))),
    someJson.map((value): DataSchema => ({ const: value })),
  ]
  if (depth === 0) return fc.oneof(...flat)
  const inner = schemaOf(depth - 1)
  const flags = { readOnly: fc.boolean() }
  return fc.oneof(
    ...flat,
    one('array', { items: inner, minItems: size, maxItems: size }),
    one('object', {
      properties: fc.dictionary(memberName, inner, { maxKeys: 3, noNullPrototype: true }),
      required: fc.uniqueArray(memberName, { maxLength: 2 }),
      ...flags,
    }),
  )
}

export const dataSchema: fc.Arbitrary<DataSchema> = schemaOf(2)

const optional = <T extends object>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(shape, { requiredKeys: [], noNullPrototype: true }) as fc.Arbitrary<Partial<T>>

/** A property has its own words; its schema has none that a description would show in their place. */
const property: fc.Arbitrary<PropertyModel> = fc
  .tuple(
    dataSchema.map(({ description: _description, readOnly: _readOnly, ...schema }) => schema),
    optional({
      description: text,
      coalesce: fc.boolean(),
      sensor: fc.constant('room.temperature'),
    }),
    fc.record({ readable: fc.boolean(), writable: fc.boolean(), observable: fc.boolean() }),
  )
  .map(([schema, more, ops]) => ({ schema, ...more, ...ops }))
const action: fc.Arbitrary<ActionModel> = optional({
  input: dataSchema,
  output: dataSchema,
  description: text,
  safe: fc.boolean(),
  idempotent: fc.boolean(),
  coalesce: fc.boolean(),
  changes: fc.constantFrom(['on'], ['on', 'room.temperature']),
  deadlineMs: fc.integer({ min: 1, max: 600_000 }),
})
const event: fc.Arbitrary<EventModel> = optional({ data: dataSchema, description: text })

const affordance = fc.oneof(
  fc.constantFrom('on', 'toggle', 'level', 'toString', 'valueOf', '0', 'a.b_c-d'),
  fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
)

function some<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<Record<string, T>> {
  const names = affordance.filter((name) => name !== 'constructor' && name !== 'prototype')
  return fc.dictionary(names, arbitrary, { maxKeys: 4, noNullPrototype: true })
}

export const thingModel: fc.Arbitrary<ThingModel> = fc
  .tuple(
    optional({ description: text }),
    fc.record({
      title: text,
      properties: some(property),
      actions: some(action),
      events: some(event),
    }),
  )
  .map(([more, model]) => ({ ...model, ...more }))
