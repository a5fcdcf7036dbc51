import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  ARGS,
  BOUNDS,
  formatJson,
  parseJson,
  type Json,
  type JsonBounds,
} from '../../protocols/calls/index.ts'

const WIDE: JsonBounds = { maxBytes: 1_000_000 }
const BAD = { code: 'CALLS_BAD_JSON' }

function refused(text: string, bounds: JsonBounds = ARGS): void {
  assert.throws(() => parseJson(text, bounds), BAD, text.slice(0, 40))
}

/** What `JSON.parse` makes of it; undefined where it is none. */
function plain(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}

describe('JSON of strangers', () => {
  it('is what JSON.parse makes of it, where that is within the bounds', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), fc.constantFrom(undefined, 1, '\t'), (text, indent) => {
        const value = JSON.parse(text) as unknown
        const spaced = JSON.stringify(value, null, indent)
        const forbidden = /"(?:__proto__|constructor|prototype)"/.test(spaced)
        const half = /\\ud[89a-f]/i.test(spaced)
        fc.pre(!forbidden && !half)
        assert.deepEqual(parseJson(spaced, WIDE), value)
      }),
    )
  })

  it('is refused where JSON.parse refuses it, and never opens as something else', () => {
    const pieces = ['{', '}', '[', ']', ',', ':', '"a"', '"b"', '1', '-', '.5', 'e9', 'true', ' ']
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 9 }), (parts) => {
        const text = parts.join('')
        const expected = plain(text)
        if (expected === undefined) return refused(text)
        try {
          assert.deepEqual(parseJson(text, ARGS), expected.value)
        } catch (error) {
          assert.match((error as Error).message, /twice/)
        }
      }),
      { numRuns: 5000 },
    )
  })

  it('is refused with a key that is there twice, however it is written', () => {
    refused('{"a":1,"a":1}')
    refused('{"a":1,"\\u0061":2}')
    refused('[{"b":{"c":1,"d":2,"c":3}}]')
    assert.deepEqual(parseJson('[{"a":1},{"a":2}]', ARGS), [{ a: 1 }, { a: 2 }])
  })

  it('is refused with keys that reach into a prototype, however they are written', () => {
    for (const key of ['__proto__', 'constructor', 'prototype', '\\u005f_proto__']) {
      refused(`{"${key}":{"admin":true}}`)
      refused(`[{"a":{"${key}":1}}]`)
    }
    assert.equal(({} as Record<string, unknown>)['admin'], undefined)
  })

  it('is refused one level, one value and one byte over the bounds', () => {
    const { maxJsonDepth: depth, maxJsonValues: values } = BOUNDS
    const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
    assert.ok(parseJson(nested(depth), ARGS))
    refused(nested(depth + 1))
    refused('{"a":'.repeat(depth + 1))
    const flat = (count: number) => `[${Array(count).fill(0).join()}]`
    assert.ok(parseJson(flat(values - 1), ARGS))
    refused(flat(values))
    assert.ok(parseJson('"ü"', { maxBytes: 4 }))
    refused('"ü"', { maxBytes: 3 })
  })

  it('is refused early, whatever comes after', () => {
    refused('['.repeat(1_000_000), WIDE)
    refused(`"${'\\'.repeat(999_998)}`, WIDE)
    refused(`"${'a'.repeat(999_998)}`, WIDE)
    refused(`[${'1'.repeat(999_000)}`, WIDE)
  })

  it('is refused with an infinite number, half a character and control characters', () => {
    for (const text of ['1e999', '-1e999', '"\\ud800"', '{"\\udc00":1}', '"\n"', '"\u0000"']) {
      refused(text)
    }
    assert.equal(parseJson('"\\ud83d\\ude00\u007f\u0085"', ARGS), '😀\u007f\u0085')
  })
})

describe('JSON that is written', () => {
  it('reads back as the same', () => {
    const value: Json = { a: [1, -0.5, 1e21, null, true], 'ü "': { toString: 'x', '1': '' }, z: {} }
    assert.deepEqual(parseJson(formatJson(value, ARGS), ARGS), value)
    assert.equal(formatJson({ b: 1, a: [] }, ARGS), '{"b":1,"a":[]}')
  })

  it('is refused where it is none, or over the bounds', () => {
    const circle: Record<string, unknown> = {}
    circle['self'] = circle
    const wrong: readonly unknown[] = [
      undefined,
      NaN,
      Infinity,
      1n,
      Symbol('a'),
      () => 1,
      '\ud800',
      new Date(0),
      new Map(),
      new Uint8Array(1),
      { a: undefined },
      { '\udc00': 1 },
      Array(2),
      circle,
      JSON.parse('{"__proto__":1}'),
      'x'.repeat(ARGS.maxBytes),
      Array.from({ length: BOUNDS.maxJsonValues }, () => 0),
    ]
    for (const value of wrong) assert.throws(() => formatJson(value as Json, ARGS), BAD)
  })

  it('does not ask what it writes how it would like to be written', () => {
    const polite = { toJSON: () => 'something else' }
    assert.throws(() => formatJson(polite as unknown as Json, ARGS), BAD)
  })
})
