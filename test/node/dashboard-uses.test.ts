import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { showWhy, usesOf, valueOf } from '../../node/dashboard/app/uses.ts'
import { DESCRIPTION, WHY } from '../helpers/fake-calls.ts'

describe('what the dashboard offers of a device', () => {
  it('is what can be set or called with simple fields, by name', () => {
    const uses = usesOf(DESCRIPTION.description, DESCRIPTION.values ?? [], undefined)
    assert.deepEqual(
      uses?.properties.map(({ field, value }) => [field.name, field.kind, value]),
      [
        ['brightness', 'number', undefined],
        ['label', 'text', undefined],
        ['on', 'boolean', true],
      ],
    )
    assert.deepEqual(
      uses?.actions.map(({ name, fields }) => [name, fields.map((field) => field.name)]),
      [
        ['fade', ['to']],
        ['toggle', []],
      ],
    )
  })

  it('leaves out what has no simple field', () => {
    const description = {
      properties: {
        list: { type: 'array' },
        mixed: { enum: ['a', 1] },
        odd: 'text',
        sensor: { type: 'number', readOnly: true },
      },
      actions: {
        many: {
          input: {
            type: 'object',
            properties: Object.fromEntries(
              Array.from({ length: 7 }, (_, at) => [`p${at}`, { type: 'number' }]),
            ),
          },
        },
        nested: { input: { type: 'object', properties: { a: { type: 'object' } } } },
      },
    }
    assert.equal(usesOf(description, [], undefined), undefined)
    assert.equal(usesOf({ properties: 5, actions: null }, [], undefined), undefined)
  })

  it('takes numbers as numbers and nothing else for them', () => {
    const [brightness, label] =
      usesOf(DESCRIPTION.description, [], undefined)?.properties.map(({ field }) => field) ?? []
    assert.ok(brightness && label)
    assert.equal(valueOf(brightness, '40'), 40)
    for (const typed of ['', ' ', 'x', 'Infinity', true]) {
      assert.equal(valueOf(brightness, typed), undefined)
    }
    assert.equal(valueOf(label, '40'), '40')
  })

  it('tells who did what last, and why', () => {
    const [byRule, byHand] = WHY
    assert.ok(byRule && byHand)
    assert.equal(
      showWhy(byRule),
      'on = true by hall-button, rule press-light because button = 1: done',
    )
    assert.equal(showWhy(byHand), 'fade({"to":30}) by kitchen: failed')
  })
})
