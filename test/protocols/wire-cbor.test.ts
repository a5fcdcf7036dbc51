import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'

import { decode, cdeDecodeOptions, cdeEncodeOptions, encode } from 'cbor2'
import { decode as decodeAny } from 'cborg'
import fc from 'fast-check'

import { encodeCborPieces } from '../../protocols/wire/cbor-encode.ts'
import { WireError } from '../../protocols/wire/errors.ts'
import {
  concatBytes,
  decodeCbor,
  encodeCbor,
  equalBytes,
  fromHex,
  toHex,
} from '../../protocols/wire/index.ts'

interface Vectors {
  readonly messages: readonly { name: string; value: unknown; hex: string }[]
  readonly invalid: readonly { name: string; hex: string; code: string }[]
}

const LIMITS = { maxBytes: 65_536, maxDepth: 8, maxItems: 1024 }
const vectors = JSON.parse(
  readFileSync(new URL('../../protocols/wire/vectors.json', import.meta.url), 'utf8'),
) as Vectors

/** JSON for values: `{"bytes": hex}` is a byte string, `{"map": [[key, value], …]}` a map. */
function valueOf(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(valueOf)
  if (json === null || typeof json !== 'object') return json
  if ('bytes' in json) return fromHex(String(json.bytes))
  const { map } = json as { map: readonly (readonly [unknown, unknown])[] }
  return new Map(map.map(([key, value]) => [valueOf(key), valueOf(value)]))
}

function refusal(bytes: Uint8Array, limits = LIMITS): string {
  try {
    decodeCbor(bytes, limits)
  } catch (error) {
    assert.ok(error instanceof WireError, String(error))
    return error.code
  }
  return 'accepted'
}

const integer = fc.maxSafeInteger().filter((n) => !Object.is(n, -0))
const float = fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Object.is(n, -0))
const text = fc.string({ unit: 'grapheme' }).filter((s) => !s.startsWith('\uFEFF'))
const value = fc.letrec<{ node: unknown }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.oneof(integer, float, text, fc.boolean(), fc.constant(null), fc.uint8Array()),
    fc.array(tie('node'), { maxLength: 4 }),
    fc
      .uniqueArray(fc.tuple(fc.oneof(integer, text), tie('node')), {
        maxLength: 4,
        selector: ([key]) => key,
      })
      .map((entries) => new Map(entries)),
  ),
})).node

/** Heads, lengths and pieces of text that documents are made of, so that many are almost right. */
const PIECES =
  'a1 a2 82 83 61 62 18 19 1a 1b 38 3b f9 fa fb 00 01 17 20 21 41 f4 f6 f7 ff c0 efbbbf ' +
  'c3 80 7801 1818 1817 190100 1900ff 1b001fffffffffffff 1b0020000000000000 ' +
  '3b001ffffffffffffe 3b001fffffffffffff f90001 f93e00 fa3fc00000 f98000 ' +
  'fb3ff199999999999a fa3dcccccd fb3ff8000000000000 fa5a000000 fb7ff0000000000000'
const piece = fc.oneof(
  fc.constantFrom(...PIECES.split(' ')),
  fc.uint8Array({ minLength: 1, maxLength: 2 }).map(toHex),
)
const hostile = fc.oneof(
  fc.array(piece, { minLength: 1, maxLength: 8 }).map((pieces) => fromHex(pieces.join(''))),
  value.map(encodeCbor),
  fc.tuple(value, fc.nat(), fc.nat(255)).map(([written, at, byte]) => {
    const bytes = encodeCbor(written)
    bytes[at % bytes.length] = byte
    return bytes
  }),
)

/** Whether a decoder that takes many encodings of a value finds one that we write just so. */
function isSameAgain(bytes: Uint8Array): boolean {
  try {
    const read: unknown = decodeAny(bytes, { useMaps: true, rejectDuplicateMapKeys: true })
    return equalBytes(encodeCbor(read), bytes)
  } catch {
    return false
  }
}

