/**
 * From bytes to chunks in the store: cut, hash, pack, put. A few chunks are in work at a time, so
 * the memory that it takes does not grow with the release.
 */
import { createHash, hash as hashOnce } from 'node:crypto'

import { BOUNDS, createCutter, type IndexChunk } from '../../protocols/update/index.ts'
import type { BlobStore } from '../storage/blobs.ts'
import { ReleaseError } from './errors.ts'
import { createPacker, type Packer } from './pack.ts'
import { createRows } from './rows.ts'

/** Chunks in work at a time: as many as there are threads that pack. */
const AT_ONCE = 4

export interface StoredChunks {
  readonly chunks: readonly IndexChunk[]
  readonly rawBytes: number
  /** SHA-256 of all of it, 32 bytes. */
  readonly rawHash: Uint8Array
}

export interface StoreOptions {
  readonly blobs: Pick<BlobStore, 'has' | 'put'>
  readonly level: number
  /** Called with the bytes that are done, and how many of them their stored forms take. */
  readonly onBytes?: (rawBytes: number, storedBytes: number) => void
}

/**
 * The chunks of what comes in pieces. Each is the beginning of a room, 262,144 bytes, that `take`
 * gave, and stays what it is until that gives the same room again.
 */
export async function* chunksOf(
  pieces: AsyncIterable<Uint8Array>,
  take: () => Uint8Array | Promise<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const cutter = createCutter()
  let room = await take()
  let length = 0
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      const cut = cutter.next(piece, at)
      const part = piece.subarray(at, cut)
      room.set(part, length)
      length += part.length
      at += part.length
      if (cut === undefined) continue
      yield room.subarray(0, length)
      room = await take()
      length = 0
    }
  }
  if (length > 0) yield room.subarray(0, length)
}

export function newRoom(): Uint8Array {
  return new Uint8Array(BOUNDS.maxRawBytes)
}

export function hashOf(bytes: Uint8Array): Uint8Array {
  return hashOnce('sha256', bytes, 'buffer')
}

/** One chunk in work: its room, what packs it, and when it is done. `work` does not fail. */
interface Lane {
  readonly room: Uint8Array
  readonly packer: Packer
  work: Promise<void>
}

/**
 * Cut all of it, and keep its chunks. They are rows of an index: the same bytes give the same rows,
 * whatever the store holds.
 *
 * @throws ReleaseError RELEASE_CHANGED, RELEASE_TOO_LARGE; BlobError
 */
export async function storeChunks(
  pieces: AsyncIterable<Uint8Array>,
  { blobs, level, onBytes }: StoreOptions,
): Promise<StoredChunks> {
  const whole = createHash('sha256')
  const rows = createRows()
  const lanes = Array.from({ length: AT_ONCE }, () => newLane(level))
  let failure: { readonly error: unknown } | undefined
  let rawBytes = 0

  async function keep({ packer }: Lane, row: number, bytes: Uint8Array): Promise<void> {
    const hash = rows.hashOf(row)
    try {
      const blob = await packer.pack(bytes)
      const stored = blob.bytes.length
      rows.setForm(row, stored, blob.codec)
      if (!blobs.has(hash)) await blobs.put({ hash, raw: bytes.length }, blob, { verified: true })
      onBytes?.(bytes.length, stored)
    } catch (error) {
      failure ??= { error }
    }
  }

  /** In turn: a chunk waits for the one that was in its lane. */
  let lane = lanes[0]
  async function nextRoom(): Promise<Uint8Array> {
    lane = lanes[rows.rows % AT_ONCE] ?? newLane(level)
    await lane.work
    if (failure !== undefined) throw failure.error
    return lane.room
  }

  try {
    for await (const bytes of chunksOf(pieces, nextRoom)) {
      whole.update(bytes)
      rawBytes += bytes.length
      const { row, isNew } = rows.add(hashOf(bytes), bytes.length) ?? tooLarge()
      if (isNew && lane !== undefined) lane.work = keep(lane, row, bytes)
      else onBytes?.(bytes.length, 0)
    }
  } finally {
    // Nothing goes on in the background.
    for (const { work } of lanes) await work
    for (const { packer } of lanes) packer[Symbol.dispose]()
  }
  if (failure !== undefined) throw failure.error
  return { chunks: rows.list(), rawBytes, rawHash: new Uint8Array(whole.digest()) }
}

function newLane(level: number): Lane {
  return { room: newRoom(), packer: createPacker(level), work: Promise.resolve() }
}

function tooLarge(): never {
  const detail = `One release holds at most ${BOUNDS.maxChunks} chunks, which are about 5 GB.`
  throw new ReleaseError('RELEASE_TOO_LARGE', detail)
}
