import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { Ajv } from 'ajv'
import fc from 'fast-check'

import {
  BOUNDS,
  checkInput,
  compileInput,
  SCHEMA_BOUNDS,
  schemaFrom,
  type DataSchema,
  type Json,
} from '../../protocols/calls/index.ts'
import { utf8 } from '../../protocols/wire/index.ts'
import { dataSchema, someJson } from '../helpers/things.ts'

/** The schema as JSON Schema, for a second validator: nothing but the members that are named. */
function closed(schema: DataSchema): object {
  const { items, properties, ...rest } = schema
  return {
    ...rest,
    ...(items === undefined ? {} : { items: closed(items) }),
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(properties).map(([name, one]) => [name, closed(one)]),
          ),
          additionalProperties: false,
        }),
  }
}

const INTEGER: DataSchema = { type: 'integer', minimum: 0, maximum: 100 }
const FADE: DataSchema = {
  type: 'object',
  properties: {
    to: INTEGER,
    mode: { type: 'string', enum: ['slow', 'fast'] },
    points: { type: 'array', items: { type: 'number', multipleOf: 0.5 }, maxItems: 2 },
    name: { type: 'string', minLength: 2, maxLength: 3 },
    deep: { type: 'object', properties: { a: { const: null } } },
  },
  required: ['to'],
}

