/**
 * The file of a backup: 8 bytes `KITHBAK1`, then frames of 1 byte kind, 4 bytes length (big-endian)
 * and content, the last of them the SHA-256 of all before it. Each kind has its largest length, so
 * that a file from anywhere costs no more memory than the largest frame. What the frames mean is
 * backup-check.ts; nothing in them is a path or a key.
 */
import { createHash } from 'node:crypto'

import * as v from 'valibot'

import { BOUNDS } from '../../protocols/telemetry/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { NodeError } from '../errors.ts'

const MAGIC = new TextEncoder().encode('KITHBAK1')
const HEAD_BYTES = 5
const HASH_BYTES = 32
/** In front of a pack: its log, when it was received, its flags. */
export const PACK_HEAD_BYTES = 16

export const KINDS = { end: 0, head: 1, settings: 2, trust: 3, op: 4, log: 5, pack: 6, rows: 7 }

const MAX_BYTES: ReadonlyMap<number, number> = new Map([
  [KINDS.end, HASH_BYTES],
  [KINDS.head, 4096],
  [KINDS.settings, 1024 * 1024],
  [KINDS.trust, 33 * 1024 * 1024],
  [KINDS.op, 8192],
  [KINDS.log, 512 * 1024],
  [KINDS.pack, PACK_HEAD_BYTES + BOUNDS.maxPackBytes],
  [KINDS.rows, 256 * 1024],
])

