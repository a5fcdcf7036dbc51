import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { open, readFile, stat, writeFile } from 'node:fs/promises'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  assemble,
  makeRelease,
  openFile,
  openTree,
  PATCH,
  planFetch,
  releaseSource,
  scannedSource,
  type MadeRelease,
  type ReleaseError,
  type Source,
} from '../../node/release/index.ts'
import { rawOf, type BlobStore } from '../../node/storage/blobs.ts'
import { encodeIndex, type IndexChunk, type OpenedIndex } from '../../protocols/update/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import {
  aboutRelease,
  never,
  noise,
  releaseRoom,
  sprinkled,
  type ReleaseRoom,
} from '../helpers/release.ts'

const MEMORY = PATCH.memoryBytes

interface Pair extends AsyncDisposable {
  readonly room: ReleaseRoom
  readonly one: MadeRelease
  readonly two: MadeRelease
  /** The file of the old version. */
  readonly old: string
  readonly bytes: Uint8Array
  /** Another device's store. */
  readonly store: BlobStore
  /** Put chunks of the new release into it, as fetching does. */
  fetch(numbers: Iterable<number>): Promise<void>
}

/** Two versions that share most chunks; `every` says how far changes lie apart. */
async function pair(every = 400_000, length = 2_500_000): Promise<Pair> {
  const room = await releaseRoom()
  const first = noise('pair', length)
  const old = await room.write('old', first)
  const bytes = Buffer.concat([Buffer.from('put in front'), sprinkled(first, every)])
  const one = await makeRelease({ path: old, about: aboutRelease(1), blobs: room.blobs }, never)
  const file = await room.write('new', bytes)
  const options = { path: file, about: aboutRelease(2), blobs: room.blobs, previous: [one.release] }
  const two = await makeRelease(options, never)
  const store = await room.emptyStore()
  return {
    room,
    one,
    two,
    old,
    bytes: new Uint8Array(bytes),
    store,
    async fetch(numbers) {
      for (const n of numbers) {
        const chunk = two.release.chunks[n]
        const blob = chunk && (await room.blobs.get(chunk.hash))
        if (chunk !== undefined && blob !== undefined) await store.put(chunk, blob)
      }
    },
    [Symbol.asyncDispose]: () => room[Symbol.asyncDispose](),
  }
}

async function oldSource({ old, one }: Pair): Promise<Source> {
  return releaseSource(await openFile(old), one.release.index)
}

function has(store: BlobStore): (hash: Uint8Array) => boolean {
  return (hash) => store.has(hash)
}

async function missingIn(work: Promise<unknown>): Promise<readonly number[]> {
  const error = await work.then(
    () => assert.fail('nothing was missing'),
    (thrown: unknown) => thrown as ReleaseError,
  )
  assert.equal(error.code, 'RELEASE_MISSING')
  return error.numbers
}

function everyNumber({ index }: OpenedIndex): number[] {
  return index.chunks.map((_, n) => n)
}

describe('what must be fetched', () => {
  it('is every chunk, each once, where nothing is here', async () => {
    await using room = await releaseRoom()
    const file = await room.write('in', new Uint8Array(5 * 262_144))
    const { release } = await makeRelease(
      { path: file, about: aboutRelease(1), blobs: room.blobs },
      never,
    )
    const plan = planFetch(release, { has: () => false, sources: [], memoryBytes: MEMORY })
    assert.deepEqual(plan, { numbers: [0], bytes: 262_144, storeBytes: 0, sourceBytes: 0 })
  })

  it('is only what neither the store nor the old version has', async () => {
    await using all = await pair()
    const source = await oldSource(all)
    const plan = planFetch(all.two.release, {
      has: has(all.store),
      sources: [source],
      memoryBytes: 0,
    })
    const known = new Set(all.one.release.index.chunks.map(({ hash }) => toHex(hash)))
    const fresh = everyNumber(all.two.release).filter(
      (n) => !known.has(toHex(all.two.release.chunks[n]?.hash ?? new Uint8Array(0))),
    )
    assert.deepEqual(plan.numbers, fresh)
    assert.equal(plan.bytes, all.two.summary.new)
    assert.ok(fresh.length > 3 && fresh.length < all.two.release.index.chunks.length / 2)
    await all.fetch(fresh.slice(1))
    const next = planFetch(all.two.release, {
      has: has(all.store),
      sources: [source],
      memoryBytes: 0,
    })
    assert.deepEqual(next.numbers, fresh.slice(0, 1))
    assert.ok(next.storeBytes > 0 && next.sourceBytes === plan.sourceBytes)
    await source.raw[Symbol.asyncDispose]()
  })

  it('is a patch where one pays, the old version is here and memory allows it', async () => {
    await using all = await pair(60_000)
    const source = await oldSource(all)
    const here = { has: has(all.store), sources: [source], memoryBytes: MEMORY }
    const { patch, bytes } = planFetch(all.two.release, here)
    assert.ok(patch !== undefined && patch.bytes < bytes / 20)
    assert.deepEqual(
      patch.numbers,
      all.two.release.index.patches?.[0]?.chunks.map(
        (_, i) => (all.two.release.patchStarts[0] ?? 0) + i,
      ),
    )
    assert.equal(planFetch(all.two.release, { ...here, memoryBytes: MEMORY - 1 }).patch, undefined)
    assert.equal(planFetch(all.two.release, { ...here, sources: [] }).patch, undefined)
    await all.fetch(everyNumber(all.two.release))
    assert.equal(planFetch(all.two.release, here).patch, undefined)
    await source.raw[Symbol.asyncDispose]()
  })
})

