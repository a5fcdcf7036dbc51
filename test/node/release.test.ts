import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, stat, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { publishInto } from '../../node/release.ts'
import {
  makeRelease,
  type MadeRelease,
  type MakeOptions,
  type MakeProgress,
} from '../../node/release/index.ts'
import { rawOf } from '../../node/storage/blobs.ts'
import { CODECS, openIndex } from '../../protocols/update/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import {
  aboutRelease,
  never,
  noise,
  releaseRoom,
  sprinkled,
  type ReleaseRoom,
} from '../helpers/release.ts'

function make(
  room: ReleaseRoom,
  file: string,
  build: number,
  options: Partial<MakeOptions> = {},
): Promise<MadeRelease> {
  return makeRelease(
    { path: file, about: aboutRelease(build), blobs: room.blobs, ...options },
    never,
  )
}

async function rawFromStore(room: ReleaseRoom, { release }: MadeRelease): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for (const chunk of release.index.chunks) {
    const blob = await room.blobs.get(chunk.hash)
    assert.ok(blob !== undefined)
    assert.deepEqual([blob.codec, blob.bytes.length], [chunk.codec, chunk.stored])
    parts.push(rawOf(chunk, blob))
  }
  return Buffer.concat(parts)
}

const TEXT = Array.from({ length: 60_000 }, (_, i) => `line ${i * 7919} of a text\n`).join('')

describe('a release', () => {
  it('holds its input, and says how large it is', async () => {
    await using room = await releaseRoom()
    const bytes = Buffer.concat([noise('r', 300_000), Buffer.from(TEXT)])
    const made = await make(room, await room.write('in', bytes), 1)
    const { index } = made.release
    assert.deepEqual(await rawFromStore(room, made), bytes)
    assert.equal(toHex(index.rawHash), createHash('sha256').update(bytes).digest('hex'))
    assert.deepEqual(openIndex(made.release.bytes).index, index)
    const stored = index.chunks.reduce((sum, chunk) => sum + chunk.stored, 0)
    assert.deepEqual(made.summary, {
      raw: bytes.length,
      stored,
      new: stored,
      chunks: index.chunks.length,
      newChunks: index.chunks.length,
      patches: [],
      index: toHex(made.release.id),
      indexBytes: made.release.bytes.length,
    })
    assert.ok(stored < bytes.length * 0.7)
    const codecs = new Set(index.chunks.map(({ codec }) => codec))
    assert.deepEqual(
      [...codecs].toSorted((a, b) => a - b),
      [CODECS.raw, CODECS.zstd],
    )
  })

  it('is the same in every bit for the same input, whatever the store holds already', async () => {
    await using room = await releaseRoom()
    await fc.assert(
      fc.asyncProperty(fc.nat(1_000_000), fc.nat(1_000), async (length, seed) => {
        const file = await room.write('in', noise(String(seed), length + 1))
        const one = await make(room, file, 1)
        const again = await make(room, file, 1)
        const fresh = await make(room, file, 1, { blobs: await room.emptyStore() })
        assert.deepEqual(again.release.bytes, one.release.bytes)
        assert.deepEqual(fresh.release.bytes, one.release.bytes)
      }),
      { numRuns: 8 },
    )
  })

  it('of a folder is the same for a copy with other times and modes, made in another order', async () => {
    await using room = await releaseRoom()
    const about = aboutRelease(1, { installer: 'tree' })
    for (let i = 0; i < 30; i++) await room.write(`one/d${i % 3}/f${i}`, noise(`f${i}`, 20_000))
    for (const name of (await readdir(room.at('one'), { recursive: true })).toReversed()) {
      const [from, to] = [room.at(`one/${name}`), room.at(`other/${name}`)]
      if ((await stat(from)).isDirectory()) continue
      await mkdir(path.dirname(to), { recursive: true, mode: 0o700 })
      await copyFile(from, to)
      await chmod(to, 0o600)
      await utimes(to, 5, 5)
    }
    const one = await make(room, room.at('one'), 1, { about })
    const other = await make(room, room.at('other'), 1, { about })
    assert.equal(other.summary.index, one.summary.index)
    await room.write('other/d0/f0', 'changed')
    const changed = await make(room, room.at('other'), 1, { about })
    assert.notEqual(changed.summary.index, one.summary.index)
    assert.ok(changed.summary.new <= changed.summary.stored)
  })

  it('stores what repeats once, and bytes that pack too well as they are', async () => {
    await using room = await releaseRoom()
    const made = await make(room, await room.write('in', new Uint8Array(10 * 262_144)), 1)
    assert.equal(made.release.index.chunks.length, 10)
    assert.equal(room.blobs.usage().blobs, 1)
    assert.deepEqual(await rawFromStore(room, made), Buffer.alloc(10 * 262_144))
    assert.equal(made.summary.stored, 262_144)
  })

  it('tells how far it is', async () => {
    await using room = await releaseRoom()
    const old = await make(room, await room.write('old', noise('p', 900_000)), 1)
    const seen: MakeProgress[] = []
    const bytes = sprinkled(noise('p', 900_000), 10_000)
    const onProgress = (progress: MakeProgress): void => void seen.push(progress)
    const previous = [old.release]
    await make(room, await room.write('in', bytes), 2, { onProgress, previous })
    for (const phase of ['chunks', 'patch']) {
      const of = seen.filter((one) => one.phase === phase)
      assert.deepEqual(
        of.map(({ doneBytes }) => doneBytes),
        of.map(({ doneBytes }) => doneBytes).toSorted((a, b) => a - b),
      )
      assert.equal(of.at(-1)?.doneBytes, bytes.length)
      assert.ok(of.every(({ allBytes }) => allBytes === bytes.length))
    }
    assert.equal(seen.at(-1)?.from, '1.1')
  })

  it('is pinned, and survives in the folder where another process made it', async () => {
    await using room = await releaseRoom()
    const folder = await mkdtemp(path.join(tmpdir(), 'kith-door-'))
    const file = await room.write('in', noise('door', 500_000))
    const options = { path: file, about: aboutRelease(1), folder, maxBytes: 600_000 }
    const { release } = await publishInto(options, never)
    const other = await room.write('other', noise('other', 500_000))
    await assert.rejects(publishInto({ ...options, path: other }, never), { code: 'BLOBS_FULL' })
    const again = await publishInto(options, never)
    assert.deepEqual(again.release.bytes, release.bytes)
  })

  it('takes a .deb, a bundle or an archive as one file, and looks at what it is', async () => {
    await using room = await releaseRoom()
    const deb = await room.write('a.deb', `!<arch>\ndebian-binary   1 ${TEXT}`)
    const kinds = {
      deb,
      rauc: await room.write('a.raucb', 'hsqs'),
      oci: await room.write('a.tar', 'x'),
    }
    for (const installer of ['deb', 'rauc', 'oci'] as const) {
      const made = await make(room, kinds[installer], 1, { about: aboutRelease(1, { installer }) })
      assert.equal(made.release.index.form, 'file')
    }
    const refusals: [string, 'deb' | 'swupdate' | 'tree', RegExp][] = [
      [kinds.oci, 'deb', /a\.tar is no Debian package/],
      [kinds.oci, 'swupdate', /a\.tar is no SWUpdate image/],
      [kinds.oci, 'tree', /a\.tar is a file, and the installer tree takes a folder/],
      [room.root, 'deb', /is a folder, and the installer deb takes a file/],
      [await room.write('nothing', ''), 'deb', /nothing is empty/],
      [room.at('absent'), 'deb', /There is no .*absent/],
    ]
    for (const [file, installer, message] of refusals) {
      const about = aboutRelease(1, { installer })
      const refused = { code: 'RELEASE_INPUT', message }
      await assert.rejects(make(room, file, 1, { about }), refused)
    }
  })

  it('stops at once when told to', async () => {
    await using room = await releaseRoom()
    const file = await room.write('in', noise('stop', 3_000_000))
    const stop = new AbortController()
    const options = {
      path: file,
      about: aboutRelease(1),
      blobs: room.blobs,
      onProgress: () => stop.abort(new Error('enough')),
    }
    await assert.rejects(makeRelease(options, stop.signal), { message: 'enough' })
    assert.deepEqual(room.blobs.pins(), [])
  })
})

