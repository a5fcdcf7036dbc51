/**
 * Releases between devices: what others have, metadata of channels, chunks both ways, and signed
 * reports. One for each device. It knows nothing of trust: what it fetches is held against an index
 * that the caller believes, and metadata goes to the caller as it came.
 */
import type { Logger } from 'pino'

import type { Verifier } from '../../../protocols/identity/index.ts'
import type { FrameOf, OpenedIndex, Tuning, UpdateReport } from '../../../protocols/update/index.ts'
import type { Clock, Random } from '../../env.ts'
import type { Emitter } from '../../events.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import type { BlobStore } from '../../storage/blobs.ts'
import { joinExchange } from './exchange-node.ts'

export type UpdateMesh = Pick<Mesh, 'key' | 'events' | 'serve' | 'open' | 'peers'>

export type ChannelOffer = FrameOf<'offer'>['channels'][number]

export interface ExchangeDeps {
  readonly mesh: UpdateMesh
  readonly blobs: Pick<BlobStore, 'has' | 'get' | 'put' | 'flush' | 'onGone'>
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly home: Uint8Array
  readonly verifier: Verifier
  /** Whether updates are for this peer: an active member of the home. */
  readonly allows: (peer: Uint8Array) => boolean
  /** Whether the reports of this device count. */
  readonly isMember: (device: Uint8Array) => boolean
  /** A file of a channel, metadata or index, as a peer may ask for it; undefined where it is missing. */
  readonly file: (channel: string, file: string) => Promise<Uint8Array | undefined>
  /** Reports that were kept from before. */
  readonly reports?: readonly UpdateReport[]
  /** Most bytes of chunks that may leave in a second, now; undefined for as many as can, 0 for none. */
  readonly uploadLimit?: () => number | undefined
  readonly tuning?: Partial<Tuning>
}

export interface ExchangeEvents extends Record<string, unknown> {
  /** A peer said what it has: its newest metadata and its releases. */
  offer: { readonly peer: Uint8Array } & Omit<FrameOf<'offer'>, 'type'>
  /** A report that is newer than the one known; checked, and passed on. */
  report: { readonly report: UpdateReport; readonly from: Uint8Array }
  /** A peer sent what no honest device sends. `release` where it is cut off for one release. */
  fault: {
    readonly peer: Uint8Array
    readonly code: string
    readonly release: Uint8Array | undefined
  }
}

export interface Source {
  /** Key of the peer, 32 bytes. */
  readonly peer: Uint8Array
  /** Bytes of chunks that came from it, as they travelled. */
  readonly bytes: number
}

export interface FetchProgress {
  /** Chunks that are needed, and those of them that are here. */
  readonly chunks: number
  readonly done: number
  /** Bytes of them as they are stored. */
  readonly bytes: number
  readonly doneBytes: number
  /** Peers that have something of the release. */
  readonly peers: number
}

export interface FetchResult {
  readonly from: readonly Source[]
  /** Bytes that came over the mesh, and those of them that were here already when they came. */
  readonly fetchedBytes: number
  readonly wastedBytes: number
  /** Chunks that were here before anything was asked for. */
  readonly reused: number
}

export interface FetchOptions {
  /** Numbers of the chunks to fetch; default: those of the release, without its patches. */
  readonly needs?: Iterable<number>
  readonly onProgress?: (progress: FetchProgress) => void
}

export interface Exchange extends AsyncDisposable {
  readonly events: Emitter<ExchangeEvents>
  /** Serve what is here of a release, and tell peers of it. Again: look what came to be here. */
  offer(release: OpenedIndex): void
  /** Serve it no more. A fetch of it that runs goes on. */
  withdraw(release: Uint8Array): void
  /** Tell peers which metadata is here. */
  announce(channels: readonly ChannelOffer[]): void
  /** Who may take part may have changed: peers that are not there are tried now, not in a while. */
  again(): void
  /** What connected peers last offered, the latest of each. */
  offers(): readonly ExchangeEvents['offer'][]
  /**
   * Get what is missing of a release into the blob store. Waits for peers for as long as `signal`
   * lets it; where one fetch was broken off, the next goes on with what is there. Once it resolves,
   * all that was needed is in the blob store and survives a power cut.
   *
   * @throws BlobError BLOBS_FULL, BLOBS_DISK_FULL, BLOBS_IO; the signal's reason
   */
  fetch(release: OpenedIndex, signal: AbortSignal, options?: FetchOptions): Promise<FetchResult>
  /**
   * A file of a channel from one peer; undefined where it has none. Nothing is checked but its
   * length, at most 4 MiB.
   *
   * @throws NodeError NODE_TIMEOUT; UpdateError UPDATE_FORBIDDEN, UPDATE_BAD_META; WireError WIRE_CLOSED
   */
  ask(peer: Uint8Array, file: FileName, signal: AbortSignal): Promise<Uint8Array | undefined>
  /** Send out a report of this device's own, and pass it on to all who come later. */
  report(report: UpdateReport): void
  /** The newest of each device and name. */
  reports(): readonly UpdateReport[]
}

export interface FileName {
  readonly channel: string
  readonly file: string
}

/** Served when this resolves; ends with `signal` or when it is disposed of. */
export function startExchange(deps: ExchangeDeps, signal: AbortSignal): Promise<Exchange> {
  return joinExchange(deps, signal)
}
