/**
 * A release put together: every chunk from the store, from a source of this device, or from a patch,
 * and checked wherever it came from. What is there after an interruption is taken up again; the file
 * has its name only when all of it is right and on the disk.
 */
import { constants } from 'node:fs'
import { open, rename, rm, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'

import { BOUNDS, type IndexChunk, type OpenedIndex } from '../../protocols/update/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import type { BlobStore } from '../storage/blobs.ts'
import { syncFolder } from '../storage/files.ts'
import { hashOf } from './chunks.ts'
import { ReleaseError } from './errors.ts'
import { createPacker, LEVELS, type Packer } from './pack.ts'
import { openPatched, PATCH } from './patch.ts'
import { baseOf } from './plan.ts'
import { readAt, type RawBytes } from './raw.ts'
import type { Source } from './sources.ts'
import { rawOfChunk, storedBytes } from './stored.ts'

export interface AssembleOptions {
  readonly blobs: Pick<BlobStore, 'has' | 'get' | 'put'>
  readonly sources: readonly Source[]
  /** Patches are used where this allows it. */
  readonly memoryBytes: number
  /** Put into the store what came from elsewhere, so that peers can have it. */
  readonly keep?: boolean
  readonly onProgress?: (doneBytes: number, allBytes: number) => void
}

/** Bytes of the release, by where they came from. */
export interface Assembled {
  readonly storeBytes: number
  readonly sourceBytes: number
  readonly patchBytes: number
  /** There from an earlier, interrupted time. */
  readonly resumedBytes: number
}

type Origin = keyof Assembled

/**
 * Make the release in `out`: the archive of a tree, or the file itself. One at a time for each
 * `out`; on the way there is `out` with `.part` behind it.
 *
 * @throws ReleaseError RELEASE_MISSING with the numbers of all chunks that must be fetched first;
 * RELEASE_NO_SPACE, after which nothing is left
 */
export async function assemble(
  opened: OpenedIndex,
  options: AssembleOptions,
  out: string,
  signal: AbortSignal,
): Promise<Assembled> {
  const part = `${out}.part`
  try {
    const done = await writePart(opened, options, part, signal)
    await rename(part, out)
    await syncFolder(dirname(out))
    return done
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
    await rm(part, { force: true })
    throw new ReleaseError('RELEASE_NO_SPACE', undefined, { cause: error })
  }
}

async function writePart(
  opened: OpenedIndex,
  options: AssembleOptions,
  part: string,
  signal: AbortSignal,
): Promise<Assembled> {
  const { chunks, rawBytes } = opened.index
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW
  await using file = await open(part, flags, 0o600)
  using packer = createPacker(LEVELS.fast)
  const finders = await findersOf(opened, options)
  const from: Record<Origin, number> = {
    storeBytes: 0,
    sourceBytes: 0,
    patchBytes: 0,
    resumedBytes: 0,
  }
  const missing = new Map<string, number>()
  let { at, n } = await resumed(file, chunks, signal)
  from.resumedBytes = at
  for (; n < chunks.length; n++) {
    signal.throwIfAborted()
    const chunk = chunks[n]
    if (chunk === undefined) break
    const found = await find(finders, chunk, at)
    if (found === undefined) missing.set(toHex(chunk.hash), missing.get(toHex(chunk.hash)) ?? n)
    // Behind a gap the rest is only looked at, so that one round of fetching is enough.
    else if (missing.size === 0) {
      await writeAll(file, found.bytes, at)
      from[found.origin] += chunk.raw
      if (options.keep === true) await keep(chunk, found.bytes, options.blobs, packer)
    }
    at += chunk.raw
    if (missing.size === 0) options.onProgress?.(at, rawBytes)
  }
  if (missing.size > 0) {
    const numbers = [...missing.values()]
    const detail = `${numbers.length} chunks of the release are not here yet.`
    throw new ReleaseError('RELEASE_MISSING', detail, { numbers })
  }
  await file.truncate(rawBytes)
  await file.sync()
  return from
}

/** How much of the file is right already, and the number of the chunk to go on with. */
async function resumed(
  file: FileHandle,
  chunks: readonly IndexChunk[],
  signal: AbortSignal,
): Promise<{ at: number; n: number }> {
  const { size } = await file.stat()
  const room = new Uint8Array(BOUNDS.maxRawBytes)
  let at = 0
  for (const [n, { raw, hash }] of chunks.entries()) {
    signal.throwIfAborted()
    const bytes = at + raw <= size ? await readAt(file, at, room.subarray(0, raw)) : undefined
    if (bytes === undefined || !equalBytes(hashOf(bytes), hash)) {
      await file.truncate(at)
      return { at, n }
    }
    at += raw
  }
  return { at, n: chunks.length }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done)
    done += bytesWritten
  }
}

