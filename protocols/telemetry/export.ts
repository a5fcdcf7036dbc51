/**
 * A file of logs for keeping and for showing to others: a CBOR sequence (RFC 8742) of maps and byte
 * strings, with the home's membership first, so that whoever has the file can check all of it
 * without asking anybody. SPEC.md "Export". What it proves is node/verify.ts.
 */
import { KEY_BYTES } from '../identity/index.ts'
import {
  bytes,
  concatBytes,
  decodeCbor,
  encodeCbor,
  field,
  message,
  oneOf,
  optional,
  uint,
  type Infer,
} from '../wire/index.ts'
import { BOUNDS, TelemetryError } from './protocol.ts'
import { MAX_TIME_MS } from './senml.ts'

const hash = bytes({ length: KEY_BYTES })
/** A map of an export, in bytes. */
const MAX_MAP_BYTES = 256
const LIMITS = { maxBytes: MAX_MAP_BYTES, maxItems: 16 }

const Header = message(
  'export.header',
  {
    part: field(1, oneOf('kith-export-v1')),
    home: field(2, hash),
    by: field(3, hash),
    exportedAtMs: field(4, uint(MAX_TIME_MS)),
    sinceMs: optional(5, uint(MAX_TIME_MS)),
    untilMs: optional(6, uint(MAX_TIME_MS)),
  },
  LIMITS,
)
const Log = message(
  'export.log',
  {
    part: field(1, oneOf('log')),
    device: field(2, hash),
    from: field(3, uint()),
    to: field(4, uint()),
  },
  LIMITS,
)
const End = message(
  'export.end',
  { part: field(1, oneOf('end')), items: field(2, uint()), hash: field(3, hash) },
  LIMITS,
)

export type ExportPart = Infer<typeof Header> | Infer<typeof Log> | Infer<typeof End>
/** A map, or an op or a pack as the bytes that it is. */
export type ExportItem = ExportPart | Uint8Array

export interface PlacedItem {
  readonly item: ExportItem
  /** Where it begins in the file. */
  readonly offset: number
  /** As it stands in the file. */
  readonly encoded: Uint8Array
}

export function encodeExportItem(item: ExportItem): Uint8Array {
  if (item instanceof Uint8Array) return encodeCbor(item)
  if (item.part === 'log') return Log.encode(item)
  return item.part === 'end' ? End.encode(item) : Header.encode(item)
}

/**
 * The items of a file, as its pieces come.
 *
 * @throws TelemetryError TELEMETRY_BAD_EXPORT where it is cut off inside an item, or is no such file
 */
export async function* readExport(
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<PlacedItem, void, undefined> {
  let rest: Uint8Array = new Uint8Array()
  let offset = 0
  for await (const piece of pieces) {
    rest = rest.length === 0 ? piece : concatBytes(rest, piece)
    let at = 0
    for (;;) {
      const length = itemLength(rest, at)
      if (length === undefined || at + length > rest.length) break
      const encoded = rest.slice(at, at + length)
      yield { item: decodeItem(encoded, offset), offset, encoded }
      at += length
      offset += length
    }
    rest = rest.subarray(at)
  }
  if (rest.length > 0) throw badExport(offset)
}

function decodeItem(encoded: Uint8Array, offset: number): ExportItem {
  try {
    const value = decodeCbor(encoded, { maxBytes: encoded.length, maxDepth: 2, maxItems: 16 })
    if (value instanceof Uint8Array) return value
    const part: unknown = value instanceof Map ? value.get(1) : undefined
    if (part === 'log') return Log.decode(encoded)
    return part === 'end' ? End.decode(encoded) : Header.decode(encoded)
  } catch (cause) {
    throw badExport(offset, cause)
  }
}

/** Length of the item at `at`; undefined where more bytes are needed. Keeps to flat, small items. */
function itemLength(input: Uint8Array, at: number): number | undefined {
  const first = headAt(input, at)
  if (first === undefined) return undefined
  if (first.major === BYTES) return first.length + bounded(first.value, BOUNDS.maxPackBytes)
  if (first.major !== MAP) throw badExport(at)
  let length = first.length
  for (let left = 2 * bounded(first.value, 8); left > 0; left--) {
    const head = headAt(input, at + length)
    if (head === undefined) return undefined
    if (head.major > TEXT) throw badExport(at)
    const content = head.major < BYTES ? 0 : bounded(head.value, MAX_MAP_BYTES)
    length = bounded(length + head.length + content, MAX_MAP_BYTES)
  }
  return length
}

/** Major types of CBOR. */
const BYTES = 2
const TEXT = 3
const MAP = 5

interface Head {
  readonly major: number
  readonly value: number
  readonly length: number
}

function headAt(input: Uint8Array, at: number): Head | undefined {
  const initial = input[at]
  if (initial === undefined) return undefined
  const major = initial >> 5
  const info = initial & 31
  if (info < 24) return { major, value: info, length: 1 }
  if (info > 27) throw badExport(at)
  const size = 2 ** (info - 24)
  if (at + 1 + size > input.length) return undefined
  let value = 0
  for (const byte of input.subarray(at + 1, at + 1 + size)) value = value * 256 + byte
  return { major, value, length: 1 + size }
}

function bounded(value: number, max: number): number {
  if (value > max) throw badExport(0, new RangeError('too long'))
  return value
}

function badExport(offset: number, cause?: unknown): TelemetryError {
  return new TelemetryError('TELEMETRY_BAD_EXPORT', `byte ${offset}`, { cause })
}
