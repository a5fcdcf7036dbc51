import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { describe, it } from 'node:test'

import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import fc from 'fast-check'

import {
  BOUNDS,
  CALLS_ERRORS,
  descriptionText,
  modelOf,
  onlyAllowed,
  thingDescription,
  type Json,
  type Right,
  type ThingModel,
} from '../../protocols/calls/index.ts'
import { peerIdOf } from '../../protocols/identity/index.ts'
import { utf8 } from '../../protocols/wire/index.ts'
import { deviceOf } from '../helpers/telemetry.ts'
import { thingModel } from '../helpers/things.ts'

const lamp = deviceOf('lamp')
const PEER = peerIdOf(lamp.key)

const LAMP: ThingModel = {
  title: 'lamp',
  description: 'Over the table',
  properties: {
    on: {
      schema: { type: 'boolean' },
      description: 'Whether it shines',
      readable: true,
      writable: true,
      observable: true,
      coalesce: true,
    },
    temperature: {
      schema: { type: 'number', unit: 'Cel' },
      readable: true,
      writable: false,
      observable: true,
      sensor: 'temperature',
    },
    pin: {
      schema: { type: 'string', minLength: 4 },
      readable: false,
      writable: true,
      observable: false,
    },
  },
  actions: {
    toggle: { idempotent: false, changes: ['on'] },
    fade: {
      input: {
        type: 'object',
        properties: { to: { type: 'integer', minimum: 0, maximum: 100 } },
        required: ['to'],
      },
      deadlineMs: 5000,
      coalesce: true,
    },
  },
  events: { overheated: { data: { type: 'number' }, description: 'Too hot to touch' } },
}

function standard(): (value: unknown) => string {
  const require = createRequire(import.meta.url)
  const file = require.resolve('wot-thing-description-types/schema/td-json-schema-validation.json')
  const schema = JSON.parse(readFileSync(file, 'utf8')) as object
  const ajv = new Ajv({ strict: false })
  addFormats.default(ajv)
  const validate = ajv.compile(schema)
  return (value) => (validate(value) ? 'valid' : ajv.errorsText(validate.errors))
}

const ORDINARY: Json = JSON.parse('{"type":"number"}') as Json

