/**
 * Patches: a release made from an older one, segment by segment. Each segment is packed by zstd with
 * the part of the old release that most likely resembles it as dictionary: where its unchanged
 * chunks were, and some bytes around. Neither side ever holds a whole release. SPEC.md of
 * protocols/update, "Patches".
 *
 * Nothing here is believed: who applies a patch holds what it gives against the hashes of the index.
 */
import { promisify } from 'node:util'
import { constants, zstdCompressSync, zstdDecompress } from 'node:zlib'

import type { IndexChunk } from '../../protocols/update/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import {
  damaged,
  MAGIC,
  PATCH,
  PATCH_WINDOW_LOG,
  readSegments,
  SEGMENT_HEADER_BYTES,
  segmentHeader,
  type PlacedSegment,
} from './patch-form.ts'
import { roomFor, type RawBytes } from './raw.ts'

export { PATCH } from './patch-form.ts'

const decompress = promisify(zstdDecompress)

/** Finds what moved within a few MiB; lower levels look at one MiB only, and pack ten times worse. */
const LEVEL = 9
/** How far apart two places are that are worth trying both. */
const APART_BYTES = 262_144
/** How a dictionary with tables of its own begins. */
const TRAINED = [0x37, 0xa4, 0x30, 0xec]

interface Rows {
  readonly raw: RawBytes
  readonly chunks: readonly IndexChunk[]
}

/**
 * The bytes of a patch from `old` to `next`, piece by piece. `onBytes` hears how much of `next` is
 * done, and how long the patch is so far.
 */
export async function* makePatch(
  old: Rows,
  next: Rows,
  signal: AbortSignal,
  onBytes?: (doneBytes: number, patchBytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const shifts = shiftsOf(old, next)
  const rooms = newRooms()
  yield MAGIC
  let length = MAGIC.length
  for (let at = 0; at < next.raw.size; at += PATCH.segmentBytes) {
    signal.throwIfAborted()
    const bytes = await next.raw.read(at, PATCH.segmentBytes, rooms.segment)
    let best: Attempt | undefined
    for (const place of placesFor(at, bytes.length, { shifts, oldBytes: old.raw.size })) {
      const attempt = await packSegment(bytes, old.raw, place, rooms)
      if (best === undefined || attempt.packed.length < best.packed.length) best = attempt
    }
    if (best === undefined) throw new RangeError('a segment without a place')
    const { from, fromBytes, packed } = best
    yield segmentHeader({ from, fromBytes, rawBytes: bytes.length, packedBytes: packed.length })
    yield packed
    length += SEGMENT_HEADER_BYTES + packed.length
    onBytes?.(at + bytes.length, length)
  }
}

/** A place in the new release, and by how much its content moved since the old one. */
interface Shift {
  readonly at: number
  readonly by: number
}

/** One for every chunk that both have and that the old one has once, by rising place. */
function shiftsOf(old: Rows, next: Rows): Shift[] {
  const places = new Map<string, number[]>()
  let place = 0
  for (const { hash, raw } of old.chunks) {
    const hex = toHex(hash)
    const known = places.get(hex)
    if (known === undefined) places.set(hex, [place])
    else known.push(place)
    place += raw
  }
  const shifts: Shift[] = []
  let at = 0
  for (const { hash, raw } of next.chunks) {
    const known = places.get(toHex(hash))
    // A chunk that is everywhere says nothing about where its surroundings are.
    if (known?.length === 1) shifts.push({ at, by: (known[0] ?? 0) - at })
    at += raw
  }
  return shifts
}

/** Where in the old release a segment may resemble it: one or two places, or its share of the way. */
function placesFor(
  at: number,
  length: number,
  { shifts, oldBytes }: { readonly shifts: readonly Shift[]; readonly oldBytes: number },
): number[] {
  const behind = firstFrom(shifts, at + length / 2)
  const near = [shifts[behind - 1], shifts[behind]].filter((shift) => shift !== undefined)
  const margin = (PATCH.dictionaryBytes - length) / 2
  const latest = Math.max(0, oldBytes - PATCH.dictionaryBytes)
  const bounded = (by: number): number =>
    Math.max(0, Math.min(latest, Math.round(at + by - margin)))
  const [one, other] = near.map(({ by }) => bounded(by))
  if (one === undefined) return [bounded(0)]
  if (other === undefined || Math.abs(one - other) < APART_BYTES) return [one]
  return [one, other]
}

/** Number of the first shift at or behind a place. */
function firstFrom(shifts: readonly Shift[], place: number): number {
  let low = 0
  let high = shifts.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((shifts[middle]?.at ?? 0) < place) low = middle + 1
    else high = middle
  }
  return low
}