/** Rows that go together. */
export const MAX_ROWS = 256
/** Logs of one backup. */
export const MAX_LOGS = 4096

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
/** Before 1970 too: a clock may have said so. */
const moment = v.pipe(v.number(), v.safeInteger())
const real = v.pipe(v.number(), v.finite())
const hex = (bytes: number) => v.pipe(v.string(), v.regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`)))
const base64 = v.pipe(v.string(), v.maxLength(48 * 1024), v.base64())
const name = v.pipe(v.string(), v.maxLength(256))
const hash = hex(32)

export const headSchema = v.strictObject({
  format: v.literal(1),
  /** Undefined for a device without a home. */
  home: v.optional(hash),
  /** Public key of the device that was backed up. */
  device: hash,
  version: name,
  at: moment,
  packs: count,
})

export const logSchema = v.strictObject({
  device: hash,
  floor: count,
  quarantined: v.boolean(),
  /** From, to, link of the first, hash of the last, and the times of both. */
  segments: v.pipe(
    v.array(v.strictTuple([count, count, hash, hash, moment, moment])),
    v.maxLength(2 * BOUNDS.maxSegments),
  ),
  /** Id, and when it began where that is known. */
  boots: v.pipe(v.array(v.strictTuple([hex(16), v.nullable(moment)])), v.maxLength(2048)),
})

/** The first column of the last three is the log's place among the logs. */
const rowSchemas = {
  choices: v.strictTuple([name, v.boolean()]),
  distrusted: v.strictTuple([hash, hash]),
  /** For all logs. */
  spanFloors: v.strictTuple([v.picklist([0, 5, 60]), moment]),
  logFloors: v.strictTuple([count, v.picklist([0, 5, 60]), moment]),
  /** Number, the kept pack, the other one, when it was found. */
  forks: v.strictTuple([count, count, v.nullable(base64), base64, moment]),
  /** Sensor, unit and kind; level and begin; min, max, sum, count; last with time, number and place. */
  rollups: v.strictTuple([
    count,
    ...([name, name, v.picklist(['number', 'boolean'])] as const),
    ...([v.picklist([5, 60]), moment] as const),
    ...([real, real, real, count] as const),
    ...([real, moment, count, count] as const),
  ]),
} as const

export type Table = keyof typeof rowSchemas
export type Row<T extends Table> = v.InferOutput<(typeof rowSchemas)[T]>
export type Head = v.InferOutput<typeof headSchema>
export type LogHead = v.InferOutput<typeof logSchema>

const rowsOf = <T extends Table>(table: T) =>
  v.strictObject({
    table: v.literal(table),
    rows: v.pipe(v.array(rowSchemas[table]), v.maxLength(MAX_ROWS)),
  })

export const rowsSchema = v.variant('table', [
  rowsOf('choices'),
  rowsOf('distrusted'),
  rowsOf('spanFloors'),
  rowsOf('logFloors'),
  rowsOf('forks'),
  rowsOf('rollups'),
])

export interface Frame {
  readonly kind: number
  readonly content: Uint8Array
}

/** Frames as the bytes of a file, from its first to its last. */
export async function* encodeBackup(
  frames: AsyncIterable<Frame> | Iterable<Frame>,
): AsyncGenerator<Uint8Array> {
  const sum = createHash('sha256')
  const summed = (bytes: Uint8Array): Uint8Array => {
    sum.update(bytes)
    return bytes
  }
  yield summed(MAGIC)
  for await (const frame of frames) yield summed(encodeFrame(frame))
  yield encodeFrame({ kind: KINDS.end, content: new Uint8Array(sum.digest()) })
}

export function encodeFrame({ kind, content }: Frame): Uint8Array {
  if (content.length > (MAX_BYTES.get(kind) ?? 0)) throw new RangeError(`frame ${kind} is too long`)
  const bytes = new Uint8Array(HEAD_BYTES + content.length)
  bytes[0] = kind
  new DataView(bytes.buffer).setUint32(1, content.length)
  bytes.set(content, HEAD_BYTES)
  return bytes
}

export function jsonFrame(kind: number, value: unknown): Frame {
  return { kind, content: new TextEncoder().encode(JSON.stringify(value)) }
}

/** @throws NodeError NODE_USAGE where it is not what `schema` says */
export function jsonOf<Schema extends v.GenericSchema<unknown, unknown>>(
  schema: Schema,
  content: Uint8Array,
): v.InferOutput<Schema> {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(content)
    return v.parse(schema, JSON.parse(text), { abortEarly: true })
  } catch (cause) {
    throw damaged('content', cause)
  }
}

/**
 * The frames of a file, without the last one, which is checked: `onEnd` is told its hash, and may throw.
 * @throws NodeError NODE_USAGE where it is no backup, is not whole, or was changed
 */
export async function* readBackup(
  pieces: AsyncIterable<Uint8Array>,
  onEnd: (hash: Uint8Array) => void = () => undefined,
): AsyncGenerator<Frame> {
  const sum = createHash('sha256')
  const input = new Input(pieces)
  const magic = await input.take(MAGIC.length)
  if (magic === undefined || !equalBytes(magic, MAGIC)) {
    throw new NodeError('NODE_USAGE', 'This is no backup of Kith.', {
      hint: 'Make one with: kith backup FILE',
    })
  }
  sum.update(magic)
  for (;;) {
    const head = await input.need(HEAD_BYTES)
    const [kind = 0] = head
    const length = new DataView(head.buffer, head.byteOffset).getUint32(1)
    if (length > (MAX_BYTES.get(kind) ?? -1)) throw damaged('unknown or too long')
    const content = await input.need(length)
    if (kind === KINDS.end) {
      if (!equalBytes(content, new Uint8Array(sum.digest()))) throw damaged('its hash is another')
      if ((await input.take(1)) !== undefined) throw damaged('there is something behind its end')
      onEnd(content)
      return
    }
    sum.update(head).update(content)
    yield { kind, content }
  }
}

/** What came so far, as much as is asked for at a time. */
class Input {
  readonly #pieces: AsyncIterator<Uint8Array>
  #rest = new Uint8Array()

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]()
  }

  /** @throws NodeError NODE_USAGE where there is not as much */
  async need(length: number): Promise<Uint8Array> {
    const found = await this.take(length)
    if (found === undefined) throw damaged('its end is missing')
    return found
  }

  /** Undefined where there is not as much. */
  async take(length: number): Promise<Uint8Array | undefined> {
    const parts = [this.#rest]
    let size = this.#rest.length
    while (size < length) {
      const { done, value } = await this.#pieces.next()
      if (done === true) return undefined
      parts.push(new Uint8Array(value))
      size += value.length
    }
    const all = parts.length === 1 ? this.#rest : new Uint8Array(Buffer.concat(parts))
    this.#rest = all.subarray(length)
    return all.slice(0, length)
  }
}

export function damaged(why: string, cause?: unknown): NodeError {
  return new NodeError('NODE_USAGE', `The backup is damaged: ${why}.`, {
    cause,
    hint: 'Nothing was changed. Take another copy of it.',
  })
}
