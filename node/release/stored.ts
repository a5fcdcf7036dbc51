/** Bytes whose chunks are in the store: an older release, or a patch. */
import type { IndexChunk } from '../../protocols/update/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { rawOf, type BlobStore } from '../storage/blobs.ts'
import { ReleaseError } from './errors.ts'
import { roomFor, type RawBytes } from './raw.ts'

/** Chunks that are kept unpacked: what a segment of a patch and its dictionary touch. */
const KEPT = 64

/**
 * Every chunk is checked before a byte of it is read.
 *
 * @throws ReleaseError RELEASE_MISSING when read, with the number of the chunk counted from `first`
 */
export function storedBytes(
  chunks: readonly IndexChunk[],
  blobs: Pick<BlobStore, 'get'>,
  first = 0,
): RawBytes {
  const ends: number[] = []
  let size = 0
  for (const { raw } of chunks) ends.push((size += raw))
  const kept = new Map<string, Uint8Array>()

  async function chunk(n: number): Promise<Uint8Array> {
    const row = chunks[n]
    if (row === undefined) throw new RangeError('a chunk behind the last')
    const hex = toHex(row.hash)
    const raw = kept.get(hex) ?? (await rawOfChunk(row, blobs))
    if (raw === undefined) {
      throw new ReleaseError('RELEASE_MISSING', undefined, { numbers: [first + n] })
    }
    kept.delete(hex)
    kept.set(hex, raw)
    const oldest = kept.keys().next()
    if (kept.size > KEPT && oldest.done !== true) kept.delete(oldest.value)
    return raw
  }

  return {
    size,
    async read(from, length, into) {
      const target = roomFor(Math.min(length, size - from), into)
      let n = chunkAt(ends, from)
      for (let done = 0; done < target.length; n++) {
        const raw = await chunk(n)
        const inside = from + done - ((ends[n] ?? 0) - raw.length)
        const part = raw.subarray(inside, inside + target.length - done)
        target.set(part, done)
        done += part.length
      }
      return target
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

/** The chunk, checked; undefined where the store has none that is what it must be. */
export async function rawOfChunk(
  row: IndexChunk,
  blobs: Pick<BlobStore, 'get'>,
): Promise<Uint8Array | undefined> {
  const blob = await blobs.get(row.hash)
  if (blob === undefined) return undefined
  try {
    return rawOf(row, blob)
  } catch {
    return undefined
  }
}

/** Number of the first chunk that ends behind `place`. */
function chunkAt(ends: readonly number[], place: number): number {
  let low = 0
  let high = ends.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((ends[middle] ?? 0) <= place) low = middle + 1
    else high = middle
  }
  return low
}
