import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { BOUNDS, CHUNKING, createCutter, gearTable } from '../../protocols/update/index.ts'
import { seededRandom } from '../helpers/random.ts'

const MIB = 1024 * 1024
/** Of the SHA-256 of the table, big-endian. */
const TABLE = 'ae59ddc1fb221293'
const FIRST_LENGTHS = [90_615, 34_348, 75_742, 68_269, 71_739, 54_760, 83_122, 34_089]

/** Ends of the chunks of bytes that come in these pieces. */
function cutsOf(pieces: readonly Uint8Array[]): number[] {
  const cutter = createCutter()
  const cuts: number[] = []
  let before = 0
  for (const piece of pieces) {
    let at = 0
    for (;;) {
      const cut = cutter.next(piece, at)
      if (cut === undefined) break
      at = cut
      cuts.push(before + at)
    }
    before += piece.length
  }
  if (cuts.at(-1) !== before && before > 0) cuts.push(before)
  return cuts
}

function lengthsOf(cuts: readonly number[]): number[] {
  return cuts.map((cut, i) => cut - (cuts[i - 1] ?? 0))
}

function split(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length]
  const sorted = ends.toSorted((a, b) => a - b)
  return sorted.map((end, i) => bytes.subarray(sorted[i - 1] ?? 0, end))
}

function hashesOf(bytes: Uint8Array): string[] {
  const cuts = cutsOf([bytes])
  return cuts.map((cut, i) =>
    createHash('sha256')
      .update(bytes.subarray(cuts[i - 1] ?? 0, cut))
      .digest('hex'),
  )
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

/** The rule of the SPEC in its plainest words: one chunk, its bytes at hand. */
function plainCut(bytes: Uint8Array, gear: Int32Array): number {
  for (let length = CHUNKING.minBytes + 1; length <= bytes.length; length++) {
    let hash = 0n
    for (let back = 0; back < 32; back++) {
      hash += BigInt(gear[bytes[length - 1 - back] ?? 0] ?? 0) << BigInt(back)
    }
    const bits = length <= CHUNKING.meanBytes ? CHUNKING.bitsBefore : CHUNKING.bitsBehind
    if (BigInt.asUintN(32, hash) >> BigInt(32 - bits) === 0n) return length
    if (length === CHUNKING.maxBytes) return length
  }
  return bytes.length
}

describe('the chunker', () => {
  const noise = seededRandom('chunker').bytes(4 * MIB)

  it('cuts the same bytes at the same places, however they come', () => {
    const whole = cutsOf([noise])
    assert.ok(whole.length > 30)
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 40 }), (places) => {
        assert.deepEqual(cutsOf(split(noise, places)), whole)
      }),
      { numRuns: 20 },
    )
  })

  it('cuts the same bytes at the same places when they come one by one', () => {
    const some = noise.subarray(0, 300_000)
    assert.deepEqual(cutsOf(Array.from(some, (byte) => Uint8Array.of(byte))), cutsOf([some]))
  })

  it('cuts where the plain words of its rule say', () => {
    const gear = gearTable()
    let at = 0
    for (const length of lengthsOf(cutsOf([noise])).slice(0, 6)) {
      assert.equal(plainCut(noise.subarray(at), gear), length)
      at += length
    }
  })

  it('has the table of its seed, and no other', () => {
    const table = gearTable()
    const digest = createHash('sha256').update(Buffer.from('kith/update/gear/1\u0007', 'latin1'))
    assert.equal(table[7], digest.digest().readInt32BE(0))
    assert.equal(new Set(table).size, 256)
    const all = createHash('sha256')
    for (const word of table) all.update(Uint8Array.of(word >> 24, word >> 16, word >> 8, word))
    assert.equal(all.digest('hex').slice(0, 16), TABLE)
  })

  it('keeps to its cuts for ever: another version must find them again', () => {
    assert.deepEqual(lengthsOf(cutsOf([noise])).slice(0, 8), FIRST_LENGTHS)
  })

  it('keeps every length within its bounds, whatever the bytes are', () => {
    const pattern = fc.uint8Array({ minLength: 1, maxLength: 300 })
    fc.assert(
      fc.property(pattern, fc.integer({ min: 1, max: MIB }), (unit, length) => {
        const bytes = new Uint8Array(length)
        for (let at = 0; at < length; at += unit.length)
          bytes.set(unit.subarray(0, length - at), at)
        const lengths = lengthsOf(cutsOf([bytes]))
        assert.equal(
          lengths.reduce((a, b) => a + b, 0),
          length,
        )
        for (const [i, one] of lengths.entries()) {
          assert.ok(one <= CHUNKING.maxBytes)
          if (i < lengths.length - 1) assert.ok(one > CHUNKING.minBytes)
        }
      }),
      { numRuns: 40 },
    )
    assert.equal(CHUNKING.maxBytes, BOUNDS.maxRawBytes)
  })

  it('makes no more chunks of constant bytes than of others', () => {
    for (let byte = 0; byte < 256; byte++) {
      const lengths = lengthsOf(cutsOf([new Uint8Array(2 * CHUNKING.maxBytes).fill(byte)]))
      assert.ok(
        lengths.every((length) => length === CHUNKING.maxBytes),
        String(byte),
      )
    }
  })

  it('makes chunks close to its mean of bytes without a pattern', () => {
    const mean = noise.length / cutsOf([noise]).length
    assert.ok(mean > 50_000 && mean < 85_000, String(mean))
  })

  it('changes few chunks where bytes are put in, taken out or overwritten', () => {
    const before = new Set(hashesOf(noise))
    fc.assert(
      fc.property(
        fc.nat(noise.length - 1),
        fc.uint8Array({ minLength: 1, maxLength: 2_000 }),
        fc.constantFrom('in', 'out', 'over'),
        (at, bytes, how) => {
          const behind = how === 'in' ? at : at + bytes.length
          const middle = how === 'out' ? [] : [bytes]
          const changed = joined(noise.subarray(0, at), ...middle, noise.subarray(behind))
          const fresh = hashesOf(changed).filter((hash) => !before.has(hash))
          assert.ok(fresh.length <= 8, `${fresh.length} of ${before.size}`)
        },
      ),
      { numRuns: 15 },
    )
  })

  it('has no chunk for nothing', () => {
    assert.equal(createCutter().next(new Uint8Array(0), 0), undefined)
    assert.deepEqual(cutsOf([]), [])
  })
})
