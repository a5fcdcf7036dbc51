/** What the pursuit of one name works with, what is said of it, and how long a failure lasts. */
import type { OpenedIndex, UpdateReport } from '../../../protocols/update/index.ts'
import { equalBytes, fromHex, toHex } from '../../../protocols/wire/index.ts'
import type { Busy } from './busy.ts'
import type { Channels } from './channels.ts'
import type { FetchProgress } from './exchange.ts'
import type { GatherDeps, Sources } from './gather.ts'
import type { Release } from './tuf/index.ts'
import type {
  Installable,
  InstallOutcome,
  InstallState,
  Progress,
  Refused,
  UpdatesDeps,
} from './types.ts'

export interface TrackDeps
  extends Omit<GatherDeps, 'indexOf'>, Omit<UpdatesDeps, 'exchange' | 'blobs'> {
  readonly channels: Channels
  /** The channel that a name belongs to. */
  readonly channelOf: (name: string) => string | undefined
  readonly reports: () => readonly UpdateReport[]
  readonly installed: () => Promise<readonly Installable[]>
  /** Told of what needs others: indexes and chunks. */
  readonly busy: Pick<Busy, 'hold'>
  /** One at a time puts releases together. */
  readonly alone: <T>(run: () => Promise<T>) => Promise<T>
  readonly onProgress: (progress: Progress, isNews: boolean) => void
  readonly onFetching: (progress: Progress, fetch: FetchProgress) => void
  readonly onOutcome: (outcome: InstallOutcome) => void
  readonly onRefused: (release: Refused, code: string, why: string) => void
}

export interface Work {
  readonly channel: string
  readonly release: Release
  readonly opened: OpenedIndex
  readonly state: InstallState
  readonly from: Sources
}

/** A release, by whichever side names it. */
export interface At {
  readonly channel: string
  readonly release: Release | Installable
  readonly from?: Sources
}

export type Said = Pick<Progress, 'phase' | 'ring' | 'percent' | 'code' | 'why' | 'untilMs'>

/** Of errors that have no code. */
export const UNKNOWN = 'UPDATE_FAILED'

const RETRY_MS = 60_000
const FULL_RETRY_MS = 10 * 60_000
/** Of a release itself: trying again ends alike. */
const FINAL = new Set(['INSTALL_ARCHIVE', 'INSTALL_ARGUMENTS', 'INSTALL_ILL', 'UPDATE_BAD_INDEX'])
const FULL = new Set(['INSTALL_NO_SPACE', 'RELEASE_NO_SPACE', 'BLOBS_FULL', 'BLOBS_DISK_FULL'])

/** When to try again after an error; undefined: never. */
export function retryOf(code: string): number | undefined {
  if (FINAL.has(code)) return undefined
  return FULL.has(code) ? FULL_RETRY_MS : RETRY_MS
}

export function codeOf(error: unknown): string {
  const { code } = error as { readonly code?: unknown }
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{0,63}$/.test(code) ? code : UNKNOWN
}

/** SHA-256 of its index, hexadecimal. */
export function idOf(release: Release | Installable): string {
  return 'sha256' in release ? release.sha256 : release.id
}

export function installableOf({ id, index }: OpenedIndex): Installable {
  const { name, version, build, installer, args, health } = index
  return { id: toHex(id), name, version, build, installer, args, ...(health && { health }) }
}

/** Whether the second says what the first did. */
export function sameWord(a: Progress | undefined, b: Progress): boolean {
  const fields = ['build', 'phase', 'ring', 'percent', 'code'] as const
  return (
    a !== undefined &&
    equalBytes(a.index, b.index) &&
    a.runs?.build === b.runs?.build &&
    fields.every((key) => a[key] === b[key])
  )
}

/** What is said about a release here, after what was said `before`. */
export function progressOf(
  { channel, release, from }: At,
  said: Said,
  {
    before,
    installed,
  }: { readonly before: Progress | undefined; readonly installed: Installable | undefined },
): Progress {
  const { name, version, build } = release
  const index = fromHex(idOf(release))
  const same = before !== undefined && equalBytes(before.index, index)
  const found = from?.list() ?? []
  const known = found.length === 0 && same ? before.from : found
  const runs = installed && { version: installed.version, build: installed.build }
  return { channel, name, version, build, index, from: known, ...said, ...(runs && { runs }) }
}

/** The last word once more, where it stays and what runs is another. */
export function saidAgain(
  last: UpdateReport | undefined,
  { runs }: Progress,
): Progress | undefined {
  if (last === undefined || last.runs?.build === runs?.build) return undefined
  const { device: _, bytes: __, seq: ___, at: ____, clock: _____, ...said } = last
  return { ...said, runs }
}

/** Whether what is installed was said. What was said of a newer one that was ill stays. */
export function isSaid(last: UpdateReport | undefined, { build }: Installable): boolean {
  return last?.runs?.build === build && (last.build !== build || last.phase === 'healthy')
}