interface Attempt {
  readonly from: number
  readonly fromBytes: number
  readonly packed: Uint8Array
}

/** Used again for each segment: memory that is only collected would pile up. */
interface Rooms {
  readonly segment: Uint8Array
  readonly dictionary: Uint8Array
}

function newRooms(): Rooms {
  return {
    segment: new Uint8Array(PATCH.packedBytes),
    dictionary: new Uint8Array(PATCH.dictionaryBytes),
  }
}

async function packSegment(
  bytes: Uint8Array,
  old: RawBytes,
  place: number,
  rooms: Rooms,
): Promise<Attempt> {
  const found = await old.read(place, PATCH.dictionaryBytes, rooms.dictionary)
  // What begins like a trained dictionary would be taken for one.
  const skipped = TRAINED.every((byte, i) => found[i] === byte) ? 1 : 0
  const dictionary = found.subarray(skipped)
  // Not in a thread: the memory for it, 20 MB, would stay with each thread that did it once.
  const packed = zstdCompressSync(bytes, {
    pledgedSrcSize: bytes.length,
    ...(dictionary.length > 0 && { dictionary }),
    params: {
      [constants.ZSTD_c_compressionLevel]: LEVEL,
      [constants.ZSTD_c_windowLog]: PATCH_WINDOW_LOG,
    },
  })
  return { from: place + skipped, fromBytes: dictionary.length, packed }
}

/**
 * The new release as `patch` makes it from `old`. Reading decodes only the segments that are asked
 * for, and keeps the last one.
 *
 * @throws ReleaseError RELEASE_PATCH, here and when read
 */
export async function openPatched(
  patch: RawBytes,
  old: RawBytes,
  rawBytes: number,
): Promise<RawBytes> {
  const segments = await readSegments(patch, { fromBytes: old.size, rawBytes })
  const rooms = newRooms()
  let last: { readonly of: PlacedSegment; readonly bytes: Uint8Array } | undefined

  async function segmentAt(place: number): Promise<{ of: PlacedSegment; bytes: Uint8Array }> {
    if (last !== undefined && isIn(last.of, place)) return last
    // All but the last are equally long.
    const of = segments[Math.floor(place / PATCH.segmentBytes)]
    if (of === undefined) throw new RangeError('a place behind the release')
    last = { of, bytes: await unpackSegment(patch, old, { ...of, rooms }) }
    return last
  }

  return {
    size: rawBytes,
    async read(from, length, into) {
      const target = roomFor(Math.min(length, rawBytes - from), into)
      for (let done = 0; done < target.length;) {
        const { of, bytes } = await segmentAt(from + done)
        const inside = from + done - of.at
        const part = bytes.subarray(inside, inside + target.length - done)
        target.set(part, done)
        done += part.length
      }
      return target
    },
    async [Symbol.asyncDispose]() {
      await patch[Symbol.asyncDispose]()
      await old[Symbol.asyncDispose]()
    },
  }
}

function isIn({ at, rawBytes }: PlacedSegment, place: number): boolean {
  return at <= place && place < at + rawBytes
}

async function unpackSegment(
  patch: RawBytes,
  old: RawBytes,
  { from, fromBytes, rawBytes, packedAt, packedBytes, rooms }: PlacedSegment & { rooms: Rooms },
): Promise<Uint8Array> {
  const packed = await patch.read(packedAt, packedBytes, rooms.segment)
  const dictionary = await old.read(from, fromBytes, rooms.dictionary)
  try {
    const bytes = await decompress(packed, {
      maxOutputLength: rawBytes,
      chunkSize: Math.max(64, rawBytes),
      ...(dictionary.length > 0 && { dictionary }),
      params: { [constants.ZSTD_d_windowLogMax]: PATCH_WINDOW_LOG },
    })
    if (bytes.length !== rawBytes) damaged('a segment')
    return bytes
  } catch (cause) {
    return damaged('a segment', cause)
  }
}