describe("a device's description", () => {
  it('is a Thing Description 1.1 by the schema of the standard, whatever the model', () => {
    const judged = standard()
    assert.equal(judged(thingDescription(LAMP, lamp)), 'valid')
    assert.notEqual(judged({ ...thingDescription(LAMP, lamp), security: undefined }), 'valid')
    fc.assert(
      fc.property(thingModel, (model) => {
        assert.equal(judged(thingDescription(model, lamp)), 'valid')
        assert.equal(judged(JSON.parse(descriptionText(model, lamp))), 'valid')
      }),
      { numRuns: 500 },
    )
  })

  it('says what can be done with what, and where', () => {
    const td = thingDescription(LAMP, lamp)
    const form = (kind: string, name: string, op: readonly string[]) => [
      { href: `kith://${PEER}/${kind}/${name}`, contentType: 'application/json', op },
    ]
    assert.deepEqual(td, {
      '@context': ['https://www.w3.org/2022/wot/td/v1.1', { kith: 'urn:kith:vocabulary#' }],
      '@type': 'Thing',
      id: `urn:kith:${PEER}`,
      title: 'lamp',
      description: 'Over the table',
      securityDefinitions: { home: { scheme: 'kith:membership' } },
      security: 'home',
      properties: {
        on: {
          type: 'boolean',
          description: 'Whether it shines',
          'kith:coalesce': true,
          observable: true,
          readOnly: false,
          writeOnly: false,
          forms: form('properties', 'on', [
            'readproperty',
            'writeproperty',
            'observeproperty',
            'unobserveproperty',
          ]),
        },
        temperature: {
          type: 'number',
          unit: 'Cel',
          'kith:sensor': 'temperature',
          observable: true,
          readOnly: true,
          writeOnly: false,
          forms: form('properties', 'temperature', [
            'readproperty',
            'observeproperty',
            'unobserveproperty',
          ]),
        },
        pin: {
          type: 'string',
          minLength: 4,
          observable: false,
          readOnly: false,
          writeOnly: true,
          forms: form('properties', 'pin', ['writeproperty']),
        },
      },
      actions: {
        toggle: {
          idempotent: false,
          'kith:changes': ['on'],
          forms: form('actions', 'toggle', ['invokeaction']),
        },
        fade: {
          input: {
            type: 'object',
            properties: { to: { type: 'integer', minimum: 0, maximum: 100 } },
            additionalProperties: false,
            required: ['to'],
          },
          'kith:coalesce': true,
          'kith:deadlineMs': 5000,
          forms: form('actions', 'fade', ['invokeaction']),
        },
      },
      events: {
        overheated: {
          data: { type: 'number' },
          description: 'Too hot to touch',
          forms: form('events', 'overheated', ['subscribeevent', 'unsubscribeevent']),
        },
      },
    })
  })

  it('is read back as the model that it was made of', () => {
    assert.deepEqual(modelOf(descriptionText(LAMP, lamp)), LAMP)
    fc.assert(
      fc.property(thingModel, (model) => {
        assert.deepEqual(modelOf(descriptionText(model, lamp)), model)
      }),
      { numRuns: 500 },
    )
  })

  it('is not made of names or schemas that others would refuse, nor longer than 64 KiB', () => {
    const action = { toggle: {} }
    for (const name of ['', 'a/b', '__proto__', 'constructor', 'prototype', 'ü', '.a', 'a b']) {
      const actions = Object.fromEntries([[name, {}]])
      assert.throws(() => thingDescription({ ...LAMP, actions }, lamp), RangeError, name)
    }
    const events = { hot: { data: { multipleOf: 0 } } }
    assert.throws(() => thingDescription({ ...LAMP, events }, lamp), RangeError)
    const description = 'a'.repeat(BOUNDS.maxDescriptionBytes)
    assert.throws(() => descriptionText({ ...LAMP, actions: action, description }, lamp), {
      code: 'CALLS_BAD_JSON',
      message: new RegExp(CALLS_ERRORS.CALLS_BAD_JSON.message),
    })
  })
})

describe('a description for a guest', () => {
  it('has nothing but what the guest may use', () => {
    const rights = new Set(['read on', 'write pin', 'invoke fade', 'observe overheated'])
    const allows = (right: Right, name: string) => rights.has(`${right} ${name}`)
    const left = onlyAllowed(LAMP, allows)
    const { on, pin } = LAMP.properties
    const toggle = onlyAllowed(LAMP, (right) => right === 'invoke').actions['toggle']
    assert.deepEqual(toggle, { idempotent: false })
    assert.deepEqual(left, {
      ...LAMP,
      properties: { on: { ...on, writable: false }, pin },
      actions: { fade: LAMP.actions['fade'] },
    })
    const text = descriptionText(
      onlyAllowed(LAMP, () => false),
      lamp,
    )
    for (const word of ['temperature', 'toggle', 'overheated', 'pin']) {
      assert.ok(!text.includes(word), word)
    }
    assert.deepEqual(
      onlyAllowed(LAMP, () => true),
      LAMP,
    )
  })

  it('offers a subset of the model: nothing more, nothing that was not allowed, and all that was', () => {
    const rights = fc.func<[Right, string], boolean>(fc.boolean())
    fc.assert(
      fc.property(thingModel, rights, (model, allows) => {
        const before = offers(model)
        const expected = before.filter(([, right, name]) => allows(right, name.trim()))
        const left = onlyAllowed(model, allows)
        assert.deepEqual(offers(left), expected)
        const useful = offers(left).map(([kind, , name]) =>
          kind === 'properties' ? name.trim() : '',
        )
        const shown = Object.keys(left.properties).filter((name) => !useful.includes(name))
        assert.deepEqual(shown, [])
      }),
    )
  })
})

