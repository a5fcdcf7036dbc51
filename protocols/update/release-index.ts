/**
 * The chunk index of a release: what it is, what it is for, how it is installed, and the chunks that
 * it is made of. It is the file that a channel signs. An index is made by anyone who may publish, so
 * `openIndex` trusts no number in it. SPEC.md "Index".
 *
 * Not here: how a release is cut into chunks (`chunker.ts`), and who may sign one.
 */
import { sha256 } from '../identity/index.ts'
import {
  bool,
  bytes,
  field,
  finite,
  list,
  message,
  oneOf,
  optional,
  record,
  text,
  toHex,
  uint,
  type Infer,
  type Type,
} from '../wire/index.ts'
import { id, label, matching, MAX_BUILD, releaseName, releaseVersion, where } from './forms.ts'
import { CODECS, type Codec } from './messages.ts'
import { BOUNDS, UpdateError } from './protocol.ts'

export const INSTALLERS = ['tree', 'deb', 'exec', 'rauc', 'swupdate', 'oci'] as const
export type InstallerName = (typeof INSTALLERS)[number]

/** `tree`: a deterministic tar of a folder. `file`: the bytes of one file. */
export const FORMS = ['file', 'tree'] as const
export type Form = (typeof FORMS)[number]

export interface IndexChunk {
  /** SHA-256 of the chunk before it is packed, 32 bytes. */
  readonly hash: Uint8Array
  /** Its length before it is packed, 1..262,144 bytes. */
  readonly raw: number
  /** Its length as the publisher stored it, in bytes. */
  readonly stored: number
  /** How the publisher stored it. Others may hold and send it in the other form. */
  readonly codec: Codec
}

/** hash 32 · raw, 3 bytes · stored, 3 bytes · codec, 1 byte; numbers big-endian. */
export const CHUNK_ROW_BYTES = 39

const rows = bytes({ min: CHUNK_ROW_BYTES, max: CHUNK_ROW_BYTES * BOUNDS.maxChunks })

function writeRow(table: Uint8Array, at: number, { hash, raw, stored, codec }: IndexChunk): void {
  table.set(id.toWire(hash) as Uint8Array, at)
  table.set([raw >> 16, raw >> 8, raw], at + 32)
  table.set([stored >> 16, stored >> 8, stored], at + 35)
  table[at + 38] = codec
}

function readRow(table: Uint8Array, at: number): IndexChunk {
  const uint24 = (from: number): number =>
    ((table[from] ?? 0) << 16) | ((table[from + 1] ?? 0) << 8) | (table[from + 2] ?? 0)
  const chunk = {
    hash: table.subarray(at, at + 32),
    raw: uint24(at + 32),
    stored: uint24(at + 35),
    codec: (table[at + 38] ?? 0) as Codec,
  }
  return checkedChunk(chunk)
}

/** Why a chunk cannot be in any index; undefined for one that can. */
function faultOf({ raw, stored, codec }: IndexChunk): string | undefined {
  if (!Number.isInteger(raw) || raw < 1 || raw > BOUNDS.maxRawBytes) return 'length of a chunk'
  if (!Number.isInteger(stored) || stored < 1) return 'stored length of a chunk'
  if (stored > raw + BOUNDS.maxStoredExtra) return 'stored length of a chunk'
  if (codec === CODECS.raw) return stored === raw ? undefined : 'stored length of a chunk'
  if (codec !== CODECS.zstd) return 'codec'
  return raw > stored * BOUNDS.maxRatio ? 'a chunk that grows too much' : undefined
}

function checkedChunk(chunk: IndexChunk): IndexChunk {
  const fault = faultOf(chunk)
  if (fault !== undefined) throw new RangeError(fault)
  return chunk
}

