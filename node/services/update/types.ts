/** What the device's part of updates needs of others, and what it says. */
import type { Logger } from 'pino'

import type { Signer, Verifier } from '../../../protocols/identity/index.ts'
import type {
  Health,
  InstallerName,
  Phase,
  UpdatePolicy,
  UpdateReport,
  Window,
} from '../../../protocols/update/index.ts'
import type { Clock } from '../../env.ts'
import type { Emitter } from '../../events.ts'
import type { RawBytes } from '../../release/index.ts'
import type { BlobStore } from '../../storage/blobs.ts'
import type { Channels } from './channels.ts'
import type { Exchange, ExchangeDeps, FetchProgress, Source } from './exchange.ts'
import type { ChannelView, Release, TufTime } from './tuf/index.ts'

/** A release as what installs it knows it. */
export interface Installable {
  /** SHA-256 of its index, hexadecimal. */
  readonly id: string
  readonly name: string
  readonly version: string
  readonly build: number
  readonly installer: InstallerName
  readonly args: Readonly<Record<string, string>>
  readonly health?: Health | undefined
}

export type Refused = Pick<Installable, 'id' | 'name' | 'version' | 'build'>

export interface InstallState {
  readonly installed?: Installable | undefined
  readonly previous?: Installable | undefined
  readonly trial?: { readonly phase: string; readonly release: Installable } | undefined
  /** Ids of releases that were ill here. */
  readonly ill: readonly string[]
}

export type InstallOutcome =
  | { readonly what: 'installed' | 'staged' | 'restarting'; readonly release: Installable }
  | { readonly what: 'rolled-back'; readonly release: Installable; readonly why: string }

/** What installs: it never touches the network. Its errors have codes. */
export interface Installing {
  /** Under which names anything was ever installed. */
  names(): Promise<readonly string[]>
  state(name: string): Promise<InstallState>
  stage(release: Installable, file: string, signal: AbortSignal): Promise<void>
  switch(name: string, signal: AbortSignal): Promise<InstallOutcome>
  resume(name: string, signal: AbortSignal): Promise<InstallOutcome | undefined>
  rollback(name: string, signal: AbortSignal): Promise<InstallOutcome>
  discard(name: string, signal: AbortSignal): Promise<void>
  /** The bytes of an installed release, where they can be had again. */
  bytesOf(release: Installable, signal: AbortSignal): Promise<RawBytes | undefined>
}

/** What this device is. */
export interface DeviceFacts {
  readonly hardware: readonly string[]
  readonly arch: readonly string[]
  /** Someone is using it. */
  readonly busy: () => boolean
  /** Minutes since midnight, local time. */
  readonly minute: () => number
  /** Hours, in minutes since midnight, in which nothing of a release is fetched. */
  readonly quietHours?: readonly Window[]
  /** What putting a release together may take. */
  readonly memoryBytes: () => number
}

export interface UpdatesDeps {
  /** What is believed of channels, and reports; stays. */
  readonly folder: string
  /** Releases that are being put together; can be deleted. */
  readonly workFolder: string
  readonly home: Uint8Array
  readonly signer: Signer
  readonly verifier: Verifier
  readonly clock: Clock
  readonly log: Logger
  readonly time: () => TufTime
  readonly policy: () => UpdatePolicy
  /** Keys of all devices that take updates. */
  readonly devices: () => readonly Uint8Array[]
  readonly blobs: BlobStore
  readonly exchange: (
    parts: Pick<ExchangeDeps, 'file' | 'reports'>,
    signal: AbortSignal,
  ) => Promise<Exchange>
  readonly installs: Installing
  readonly facts: DeviceFacts
  /** False: this device passes releases on and installs none. */
  readonly installing: boolean
}

/** How far one name is, here. */
export interface Progress {
  readonly channel: string
  readonly name: string
  readonly version: string
  readonly build: number
  /** Id of the release: SHA-256 of its index, 32 bytes. */
  readonly index: Uint8Array
  readonly phase: Phase
  readonly ring?: number | undefined
  readonly percent?: number | undefined
  readonly code?: string | undefined
  /** Why it waits or was refused, for people. */
  readonly why?: string | undefined
  /** When it may go on by itself; UTC milliseconds. */
  readonly untilMs?: number | undefined
  readonly from: readonly Source[]
  /** What was last found well here; undefined where nothing is installed. */
  readonly runs?: Running | undefined
}

export type Running = Pick<Installable, 'version' | 'build'>

export interface UpdatesEvents extends Record<string, unknown> {
  progress: Progress
  fetching: Progress & { readonly fetch: FetchProgress; readonly bytesPerSecond: number }
  /** A build was ill here, and what ran before runs again. */
  rolledBack: { readonly release: Installable; readonly why: string }
  /** A release was refused for what it is. */
  refused: { readonly release: Refused; readonly code: string; readonly why: string }
  /** What no honest device sends, or two releases under one name. */
  attack: { readonly code: string; readonly peer: Uint8Array | undefined }
  /** Any device said how far it is. */
  report: UpdateReport
}

export interface Updates extends AsyncDisposable {
  readonly events: Emitter<UpdatesEvents>
  readonly channels: Channels
  readonly exchange: Exchange
  view(channel: string): ChannelView | undefined
  /** What this device does, by name. */
  progress(): readonly Progress[]
  /** The newest of each device and name. */
  reports(): readonly UpdateReport[]
  /** What is installed here, by name. */
  installed(): Promise<readonly InstallState[]>
  /** The home, its policy, the disk or the moment may have changed: look again. */
  look(): Promise<void>
  /**
   * Resolves when a peer has said what it has, and nothing that it made known is asked for or fetched
   * any more; or when nothing came for two seconds, or `signal` aborts. What is not done goes on with
   * the next peer.
   */
  settled(signal: AbortSignal): Promise<void>
  /** Go back to the version before, by hand. */
  rollback(name: string, signal: AbortSignal): Promise<InstallOutcome>
  /** A listed release, whole in the blob store, whether it is for this device or not. */
  fetch(
    wanted: { readonly channel: string; readonly release: Release },
    signal: AbortSignal,
    onProgress?: (progress: FetchProgress) => void,
  ): Promise<{ readonly index: Uint8Array; readonly from: readonly Source[] }>
}
