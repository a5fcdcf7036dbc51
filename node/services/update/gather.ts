/** A release on its way to this device: what it has is used, what is missing is fetched. */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import type { OpenedIndex } from '../../../protocols/update/index.ts'
import { toHex } from '../../../protocols/wire/index.ts'
import {
  assemble,
  planFetch,
  ReleaseError,
  releaseSource,
  scannedSource,
  type Source as LocalSource,
} from '../../release/index.ts'
import type { Exchange, FetchProgress, Source } from './exchange.ts'
import type { Installable, UpdatesDeps } from './types.ts'

export interface GatherDeps extends Pick<
  UpdatesDeps,
  'blobs' | 'facts' | 'installs' | 'workFolder'
> {
  readonly exchange: Pick<Exchange, 'fetch' | 'offer'>
  /** The index of an installed release, where it is still had. */
  readonly indexOf: (release: Installable) => Promise<OpenedIndex | undefined>
}

/** From whom how many bytes came. */
export class Sources {
  readonly #bytes = new Map<string, { readonly peer: Uint8Array; bytes: number }>()

  add(from: readonly Source[]): void {
    for (const { peer, bytes } of from) {
      const known = this.#bytes.get(toHex(peer)) ?? { peer, bytes: 0 }
      known.bytes += bytes
      this.#bytes.set(toHex(peer), known)
    }
  }

  /** The largest first, as many as a report names. */
  list(): readonly Source[] {
    return [...this.#bytes.values()].toSorted((a, b) => b.bytes - a.bytes).slice(0, 16)
  }
}

/** Damage can be found so often before it is taken for a broken disk. */
const MAX_ROUNDS = 4

export interface Gathering {
  readonly opened: OpenedIndex
  /** What runs now: its bytes are not fetched again. */
  readonly installed: Installable | undefined
  readonly from: Sources
  readonly onProgress: (progress: FetchProgress) => void
}

/** Have all chunks that putting it together will need. */
export async function gather(
  { opened, installed, from, onProgress }: Gathering,
  deps: GatherDeps,
  signal: AbortSignal,
): Promise<void> {
  const { blobs, exchange, facts } = deps
  await blobs.pin(
    opened.id,
    opened.chunks.map(({ hash }) => hash),
  )
  await using local = await localSources(installed, deps, signal)
  const has = (hash: Uint8Array): boolean => blobs.has(hash)
  const plan = planFetch(opened, { has, sources: local.sources, memoryBytes: facts.memoryBytes() })
  const needs = plan.patch?.numbers ?? plan.numbers
  exchange.offer(opened)
  if (needs.length === 0) return
  const result = await exchange.fetch(opened, signal, { needs, onProgress })
  from.add(result.from)
}

/** Nothing of it would be fetched. */
export function isHere({ index }: OpenedIndex, blobs: Pick<GatherDeps['blobs'], 'has'>): boolean {
  return index.chunks.every(({ hash }) => blobs.has(hash))
}

/** One verified file of the release; what turns out to be missing or damaged is fetched. */
export async function putTogether(
  { opened, installed, from, onProgress }: Gathering,
  deps: GatherDeps,
  signal: AbortSignal,
): Promise<string> {
  const { blobs, exchange, facts, workFolder } = deps
  await mkdir(workFolder, { recursive: true, mode: 0o700 })
  const out = join(workFolder, `${toHex(opened.id)}.release`)
  await using local = await localSources(installed, deps, signal)
  for (let round = 1; ; round++) {
    try {
      const options = {
        blobs,
        sources: local.sources,
        memoryBytes: facts.memoryBytes(),
        keep: true,
      }
      await assemble(opened, options, out, signal)
      // What came from elsewhere can be served now.
      exchange.offer(opened)
      return out
    } catch (error) {
      const isMissing = error instanceof ReleaseError && error.code === 'RELEASE_MISSING'
      if (!isMissing || round >= MAX_ROUNDS) throw error
      const fetched = await exchange.fetch(opened, signal, { needs: error.numbers, onProgress })
      from.add(fetched.from)
    }
  }
}

/** Nothing of a release stays in the folder of work. */
export async function dropFile(
  { workFolder }: Pick<GatherDeps, 'workFolder'>,
  id: Uint8Array,
): Promise<void> {
  for (const end of ['', '.part']) {
    await rm(join(workFolder, `${toHex(id)}.release${end}`), { force: true })
  }
}

interface Local extends AsyncDisposable {
  readonly sources: readonly LocalSource[]
}

async function localSources(
  installed: Installable | undefined,
  { installs, indexOf }: GatherDeps,
  signal: AbortSignal,
): Promise<Local> {
  const none: Local = { sources: [], [Symbol.asyncDispose]: () => Promise.resolve() }
  if (installed === undefined) return none
  // A version that was damaged or changed by hand is of no use, and no fault.
  const raw = await installs.bytesOf(installed, signal).catch(() => undefined)
  signal.throwIfAborted()
  if (raw === undefined) return none
  try {
    const opened = await indexOf(installed)
    const isSame = opened !== undefined && opened.index.rawBytes === raw.size
    const source = isSame ? releaseSource(raw, opened.index) : await scannedSource(raw, signal)
    return { sources: [source], [Symbol.asyncDispose]: () => raw[Symbol.asyncDispose]() }
  } catch (error) {
    await raw[Symbol.asyncDispose]()
    signal.throwIfAborted()
    if (error instanceof ReleaseError) return none
    throw error
  }
}