const chunkTable: Type<readonly IndexChunk[]> = {
  toWire(chunks) {
    const table = new Uint8Array(chunks.length * CHUNK_ROW_BYTES)
    for (const [i, chunk] of chunks.entries()) {
      writeRow(table, i * CHUNK_ROW_BYTES, checkedChunk(chunk))
    }
    return rows.toWire(table)
  },
  fromWire(value) {
    const table = rows.fromWire(value)
    if (table.length % CHUNK_ROW_BYTES !== 0) throw new RangeError('half a chunk')
    const chunks: IndexChunk[] = []
    for (let at = 0; at < table.length; at += CHUNK_ROW_BYTES) chunks.push(readRow(table, at))
    return chunks
  },
}

const size = uint(BOUNDS.maxReleaseBytes, 1)
const build = uint(MAX_BUILD, 1)

/** Sorted, none twice: one way to say it. */
function labels(max: number): Type<readonly string[]> {
  return where(list(label, { max }), rising, 'not sorted, or twice')
}

function rising(values: readonly string[]): boolean {
  return values.every((value, i) => i === 0 || (values[i - 1] ?? '') < value)
}

/** Arguments of an installer, by name; on the wire pairs sorted by name. */
const args: Type<Readonly<Record<string, string>>> = (() => {
  const pairs = list(
    record({
      name: field(1, matching(/^[a-z][a-z0-9-]{0,31}$/, 32)),
      value: field(2, text(1_024)),
    }),
    { max: 16 },
  )
  return {
    toWire: (value) =>
      pairs.toWire(
        Object.keys(value)
          .toSorted()
          .map((name) => ({ name, value: value[name] ?? '' })),
      ),
    fromWire(value) {
      const found = pairs.fromWire(value)
      if (!rising(found.map(({ name }) => name))) throw new RangeError('not sorted, or twice')
      return Object.fromEntries(found.map((pair) => [pair.name, pair.value]))
    },
  }
})()

/** What must hold for `seconds` on end, before `withinSeconds` are over. All that is given must. */
const health = where(
  record({
    seconds: field(1, uint(86_400, 1)),
    withinSeconds: field(2, uint(86_400, 1)),
    command: optional(3, list(text(1_024), { min: 1, max: 16 })),
    http: optional(
      4,
      record({
        port: field(1, uint(65_535, 1)),
        path: field(2, matching(/^\/[!-~]{0,255}$/, 256)),
      }),
    ),
    reading: optional(
      5,
      record({ sensor: field(1, label), min: optional(2, finite), max: optional(3, finite) }),
    ),
  }),
  (one) =>
    one.seconds <= one.withinSeconds &&
    (one.command !== undefined || one.http !== undefined || one.reading !== undefined),
  'no check, or one that cannot end',
)

const target = record({
  hardware: field(1, labels(16)),
  arch: field(2, labels(8)),
  groups: field(3, labels(16)),
  requires: field(
    4,
    list(record({ name: field(1, releaseName), version: field(2, releaseVersion) }), { max: 16 }),
  ),
})

const patch = record({
  /** `rawHash` and `rawBytes` of the release that it starts from. */
  from: field(1, id),
  fromBytes: field(2, size),
  rawBytes: field(3, size),
  rawHash: field(4, id),
  chunks: field(5, chunkTable),
})

/** The form of an index. `encodeIndex` and `openIndex` also check what its parts say together. */
export const Index = message(
  'update.index',
  {
    v: field(1, uint(1, 1)),
    name: field(2, releaseName),
    version: field(3, releaseVersion),
    build: field(4, build),
    for: field(5, target),
    installer: field(6, oneOf(...INSTALLERS)),
    args: field(7, args),
    health: optional(8, health),
    security: optional(9, bool),
    form: field(10, oneOf(...FORMS)),
    rawBytes: field(11, size),
    rawHash: field(12, id),
    chunks: field(13, chunkTable),
    patches: optional(14, list(patch, { min: 1, max: BOUNDS.maxPatches })),
  },
  { maxBytes: BOUNDS.maxIndexBytes, maxDepth: 6, maxItems: 1_024 },
)

