/**
 * Where a release is cut into chunks: at places that its bytes name, so that an insertion moves few
 * cuts. A gear hash runs over the bytes; a chunk ends behind the first byte at which the top bits of
 * the hash are zero. SPEC.md "Chunks".
 *
 * Keeps no bytes and hashes none for their identity: it only says where a chunk ends.
 */
import { sha256 } from '../identity/index.ts'

/** Lengths in bytes, and the bits of the hash that must be zero before and from the mean on. */
export const CHUNKING = {
  minBytes: 16_384,
  meanBytes: 65_536,
  maxBytes: 262_144,
  /** Fewer cuts before the mean, and more behind it: lengths stay close to it. */
  bitsBefore: 18,
  bitsBehind: 14,
} as const

/** The hash forgets a byte after as many others as it has bits. */
const WINDOW_BYTES = 32
const SEED = 'kith/update/gear/1'

const MASK_BEFORE = -1 << (32 - CHUNKING.bitsBefore)
const MASK_BEHIND = -1 << (32 - CHUNKING.bitsBehind)
/** Bytes of a chunk that no cut depends on. */
const SKIPPED_BYTES = CHUNKING.minBytes - WINDOW_BYTES

export interface Cutter {
  /**
   * Go on at `from`. The place behind the last byte of the chunk, where it ends in `bytes`, or
   * undefined where it does not: all of `bytes` belongs to it.
   */
  next(bytes: Uint8Array, from: number): number | undefined
}

/** For byte b the first 4 bytes, big-endian, of SHA-256(seed as ASCII ‖ b). */
export function gearTable(): Int32Array {
  const seed = new TextEncoder().encode(SEED)
  return Int32Array.from({ length: 256 }, (_, b) => {
    const digest = sha256(Uint8Array.of(...seed, b))
    return new DataView(digest.buffer, digest.byteOffset, digest.byteLength).getInt32(0)
  })
}

/** At the beginning of a release. What it says depends on the bytes alone, not on how they come. */
export function createCutter(): Cutter {
  const gear = gearTable()
  /** Of the chunk that is open. */
  let length = 0
  let hash = 0

  /** To `end` or behind the byte that ends the chunk, whichever comes first. */
  function roll(bytes: Uint8Array, from: number, end: number): number | undefined {
    const mask = length < CHUNKING.meanBytes ? MASK_BEFORE : MASK_BEHIND
    let rolled = hash
    for (let at = from; at < end; at++) {
      rolled = ((rolled << 1) + (gear[bytes[at] ?? 0] ?? 0)) | 0
      if ((rolled & mask) === 0) return at + 1
    }
    hash = rolled
    length += end - from
    return undefined
  }

  function warm(bytes: Uint8Array, from: number, end: number): void {
    for (let at = from; at < end; at++) hash = ((hash << 1) + (gear[bytes[at] ?? 0] ?? 0)) | 0
    length += end - from
  }

  function cutAt(at: number): number {
    length = 0
    hash = 0
    return at
  }

  return {
    next(bytes, from) {
      let at = from
      /** How far it is to where the chunk is `limit` bytes long, or to the end of `bytes`. */
      const until = (limit: number): number =>
        Math.min(bytes.length, at + Math.max(0, limit - length))
      const skip = until(SKIPPED_BYTES)
      length += skip - at
      at = skip
      const warmed = until(CHUNKING.minBytes)
      warm(bytes, at, warmed)
      at = warmed
      for (const limit of [CHUNKING.meanBytes, CHUNKING.maxBytes]) {
        const end = until(limit)
        const cut = roll(bytes, at, end)
        if (cut !== undefined) return cutAt(cut)
        at = end
      }
      return length === CHUNKING.maxBytes ? cutAt(at) : undefined
    },
  }
}
