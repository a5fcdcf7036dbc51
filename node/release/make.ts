/**
 * A release made from a file or a folder: its chunks in the store, its index, and patches from older
 * versions where they pay. The same input, the same words about it and the same older versions give
 * the same index.
 */
import {
  BOUNDS,
  encodeIndex,
  type IndexChunk,
  type OpenedIndex,
  type Patch,
  type ReleaseIndex,
} from '../../protocols/update/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import type { BlobStore } from '../storage/blobs.ts'
import { storeChunks, type StoredChunks } from './chunks.ts'
import { ReleaseError } from './errors.ts'
import { openInput, type Input } from './input.ts'
import { LEVELS } from './pack.ts'
import { makePatch } from './patch.ts'
import { PATCH_PAYS } from './plan.ts'
import { piecesOf, type RawBytes } from './raw.ts'
import { storedBytes } from './stored.ts'

/** What only the publisher can say about a release. */
export type About = Omit<ReleaseIndex, 'v' | 'form' | 'rawBytes' | 'rawHash' | 'chunks' | 'patches'>

export interface MakeOptions {
  /** A file, or a folder that becomes an archive. */
  readonly path: string
  readonly about: About
  readonly blobs: BlobStore
  /** As small as it gets, which takes long. */
  readonly best?: boolean
  /** Older versions whose chunks are in the store, newest first. */
  readonly previous?: readonly OpenedIndex[]
  /** From how many of them to try a patch; 2 where it is not given, at most 8. */
  readonly patches?: number
  readonly onProgress?: (progress: MakeProgress) => void
}

export interface MakeProgress {
  readonly phase: 'chunks' | 'patch'
  /** Of the release, in bytes. */
  readonly doneBytes: number
  readonly allBytes: number
  /** What its stored form takes so far, in bytes. */
  readonly storedBytes: number
  /** Which version a patch starts from. */
  readonly from?: string
}

export interface PatchSummary {
  /** Version and build that it starts from. */
  readonly version: string
  readonly build: number
  /** Stored bytes that travel with it, and without it. */
  readonly bytes: number
  readonly insteadOf: number
  /** `small`: chunks are hardly more. `missing`: the store lacks chunks of the old version. */
  readonly result: 'made' | 'small' | 'missing'
}

export interface MakeSummary {
  /** Of the release, and of its chunks in their stored form, each once. In bytes. */
  readonly raw: number
  readonly stored: number
  /** Stored bytes that the newest older version has not; all of them where there is none. */
  readonly new: number
  readonly chunks: number
  readonly newChunks: number
  readonly patches: readonly PatchSummary[]
  /** SHA-256 of the index, hexadecimal, and its length in bytes. */
  readonly index: string
  readonly indexBytes: number
}

export interface MadeRelease {
  readonly release: OpenedIndex
  readonly summary: MakeSummary
}

/** Below this, in bytes, nobody waits for the chunks. */
const PATCH_MIN_BYTES = 65_536
const DEFAULT_PATCHES = 2

/**
 * Make it. Its chunks are pinned in the store under the id of its index.
 *
 * @throws ReleaseError RELEASE_INPUT, RELEASE_CHANGED, RELEASE_TOO_LARGE; UpdateError
 * UPDATE_BAD_INDEX where the words about it break a rule; BlobError
 */
export async function makeRelease(options: MakeOptions, signal: AbortSignal): Promise<MadeRelease> {
  const input = await openInput(options.path, options.about.installer, signal)
  await using raw = input.raw
  if (raw.size > BOUNDS.maxReleaseBytes) throw new ReleaseError('RELEASE_TOO_LARGE')
  const stored = await storeInput(input, options, signal)
  const { patches, summaries } = await makePatches(raw, stored, options, signal)
  const release = encodeIndex({
    ...options.about,
    v: 1,
    form: input.form,
    rawBytes: stored.rawBytes,
    rawHash: stored.rawHash,
    chunks: stored.chunks,
    ...(patches.length > 0 && { patches }),
  })
  await settle(release, options.blobs)
  return { release, summary: summaryOf(release, options.previous?.[0], summaries) }
}

function storeInput(
  { raw }: Input,
  { blobs, best, onProgress }: MakeOptions,
  signal: AbortSignal,
): Promise<StoredChunks> {
  let doneBytes = 0
  let bytes = 0
  return storeChunks(piecesOf(raw, signal), {
    blobs,
    level: best === true ? LEVELS.best : LEVELS.fast,
    onBytes(one, form) {
      doneBytes += one
      bytes += form
      onProgress?.({ phase: 'chunks', doneBytes, allBytes: raw.size, storedBytes: bytes })
    },
  })
}

