/** Which chunks of a release must be fetched, and whether a patch is less. */
import type { OpenedIndex } from '../../protocols/update/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import { PATCH } from './patch.ts'
import type { Source } from './sources.ts'

/** A patch is worth it where it leaves a quarter of the bytes out: it costs work, and can fail. */
export const PATCH_PAYS = 0.75

export interface Here {
  /** Whether the store has a chunk. */
  readonly has: (hash: Uint8Array) => boolean
  readonly sources: readonly Source[]
  /** What putting it together may take beside what it always does. */
  readonly memoryBytes: number
}

export interface ToFetch {
  /** Numbers of chunks, rising; of equal chunks the first. */
  readonly numbers: readonly number[]
  /** Their stored lengths together. */
  readonly bytes: number
}

export interface FetchPlan extends ToFetch {
  /** Bytes of the release that the store, or a source, has. */
  readonly storeBytes: number
  readonly sourceBytes: number
  /** Instead of `numbers`: the least that a patch needs, where one pays. */
  readonly patch?: ToFetch & {
    /** Which of the release's patches it is. */
    readonly n: number
  }
}

/** Nothing is read: chunks of damaged sources turn out to be missing when they are put together. */
export function planFetch(opened: OpenedIndex, here: Here): FetchPlan {
  const { index, chunks } = opened
  const seen = new Set<string>()
  let storeBytes = 0
  let sourceBytes = 0
  const numbers: number[] = []
  for (const [n, { hash, raw }] of index.chunks.entries()) {
    const hex = toHex(hash)
    if (here.has(hash)) storeBytes += raw
    else if (here.sources.some((source) => source.placeOf(hex) !== undefined)) sourceBytes += raw
    else if (!seen.has(hex)) {
      seen.add(hex)
      numbers.push(n)
    }
  }
  const bytes = sumOf(numbers, chunks)
  const patch = bestPatch(opened, here)
  const pays = patch !== undefined && patch.bytes <= bytes * PATCH_PAYS
  return { numbers, bytes, storeBytes, sourceBytes, ...(pays && { patch }) }
}

function bestPatch(
  { index, chunks, patchStarts }: OpenedIndex,
  { has, sources, memoryBytes }: Here,
): FetchPlan['patch'] {
  if (memoryBytes < PATCH.memoryBytes) return undefined
  let best: FetchPlan['patch']
  for (const [n, patch] of (index.patches ?? []).entries()) {
    if (baseOf(patch.from, sources) === undefined) continue
    const start = patchStarts[n] ?? 0
    const seen = new Set<string>()
    const numbers: number[] = []
    for (const [i, { hash }] of patch.chunks.entries()) {
      if (has(hash) || seen.has(toHex(hash))) continue
      seen.add(toHex(hash))
      numbers.push(start + i)
    }
    const bytes = sumOf(numbers, chunks)
    if (best === undefined || bytes < best.bytes) best = { n, numbers, bytes }
  }
  return best
}

/** The source that a patch starts from. */
export function baseOf(from: Uint8Array, sources: readonly Source[]): Source | undefined {
  return sources.find(({ rawHash }) => rawHash !== undefined && equalBytes(rawHash, from))
}

function sumOf(numbers: readonly number[], chunks: OpenedIndex['chunks']): number {
  return numbers.reduce((sum, n) => sum + (chunks[n]?.stored ?? 0), 0)
}
