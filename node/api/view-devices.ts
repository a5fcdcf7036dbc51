/** Devices of the home as people see them, and what an owner can change about them. Part of view.ts. */

export const ROLES = ['owner', 'member', 'sensor', 'gateway', 'guest'] as const
export type Role = (typeof ROLES)[number]

export const DEVICE_STATES = ['online', 'asleep', 'late', 'lost', 'removed', 'unknown'] as const
export type DeviceState = (typeof DEVICE_STATES)[number]

export interface LogProgress {
  /** Packs that came. Fewer than `of`: the log is being caught up. */
  readonly packs: number
  /** Packs that there are to be had. */
  readonly of: number
}

/** One device of the home, or this device before it has one. */
export interface DeviceRow {
  /** Peer id, `12D3KooW…`. */
  readonly id: string
  readonly name: string
  /** Eight characters, see protocols/identity. */
  readonly fingerprint: string
  /** Null for this device before it has a home. */
  readonly role: Role | null
  readonly state: DeviceState
  /** Of a device that sleeps: when it wakes next, or should have. */
  readonly dueAt?: number
  /** When it last spoke to this device; null where it never did. */
  readonly lastSeen: number | null
  /** Addresses in use, or last used. */
  readonly addrs: readonly string[]
  /** Kith's version there; null where it is not known. */
  readonly version: string | null
  /** It signed two histories: copied, restored or stolen. What came since does not count. */
  readonly quarantined: boolean
  /** What a guest may read, as its grant says it, like `read:temperature.*`. */
  readonly allow?: readonly string[]
  /** When its grant ends; absent where it has no end. */
  readonly until?: number
  /** How much of its log has come here, in packs; absent where nobody connected has any of it. */
  readonly log?: LogProgress
  /** True for the device that answers. */
  readonly self: boolean
}

/** What a grant says beside the role. */
export interface GrantTerms {
  /** For a guest, what it may read: `read:SENSORS` or `read:FINGERPRINT/SENSORS`, with `*`. */
  readonly allow?: readonly string[] | undefined
  /**
   * For a guest, what it may do: `DEVICE/NAME`, with `*`, and limits after `;`, of a property that
   * it may write or an action that it may invoke.
   */
  readonly calls?: readonly string[] | undefined
  /** The device is out after so long. Not for owners. */
  readonly forMs?: number | undefined
}

export interface AddDeviceInput extends GrantTerms {
  /** Exactly one of `code` and `qr`. */
  readonly code?: string | undefined
  readonly qr?: string | undefined
  readonly role: Role
  readonly name?: string | undefined
}

export interface AddedDeviceView {
  /** Peer id. */
  readonly device: string
  readonly name: string
  readonly role: Role
  readonly fingerprint: string
}

/** One signed act of membership. */
export interface OpView {
  readonly id: string
  readonly type: string
  /** Peer id of the device that the act is about. */
  readonly device: string
  /** Peer id of the device that signed it. */
  readonly by: string
  readonly at: number
}

/** What removing a device cuts, told before and after. */
export interface RemovalView {
  readonly device: DeviceRow
  /** Whether a connection to it is open now, and would be cut. */
  readonly connected: boolean
  /** Names of devices that lose their place with it, because only it admitted them. */
  readonly alsoRemoved: readonly string[]
  /** Sequence number of the last reading that stays trusted; null where there is none. */
  readonly lastSeq: number | null
}

/** What owners signed about one gateway. */
export interface GatewayPolicyView {
  readonly device: string
  readonly name: string
  /** Caps as in grants: `read:FINGERPRINT/SENSORS`, `write:…`, `invoke:…`. */
  readonly caps: readonly string[]
  /** What was not allowed before; empty where nothing was changed, or taken alone. */
  readonly wider: readonly string[]
  /** What was allowed before, and is not now. */
  readonly taken: readonly string[]
}

export interface DevicesView {
  /** What owners signed about a gateway. */
  gatewayPolicy(ref: string): Promise<GatewayPolicyView>
  /** On an owner's device: sign what a gateway may have and call, in place of what was signed. */
  signGatewayPolicy(ref: string, caps: readonly string[]): Promise<GatewayPolicyView>
  /** Find the candidate and admit it. `signal` aborts where the person gives up. */
  addDevice(input: AddDeviceInput, signal: AbortSignal): Promise<AddedDeviceView>
  devices(): Promise<readonly DeviceRow[]>
  device(ref: string): Promise<DeviceRow>
  rename(ref: string, name: string): Promise<OpView>
  grant(ref: string, role: Role, terms?: GrantTerms): Promise<OpView>
  /** Trust a device again that had signed two histories. */
  trust(ref: string): Promise<DeviceRow>
  /** What `remove` would cut. Changes nothing. */
  removal(ref: string): Promise<RemovalView>
  remove(
    ref: string,
    options: { readonly reason?: string | undefined },
  ): Promise<{ readonly op: OpView; readonly cuts: RemovalView }>
}