describe('arguments of a call', () => {
  it('are held against a schema as a second validator holds them', () => {
    const ajv = new Ajv({ strict: false, ownProperties: true, multipleOfPrecision: 9 })
    const seen = { right: 0, wrong: 0 }
    fc.assert(
      fc.property(
        dataSchema,
        fc.array(someJson, { minLength: 5, maxLength: 5 }),
        (schema, values) => {
          const validate = ajv.compile(closed(schema))
          const check = compileInput(schema)
          // Values of the schema itself come near to being right.
          const near = [
            ...values,
            ...(schema.enum ?? []),
            schema.const,
            schema.minimum,
            schema.maximum,
          ]
          for (const value of near) {
            if (value === undefined) continue
            const wrong = check(value)
            assert.equal(
              wrong === undefined,
              validate(value),
              JSON.stringify({ schema, value, wrong }),
            )
            seen[wrong === undefined ? 'right' : 'wrong']++
          }
        },
      ),
      { numRuns: 1500 },
    )
    assert.ok(seen.right > 500 && seen.wrong > 500, JSON.stringify(seen))
  })

  it('are named in a sentence where they are wrong', () => {
    const sentences: [Json | undefined, string][] = [
      [undefined, 'The argument is missing.'],
      [5, 'The argument must be an object.'],
      [[], 'The argument must be an object.'],
      [{}, 'The argument has no to.'],
      [{ to: '5' }, 'to must be a whole number.'],
      [{ to: 1.5 }, 'to must be a whole number.'],
      [{ to: -1 }, 'to must be at least 0.'],
      [{ to: 101 }, 'to must be at most 100.'],
      [{ to: 1, mode: 'medium' }, 'mode must be one of "slow", "fast".'],
      [{ to: 1, points: [0.5, 0.3] }, 'points[1] must be a multiple of 0.5.'],
      [{ to: 1, points: [1, 1, 1] }, 'points must have at most 2 items.'],
      [{ to: 1, name: 'a' }, 'name must have at least 2 characters.'],
      [{ to: 1, name: 'abcd' }, 'name must have at most 3 characters.'],
      [{ to: 1, deep: { a: 1 } }, 'deep.a must be null.'],
      [{ to: 1, deep: { b: 1 } }, 'deep has a member that is not known.'],
      [{ to: 1, '<b>secret</b>': 1 }, 'The argument has a member that is not known.'],
    ]
    for (const [value, sentence] of sentences) assert.equal(checkInput(FADE, value), sentence)
    assert.equal(
      checkInput(FADE, { to: 1, mode: 'fast', points: [], name: 'äöü', deep: {} }),
      undefined,
    )
  })

  it('are none where nothing is described, and may be none where nothing is required', () => {
    assert.equal(checkInput(undefined, undefined), undefined)
    assert.equal(checkInput(undefined, null), 'The argument is not expected.')
    assert.equal(checkInput({ type: 'object', properties: { to: INTEGER } }, undefined), undefined)
    assert.equal(checkInput({ type: 'object' }, {}), undefined)
    assert.equal(checkInput(INTEGER, undefined), 'The argument is missing.')
    assert.equal(checkInput({}, undefined), 'The argument is missing.')
  })

  it('may not be too deep, too many, too long or anything but JSON', () => {
    const tooMuch = 'The argument is too large, too deep or not JSON.'
    const nested = (levels: number): Json =>
      Array.from({ length: levels }).reduce<Json>((inside) => [inside], 1)
    const wrapped = (levels: number): Json =>
      Array.from({ length: levels }).reduce<Json>((inside) => ({ inside }), 1)
    const circle: unknown[] = []
    circle.push(circle)
    const loop: Record<string, unknown> = {}
    loop['loop'] = loop
    const cases: [unknown, string | undefined][] = [
      [nested(BOUNDS.maxJsonDepth), undefined],
      [nested(BOUNDS.maxJsonDepth + 1), tooMuch],
      [nested(100_000), tooMuch],
      [wrapped(BOUNDS.maxJsonDepth), undefined],
      [wrapped(BOUNDS.maxJsonDepth + 1), tooMuch],
      [circle, tooMuch],
      [loop, tooMuch],
      [{ inside: { inside: 1n } }, tooMuch],
      [Array.from({ length: BOUNDS.maxJsonValues - 1 }, () => 1), undefined],
      [Array.from({ length: BOUNDS.maxJsonValues }, () => 1), tooMuch],
      [Array.from({ length: 3_000_000 }), tooMuch],
      ['a'.repeat(BOUNDS.maxResultBytes + 1), tooMuch],
      [Number.NaN, tooMuch],
      [Infinity, tooMuch],
      [1n, tooMuch],
      [() => 1, tooMuch],
      [[undefined], tooMuch],
      [JSON.parse('{"__proto__":{"to":1}}'), tooMuch],
    ]
    for (const [value, sentence] of cases) assert.equal(checkInput({}, value as Json), sentence)
  })

  it('have members of their own alone', () => {
    const schema: DataSchema = { type: 'object', properties: { to: INTEGER }, required: ['to'] }
    assert.equal(checkInput(schema, Object.create({ to: 5 }) as Json), 'The argument has no to.')
    const required: DataSchema = { type: 'object', required: ['toString', 'valueOf'] }
    assert.equal(checkInput(required, {}), 'The argument has no toString.')
    const named: DataSchema = { type: 'object', properties: { toString: INTEGER } }
    assert.equal(checkInput(named, {}), undefined)
    assert.equal(
      checkInput(named, { hasOwnProperty: 1 }),
      'The argument has a member that is not known.',
    )
    assert.equal(
      checkInput(named, { constructor: 1 }),
      'The argument has a member that is not known.',
    )
    const value = JSON.parse('{"to":1,"__proto__":{"polluted":1}}') as Json
    assert.notEqual(checkInput(schema, value), undefined)
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
  })

  it('are told apart in at most 200 bytes, whatever the schema says', () => {
    const wide: DataSchema = {
      enum: Array.from({ length: 50 }, (_, i) => `${i}-${'ü€😀'.repeat(20)}`),
    }
    const sentence = checkInput(wide, 1) ?? ''
    assert.ok(utf8(sentence).length <= BOUNDS.maxDetailBytes)
    assert.ok(sentence.isWellFormed())
    fc.assert(
      fc.property(dataSchema, someJson, (schema, value) => {
        const wrong = checkInput(schema, value)
        if (wrong === undefined) return
        assert.ok(utf8(wrong).length <= BOUNDS.maxDetailBytes)
        assert.match(wrong, /[.…]$/)
      }),
    )
  })

  it('never run an expression, load a schema or take a format from a description', () => {
    const evil = {
      type: 'string',
      pattern: '^(a+)+$',
      format: 'regex',
      $ref: 'https://example.invalid/schema',
      __absolute_ref__: '#',
      not: {},
      patternProperties: { '(a+)+$': {} },
      allOf: [false],
    } as DataSchema
    assert.deepEqual(schemaFrom(evil), { type: 'string' })
    const start = process.cpuUsage()
    assert.equal(checkInput(evil, `${'a'.repeat(5000)}!`), undefined)
    const { user } = process.cpuUsage(start)
    assert.ok(user < 1_000_000, `${user} µs of work`)
  })
})

