/** What the dialer knows, is told and asks for. */

export interface DialerState {
  readonly self: string
  /**
   * Dial nobody but those who are wanted, those at once and again soon: for a device that is awake for
   * a second or two, where waiting costs more than dialling.
   */
  readonly onDemand: boolean
  /** For jitter. */
  readonly seed: number
  readonly peers: ReadonlyMap<string, PeerState>
}

export interface PeerState {
  /** Heard by discovery, newest first. */
  readonly announced: readonly string[]
  /** Where it was reached before, newest first. */
  readonly proven: readonly string[]
  /** Configured. */
  readonly direct: readonly string[]
  readonly instance: string | undefined
  readonly connections: ReadonlyMap<string, ConnectionState>
  readonly dialing: boolean
  readonly failures: number
  readonly lastDialMs: number
  /** When to dial next; undefined while there is no reason to. */
  readonly dueMs: number | undefined
  /** When the last connection broke; undefined since it is back, and before the first. */
  readonly lostMs: number | undefined
  /** It sleeps most of the time and dials when it wakes: being gone is no loss, and dialling it is vain. */
  readonly sleeper: boolean
  /** Someone waits for it; counts where `onDemand` holds. */
  readonly wanted: boolean
  /** How often it was dialled beside another dial, because it turned up elsewhere. */
  readonly found: number
}

export interface ConnectionState {
  readonly direction: 'inbound' | 'outbound'
  readonly openedMs: number
  /** The link it runs over, where that is known. */
  readonly link: string | undefined
  readonly remoteHost: string
  readonly greeted: boolean
  readonly probing: boolean
  readonly lastProbeMs: number
}

export type DialerEvent =
  | { readonly type: 'tick' }
  | { readonly type: 'members'; readonly peers: readonly string[] }
  | { readonly type: 'sleepers'; readonly peers: readonly string[] }
  | {
      readonly type: 'known'
      readonly peer: string
      readonly kind: 'proven' | 'direct'
      readonly addresses: readonly string[]
    }
  | {
      readonly type: 'seen'
      readonly peer: string
      readonly addresses: readonly string[]
      /** Unknown where libp2p's own module heard it. */
      readonly instance: string | undefined
      readonly link: string
    }
  | { readonly type: 'wanted'; readonly peer: string }
  | { readonly type: 'dialled'; readonly peer: string; readonly ok: boolean }
  | {
      readonly type: 'opened'
      readonly peer: string
      readonly connection: string
      readonly direction: 'inbound' | 'outbound'
      readonly link: string | undefined
      readonly remoteHost: string
    }
  | {
      readonly type: 'greeted'
      readonly peer: string
      readonly connection: string
      /** Where it was reached, for the next time; undefined for inbound connections. */
      readonly address: string | undefined
    }
  | { readonly type: 'closed'; readonly peer: string; readonly connection: string }
  | { readonly type: 'probed'; readonly peer: string; readonly connection: string }
  | { readonly type: 'doubt'; readonly peer: string; readonly connection: string }
  | { readonly type: 'links' }

export type DialerAction =
  | { readonly type: 'dial'; readonly peer: string; readonly addresses: readonly string[] }
  | { readonly type: 'probe'; readonly peer: string; readonly connection: string }
  | { readonly type: 'close'; readonly peer: string; readonly connection: string }

export interface DialerStep {
  readonly state: DialerState
  readonly actions: readonly DialerAction[]
}