describe('a release put together', () => {
  it('is right, whatever part of it comes from where', async () => {
    await using all = await pair()
    const source = await oldSource(all)
    const out = all.room.at('out')
    const options = { blobs: all.store, sources: [source], memoryBytes: 0 }
    const missing = await missingIn(assemble(all.two.release, options, out, never))
    assert.deepEqual(
      missing,
      planFetch(all.two.release, { has: has(all.store), ...options }).numbers,
    )
    assert.equal(existsSync(out), false)
    await all.fetch(missing)
    const done = await assemble(all.two.release, options, out, never)
    assert.deepEqual(new Uint8Array(await readFile(out)), all.bytes)
    assert.ok(done.storeBytes > 0 && done.sourceBytes > 0)
    const sum = done.storeBytes + done.sourceBytes + done.patchBytes + done.resumedBytes
    assert.equal(sum, all.bytes.length)
    assert.equal(existsSync(`${out}.part`), false)
    await source.raw[Symbol.asyncDispose]()
  })

  it('comes from a patch alone, and is kept for peers where that is wanted', async () => {
    await using all = await pair(30_000)
    const source = await oldSource(all)
    const here = { has: has(all.store), sources: [source], memoryBytes: MEMORY }
    await all.fetch(planFetch(all.two.release, here).patch?.numbers ?? [])
    const options = { blobs: all.store, sources: [source], memoryBytes: MEMORY, keep: true }
    const done = await assemble(all.two.release, options, all.room.at('out'), never)
    assert.deepEqual(new Uint8Array(await readFile(all.room.at('out'))), all.bytes)
    assert.ok(done.patchBytes > all.bytes.length / 2)
    assert.ok(all.two.release.index.chunks.every(({ hash }) => all.store.has(hash)))
    const alone = await assemble(
      all.two.release,
      { blobs: all.store, sources: [], memoryBytes: 0 },
      all.room.at('again'),
      never,
    )
    assert.equal(alone.storeBytes, all.bytes.length)
    await source.raw[Symbol.asyncDispose]()
  })

  it('needs the chunks of a damaged old version, and no others', async () => {
    await using all = await pair(30_000)
    const place = 1_700_000
    await using damaged = await open(all.old, 'r+')
    await damaged.write(Buffer.alloc(1_000), 0, 1_000, place)
    const source = await oldSource(all)
    const here = { has: has(all.store), sources: [source], memoryBytes: MEMORY }
    await all.fetch(planFetch(all.two.release, here).patch?.numbers ?? [])
    const options = { blobs: all.store, sources: [source], memoryBytes: MEMORY }
    const out = all.room.at('out')
    const missing = await missingIn(assemble(all.two.release, options, out, never))
    assert.ok(missing.length > 0 && missing.length < all.two.release.index.chunks.length / 2)
    await all.fetch(missing)
    await assemble(all.two.release, options, out, never)
    assert.deepEqual(new Uint8Array(await readFile(out)), all.bytes)
    await source.raw[Symbol.asyncDispose]()
  })

  it('falls back to chunks where the old version is cut short or gone', async () => {
    await using all = await pair()
    const source = await oldSource(all)
    await writeFile(all.old, '')
    const options = { blobs: all.store, sources: [source], memoryBytes: MEMORY }
    const out = all.room.at('out')
    const missing = await missingIn(assemble(all.two.release, options, out, never))
    assert.deepEqual(missing, everyNumber(all.two.release))
    await source.raw[Symbol.asyncDispose]()
  })

  it('is never made from a patch that lies: chunks are asked for instead', async () => {
    await using all = await pair(30_000)
    const { index } = all.two.release
    const [patch] = index.patches ?? []
    assert.ok(patch !== undefined)
    await fc.assert(
      fc.asyncProperty(
        fc.nat(patch.rawBytes - 1),
        fc.integer({ min: 1, max: 255 }),
        async (at, bits) => {
          const lie = new Uint8Array(await rawOfPatch(all, patch.chunks))
          lie[at] = (lie[at] ?? 0) ^ bits
          await using room = await releaseRoom()
          const file = await room.write('lie', lie)
          const stored = await makeRelease(
            { path: file, about: aboutRelease(1), blobs: room.blobs },
            never,
          )
          const { chunks, rawBytes, rawHash } = stored.release.index
          const lying = encodeIndex({
            ...index,
            patches: [{ ...patch, chunks, rawBytes, rawHash }],
          })
          const source = await oldSource(all)
          const options = { blobs: room.blobs, sources: [source], memoryBytes: MEMORY }
          const out = room.at('out')
          const work = assemble(lying, options, out, never)
          // A bit that zstd does not look at changes nothing.
          const whole = await work.then(
            () => true,
            (error: ReleaseError) => {
              assert.equal(error.code, 'RELEASE_MISSING')
              return false
            },
          )
          if (whole) assert.deepEqual(new Uint8Array(await readFile(out)), all.bytes)
          else assert.equal(existsSync(out), false)
          await source.raw[Symbol.asyncDispose]()
        },
      ),
      { numRuns: 10 },
    )
  })

  it('goes on after it was interrupted, and takes nothing damaged over', async () => {
    await using all = await pair()
    await all.fetch(everyNumber(all.two.release))
    const out = all.room.at('out')
    const options = { blobs: all.store, sources: [], memoryBytes: 0 }
    const stop = new AbortController()
    const onProgress = (done: number): void => {
      if (done > 1_200_000) stop.abort(new Error('power cut'))
    }
    const cut = assemble(all.two.release, { ...options, onProgress }, out, stop.signal)
    await assert.rejects(cut, { message: 'power cut' })
    assert.equal(existsSync(out), false)
    const { size } = await stat(`${out}.part`)
    {
      await using part = await open(`${out}.part`, 'r+')
      await part.write(Buffer.from('damage'), 0, 6, 700_000)
    }
    const done = await assemble(all.two.release, options, out, never)
    assert.ok(done.resumedBytes > 400_000 && done.resumedBytes <= 700_000, `${size}`)
    assert.deepEqual(new Uint8Array(await readFile(out)), all.bytes)
  })

  it('replaces what had its name, and leaves that alone until then', async () => {
    await using all = await pair()
    const out = await all.room.write('out', 'the old one, which runs')
    const options = { blobs: all.store, sources: [], memoryBytes: 0 }
    await missingIn(assemble(all.two.release, options, out, never))
    assert.equal(await readFile(out, 'utf8'), 'the old one, which runs')
    await writeFile(`${out}.part`, Buffer.alloc(9_000_000))
    await all.fetch(everyNumber(all.two.release))
    await assemble(all.two.release, options, out, never)
    assert.deepEqual(new Uint8Array(await readFile(out)), all.bytes)
  })

  it('takes a damaged chunk of the store for a missing one', async () => {
    await using all = await pair()
    await all.fetch(everyNumber(all.two.release))
    const wrong = all.two.release.index.chunks[7]
    const blobs: Pick<BlobStore, 'has' | 'get' | 'put'> = {
      has: has(all.store),
      put: (chunk, blob) => all.store.put(chunk, blob),
      async get(hash) {
        const blob = await all.store.get(hash)
        if (blob === undefined || wrong === undefined || toHex(hash) !== toHex(wrong.hash))
          return blob
        return { ...blob, bytes: sprinkled(blob.bytes, blob.bytes.length) }
      },
    }
    const options = { blobs, sources: [], memoryBytes: 0 }
    const work = assemble(all.two.release, options, all.room.at('out'), never)
    assert.deepEqual(await missingIn(work), [7])
  })

  it('finds chunks in an unpacked tree and in any other file', async () => {
    await using room = await releaseRoom()
    for (let i = 0; i < 12; i++) await room.write(`tree/f${i}`, noise(`t${i}`, 150_000))
    const about = aboutRelease(1, { installer: 'tree' })
    const { release } = await makeRelease(
      { path: room.at('tree'), about, blobs: room.blobs },
      never,
    )
    await using tree = await openTree(room.at('tree'), never)
    await using part = await openFile(await room.write('part', noise('t3', 150_000)))
    const sources = [await scannedSource(part, never), releaseSource(tree, release.index)]
    const store = await room.emptyStore()
    const out = room.at('out.tar')
    const done = await assemble(release, { blobs: store, sources, memoryBytes: 0 }, out, never)
    assert.equal(done.sourceBytes, release.index.rawBytes)
    await room.write('tree/f5', noise('other', 150_000))
    const missing = await missingIn(
      assemble(release, { blobs: store, sources, memoryBytes: 0 }, room.at('out2'), never),
    )
    assert.ok(missing.length > 0 && missing.length < 8)
  })
})

async function rawOfPatch(all: Pair, chunks: readonly IndexChunk[]): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for (const chunk of chunks) {
    const blob = await all.room.blobs.get(chunk.hash)
    assert.ok(blob !== undefined)
    parts.push(rawOf(chunk, blob))
  }
  return Buffer.concat(parts)
}