export type ReleaseIndex = Infer<typeof Index>
export type Health = Infer<typeof health>
export type Target = Infer<typeof target>
export type Patch = Infer<typeof patch>

export interface OpenedIndex {
  readonly index: ReleaseIndex
  /** SHA-256 of `bytes`: names the release everywhere. 32 bytes. */
  readonly id: Uint8Array
  /** The index as it was signed. */
  readonly bytes: Uint8Array
  /** By number: the chunks of the release, then those of its patches. */
  readonly chunks: readonly IndexChunk[]
  /** Number of the first chunk of each patch, in their order. */
  readonly patchStarts: readonly number[]
}

/** @throws UpdateError UPDATE_BAD_INDEX; WireError */
export function encodeIndex(index: ReleaseIndex): OpenedIndex {
  const opened = together(index)
  const encoded = Index.encode(index)
  return { ...opened, id: sha256(encoded), bytes: encoded }
}

/**
 * Read an index that a channel signed, and check every bound in it.
 *
 * @throws UpdateError UPDATE_BAD_INDEX; WireError
 */
export function openIndex(encoded: Uint8Array): OpenedIndex {
  const opened = together(Index.decode(encoded))
  return { ...opened, id: sha256(encoded), bytes: encoded }
}

/** Path of an index among the targets of its channel. */
export function targetPath(release: Pick<ReleaseIndex, 'name' | 'version' | 'build'>): string {
  return `${release.name}/${release.version}-${release.build}.index`
}

function together(index: ReleaseIndex): Omit<OpenedIndex, 'id' | 'bytes'> {
  const { patches = [] } = index
  const chunks = [...index.chunks]
  const patchStarts: number[] = []
  requireSum(index.chunks, index.rawBytes, 'the release')
  for (const one of patches) {
    requireSum(one.chunks, one.rawBytes, 'a patch')
    patchStarts.push(chunks.length)
    for (const chunk of one.chunks) chunks.push(chunk)
  }
  if (chunks.length > BOUNDS.maxChunks) bad('too many chunks')
  requireOneForm(chunks)
  requireFit(index)
  return { index, chunks, patchStarts }
}

/** At most 65,536 chunks of at most 262,144 bytes: the sum is exact. */
function requireSum(chunks: readonly IndexChunk[], rawBytes: number, what: string): void {
  let sum = 0
  for (const { raw } of chunks) sum += raw
  if (sum !== rawBytes) bad(`the chunks of ${what} are ${sum} bytes, not ${rawBytes}`)
}

/** A chunk that is there more than once is the same every time. */
function requireOneForm(chunks: readonly IndexChunk[]): void {
  const seen = new Map<string, IndexChunk>()
  for (const chunk of chunks) {
    // Some ten times as fast as hexadecimal: there may be many.
    const key = String.fromCharCode(...chunk.hash)
    const first = seen.get(key)
    if (first === undefined) seen.set(key, chunk)
    else if (!sameForm(first, chunk)) bad('one chunk in two forms')
  }
}

function sameForm(a: IndexChunk, b: IndexChunk): boolean {
  return a.raw === b.raw && a.stored === b.stored && a.codec === b.codec
}

function requireFit({
  installer,
  form,
  patches = [],
  rawHash,
  for: { requires },
}: ReleaseIndex): void {
  if ((installer === 'tree') !== (form === 'tree') && installer !== 'exec') {
    bad(`${installer} does not install the form ${form}`)
  }
  const from = new Set(patches.map((one) => toHex(one.from)))
  if (from.size !== patches.length) bad('two patches from one release')
  if (from.has(toHex(rawHash))) bad('a patch from itself')
  if (!rising(requires.map(({ name }) => name))) bad('requirements not sorted, or twice')
}

function bad(detail: string): never {
  throw new UpdateError('UPDATE_BAD_INDEX', detail)
}