async function makePatches(
  raw: RawBytes,
  stored: StoredChunks,
  { previous = [], patches: most = DEFAULT_PATCHES, blobs, onProgress }: MakeOptions,
  signal: AbortSignal,
): Promise<{ patches: Patch[]; summaries: PatchSummary[] }> {
  const patches: Patch[] = []
  const summaries: PatchSummary[] = []
  const seen = new Set([toHex(stored.rawHash)])
  for (const { index: old } of previous.slice(0, Math.min(most, BOUNDS.maxPatches))) {
    if (seen.has(toHex(old.rawHash))) continue
    seen.add(toHex(old.rawHash))
    const insteadOf = sumOf(newIn(stored.chunks, old.chunks))
    if (insteadOf < PATCH_MIN_BYTES) continue
    const about = { version: old.version, build: old.build, insteadOf }
    const made = await tryPatch(
      { raw, stored, old, limitBytes: insteadOf * PATCH_PAYS },
      {
        blobs,
        onBytes: (doneBytes, storedBytesSoFar) =>
          onProgress?.({
            phase: 'patch',
            doneBytes,
            allBytes: raw.size,
            storedBytes: storedBytesSoFar,
            from: old.version,
          }),
      },
      signal,
    )
    if (typeof made === 'string') summaries.push({ ...about, bytes: 0, result: made })
    else {
      patches.push(made)
      summaries.push({ ...about, bytes: sumOf(newIn(made.chunks, [])), result: 'made' })
    }
  }
  return { patches, summaries }
}

interface Attempt {
  readonly raw: RawBytes
  readonly stored: StoredChunks
  readonly old: ReleaseIndex
  /** A patch that gets longer is given up. */
  readonly limitBytes: number
}

interface AttemptDeps {
  readonly blobs: BlobStore
  readonly onBytes: (doneBytes: number, storedBytes: number) => void
}

/** Why a patch was given up. */
class TooLong extends Error {}

async function tryPatch(
  { raw, stored, old, limitBytes }: Attempt,
  { blobs, onBytes }: AttemptDeps,
  signal: AbortSignal,
): Promise<Patch | 'small' | 'missing'> {
  if (!old.chunks.every(({ hash }) => blobs.has(hash))) return 'missing'
  const put: Uint8Array[] = []
  const watched: Pick<BlobStore, 'has' | 'put'> = {
    has: (hash) => blobs.has(hash),
    async put(chunk, blob, how) {
      put.push(chunk.hash)
      await blobs.put(chunk, blob, how)
    },
  }
  const from = { raw: storedBytes(old.chunks, blobs), chunks: old.chunks }
  const pieces = bounded(
    makePatch(from, { raw, chunks: stored.chunks }, signal, onBytes),
    limitBytes,
  )
  try {
    const made = await storeChunks(pieces, { blobs: watched, level: LEVELS.fast })
    return { from: old.rawHash, fromBytes: old.rawBytes, ...made }
  } catch (error) {
    for (const hash of put) await blobs.delete(hash)
    if (error instanceof TooLong) return 'small'
    // Evicted, or damaged, since it was looked for.
    if (error instanceof ReleaseError && error.code === 'RELEASE_MISSING') return 'missing'
    throw error
  }
}

async function* bounded(
  pieces: AsyncIterable<Uint8Array>,
  limitBytes: number,
): AsyncGenerator<Uint8Array> {
  let bytes = 0
  for await (const piece of pieces) {
    bytes += piece.length
    if (bytes > limitBytes) throw new TooLong()
    yield piece
  }
}

/** All of it is on the disk, and stays. @throws ReleaseError RELEASE_NO_SPACE */
async function settle({ id, chunks }: OpenedIndex, blobs: BlobStore): Promise<void> {
  await blobs.pin(
    id,
    chunks.map(({ hash }) => hash),
  )
  if (!chunks.every(({ hash }) => blobs.has(hash))) {
    await blobs.unpin(id)
    const { maxBytes } = blobs.usage()
    const detail = `The release does not fit into the store for updates (${maxBytes} bytes).`
    throw new ReleaseError('RELEASE_NO_SPACE', detail)
  }
  await blobs.flush()
}

/** The chunks, each once, that are not among `old`. */
function newIn(chunks: readonly IndexChunk[], old: readonly IndexChunk[]): IndexChunk[] {
  const known = new Set(old.map(({ hash }) => toHex(hash)))
  return chunks.filter(({ hash }) => {
    const hex = toHex(hash)
    if (known.has(hex)) return false
    known.add(hex)
    return true
  })
}

function sumOf(chunks: readonly IndexChunk[]): number {
  return chunks.reduce((sum, { stored }) => sum + stored, 0)
}

function summaryOf(
  { index, id, bytes }: OpenedIndex,
  before: OpenedIndex | undefined,
  patches: readonly PatchSummary[],
): MakeSummary {
  const all = newIn(index.chunks, [])
  const fresh = before === undefined ? all : newIn(index.chunks, before.index.chunks)
  return {
    raw: index.rawBytes,
    stored: sumOf(all),
    new: sumOf(fresh),
    chunks: index.chunks.length,
    newChunks: fresh.length,
    patches,
    index: toHex(id),
    indexBytes: bytes.length,
  }
}
