/**
 * Reads deterministic CBOR (RFC 8949 section 4.2.1) and nothing else. One value has one encoding: a
 * head that could be shorter, a float that could be shorter or an integer, and a key out of order
 * are refused where they stand, in the same pass that makes the value. So a hash or a signature over
 * bytes is a hash or a signature over a value. What `encodeCbor` writes, and only that, is accepted.
 *
 * Depth, items and lengths are checked before anything is allocated for them; the recursion is as
 * deep as `maxDepth` at most.
 */
import { WireError } from './errors.ts'

export interface CborLimits {
  /** Longest document, in bytes. */
  readonly maxBytes: number
  /** Deepest nesting of arrays and maps. */
  readonly maxDepth: number
  /** Values of any kind in the whole document, keys included. */
  readonly maxItems: number
}

/** Major types (RFC 8949 section 3.1). */
const UNSIGNED = 0
const NEGATIVE = 1
const BYTES = 2
const TEXT = 3
const MAP = 5
const TAG = 6

/** Least argument that needs 1, 2, 4 or 8 bytes after the head (RFC 8949 section 4.2.1). */
const LEAST = [24, 0x100, 0x10000, 2 ** 32] as const
const TWO_32 = 2 ** 32
/** Byte strings from this length on may be windows. */
const LONG_BYTES = 16 * 1024
/** Texts up to this length are read without a call to the decoder of the platform. */
const SHORT_TEXT = 64

/**
 * Decode exactly one document. Maps come back as `Map`, byte strings as `Uint8Array`s: fresh ones, but
 * for one that is most of a long `input`, which is a window on it.
 *
 * @throws WireError WIRE_MALFORMED, WIRE_FRAME_TOO_LARGE
 */
export function decodeCbor(input: Uint8Array, limits: CborLimits): unknown {
  if (input.length > limits.maxBytes) {
    throw new WireError('WIRE_FRAME_TOO_LARGE', `${input.length} of ${limits.maxBytes} bytes`)
  }
  return new Reader(input, limits).document()
}

