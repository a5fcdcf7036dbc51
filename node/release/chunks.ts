/**
 * From bytes to chunks in the store: cut, hash, pack, put. A few chunks are in work at a time, so
 * the memory that it takes does not grow with the release.
 */
import { createHash } from 'node:crypto'

import { BOUNDS, createCutter, type IndexChunk } from '../../protocols/update/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import type { BlobStore } from '../storage/blobs.ts'
import { ReleaseError } from './errors.ts'
import { createPacker } from './pack.ts'

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
  take: () => Uint8Array,
): AsyncGenerator<Uint8Array> {
  const cutter = createCutter()
  let room = take()
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
      room = take()
      length = 0
    }
  }
  if (length > 0) yield room.subarray(0, length)
}

export function newRoom(): Uint8Array {
  return new Uint8Array(BOUNDS.maxRawBytes)
}

export function hashOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(bytes).digest())
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
  const seen = new Map<string, Promise<IndexChunk>>()
  const rows: IndexChunk[] = []
  const inWork: Promise<IndexChunk>[] = []
  /** Used again and again: memory that is only collected would pile up. */
  const rooms: Uint8Array[] = []
  const packers = Array.from({ length: AT_ONCE }, () => createPacker(level))
  let rawBytes = 0
  let failure: unknown

  async function keep(hash: Uint8Array, bytes: Uint8Array): Promise<IndexChunk> {
    // There are as many as there are chunks in work.
    const packer = packers.pop() ?? createPacker(level)
    try {
      const blob = await packer.pack(bytes)
      const row = { hash, raw: bytes.length, stored: blob.bytes.length, codec: blob.codec }
      if (!blobs.has(hash)) await blobs.put(row, blob, { verified: true })
      return row
    } finally {
      packers.push(packer)
    }
  }

  function giveBack(bytes: Uint8Array): void {
    rooms.push(new Uint8Array(bytes.buffer))
  }

  async function take(): Promise<void> {
    const row = await inWork.shift()
    if (row === undefined) return
    rows.push(row)
    if (rows.length > BOUNDS.maxChunks) tooLarge()
    onBytes?.(row.raw, row.stored)
  }

  try {
    for await (const bytes of chunksOf(pieces, () => rooms.pop() ?? newRoom())) {
      whole.update(bytes)
      rawBytes += bytes.length
      const hash = hashOf(bytes)
      const hex = toHex(hash)
      let row = seen.get(hex)
      if (row === undefined) {
        row = keep(hash, bytes).finally(() => giveBack(bytes))
        seen.set(hex, row)
      } else giveBack(bytes)
      inWork.push(row)
      if (inWork.length >= AT_ONCE) await take()
    }
    while (inWork.length > 0) await take()
  } catch (error) {
    failure = error
    throw error
  } finally {
    // Nothing goes on in the background, and no failure is left without a listener.
    if (failure !== undefined) await Promise.allSettled(inWork)
    for (const packer of packers) packer[Symbol.dispose]()
  }
  return { chunks: rows, rawBytes, rawHash: new Uint8Array(whole.digest()) }
}

function tooLarge(): never {
  const detail = `One release holds at most ${BOUNDS.maxChunks} chunks, which are about 5 GB.`
  throw new ReleaseError('RELEASE_TOO_LARGE', detail)
}
