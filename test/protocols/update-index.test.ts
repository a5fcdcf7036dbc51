import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'
import { CID } from 'multiformats/cid'

import {
  BOUNDS,
  CHUNK_ROW_BYTES,
  cidText,
  encodeIndex,
  Index,
  openIndex,
  targetPath,
  type IndexChunk,
  type ReleaseIndex,
} from '../../protocols/update/index.ts'
import { decodeCbor, encodeCbor, fromHex, toHex } from '../../protocols/wire/index.ts'
import { chunkOf, hashOf, patchOf, releaseOf } from '../helpers/update.ts'

const REFUSED = new Set(['UPDATE_BAD_INDEX', 'WIRE_MALFORMED', 'WIRE_FRAME_TOO_LARGE'])
const LIMITS = { maxBytes: BOUNDS.maxIndexBytes, maxDepth: 8, maxItems: 4_096 }
/** Keys of fields on the wire. SPEC.md "Index". */
const [RAW_BYTES, CHUNKS, PATCHES] = [11, 13, 14] as const

/** An index whose encoded map somebody changed. */
function changed(change: (map: Map<number, unknown>) => void, index = releaseOf()): Uint8Array {
  const map = decodeCbor(Index.encode(index), LIMITS) as Map<number, unknown>
  change(map)
  return encodeCbor(map)
}

function row(hash: Uint8Array, raw: number, stored: number, codec: number): Uint8Array {
  const numbers = [raw >> 16, raw >> 8, raw, stored >> 16, stored >> 8, stored, codec]
  return Uint8Array.from([...hash, ...numbers])
}

function refuses(encoded: Uint8Array, why: string): void {
  assert.throws(
    () => openIndex(encoded),
    (error) => REFUSED.has((error as { code: string }).code),
    why,
  )
}

const anyChunk: fc.Arbitrary<IndexChunk> = fc
  .record({
    seed: fc.string({ maxLength: 6 }),
    raw: fc.integer({ min: 1, max: BOUNDS.maxRawBytes }),
    share: fc.integer({ min: 1, max: 1_000 }),
  })
  .map(({ seed, raw, share }) => {
    const hash = hashOf(`${seed} ${raw} ${share}`)
    if (share === 1_000) return { hash, raw, stored: raw, codec: 0 }
    return { hash, raw, stored: Math.ceil((raw * share) / 1_000), codec: 1 }
  })

describe('an index', () => {
  it('comes back as it was, and is named by its bytes', () => {
    const label = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:+-]{0,20}$/)
    const labels = fc.uniqueArray(label, { maxLength: 4 }).map((all) => all.toSorted())
    const shape = fc.record({
      name: fc.stringMatching(/^[a-z0-9][a-z0-9._+-]{0,63}$/),
      version: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9+~_-]{0,31}$/),
      build: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
      chunks: fc.array(anyChunk, { minLength: 1, maxLength: 40 }),
      for: fc.record(
        { hardware: labels, arch: labels, groups: labels, requires: fc.constant([]) },
        { noNullPrototype: true },
      ),
      args: fc.dictionary(
        fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/),
        fc.string({ maxLength: 50 }),
        {
          maxKeys: 5,
          noNullPrototype: true,
        },
      ),
    })
    fc.assert(
      fc.property(shape, (changes) => {
        const index = releaseOf(changes)
        const opened = encodeIndex(index)
        const again = openIndex(opened.bytes)
        assert.deepEqual(again, opened)
        assert.deepEqual(again.index, index)
        assert.equal(toHex(Index.encode(again.index)), toHex(opened.bytes))
      }),
    )
  })

  it('numbers the chunks of its patches after its own', () => {
    const patches = [patchOf('a'), patchOf('b', { chunks: [chunkOf('x'), chunkOf('y')] })]
    const { chunks, patchStarts } = encodeIndex(releaseOf({ patches }))
    assert.deepEqual(patchStarts, [2, 3])
    assert.equal(chunks.length, 5)
    assert.equal(toHex(chunks[4]?.hash ?? new Uint8Array()), toHex(hashOf('y')))
  })

  it('has a path that tells name, version and build', () => {
    assert.equal(targetPath(releaseOf()), 'lamp/1.2.0-7.index')
  })

  it('shows its chunks to people as CIDs, which other programs understand', () => {
    const hash = hashOf('chunk')
    const cid = CID.parse(cidText(hash))
    assert.equal(cid.version, 1)
    assert.equal(cid.code, 0x55)
    assert.equal(cid.multihash.code, 0x12)
    assert.equal(toHex(cid.multihash.digest), toHex(hash))
    assert.match(cidText(hash), /^bafkrei[a-z2-7]{52}$/)
    assert.throws(() => cidText(hash.subarray(1)), RangeError)
  })

  it('may have one chunk in many places', () => {
    const zero = chunkOf('zero', { raw: 4_096 })
    const { chunks } = encodeIndex(releaseOf({ chunks: [zero, zero, zero] }))
    assert.equal(chunks.length, 3)
  })

  it('may be as large as it can be, and is opened in a moment', (t) => {
    const chunks = Array.from({ length: BOUNDS.maxChunks }, (_, i) =>
      chunkOf(`${i}`, { raw: BOUNDS.maxRawBytes }),
    )
    const { bytes, index } = encodeIndex(releaseOf({ chunks }))
    assert.equal(index.rawBytes, BOUNDS.maxReleaseBytes)
    const before = performance.now()
    assert.equal(openIndex(bytes).chunks.length, BOUNDS.maxChunks)
    t.diagnostic(`${bytes.length} bytes in ${Math.round(performance.now() - before)} ms`)
  })
})