describe('patches of a release', () => {
  it('are made from the last versions where they save more than a quarter', async () => {
    await using room = await releaseRoom()
    const first = noise('v', 1_500_000)
    const second = sprinkled(first, 20_000)
    const one = await make(room, await room.write('1', first), 1)
    const two = await make(room, await room.write('2', second), 2, { previous: [one.release] })
    const three = await make(room, await room.write('3', sprinkled(second, 17_000)), 3, {
      previous: [two.release, one.release],
    })
    assert.deepEqual(
      three.summary.patches.map(({ version, result }) => [version, result]),
      [
        ['1.2', 'made'],
        ['1.1', 'made'],
      ],
    )
    for (const { bytes, insteadOf } of three.summary.patches) assert.ok(bytes < insteadOf / 10)
    const limited = await make(room, room.at('3'), 3, { previous: [two.release], patches: 0 })
    assert.equal(limited.release.index.patches, undefined)
  })

  it('are left out where they save less, and leave nothing in the store', async () => {
    await using room = await releaseRoom()
    const one = await make(room, await room.write('1', noise('x', 700_000)), 1)
    const plain = await make(room, await room.write('2', noise('y', 700_000)), 2)
    const before = room.blobs.usage().blobs
    const two = await make(room, room.at('2'), 2, { previous: [one.release] })
    assert.deepEqual(
      two.summary.patches.map(({ result }) => result),
      ['small'],
    )
    assert.equal(two.summary.index, plain.summary.index)
    assert.equal(room.blobs.usage().blobs, before)
  })

  it('are left out where the old version is not in the store any more', async () => {
    await using room = await releaseRoom()
    const old = noise('gone', 700_000)
    const one = await make(room, await room.write('1', old), 1)
    await room.blobs.delete(one.release.index.chunks[2]?.hash ?? new Uint8Array(32))
    const file = await room.write('2', sprinkled(old, 10_000))
    const two = await make(room, file, 2, { previous: [one.release] })
    assert.deepEqual(
      two.summary.patches.map(({ result }) => result),
      ['missing'],
    )
    assert.deepEqual(await readFile(file), await rawFromStore(room, two))
  })
})
