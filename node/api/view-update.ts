/** Releases: who signs them, who has them, and how far each device is. Part of view.ts. */

export interface ReleaseView {
  readonly name: string
  readonly version: string
  readonly build: number
  /** SHA-256 of its index, hexadecimal. */
  readonly id: string
  /** Another release has its name and build: neither is installed. */
  readonly conflict: boolean
}

export interface ChannelStateView {
  readonly name: string
  /** SHA-256 of its first root, hexadecimal. */
  readonly root: string
  /** Number of its newest word; null before the first came. */
  readonly timestamp: number | null
  /** When that must be signed anew at the latest. */
  readonly expiresAt: number | null
  /** Why nothing new is installed from it; null where nothing is in the way. */
  readonly blocked: string | null
  /** This device keeps it fresh. */
  readonly signedHere: boolean
  readonly releases: readonly ReleaseView[]
}

export type UpdatePhase =
  | 'offered'
  | 'waiting'
  | 'fetching'
  | 'staged'
  | 'installed'
  | 'healthy'
  | 'rolled-back'
  | 'refused'
  | 'paused'

export interface UpdateSourceView {
  readonly device: string
  readonly name: string
  readonly bytes: number
}

/** What one device said last about one name. */
export interface DeviceUpdateView {
  /** Peer id and name of the device. */
  readonly device: string
  readonly deviceName: string
  readonly self: boolean
  readonly channel: string
  readonly name: string
  readonly version: string
  readonly build: number
  readonly index: string
  readonly phase: UpdatePhase
  readonly at: number
  /** From 0. */
  readonly ring: number | null
  readonly percent: number | null
  readonly code: string | null
  /** For people; of this device alone. */
  readonly why: string | null
  /** When it may go on by itself; of this device alone. */
  readonly until: number | null
  readonly from: readonly UpdateSourceView[]
  /** What runs there and was found well; null where that is not known, or nothing is. */
  readonly runs: { readonly version: string; readonly build: number } | null
}

export interface UpdateRingView {
  readonly devices?: number | undefined
  readonly percent?: number | undefined
  readonly minHealthyMs: number
}

/** What owners decided. */
export interface UpdateRolloutView {
  readonly rings: readonly UpdateRingView[]
  readonly haltPercent: number
  /** `HH:MM-HH:MM`, or null for any time. */
  readonly window: string | null
  readonly dnd: boolean
  readonly paused: readonly string[]
  readonly pins: readonly { readonly name: string; readonly build: number }[]
  readonly deferred: readonly {
    readonly name: string
    readonly build: number
    readonly until: number
  }[]
  readonly securityAtOnce: boolean
  readonly groups: readonly {
    readonly name: string
    /** Fingerprints of devices that are in the home; others by what is known of them. */
    readonly devices: readonly string[]
  }[]
}

export interface InstalledView {
  readonly name: string
  readonly version: string
  readonly build: number
  readonly previous: string | null
}

export interface UpdatesState {
  readonly channels: readonly ChannelStateView[]
  readonly rollout: UpdateRolloutView
  /** By name, then by device. */
  readonly devices: readonly DeviceUpdateView[]
  /** On this device. */
  readonly installed: readonly InstalledView[]
  readonly store: { readonly bytes: number; readonly maxBytes: number }
}

/** One change of what owners decided; the rest stays. `*` stands for every name. */
export interface RolloutChange {
  readonly pause?: string | undefined
  readonly resume?: string | undefined
  readonly pin?: { readonly name: string; readonly build: number } | undefined
  readonly unpin?: string | undefined
  readonly defer?:
    | { readonly name: string; readonly build: number; readonly until: number }
    | undefined
  readonly rings?: readonly UpdateRingView[] | undefined
  readonly haltPercent?: number | undefined
  /** `HH:MM-HH:MM`; empty for any time. */
  readonly window?: string | undefined
  readonly dnd?: boolean | undefined
  readonly securityAtOnce?: boolean | undefined
  /** Replaces the group; without devices it goes. */
  readonly group?: { readonly name: string; readonly devices: readonly string[] } | undefined
}

export interface ChannelInput {
  readonly name: string
  /** The first root, base64. */
  readonly root: string
}

export interface SignedInput {
  readonly role: 'targets' | 'root'
  /** The signed file, base64. */
  readonly file: string
  /** With a root: the list of releases as its keys signed it, base64. */
  readonly targets?: string | undefined
  /** Indexes of releases that it lists and the channel does not have, base64. */
  readonly indexes: readonly string[]
}

/** A line of a fetch: how far it is, and last where it came from. */
export type FetchLine =
  | {
      readonly doneBytes: number
      readonly bytes: number
      readonly peers: number
    }
  | {
      readonly id: string
      /** The index, base64, in pieces of at most 512 KiB; the last line has `from`. */
      readonly index: string
      readonly from?: readonly UpdateSourceView[] | undefined
    }

export interface TransferView {
  readonly channel: string
  readonly releases: number
  readonly chunks: number
  readonly bytes: number
  /** Chunks that were not there, or not what their name says. */
  readonly missing: number
}

export interface UpdateView {
  updates(): Promise<UpdatesState>
  /** Owners: the home trusts this channel from now on. */
  trustChannel(input: ChannelInput): Promise<ChannelStateView>
  /** Owners: it does so no more. */
  distrustChannel(name: string): Promise<void>
  /** Take what was signed for a channel that this device keeps fresh. */
  acceptSigned(channel: string, input: SignedInput): Promise<ChannelStateView>
  /** Owners. */
  changeRollout(change: RolloutChange): Promise<UpdateRolloutView>
  /** On this device: back to the version before. */
  rollbackUpdate(name: string): Promise<{ readonly name: string; readonly why: string }>
  /** On this device: a build that was ill here may be tried again. */
  forgiveUpdate(name: string, build: number): Promise<void>
  /** Bring a listed release, whole, into the store of this device. */
  fetchRelease(
    name: string,
    query: { readonly build?: number | undefined },
    signal: AbortSignal,
  ): AsyncIterable<FetchLine>
  /** A channel into a folder of this machine, and from one. */
  exportChannel(channel: string, folder: string): Promise<TransferView>
  importChannel(channel: string, folder: string): Promise<TransferView>
}