describe('a hostile index is refused', () => {
  const [a, b] = [hashOf('a'), hashOf('b')]
  const table = (...rows: Uint8Array[]): Uint8Array => Buffer.concat(rows)

  it('with lengths that do not add up', () => {
    for (const sum of [0, 1, 1_999, 2_001, 2 ** 31, 2 ** 32 + 2_000, BOUNDS.maxReleaseBytes]) {
      refuses(
        changed((map) => map.set(RAW_BYTES, sum)),
        `${sum}`,
      )
    }
    const patches = [patchOf('a', { rawBytes: 299 })]
    assert.throws(() => encodeIndex(releaseOf({ patches })), { code: 'UPDATE_BAD_INDEX' })
    refuses(Index.encode(releaseOf({ patches })), 'a patch')
  })

  it('with lengths near 2^53 and beyond', () => {
    for (const sum of [BOUNDS.maxReleaseBytes + 1, 2 ** 53 - 1, -1, -2_000, 0.5, 1e300]) {
      refuses(
        changed((map) => map.set(RAW_BYTES, sum)),
        `${sum}`,
      )
    }
    // 2^64 - 1, where the 2,000 stood.
    const good = toHex(Index.encode(releaseOf()))
    assert.equal(good.split('0b1907d0').length, 2)
    refuses(fromHex(good.replace('0b1907d0', '0b1bffffffffffffffff')), '2^64 - 1')
  })

  it('with chunks of no length, too long, or longer stored than they may be', () => {
    const rows: readonly [number, number, number][] = [
      [0, 0, 0],
      [0, 1, 1],
      [BOUNDS.maxRawBytes + 1, BOUNDS.maxRawBytes + 1, 0],
      [0xff_ffff, 0xff_ffff, 0],
      [1_000, 0, 1],
      [1_000, 999, 0],
      [1_000, 1_001, 0],
      [1_000, 1_065, 1],
      [1_000, 1_000, 2],
      [1_000, 1_000, 255],
    ]
    for (const [raw, stored, codec] of rows) {
      const encoded = changed((map) =>
        map.set(CHUNKS, table(row(a, raw, stored, codec))).set(RAW_BYTES, raw),
      )
      refuses(encoded, `${raw} ${stored} ${codec}`)
    }
    const most = changed((map) =>
      map.set(CHUNKS, table(row(a, 1_000, 1_064, 1))).set(RAW_BYTES, 1_000),
    )
    assert.equal(openIndex(most).chunks.length, 1)
  })

  it('with chunks that grow more than a thousandfold', () => {
    const grown = (raw: number, stored: number): Uint8Array =>
      changed((map) => map.set(CHUNKS, table(row(a, raw, stored, 1))).set(RAW_BYTES, raw))
    refuses(grown(1_001, 1), '1,001 of 1')
    refuses(grown(BOUNDS.maxRawBytes, 262), '262,144 of 262')
    assert.ok(openIndex(grown(1_000, 1)))
    assert.ok(openIndex(grown(BOUNDS.maxRawBytes, 263)))
  })

  it('with a million chunks, none, or half of one', () => {
    const million = new Uint8Array(1_000_000 * CHUNK_ROW_BYTES)
    refuses(
      changed((map) => map.set(CHUNKS, million)),
      'a million',
    )
    const over = new Uint8Array((BOUNDS.maxChunks + 1) * CHUNK_ROW_BYTES).fill(1)
    refuses(
      changed((map) => map.set(CHUNKS, over)),
      'one too many',
    )
    refuses(
      changed((map) => map.set(CHUNKS, new Uint8Array())),
      'none',
    )
    refuses(
      changed((map) => map.set(CHUNKS, row(a, 2_000, 2_000, 0).subarray(0, 38))),
      'half',
    )
    refuses(
      changed((map) => map.set(CHUNKS, table(row(a, 2_000, 2_000, 0), a))),
      'one and a half',
    )
    refuses(
      changed((map) => map.set(CHUNKS, [a, b])),
      'a list',
    )
  })

  it('with more chunks in its patches than all may be', () => {
    const chunks = Array.from({ length: BOUNDS.maxChunks }, () => chunkOf('same', { raw: 1 }))
    assert.ok(encodeIndex(releaseOf({ chunks })))
    assert.throws(() => encodeIndex(releaseOf({ chunks, patches: [patchOf('a')] })), {
      code: 'UPDATE_BAD_INDEX',
    })
  })

  it('with one hash in two forms, in the release or between it and a patch', () => {
    const twice: readonly IndexChunk[][] = [
      [chunkOf('a', { raw: 900 }), chunkOf('a', { raw: 1_100 })],
      [chunkOf('a'), chunkOf('a', { stored: 900, codec: 1 })],
      [chunkOf('a', { stored: 900, codec: 1 }), chunkOf('a', { stored: 901, codec: 1 })],
    ]
    for (const chunks of twice) refuses(Index.encode(releaseOf({ chunks })), 'two forms')
    const patches = [patchOf('old', { chunks: [chunkOf('one', { raw: 300 })] })]
    refuses(Index.encode(releaseOf({ patches })), 'a patch')
  })

  it('with two patches from one release, one from itself, or too many', () => {
    const patches: readonly (readonly ReturnType<typeof patchOf>[])[] = [
      [patchOf('a'), patchOf('a')],
      [patchOf('release')],
    ]
    for (const each of patches) refuses(Index.encode(releaseOf({ patches: each })), 'patches')
    const nine = Array.from({ length: 9 }, (_, i) => patchOf(`${i}`))
    assert.throws(() => encodeIndex(releaseOf({ patches: nine })), { code: 'WIRE_MALFORMED' })
    refuses(
      changed((map) => map.set(PATCHES, [])),
      'an empty list',
    )
  })

  it('with an installer that does not take its form', () => {
    const pairs: readonly Partial<ReleaseIndex>[] = [
      { installer: 'tree', form: 'file' },
      { installer: 'deb', form: 'tree' },
      { installer: 'rauc', form: 'tree' },
      { installer: 'swupdate', form: 'tree' },
      { installer: 'oci', form: 'tree' },
    ]
    for (const pair of pairs) refuses(Index.encode(releaseOf(pair)), pair.installer ?? '')
    for (const form of ['file', 'tree'] as const) {
      assert.ok(encodeIndex(releaseOf({ installer: 'exec', form })))
    }
  })

  it('with names that are paths, options or not of the form', () => {
    const names = ['', '.', '..', '../x', 'a/b', '/a', '-a', 'A', 'a\0', 'ä', 'a'.repeat(65), 'a b']
    for (const name of names)
      refuses(
        changed((map) => map.set(2, name)),
        name,
      )
    for (const version of ['', '..', '1..2', '../1', '1/2', '-1', '1 2', '1'.repeat(33), '1:2']) {
      refuses(
        changed((map) => map.set(3, version)),
        version,
      )
    }
    for (const build of [0, -1, 2 ** 32, 1.5, '1'])
      refuses(
        changed((map) => map.set(4, build)),
        `${build}`,
      )
  })

  it('with lists out of order or with something twice: there is one way to say it', () => {
    const target = (hardware: string[]): ReleaseIndex['for'] => ({ ...releaseOf().for, hardware })
    for (const hardware of [
      ['b', 'a'],
      ['a', 'a'],
    ]) {
      assert.throws(() => encodeIndex(releaseOf({ for: target(hardware) })), {
        code: 'WIRE_MALFORMED',
      })
    }
    const requires = [
      { name: 'b', version: '1' },
      { name: 'a', version: '1' },
    ]
    const bad = { ...releaseOf().for, requires }
    refuses(Index.encode(releaseOf({ for: bad })), 'requires')
    const pair = (name: string): Map<number, string> =>
      new Map([
        [1, name],
        [2, ''],
      ])
    refuses(
      changed((map) => map.set(7, [pair('b'), pair('a')])),
      'args',
    )
    refuses(
      changed((map) => map.set(7, [pair('a'), pair('a')])),
      'args twice',
    )
    refuses(
      changed((map) => map.set(7, [pair('__proto__')])),
      'args by a name of the language',
    )
  })

  it('with a health check that checks nothing or can never pass', () => {
    const checks: readonly NonNullable<ReleaseIndex['health']>[] = [
      { seconds: 5, withinSeconds: 60 },
      { seconds: 61, withinSeconds: 60, command: ['true'] },
      { seconds: 5, withinSeconds: 60, http: { port: 80, path: 'http://elsewhere/' } },
      { seconds: 5, withinSeconds: 60, command: [] },
    ]
    for (const health of checks) assert.throws(() => encodeIndex(releaseOf({ health })))
    const health = { seconds: 5, withinSeconds: 60, reading: { sensor: 'load', max: 3.5 } }
    assert.deepEqual(encodeIndex(releaseOf({ health })).index.health, health)
  })

  it('with any byte changed, unless it is still a sound index of another name', () => {
    const { bytes, id } = encodeIndex(releaseOf({ patches: [patchOf('a')] }))
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const damaged = bytes.slice()
        damaged[at] = (damaged[at] ?? 0) ^ by
        try {
          const opened = openIndex(damaged)
          assert.notEqual(toHex(opened.id), toHex(id))
          assert.equal(toHex(Index.encode(opened.index)), toHex(damaged))
        } catch (error) {
          assert.ok(REFUSED.has((error as { code: string }).code), String(error))
        }
      }),
      { numRuns: 500 },
    )
  })

  it('longer than 4 MiB before anything is read', () => {
    assert.throws(() => openIndex(new Uint8Array(BOUNDS.maxIndexBytes + 1)), {
      code: 'WIRE_FRAME_TOO_LARGE',
    })
  })
})