/** Everything that a model lets somebody do; observing is reading with a blank behind the name. */
function offers({ properties, actions, events }: ThingModel): [string, Right, string][] {
  return [
    ...Object.entries(properties).flatMap(([name, { readable, writable, observable }]) => [
      ...(readable ? [['properties', 'read', name] as const] : []),
      ...(observable ? [['properties', 'read', `${name} `] as const] : []),
      ...(writable ? [['properties', 'write', name] as const] : []),
    ]),
    ...Object.keys(actions).map((name) => ['actions', 'invoke', name] as const),
    ...Object.keys(events).map((name) => ['events', 'observe', name] as const),
  ].map(([kind, right, name]) => [kind, right, name])
}

describe("a stranger's description", () => {
  const read = (changes: Json): ThingModel | undefined =>
    modelOf(JSON.stringify({ ...thingDescription(LAMP, lamp), ...(changes as object) }))

  it('is none where it is not JSON, has no title, or is too large', () => {
    assert.equal(modelOf(''), undefined)
    assert.equal(modelOf('[]'), undefined)
    assert.equal(modelOf('{}'), undefined)
    assert.equal(modelOf('{"title":5}'), undefined)
    assert.equal(modelOf(`{"title":"${'a'.repeat(BOUNDS.maxDescriptionBytes)}"}`), undefined)
    assert.equal(modelOf(`{"title":"a","x":${'['.repeat(40)}${']'.repeat(40)}}`), undefined)
    const many = Array.from({ length: 30_000 }, () => '1').join(',')
    assert.equal(modelOf(`{"title":"a","x":[${many}]}`), undefined)
    assert.equal(modelOf('{"title":"a","__proto__":{}}'), undefined)
    assert.deepEqual(modelOf('{"title":"a"}'), {
      title: 'a',
      properties: {},
      actions: {},
      events: {},
    })
  })

  it('loses what cannot be understood, and keeps the rest', () => {
    const forms = [{ href: 'x:y', op: 'invokeaction' }]
    const actions = {
      good: { forms },
      'bad/name': { forms },
      noForms: {},
      otherForms: { forms: [{ op: 'queryaction' }] },
      badSchema: { forms, input: { type: 'float' } },
      deadline: { forms, 'kith:deadlineMs': 'soon', safe: 'yes', description: 5 },
      changing: { forms, 'kith:changes': ['on', 5, '../on', 'constructor', 'level'] },
      changed: { forms, 'kith:changes': 'on' },
      patterned: { forms, input: { type: 'string', pattern: '(a+)+$', format: 'uri' } },
      nothing: null,
    }
    assert.deepEqual(read({ actions })?.actions, {
      good: {},
      deadline: {},
      changing: { changes: ['on', 'level'] },
      changed: {},
      patterned: { input: { type: 'string' } },
    })
    assert.deepEqual(read({ properties: [], actions: 5, events: null }), {
      title: 'lamp',
      description: 'Over the table',
      properties: {},
      actions: {},
      events: {},
    })
    const property = { ...(ORDINARY as object), forms: [{ op: ['readproperty'] }], readOnly: false }
    assert.deepEqual(read({ properties: { p: property } })?.properties, {
      p: { schema: { type: 'number' }, readable: true, writable: false, observable: false },
    })
  })

  it('is read from any text without throwing, and never gives more than it may', () => {
    const hostile = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc
        .tuple(fc.constant(descriptionText(LAMP, lamp)), fc.nat(2000), fc.string({ maxLength: 3 }))
        .map(([text, at, slip]) => text.slice(0, at) + slip + text.slice(at + slip.length)),
      fc.jsonValue().map((value) => JSON.stringify({ title: 'a', properties: { a: value } })),
    )
    fc.assert(
      fc.property(hostile, (text) => {
        const model = modelOf(text)
        if (model === undefined) return
        const again = descriptionText(model, lamp)
        assert.ok(utf8(again).length <= BOUNDS.maxDescriptionBytes)
        assert.deepEqual(modelOf(again), model)
      }),
      { numRuns: 1000 },
    )
  })
})
