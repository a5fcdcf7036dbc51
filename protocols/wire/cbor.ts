/**
 * Deterministic CBOR (RFC 8949 section 4.2.1) and nothing else. One value has one encoding here:
 * what is not exactly what `encodeCbor` writes is refused, so a hash or a signature over bytes is a
 * hash or a signature over a value. A scan without recursion bounds depth, items and lengths before
 * the decoder allocates anything.
 */
import { decode, encode, rfc8949EncodeOptions } from 'cborg'

import { equalBytes } from './bytes.ts'
import { WireError } from './errors.ts'

export interface CborLimits {
  /** Longest document, in bytes. */
  readonly maxBytes: number
  /** Deepest nesting of arrays and maps. */
  readonly maxDepth: number
  /** Values of any kind in the whole document, keys included. */
  readonly maxItems: number
}

const DECODE = {
  useMaps: true,
  strict: true,
  rejectDuplicateMapKeys: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: false,
} as const

/** Values that have no encoding here, though CBOR has one. Null lets the encoder go on. */
const ENCODE = {
  ...rfc8949EncodeOptions,
  mapSorter: compareKeys,
  typeEncoders: {
    number: (value: number) => (Number.isFinite(value) ? null : refuseValue('not a finite number')),
    bigint: () => refuseValue('bigint'),
    undefined: () => refuseValue('undefined'),
  },
}

type KeySorter = NonNullable<typeof rfc8949EncodeOptions.mapSorter>
type Entry = Parameters<KeySorter>[0]

const byEncoding = rfc8949EncodeOptions.mapSorter as KeySorter

/**
 * The library's order of keys, bytewise as encoded, and its speed doubled: small positive integers,
 * which most keys are, need not be encoded to be compared.
 */
function compareKeys(a: Entry, b: Entry): number {
  const [x, y] = [smallInteger(a), smallInteger(b)]
  if (x < 0 || y < 0) return byEncoding(a, b)
  return x - y
}

/** -1 where the key is anything else. */
function smallInteger([key]: Entry): number {
  const value: unknown = key !== undefined && 'value' in key ? key.value : undefined
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : -1
}

function refuseValue(what: string): never {
  throw new TypeError(what)
}

/**
 * The one encoding of `value`. Maps are `Map`, integers are safe integers, floats are shortest, -0
 * is 0.
 *
 * @throws TypeError on a value that has none: NaN, an infinity, undefined, a bigint
 */
export function encodeCbor(value: unknown): Uint8Array {
  // The encoder returns a Buffer, whose slice() shares memory.
  return new Uint8Array(encode(value, ENCODE))
}

/**
 * Decode exactly one document. Maps come back as `Map`, byte strings as fresh `Uint8Array`s.
 *
 * @throws WireError WIRE_MALFORMED, WIRE_FRAME_TOO_LARGE
 */
export function decodeCbor(input: Uint8Array, limits: CborLimits): unknown {
  // A Buffer's slice() shares memory: the decoder must not hand out windows on network buffers.
  const bytes = new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
  if (bytes.length > limits.maxBytes) {
    throw new WireError('WIRE_FRAME_TOO_LARGE', `${bytes.length} of ${limits.maxBytes} bytes`)
  }
  scan(bytes, limits)
  let value: unknown
  let again: Uint8Array
  try {
    value = decode(bytes, DECODE)
    again = encodeCbor(value)
  } catch (cause) {
    throw new WireError('WIRE_MALFORMED', (cause as Error).message, { cause })
  }
  if (!equalBytes(again, bytes)) throw new WireError('WIRE_MALFORMED', 'not canonical')
  return value
}

/** Major types (RFC 8949 section 3.1). */
const UNSIGNED = 0
const NEGATIVE = 1
const BYTES = 2
const TEXT = 3
const ARRAY = 4
const MAP = 5
const TAG = 6

/** Widths of the argument that follows additional information 24..27 (RFC 8949 section 3). */
const ARGUMENT_BYTES: Readonly<Record<number, number>> = { 24: 1, 25: 2, 26: 4, 27: 8 }

/** The head of one value: what it is, its argument, and where the bytes after the head begin. */
interface Head {
  readonly major: number
  readonly argument: number
  readonly end: number
}

/** An array, a map or the document itself, of which `left` values are still to come. */
interface Open {
  left: number
  readonly isMap: boolean
}

/** Walk the heads of all values. Refuses what is too deep, too much, cut short, or followed by more. */
function scan(bytes: Uint8Array, limits: CborLimits): void {
  const open: Open[] = [{ left: 1, isMap: false }]
  let at = 0
  let items = 0
  for (let parent = unfinished(open); parent !== undefined; parent = unfinished(open)) {
    if (++items > limits.maxItems) malformed('too many items')
    const head = readHead(bytes, at)
    if (parent.isMap && parent.left % 2 === 0) requireKey(head)
    parent.left--
    at = endOf(head)
    const children = childrenOf(head)
    // Every value takes a byte at the least.
    if (children > bytes.length - at) malformed('cut short')
    if (head.major !== ARRAY && head.major !== MAP) continue
    if (open.length > limits.maxDepth) malformed('too deep')
    open.push({ left: children, isMap: head.major === MAP })
  }
  if (at !== bytes.length) malformed('bytes after the end')
}

/** The innermost of `open` that has values to come. */
function unfinished(open: Open[]): Open | undefined {
  while (open.at(-1)?.left === 0) open.pop()
  return open.at(-1)
}

function readHead(bytes: Uint8Array, at: number): Head {
  const first = bytes[at]
  if (first === undefined) malformed('cut short')
  const major = first >> 5
  if (major === TAG) malformed('tag')
  const info = first & 31
  if (info < 24) return { major, argument: info, end: at + 1 }
  const width = ARGUMENT_BYTES[info]
  if (width === undefined) malformed('indefinite or reserved length')
  let argument = 0
  for (let i = 1; i <= width; i++) argument = argument * 256 + (bytes[at + i] ?? 0)
  return { major, argument, end: at + 1 + width }
}

/** Keys of other types can be equal without being the same value, so a duplicate could hide. */
function requireKey({ major }: Head): void {
  if (major !== UNSIGNED && major !== NEGATIVE && major !== TEXT) malformed('key of a map')
}

/** Where the value ends, or the first of its children begins. */
function endOf({ major, argument, end }: Head): number {
  return major === BYTES || major === TEXT ? end + argument : end
}

function childrenOf({ major, argument }: Head): number {
  if (major === ARRAY) return argument
  return major === MAP ? argument * 2 : 0
}

function malformed(what: string): never {
  throw new WireError('WIRE_MALFORMED', what)
}