describe('a schema of somebody else', () => {
  it('is taken as it is where it is understood', () => {
    fc.assert(
      fc.property(dataSchema, (schema) => {
        assert.deepEqual(schemaFrom(schema), schema)
        assert.deepEqual(schemaFrom(JSON.parse(JSON.stringify(schema))), schema)
      }),
    )
  })

  it('is refused where it misuses a keyword', () => {
    const refused: unknown[] = [
      null,
      5,
      [],
      'integer',
      { type: 'float' },
      { type: ['integer', 'null'] },
      { minimum: '5' },
      { maximum: Number.NaN },
      { multipleOf: 0 },
      { multipleOf: -1 },
      { minLength: 1.5 },
      { maxItems: -1 },
      { enum: [] },
      { enum: 'a' },
      { const: undefined },
      { required: 'to' },
      { required: [5] },
      { required: ['__proto__'] },
      { properties: [] },
      { properties: { 'a/b': {} } },
      { properties: { constructor: {} } },
      { properties: JSON.parse('{"__proto__":{}}') },
      { properties: { a: 5 } },
      { items: [{}] },
      { items: { type: 'x' } },
      { readOnly: 1 },
      { title: 5 },
      { title: 'a'.repeat(SCHEMA_BOUNDS.maxText + 1) },
      { enum: [JSON.parse('{"__proto__":1}')] },
      { enum: ['\ud800'] },
    ]
    for (const one of refused) assert.equal(schemaFrom(one), undefined, JSON.stringify(one))
    const wrong = 'The description of this cannot be understood.'
    assert.equal(checkInput({ multipleOf: 0 }, 1), wrong)
  })

  it('is refused where it is too deep or has too many parts', () => {
    const nested = (levels: number): DataSchema =>
      Array.from({ length: levels }).reduce<DataSchema>((items) => ({ type: 'array', items }), {})
    assert.notEqual(schemaFrom(nested(SCHEMA_BOUNDS.maxDepth)), undefined)
    assert.equal(schemaFrom(nested(SCHEMA_BOUNDS.maxDepth + 1)), undefined)
    assert.equal(schemaFrom(nested(50_000)), undefined)
    const wide = (count: number) => ({ enum: Array.from({ length: count }, (_, i) => i) })
    assert.notEqual(schemaFrom(wide(SCHEMA_BOUNDS.maxParts - 1)), undefined)
    assert.equal(schemaFrom(wide(SCHEMA_BOUNDS.maxParts)), undefined)
    const circle: Record<string, unknown> = { type: 'array' }
    circle['items'] = circle
    assert.equal(schemaFrom(circle), undefined)
  })

  it('costs little to hold the largest arguments against', () => {
    const words = Array.from(
      { length: SCHEMA_BOUNDS.maxParts - 2 },
      (_, i) => `${'a'.repeat(30)}${i}`,
    )
    const check = compileInput({ type: 'array', items: { enum: words } })
    const value = Array.from({ length: BOUNDS.maxJsonValues - 1 }, () => words.at(-1) ?? '')
    const start = process.cpuUsage()
    assert.equal(check(value), undefined)
    const { user } = process.cpuUsage(start)
    assert.ok(user < 1_000_000, `${user} µs of work`)
  })
})