class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #maxDepth: number
  #itemsLeft: number
  #at = 0

  constructor(input: Uint8Array, { maxDepth, maxItems }: CborLimits) {
    // A Buffer's slice() shares memory: nothing short that is read may keep a network buffer.
    this.#bytes = new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
    this.#view = new DataView(input.buffer, input.byteOffset, input.byteLength)
    this.#maxDepth = maxDepth
    this.#itemsLeft = maxItems
  }

  document(): unknown {
    const value = this.#item(0)
    if (this.#at !== this.#bytes.length) malformed('bytes after the end')
    return value
  }

  #item(depth: number): unknown {
    if (--this.#itemsLeft < 0) malformed('too many items')
    const first = this.#bytes[this.#at]
    if (first === undefined) malformed('cut short')
    const major = first >> 5
    const info = first & 31
    if (major > TAG) return this.#simple(info)
    if (major === TAG) malformed('tag')
    this.#at++
    const argument = info < 24 ? info : this.#argument(info)
    switch (major) {
      case UNSIGNED:
        return argument
      case NEGATIVE:
        if (argument === Number.MAX_SAFE_INTEGER) malformed('integer')
        return -1 - argument
      case BYTES:
        return this.#byteString(argument)
      case TEXT:
        return this.#text(argument)
      default:
        return this.#container(major, argument, depth)
    }
  }

  /** @throws WireError where the argument fits into a shorter head, or into no safe integer */
  #argument(info: number): number {
    const least = LEAST[info - 24]
    if (least === undefined) malformed('indefinite or reserved length')
    const at = this.#at
    this.#skip(1 << (info - 24))
    let argument: number
    if (info === 24) argument = this.#view.getUint8(at)
    else if (info === 25) argument = this.#view.getUint16(at)
    else if (info === 26) argument = this.#view.getUint32(at)
    else argument = this.#view.getUint32(at) * TWO_32 + this.#view.getUint32(at + 4)
    if (argument < least) malformed('head is not the shortest')
    if (argument > Number.MAX_SAFE_INTEGER) malformed('integer')
    return argument
  }

  /** Pass over `count` bytes, which must be there; where they end. */
  #skip(count: number): number {
    if (count > this.#bytes.length - this.#at) malformed('cut short')
    this.#at += count
    return this.#at
  }

  /** Long ones are most of the document: a window on it keeps little else. */
  #byteString(length: number): Uint8Array {
    const from = this.#at
    const to = this.#skip(length)
    const long = length >= LONG_BYTES && 2 * length >= this.#bytes.buffer.byteLength
    return long ? this.#bytes.subarray(from, to) : this.#bytes.slice(from, to)
  }

  #text(length: number): string {
    const from = this.#at
    const to = this.#skip(length)
    if (length <= SHORT_TEXT) {
      const short = asciiOf(this.#bytes, from, to)
      if (short !== undefined) return short
    }
    const bytes = this.#bytes.subarray(from, to)
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) malformed('byte order mark')
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch (cause) {
      throw new WireError('WIRE_MALFORMED', 'not UTF-8', { cause })
    }
  }

  #container(major: number, count: number, depth: number): unknown {
    // Every value takes a byte at the least.
    const children = major === MAP ? 2 * count : count
    if (children > this.#bytes.length - this.#at) malformed('cut short')
    if (depth >= this.#maxDepth) malformed('too deep')
    if (major === MAP) return this.#map(count, depth + 1)
    const out: unknown[] = []
    for (let i = 0; i < count; i++) out.push(this.#item(depth + 1))
    return out
  }

  #map(count: number, depth: number): Map<unknown, unknown> {
    const out = new Map<unknown, unknown>()
    let [lastFrom, lastTo] = [0, 0]
    for (let i = 0; i < count; i++) {
      const from = this.#at
      const major = (this.#bytes[from] ?? 0) >> 5
      // Keys of other types can be equal without being the same value: a duplicate could hide.
      if (major !== UNSIGNED && major !== NEGATIVE && major !== TEXT) malformed('key of a map')
      const key = this.#item(depth)
      if (i > 0 && !this.#rises(lastFrom, lastTo, from)) malformed('keys out of order')
      ;[lastFrom, lastTo] = [from, this.#at]
      out.set(key, this.#item(depth))
    }
    return out
  }

  /** Whether the key from `from` on comes, bytewise, after the one at `lastFrom`..`lastTo`. */
  #rises(lastFrom: number, lastTo: number, from: number): boolean {
    // No key is the beginning of another: both say their length first.
    for (let i = lastFrom; i < lastTo; i++) {
      const difference = (this.#bytes[from + i - lastFrom] ?? 0) - (this.#bytes[i] ?? 0)
      if (difference !== 0) return difference > 0
    }
    return false
  }

  /** False, true, null, and floats (RFC 8949 section 3.3); `#at` is still at the head. */
  #simple(info: number): unknown {
    this.#at++
    if (info === 20 || info === 21) return info === 21
    if (info === 22) return null
    const value = this.#float(info)
    if (!Number.isFinite(value)) malformed('not a finite number')
    if (Number.isSafeInteger(value)) malformed('float for an integer')
    return value
  }

  #float(info: number): number {
    const at = this.#at
    if (info === 25) {
      this.#skip(2)
      return this.#view.getFloat16(at)
    }
    if (info !== 26 && info !== 27) malformed('simple value')
    this.#skip(info === 26 ? 4 : 8)
    const value = info === 26 ? this.#view.getFloat32(at) : this.#view.getFloat64(at)
    const shorter = info === 26 ? Math.f16round(value) : Math.fround(value)
    if (shorter === value) malformed('float is not the shortest')
    return value
  }
}

/** Undefined where there is more to the text than ASCII. */
function asciiOf(bytes: Uint8Array, from: number, to: number): string | undefined {
  let out = ''
  for (let i = from; i < to; i++) {
    const byte = bytes[i] ?? 0
    if (byte > 0x7f) return undefined
    out += String.fromCharCode(byte)
  }
  return out
}

function malformed(what: string): never {
  throw new WireError('WIRE_MALFORMED', what)
}