describe('canonical CBOR', () => {
  for (const { name, value: json, hex } of vectors.messages) {
    it(`writes and reads ${name}`, () => {
      assert.equal(toHex(encodeCbor(valueOf(json))), hex)
      assert.deepEqual(decodeCbor(fromHex(hex), LIMITS), valueOf(json))
    })
  }

  for (const { name, hex, code } of vectors.invalid) {
    it(`refuses ${name}`, () => assert.equal(refusal(fromHex(hex)), code))
  }

  it('reads back whatever it writes', () => {
    fc.assert(
      fc.property(value, (written) => {
        assert.deepEqual(decodeCbor(encodeCbor(written), LIMITS), written)
      }),
    )
  })

  it('accepts nothing but what it writes, and throws nothing but its own errors', () => {
    let accepted = 0
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 24 }), (bytes) => {
        if (refusal(bytes) !== 'accepted') return
        accepted++
        assert.deepEqual(encodeCbor(decodeCbor(bytes, LIMITS)), bytes)
      }),
      { numRuns: 3000 },
    )
    assert.ok(accepted > 30, `only ${accepted} accepted`)
  })

  it('reads no other value after one byte of a document has changed', () => {
    fc.assert(
      fc.property(value, fc.nat(), fc.integer({ min: 1, max: 255 }), (written, at, change) => {
        const bytes = encodeCbor(written)
        bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ change
        if (refusal(bytes) !== 'accepted') return
        assert.deepEqual(encodeCbor(decodeCbor(bytes, LIMITS)), bytes)
        assert.notDeepEqual(decodeCbor(bytes, LIMITS), written)
      }),
    )
  })

  it('accepts nothing that another strict decoder refuses', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 24 }), value.map(encodeCbor)), (bytes) => {
        if (refusal(bytes) === 'accepted')
          decode(bytes, { ...cdeDecodeOptions, rejectUndefined: true })
      }),
      { numRuns: 2000 },
    )
  })

  it('accepts exactly what encoding again gives back, whatever a lenient decoder takes', () => {
    let accepted = 0
    fc.assert(
      fc.property(hostile, (bytes) => {
        const same = isSameAgain(bytes)
        if (same) accepted++
        assert.equal(refusal(bytes) === 'accepted', same, toHex(bytes))
      }),
      { numRuns: 20_000 },
    )
    assert.ok(accepted > 500, `only ${accepted} accepted`)
  })

  it('writes what another encoder writes', () => {
    fc.assert(
      fc.property(value, (written) => {
        assert.equal(toHex(encodeCbor(written)), toHex(encode(written, cdeEncodeOptions)))
      }),
    )
  })

  it('writes every 16-bit float as one', () => {
    const view = new DataView(new ArrayBuffer(3))
    view.setUint8(0, 0xf9)
    for (let bits = 0; bits < 0x10000; bits++) {
      view.setUint16(1, bits)
      const half = view.getFloat16(1)
      if (!Number.isFinite(half) || Number.isInteger(half)) continue
      assert.deepEqual(encodeCbor(half), new Uint8Array(view.buffer))
      assert.equal(decodeCbor(new Uint8Array(view.buffer), LIMITS), half)
    }
  })

  it('hands out bytes that do not change with what they were read from', () => {
    const input = Buffer.from('43010203', 'hex')
    const read = decodeCbor(input, LIMITS)
    input.fill(0)
    assert.deepEqual(read, Uint8Array.of(1, 2, 3))
  })

  it('writes arrays whose slices are copies', () => {
    const written = encodeCbor('text')
    written.slice().fill(0)
    assert.equal(toHex(written), '6474657874')
  })

  it('writes the same in pieces, and copies no long byte string', () => {
    const [first, second] = [new Uint8Array(16_384).fill(1), new Uint8Array(40_000).fill(2)]
    const short = new Uint8Array(16_383).fill(3)
    for (const written of [
      [first, 'between', second],
      new Map([[1, second]]),
      [short, 'x', first, 'end'],
      7,
    ]) {
      assert.deepEqual(concatBytes(...encodeCborPieces(written)), encodeCbor(written))
    }
    const pieces = encodeCborPieces([short, first, 'between', second, 'end'])
    assert.deepEqual(
      pieces.filter((one) => one === first || one === second || one === short),
      [first, second],
    )
  })

  it('writes nothing that it would not read', () => {
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, undefined, 5n, [undefined]]) {
      assert.throws(() => encodeCbor(wrong), TypeError)
    }
    assert.equal(toHex(encodeCbor(-0)), '00')
  })
})

describe('the limits of CBOR', () => {
  it('are kept to the item, the level and the byte', () => {
    const limits = { maxBytes: 6, maxDepth: 2, maxItems: 4 }
    assert.equal(refusal(fromHex('83000000'), limits), 'accepted')
    assert.equal(refusal(fromHex('8400000000'), limits), 'WIRE_MALFORMED')
    assert.equal(refusal(fromHex('818100'), limits), 'accepted')
    assert.equal(refusal(fromHex('81818100'), limits), 'WIRE_MALFORMED')
    assert.equal(refusal(fromHex('450000000000'), limits), 'accepted')
    assert.equal(refusal(fromHex('46000000000000'), limits), 'WIRE_FRAME_TOO_LARGE')
  })

  it('hold against depth that would break a recursive decoder', () => {
    const deep = new Uint8Array(20_000).fill(0x81)
    assert.equal(refusal(deep), 'WIRE_MALFORMED')
    assert.equal(refusal(deep, { ...LIMITS, maxItems: 100_000 }), 'WIRE_MALFORMED')
  })

  it('hold against lengths far beyond the input before anything is allocated', () => {
    const before = process.memoryUsage().arrayBuffers
    for (const head of ['5a7fffffff', '9a7fffffff', 'ba7fffffff', '7b001fffffffffffff']) {
      assert.equal(refusal(fromHex(`${head}00`)), 'WIRE_MALFORMED')
    }
    assert.ok(process.memoryUsage().arrayBuffers - before < 1_000_000)
  })
})
