/**
 * Rows of an index while it is made. A release may have 65,536: they are numbers in tables, since an
 * object, a name and a promise for each would take ten times the memory.
 */
import { BOUNDS, type Codec, type IndexChunk } from '../../protocols/update/index.ts'

const HASH_BYTES = 32
/** Twice as many as there are rows: a search seldom looks at more than two. */
const SLOTS = 2 * BOUNDS.maxChunks

export interface Added {
  readonly row: number
  /** It is the first with its hash. */
  readonly isNew: boolean
}

export interface ChunkRows {
  /** How many are different. */
  readonly rows: number
  /** The next chunk of the release; undefined where there are too many. */
  add(hash: Uint8Array, raw: number): Added | undefined
  hashOf(row: number): Uint8Array
  /** What is known of a chunk once it is packed. */
  setForm(row: number, stored: number, codec: Codec): void
  /** Every chunk, in order. */
  list(): IndexChunk[]
}

export function createRows(): ChunkRows {
  const hashes = new Uint8Array(BOUNDS.maxChunks * HASH_BYTES)
  const raws = new Uint32Array(BOUNDS.maxChunks)
  const storeds = new Uint32Array(BOUNDS.maxChunks)
  const codecs = new Uint8Array(BOUNDS.maxChunks)
  /** Row of each chunk. */
  const order = new Uint32Array(BOUNDS.maxChunks)
  /** 1 + the number of a row, at the place that its hash names or behind it; 0 where there is none. */
  const slots = new Uint32Array(SLOTS)
  let rows = 0
  let count = 0

  function hashOf(row: number): Uint8Array {
    return hashes.subarray(row * HASH_BYTES, (row + 1) * HASH_BYTES)
  }

  function isAt(row: number, hash: Uint8Array): boolean {
    const at = row * HASH_BYTES
    for (let i = 0; i < HASH_BYTES; i++) if (hashes[at + i] !== hash[i]) return false
    return true
  }

  /** The slot of the row with this hash, or the empty one where it would be. */
  function slotOf(hash: Uint8Array): number {
    const [a = 0, b = 0, c = 0] = hash
    let slot = ((a << 16) | (b << 8) | c) % SLOTS
    for (let taken = slots[slot] ?? 0; taken !== 0; taken = slots[slot] ?? 0) {
      if (isAt(taken - 1, hash)) break
      slot = (slot + 1) % SLOTS
    }
    return slot
  }

  return {
    get rows() {
      return rows
    },
    add(hash, raw) {
      if (count === BOUNDS.maxChunks) return undefined
      const slot = slotOf(hash)
      const isNew = slots[slot] === 0
      if (isNew) {
        hashes.set(hash, rows * HASH_BYTES)
        raws[rows] = raw
        slots[slot] = ++rows
      }
      const row = (slots[slot] ?? 1) - 1
      order[count++] = row
      return { row, isNew }
    },
    hashOf,
    setForm(row, stored, codec) {
      storeds[row] = stored
      codecs[row] = codec
    },
    list() {
      const chunk = (_: unknown, row: number): IndexChunk => ({
        hash: hashOf(row),
        raw: raws[row] ?? 0,
        stored: storeds[row] ?? 0,
        codec: codecs[row] as Codec,
      })
      const all = Array.from({ length: rows }, chunk)
      return Array.from(order.subarray(0, count)).flatMap((row) => all[row] ?? [])
    },
  }
}
