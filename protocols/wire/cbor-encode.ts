/**
 * The one encoding of a value in deterministic CBOR (RFC 8949 section 4.2.1), written in one pass
 * into one array that doubles. What it writes is all that `cbor-decode.ts` accepts.
 */
import { compareBytes, utf8 } from './bytes.ts'

/** Major types (RFC 8949 section 3.1), in place. */
const UNSIGNED = 0x00
const NEGATIVE = 0x20
const BYTES = 0x40
const TEXT = 0x60
const ARRAY = 0x80
const MAP = 0xa0

const FALSE = 0xf4
const TRUE = 0xf5
const NULL = 0xf6
const FLOAT16 = 0xf9
const FLOAT32 = 0xfa
const FLOAT64 = 0xfb

const FIRST_BYTES = 256
const LONG_BYTES = 16_384
const TWO_32 = 2 ** 32
/** Texts up to this length are written without a call to the encoder of the platform. */
const SHORT_TEXT = 64

/**
 * The one encoding of `value`. Maps are `Map` with integers and texts as keys, integers are safe
 * integers, floats are shortest, -0 is 0.
 *
 * @throws TypeError on a value that has none: NaN, an infinity, undefined, a bigint, any other object
 */
export function encodeCbor(value: unknown): Uint8Array {
  const out = new Writer()
  out.item(value)
  return out.taken()
}

/**
 * The same bytes in pieces: byte strings of `LONG_BYTES` and more are not copied, and must not change
 * for as long as the pieces are used.
 *
 * @throws TypeError as `encodeCbor`
 */
export function encodeCborPieces(value: unknown): Uint8Array[] {
  const out = new Writer([])
  out.item(value)
  return out.pieces()
}

class Writer {
  /** What is written before `#bytes`; undefined where all of it goes into that. */
  readonly #pieces: Uint8Array[] | undefined
  #bytes = new Uint8Array(FIRST_BYTES)
  #view = new DataView(this.#bytes.buffer)
  #at = 0

  constructor(pieces?: Uint8Array[]) {
    this.#pieces = pieces
  }

  pieces(): Uint8Array[] {
    const last = this.taken()
    return last.length === 0 ? [...(this.#pieces ?? [])] : [...(this.#pieces ?? []), last]
  }

  taken(): Uint8Array {
    // Long ones are nearly as long as their array: not worth a copy.
    if (this.#at > LONG_BYTES && this.#at > this.#bytes.length / 2) {
      return this.#bytes.subarray(0, this.#at)
    }
    return this.#bytes.slice(0, this.#at)
  }

  item(value: unknown): void {
    if (typeof value === 'number') this.#number(value)
    else if (typeof value === 'string') this.#text(value)
    else if (typeof value === 'boolean') this.#byte(value ? TRUE : FALSE)
    else if (value === null) this.#byte(NULL)
    else if (value instanceof Uint8Array) this.#raw(BYTES, value)
    else if (Array.isArray(value)) this.#array(value)
    else if (value instanceof Map) this.#map(value)
    else throw new TypeError(`no encoding for ${typeof value}`)
  }

  #number(value: number): void {
    if (Number.isSafeInteger(value)) {
      if (value < 0) this.#head(NEGATIVE, -1 - value)
      else this.#head(UNSIGNED, value)
      return
    }
    if (!Number.isFinite(value)) throw new TypeError('not a finite number')
    this.#room(9)
    if (Math.f16round(value) === value) {
      this.#bytes[this.#at] = FLOAT16
      this.#view.setFloat16(this.#at + 1, value)
      this.#at += 3
    } else if (Math.fround(value) === value) {
      this.#bytes[this.#at] = FLOAT32
      this.#view.setFloat32(this.#at + 1, value)
      this.#at += 5
    } else {
      this.#bytes[this.#at] = FLOAT64
      this.#view.setFloat64(this.#at + 1, value)
      this.#at += 9
    }
  }

  #text(value: string): void {
    if (value.length > SHORT_TEXT || !this.#ascii(value)) {
      if (!value.isWellFormed()) throw new TypeError('not text')
      this.#raw(TEXT, utf8(value))
    }
  }

  /** False, with nothing written, where there is more to `value` than ASCII. */
  #ascii(value: string): boolean {
    const { length } = value
    this.#room(length + 2)
    const bytes = this.#bytes
    let at = this.#at + (length < 24 ? 1 : 2)
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i)
      if (unit > 0x7f) return false
      bytes[at++] = unit
    }
    this.#head(TEXT, length)
    this.#at = at
    return true
  }

  #array(items: readonly unknown[]): void {
    this.#head(ARRAY, items.length)
    // By index: what a hole holds is not left out.
    for (let i = 0; i < items.length; i++) this.item(items[i])
  }

  #map(map: ReadonlyMap<unknown, unknown>): void {
    this.#head(MAP, map.size)
    if (isSorted(map)) {
      for (const [key, value] of map) {
        this.item(key)
        this.item(value)
      }
      return
    }
    const entries = Array.from(map, ([key, value]) => ({ key: encodedKey(key), value }))
    for (const { key, value } of entries.toSorted((a, b) => compareBytes(a.key, b.key))) {
      this.#append(key)
      this.item(value)
    }
  }

  #raw(major: number, bytes: Uint8Array): void {
    this.#head(major, bytes.length)
    this.#append(bytes)
  }

  #append(bytes: Uint8Array): void {
    if (this.#pieces !== undefined && bytes.length >= LONG_BYTES) {
      // A copy: the array is written to again.
      this.#pieces.push(this.#bytes.slice(0, this.#at), bytes)
      this.#at = 0
      return
    }
    this.#room(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }

  #byte(byte: number): void {
    this.#room(1)
    this.#bytes[this.#at++] = byte
  }

  #head(major: number, argument: number): void {
    this.#room(9)
    if (argument < 24) {
      this.#bytes[this.#at++] = major | argument
    } else if (argument < 0x100) {
      this.#bytes[this.#at++] = major | 24
      this.#bytes[this.#at++] = argument
    } else if (argument < 0x10000) {
      this.#bytes[this.#at++] = major | 25
      this.#view.setUint16(this.#at, argument)
      this.#at += 2
    } else if (argument < TWO_32) {
      this.#bytes[this.#at++] = major | 26
      this.#view.setUint32(this.#at, argument)
      this.#at += 4
    } else {
      this.#bytes[this.#at++] = major | 27
      this.#view.setUint32(this.#at, Math.floor(argument / TWO_32))
      this.#view.setUint32(this.#at + 4, argument % TWO_32)
      this.#at += 8
    }
  }

  #room(needed: number): void {
    if (this.#at + needed <= this.#bytes.length) return
    const bytes = new Uint8Array(Math.max(2 * this.#bytes.length, this.#at + needed))
    bytes.set(this.#bytes)
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer)
  }
}

/** Whether the keys are rising small integers, as nearly all are: these need no sorting. */
function isSorted(map: ReadonlyMap<unknown, unknown>): boolean {
  let last = -1
  for (const key of map.keys()) {
    if (typeof key !== 'number' || !Number.isSafeInteger(key) || key <= last) return false
    last = key
  }
  return true
}

function encodedKey(key: unknown): Uint8Array {
  if (typeof key !== 'string' && !Number.isSafeInteger(key)) throw new TypeError('key of a map')
  return encodeCbor(key)
}
