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

/** The one encoding of `value`. Maps are `Map`, integers are safe integers, floats are shortest. */
export function encodeCbor(value: unknown): Uint8Array {
  return encode(value, rfc8949EncodeOptions)
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

/** Widths of the argument that follows additional information 24..27 (RFC 8949 section 3). */
const ARGUMENT_BYTES: Readonly<Record<number, number>> = { 24: 1, 25: 2, 26: 4, 27: 8 }

/** Walk the heads of all values. Refuses what is too deep, too much, cut short, or followed by more. */
function scan(bytes: Uint8Array, limits: CborLimits): void {
  const open: number[] = [1]
  let at = 0
  let items = 0
  for (;;) {
    while (open.at(-1) === 0) open.pop()
    const left = open.at(-1)
    if (left === undefined) break
    open[open.length - 1] = left - 1
    if (++items > limits.maxItems) throw new WireError('WIRE_MALFORMED', 'too many items')
    const head = bytes[at++]
    if (head === undefined) throw new WireError('WIRE_MALFORMED', 'cut short')
    const major = head >> 5
    const argument = readArgument(bytes, at, head & 31)
    at += argument.width
    const children = childrenOf(major, argument.value)
    if (major === 2 || major === 3) at += argument.value
    if (at > bytes.length || children > bytes.length - at) {
      throw new WireError('WIRE_MALFORMED', 'cut short')
    }
    if (major === 4 || major === 5) {
      if (open.length > limits.maxDepth) throw new WireError('WIRE_MALFORMED', 'too deep')
      open.push(children)
    }
  }
  if (at !== bytes.length) throw new WireError('WIRE_MALFORMED', 'bytes after the end')
}

function readArgument(
  bytes: Uint8Array,
  at: number,
  info: number,
): { readonly value: number; readonly width: number } {
  if (info < 24) return { value: info, width: 0 }
  const width = ARGUMENT_BYTES[info]
  if (width === undefined) throw new WireError('WIRE_MALFORMED', 'indefinite or reserved length')
  let value = 0
  for (let i = 0; i < width; i++) value = value * 256 + (bytes[at + i] ?? 0)
  return { value, width }
}

function childrenOf(major: number, argument: number): number {
  if (major === 4) return argument
  if (major === 5) return argument * 2
  if (major === 6) throw new WireError('WIRE_MALFORMED', 'tag')
  return 0
}
