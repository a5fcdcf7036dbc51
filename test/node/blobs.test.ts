import assert from 'node:assert/strict'
import { promises, readdirSync, statSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'

import fc from 'fast-check'

import { CHUNK_WINDOW_LOG, openBlobs, rawOf, type BlobStore } from '../../node/storage/blobs.ts'
import { CODECS } from '../../protocols/update/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { noiseOf, packedOf, type TestBlob } from '../helpers/blobs.ts'

let folder: string
let nowMs: number
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kith-blobs-'))
  nowMs = 1_800_000_000_000
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const clock = { now: () => nowMs }
const opened = (maxBytes = 1_000_000): Promise<BlobStore> => openBlobs({ folder, maxBytes, clock })
const RELEASE = new Uint8Array(32).fill(7)

function put(store: BlobStore, { chunk, blob }: TestBlob): Promise<void> {
  return store.put(chunk, blob)
}

/** The files of blobs, by path. */
function files(): string[] {
  const folders = readdirSync(folder).filter((name) => name.length === 2)
  return folders.flatMap((name) =>
    readdirSync(join(folder, name)).map((file) => join(folder, name, file)),
  )
}

function only(): string {
  const [path, ...rest] = files()
  assert.ok(path !== undefined && rest.length === 0)
  return path
}

describe('a blob store', () => {
  it('gives back what was put, also to the next process, packed or not', async () => {
    const all = [noiseOf('a'), packedOf('b'), noiseOf('c', 1), noiseOf('d', 262_144)]
    {
      await using store = await opened()
      for (const one of all) await put(store, one)
      for (const { chunk, blob } of all)
        assert.deepEqual(await store.get(chunk.hash), {
          ...blob,
          bytes: Buffer.from(blob.bytes),
        })
    }
    await using store = await opened()
    for (const { chunk, raw } of all) {
      const blob = await store.get(chunk.hash)
      assert.ok(blob !== undefined)
      assert.equal(toHex(rawOf(chunk, blob)), toHex(raw))
    }
    const bytes = all.reduce((sum, { blob }) => sum + blob.bytes.length, 0)
    assert.deepEqual(store.usage(), { blobs: 4, bytes, pinnedBytes: 0, maxBytes: 1_000_000 })
    assert.equal(await store.get(noiseOf('never').chunk.hash), undefined)
  })

  it('takes nothing that is not what its name says', async () => {
    await using store = await opened()
    const [a, b, p] = [noiseOf('a'), noiseOf('b'), packedOf('p')]
    const wrong: TestBlob[] = [
      { ...a, blob: b.blob },
      { ...a, blob: { codec: CODECS.zstd, bytes: a.raw } },
      { ...p, blob: { codec: CODECS.raw, bytes: p.blob.bytes } },
      { ...p, chunk: { ...p.chunk, raw: p.chunk.raw + 1 } },
      { ...p, chunk: { ...p.chunk, raw: p.chunk.raw - 1 } },
      { ...a, blob: { codec: CODECS.raw, bytes: Buffer.concat([a.raw, Buffer.alloc(100)]) } },
    ]
    for (const one of wrong) await assert.rejects(put(store, one), { code: 'UPDATE_WRONG_CHUNK' })
    assert.deepEqual(files(), [])
    assert.equal(store.usage().bytes, 0)
  })

  it('writes a chunk once, however often and at one time it is put', async () => {
    await using store = await opened()
    const one = noiseOf('a')
    await Promise.all(Array.from({ length: 20 }, () => put(store, one)))
    await put(store, one)
    assert.equal(store.usage().bytes, 1_000)
    assert.equal(files().length, 1)
  })

  it('deletes', async () => {
    await using store = await opened()
    const one = noiseOf('a')
    await put(store, one)
    await store.delete(one.chunk.hash)
    await store.delete(one.chunk.hash)
    assert.equal(store.has(one.chunk.hash), false)
    assert.equal(await store.get(one.chunk.hash), undefined)
    assert.deepEqual(files(), [])
    assert.deepEqual(store.usage(), { blobs: 0, bytes: 0, pinnedBytes: 0, maxBytes: 1_000_000 })
  })
})

describe('damage to a blob', () => {
  async function damagedBy(damage: (path: string) => void): Promise<string[]> {
    await using store = await opened()
    const one = noiseOf('a')
    await put(store, one)
    damage(only())
    const gone: string[] = []
    store.onGone((hash, why) => gone.push(`${toHex(hash) === toHex(one.chunk.hash)} ${why}`))
    assert.equal(store.has(one.chunk.hash), true)
    assert.equal(await store.get(one.chunk.hash), undefined)
    assert.equal(store.has(one.chunk.hash), false)
    assert.equal(store.usage().bytes, 0)
    // Fetched again, it is as before.
    await put(store, one)
    assert.equal((await store.get(one.chunk.hash))?.bytes.length, 1_000)
    only()
    return gone
  }

  it('is noticed when it is read: one bit, a missing end, zeros, the file gone', async () => {
    const noise = noiseOf('a').raw
    const flip = (path: string): void => {
      const bytes = noise.slice()
      bytes[500] = (bytes[500] ?? 0) ^ 1
      writeFileSync(path, bytes)
    }
    const ways = [
      flip,
      (path: string) => truncateSync(path, 999),
      (path: string) => writeFileSync(path, new Uint8Array(1_000)),
      unlinkSync,
    ]
    for (const way of ways) {
      assert.deepEqual(await damagedBy(way), ['true damaged'])
      await rm(folder, { recursive: true })
    }
  })

  it('is noticed at the start where a power cut left a name over fewer bytes', async () => {
    const [a, b] = [noiseOf('a'), noiseOf('b')]
    {
      await using store = await opened()
      await put(store, a)
      truncateSync(only(), 0)
      await put(store, b)
    }
    await using store = await opened()
    assert.equal(store.has(a.chunk.hash), false)
    assert.equal(store.has(b.chunk.hash), true)
    assert.match(only(), new RegExp(`${toHex(b.chunk.hash).slice(2)}[.]0[.]3e8[.]`))
  })
})

describe('a flush', () => {
  it('syncs each file that was put, its folder, and the folder of all, once', async () => {
    const { open } = promises
    const synced: string[] = []
    promises.open = async (path, ...rest) => {
      const handle = await open(path, ...rest)
      const sync = handle.sync.bind(handle)
      handle.sync = async () => {
        synced.push(String(path))
        await sync()
      }
      return handle
    }
    syncBuiltinESMExports()
    try {
      await using store = await opened()
      assert.deepEqual(synced.splice(0), [dirname(folder)], 'the name of a new folder')
      for (const seed of ['a', 'b', 'c']) await put(store, noiseOf(seed))
      assert.deepEqual(synced, [])
      await store.flush()
      const all = [...files(), ...files().map((path) => dirname(path)), folder]
      assert.deepEqual(new Set(synced), new Set(all))
      assert.equal(synced.splice(0).length, new Set(all).size)
      await store.flush()
      assert.deepEqual(synced, [])
      await put(store, noiseOf('d'))
    } finally {
      promises.open = open
      syncBuiltinESMExports()
    }
    // The end of a store is a flush.
    assert.equal(synced.length, 3)
  })
})

describe('the bound of a blob store', () => {
  it('lets the least recently used go first', async () => {
    const [a, b, c, d] = [noiseOf('a'), noiseOf('b'), noiseOf('c'), noiseOf('d')]
    await using store = await opened(3_000)
    const gone: string[] = []
    store.onGone((hash, why) => gone.push(`${toHex(hash)} ${why}`))
    for (const one of [a, b, c]) await put(store, one)
    await store.get(a.chunk.hash)
    await put(store, d)
    assert.deepEqual(gone, [`${toHex(b.chunk.hash)} room`])
    for (const { chunk } of [a, c, d]) assert.ok(await store.get(chunk.hash))
    assert.equal(files().length, 3)
  })

  it('remembers over a start what was used', async () => {
    const [a, b, c, d] = [noiseOf('a'), noiseOf('b'), noiseOf('c'), noiseOf('d')]
    {
      await using store = await opened(3_000)
      for (const one of [a, b, c]) {
        await put(store, one)
        nowMs = statSync(
          files().find((path) => path.includes(toHex(one.chunk.hash).slice(2))) ?? '',
        ).mtimeMs
      }
      nowMs += 2 * 60 * 60 * 1000
      await store.get(a.chunk.hash)
      nowMs += 1_000
    }
    await using store = await opened(3_000)
    await put(store, d)
    assert.equal(store.has(b.chunk.hash), false)
    for (const { chunk } of [a, c, d]) assert.ok(store.has(chunk.hash))
  })

  it('holds for writes at one time', async () => {
    await using store = await opened(5_000)
    await Promise.all(Array.from({ length: 40 }, (_, i) => put(store, noiseOf(`${i}`))))
    assert.ok(store.usage().bytes <= 5_000)
    assert.equal(files().length, store.usage().blobs)
  })

  it('holds at a start with a lower one', async () => {
    {
      await using store = await opened()
      for (let i = 0; i < 10; i++) await put(store, noiseOf(`${i}`))
    }
    await using store = await opened(4_500)
    assert.deepEqual(store.usage(), { blobs: 4, bytes: 4_000, pinnedBytes: 0, maxBytes: 4_500 })
  })

  it('is refused, and nothing changed, where all is pinned', async () => {
    const [a, b, c] = [noiseOf('a'), noiseOf('b'), noiseOf('c')]
    await using store = await opened(2_500)
    await store.pin(RELEASE, [a.chunk.hash, b.chunk.hash])
    for (const one of [a, b]) await put(store, one)
    await assert.rejects(put(store, c), { code: 'BLOBS_FULL' })
    assert.deepEqual(store.usage(), { blobs: 2, bytes: 2_000, pinnedBytes: 2_000, maxBytes: 2_500 })
    await store.unpin(RELEASE)
    await put(store, c)
    assert.equal(store.has(a.chunk.hash), false)
  })
})

describe('a pin', () => {
  it('holds over a start, for what comes later too, and until the last release lets go', async () => {
    const [a, b] = [noiseOf('a'), noiseOf('b')]
    const other = new Uint8Array(32).fill(8)
    {
      await using store = await opened(2_000)
      await store.pin(RELEASE, [a.chunk.hash, a.chunk.hash])
      await store.pin(other, [a.chunk.hash])
      await put(store, a)
    }
    await using store = await opened(2_000)
    assert.deepEqual(store.pins().map(toHex).toSorted(), [toHex(RELEASE), toHex(other)])
    await store.unpin(RELEASE)
    for (const one of [b, noiseOf('c'), noiseOf('d')]) await put(store, one)
    assert.ok(store.has(a.chunk.hash))
    await store.unpin(other)
    await put(store, b)
    await put(store, noiseOf('e'))
    assert.equal(store.has(a.chunk.hash), false)
    assert.deepEqual(store.pins(), [])
  })

  it('is replaced by the next one of its release', async () => {
    const [a, b] = [noiseOf('a'), noiseOf('b')]
    await using store = await opened(1_500)
    await store.pin(RELEASE, [a.chunk.hash])
    await put(store, a)
    await store.pin(RELEASE, [b.chunk.hash])
    await put(store, b)
    assert.equal(store.has(a.chunk.hash), false)
  })
})

describe('two processes with one folder', () => {
  it('see what the other did when they look again', async () => {
    const [a, b] = [noiseOf('a'), packedOf('b')]
    await using one = await opened()
    await using two = await opened()
    await put(one, a)
    await put(one, b)
    await one.pin(RELEASE, [a.chunk.hash])
    assert.equal(two.has(a.chunk.hash), false)
    await two.refresh()
    assert.ok(await two.get(a.chunk.hash))
    assert.equal(two.usage().pinnedBytes, 1_000)
    await two.delete(b.chunk.hash)
    const gone: string[] = []
    one.onGone((_, why) => gone.push(why))
    await one.refresh()
    assert.deepEqual(gone, ['elsewhere'])
    assert.equal(one.usage().bytes, 1_000)
  })

  it('keep one form of a chunk where each has put its own', async () => {
    const packed = packedOf('b', 10_000, 1)
    await using one = await opened()
    await using two = await opened()
    await put(one, packed)
    await two.put(packed.chunk, { codec: CODECS.raw, bytes: packed.raw })
    assert.equal(files().length, 2)
    await one.refresh()
    assert.equal(files().length, 1)
    assert.ok(await one.get(packed.chunk.hash))
    assert.equal(await two.get(packed.chunk.hash), undefined)
  })
})

describe('the form of a chunk', () => {
  it('is undone for every level, within the longest window', () => {
    for (const level of [1, 3, 19, 22]) {
      const { chunk, blob, raw } = packedOf('level', 262_144, level)
      assert.equal(toHex(rawOf(chunk, blob)), toHex(raw))
    }
  })

  it('costs no more memory than the chunk is long, whatever the bytes say', () => {
    const params = { [constants.ZSTD_c_windowLog]: CHUNK_WINDOW_LOG }
    const bomb = zstdCompressSync(new Uint8Array(2 ** 28), { params })
    const { chunk } = noiseOf('a', 262_144)
    assert.ok(bomb.length <= chunk.raw)
    // Not by its length, which is known too late.
    assert.throws(
      () => rawOf(chunk, { codec: CODECS.zstd, bytes: bomb }),
      (error: Error) => (error.cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE',
    )
    // zstd takes it, where nobody bounds the window.
    assert.equal(zstdDecompressSync(wideFrame()).length, 10_000)
    assert.throws(() => rawOf(packedOf('w').chunk, { codec: CODECS.zstd, bytes: wideFrame() }), {
      code: 'UPDATE_WRONG_CHUNK',
    })
  })

  it('throws nothing but its own error for any bytes', () => {
    const { chunk, blob } = packedOf('fuzz', 2_000)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_200 }), (bytes) => {
        assert.throws(() => rawOf(chunk, { codec: CODECS.zstd, bytes }), {
          code: 'UPDATE_WRONG_CHUNK',
        })
      }),
    )
    fc.assert(
      fc.property(fc.nat(blob.bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const bytes = blob.bytes.slice()
        bytes[at] = (bytes[at] ?? 0) ^ by
        try {
          // A damaged checksum of zstd's own may change nothing.
          assert.equal(rawOf(chunk, { codec: CODECS.zstd, bytes }).length, chunk.raw)
        } catch (error) {
          assert.equal((error as { code?: unknown }).code, 'UPDATE_WRONG_CHUNK')
        }
      }),
    )
  })
})

/** The head of a frame (RFC 8878 section 3.1.1) that asks for a window of 128 MiB, and one raw block. */
function wideFrame(): Uint8Array {
  const text = packedOf('w').raw
  const size = text.length
  const head = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3]
  const block = (size << 3) | 1
  return Buffer.concat([
    Uint8Array.from([...head, block & 255, (block >> 8) & 255, (block >> 16) & 255]),
    text,
  ])
}