async function keep(
  chunk: IndexChunk,
  bytes: Uint8Array,
  blobs: Pick<BlobStore, 'has' | 'put'>,
  packer: Packer,
): Promise<void> {
  if (blobs.has(chunk.hash)) return
  await blobs.put(chunk, await packer.pack(bytes), { verified: true })
}

/** One way to come by the chunk at a place of the release; what it gives is not checked. */
interface Finder {
  readonly origin: Origin
  find(chunk: IndexChunk, at: number): Promise<Uint8Array | undefined>
}

/** From the cheapest on. */
async function findersOf(opened: OpenedIndex, options: AssembleOptions): Promise<Finder[]> {
  const { blobs, sources } = options
  const store: Finder = { origin: 'storeBytes', find: (chunk) => rawOfChunk(chunk, blobs) }
  const local = sources.map((source): Finder => ({
    origin: 'sourceBytes',
    async find({ hash, raw }) {
      const place = source.placeOf(toHex(hash))
      return place === undefined ? undefined : source.raw.read(place, raw)
    },
  }))
  const patched = await patchesHere(opened, options)
  const patches = patched.map((raw): Finder => ({
    origin: 'patchBytes',
    find: (chunk, at) => raw.read(at, chunk.raw),
  }))
  return [store, ...local, ...patches]
}

/** The release as each patch makes it that is whole in the store and starts from what is here. */
async function patchesHere(
  { index, patchStarts }: OpenedIndex,
  { blobs, sources, memoryBytes }: AssembleOptions,
): Promise<RawBytes[]> {
  if (memoryBytes < PATCH.memoryBytes) return []
  const found: RawBytes[] = []
  for (const [n, patch] of (index.patches ?? []).entries()) {
    const base = baseOf(patch.from, sources)
    if (base === undefined || !patch.chunks.every(({ hash }) => blobs.has(hash))) continue
    const bytes = storedBytes(patch.chunks, blobs, patchStarts[n])
    try {
      found.push(await openPatched(bytes, base.raw, index.rawBytes))
    } catch (error) {
      if (!(error instanceof ReleaseError)) throw error
    }
  }
  return found
}

/** From the first that has it as it must be. */
async function find(
  finders: readonly Finder[],
  chunk: IndexChunk,
  at: number,
): Promise<{ bytes: Uint8Array; origin: Origin } | undefined> {
  for (const finder of finders) {
    const bytes = await tried(() => finder.find(chunk, at))
    if (bytes === undefined || bytes.length !== chunk.raw) continue
    if (!equalBytes(hashOf(bytes), chunk.hash)) continue
    return { bytes, origin: finder.origin }
  }
  return undefined
}

/** A source that is damaged, changed or gone has nothing. @throws what the store throws */
async function tried(read: () => Promise<Uint8Array | undefined>): Promise<Uint8Array | undefined> {
  try {
    return await read()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (error instanceof ReleaseError || code === 'EIO' || code === 'ENOENT') return undefined
    throw error
  }
}
