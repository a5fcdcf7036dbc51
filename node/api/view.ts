/**
 * What the local API asks of the device: one method per thing a person can see or do. node/node.ts
 * implements it; api/routes.ts serves it over HTTP; the command line and the dashboard are clients
 * of those routes and know the device by these shapes alone. Keys and home ids are text here
 * (peer id, base32); times are milliseconds since the Unix epoch. A field is never renamed or
 * removed without a new major version of the API. Every method throws NodeError or a protocol's
 * CodedError.
 */

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

export interface StatusView {
  readonly version: string
  readonly device: { readonly id: string; readonly name: string; readonly fingerprint: string }
  /** Null before a home was made or joined. */
  readonly home: { readonly id: string; readonly name: string } | null
  /** This device's own role; null without a home, or after it was removed from it. */
  readonly role: Role | null
  /** Where this device listens for the mesh. */
  readonly addrs: readonly string[]
  /** Connected devices of the home, without this one. */
  readonly peers: number
  readonly startedAt: number
  readonly uptimeMs: number
}

/** A fresh kit, kept nowhere: the caller shows it to a person and forgets it. */
export interface RecoveryKitView {
  /** The kit's text in groups, in order. */
  readonly groups: readonly string[]
  /** The same kit as text for a QR code. */
  readonly qr: string
  /** Ed25519 public key, 64 hexadecimal digits: all that the home keeps of it. */
  readonly publicKey: string
}

export interface CreateHomeInput {
  /** The home's name. */
  readonly name: string
  /** A new name for this device. */
  readonly deviceName?: string | undefined
  /** `publicKey` of the kit that the person has put away. */
  readonly recoveryKey: string
}

export interface RecoverInput {
  /** The kit as typed (groups) or scanned (QR text). */
  readonly kit: string
  /** References to devices to put out with the kit's power: the stolen ones, owners or not. */
  readonly remove?: readonly string[] | undefined
  /** Undo what those devices did to the home from this time on. */
  readonly since?: number | undefined
}

/** This device's place in a home. */
export interface MembershipView {
  readonly home: string
  readonly name: string
  /** This device's peer id. */
  readonly device: string
}

export interface PairingWindowView {
  /** `DD-NNNN-NNNN-C`. */
  readonly code: string
  /** Text for a QR code. */
  readonly qr: string
  readonly expiresAt: number
  /** Number of the newest event when the window opened: `events(since)` misses nothing about it. */
  readonly since: number
}

export interface PairingStatusView {
  readonly open: boolean
  readonly expiresAt: number | null
  readonly triesLeft: number
}

/** What a grant says beside the role. */
export interface GrantTerms {
  /** For a guest, what it may read: `read:SENSORS` or `read:FINGERPRINT/SENSORS`, with `*`. */
  readonly allow?: readonly string[] | undefined
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

/** A device that may read a sensor. */
export interface SensorReader {
  readonly name: string
  readonly role: Role
  /** `role`, or the part of its grant that allows it. */
  readonly through: string
}

export interface SensorView {
  readonly name: string
  readonly unit: string
  readonly on: boolean
  /** The newest value; null where there is none yet. */
  readonly value: number | null
  readonly description: string
  /** Every other device of the home that may read it. */
  readonly readers: readonly SensorReader[]
}

/** A value from another program, for a sensor of type `push`. The device stamps it. */
export interface PushedValue {
  readonly sensor: string
  readonly value: number | boolean | string
}

export interface ReadingQuery {
  /** A reference to a device; all of them without it. */
  readonly device?: string | undefined
  readonly sensor?: string | undefined
}

export interface Reading {
  /** Peer id. */
  readonly device: string
  /** The device's name. */
  readonly name: string
  readonly sensor: string
  readonly value: number
  readonly unit: string
  readonly at: number
  /** The sequence number of the pack that holds it. */
  readonly seq: number
  /**
   * Whether the pack's signature and its place in the chain were checked here. False for what came
   * from a device after proof that it signed two histories, and for what a guest was told.
   */
  readonly verified: boolean
  /** A guest was told this by the device itself: it is shown, and proves nothing. */
  readonly source?: 'extract'
}

/**
 * A reading without a date: the device's clock was not set then, and nothing has told since when that
 * was. It gets its date, and leaves this list, when something does.
 */
export interface UnplacedReading extends Omit<Reading, 'at' | 'source'> {
  readonly unplaced: {
    /** One life of the machine that measured, in hexadecimal: others are counted by another start. */
    readonly boot: string
    /** Milliseconds from the start of that machine. */
    readonly sinceStartMs: number
  }
}

/** What the readings of one sensor in one span come to. Stays when the readings have gone. */
export interface Summary extends Reading {
  /** Length of the span in milliseconds: as asked, or longer where shorter ones are not kept. */
  readonly everyMs: number
  readonly min: number
  /** The same as `value`. */
  readonly mean: number
  readonly max: number
  readonly last: number
  readonly count: number
}

export interface HistoryQuery {
  readonly device: string
  readonly sensor?: string | undefined
  readonly since?: number | undefined
  readonly until?: number | undefined
  /** One summary for each span of this length; spans are whole, so the first may begin before. */
  readonly everyMs?: number | undefined
}

/** Readings are known to be missing between these two times: of those right before and after. */
export interface Gap {
  readonly gap: { readonly from: number; readonly to: number }
}

/** Summaries where `everyMs` was asked, else readings; `at` is where its span begins. */
export type HistoryRow = Reading | Summary | Gap

export interface ExportInput {
  /** References to devices; all that this device keeps logs of where there are none. */
  readonly devices: readonly string[]
  readonly since?: number | undefined
  readonly until?: number | undefined
}

export interface Check {
  readonly check: string
  readonly ok: boolean
  /** Why it is not ok, or what was found. */
  readonly cause: string
  /** What to do; empty where it is ok. */
  readonly cure: string
}

export interface IncidentQuery {
  /** A reference to a device; all of them without it. */
  readonly device?: string | undefined
  readonly since?: number | undefined
}

/** One signed report of something that went wrong. SPEC.md of protocols/incidents. */
export interface IncidentView {
  /** Peer id of the device that reports. */
  readonly device: string
  readonly name: string
  /** Number among its reports. */
  readonly seq: number
  readonly at: number
  /** When it happened first. */
  readonly since: number
  /** How often from then until `at`. */
  readonly count: number
  readonly kind: string
  readonly code: string | null
  /** The device that it is about. */
  readonly subject: { readonly id: string; readonly name: string } | null
  /** How far the program was. */
  readonly stage: string | null
  /** Files of the program and lines in them, innermost first. */
  readonly places: readonly string[]
  readonly clock: string
  readonly version: string
}

export interface ConfigRow {
  readonly key: string
  readonly value: unknown
  readonly source: 'flag' | 'environment' | 'file' | 'default'
}

/**
 * Something that happened. Types that the command line knows: `pairing.tried` (data: `text`,
 * `triesLeft`), `pairing.paired` (data: `home`, `role`, `by` and, for people, `homeName`, `byName`),
 * `pairing.closed` (data: `reason`, `expired` where the time was up), `telemetry.progress` (data:
 * `device`, `name`, `packs`, `of`: a log that was far behind; the same numbers at its end).
 */
export interface EventView {
  /** Rising within one run of the device. */
  readonly id: number
  readonly type: string
  readonly at: number
  readonly data: Readonly<Record<string, unknown>>
}

/** `ref` is a name, a fingerprint or a peer id, or any unambiguous beginning: see device-ref.ts. */
export interface NodeView {
  status(): Promise<StatusView>
  /** A fresh kit. Stores nothing. */
  recoveryKit(): Promise<RecoveryKitView>
  createHome(input: CreateHomeInput): Promise<MembershipView>
  /** Make this device an owner with the recovery kit. */
  recover(input: RecoverInput): Promise<MembershipView>
  /** Open a pairing window on this device, which has no home yet. */
  openPairing(input: { readonly minutes?: number | undefined }): Promise<PairingWindowView>
  pairingStatus(): Promise<PairingStatusView>
  closePairing(): Promise<void>
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
  sensors(): Promise<readonly SensorView[]>
  setSensor(name: string, on: boolean): Promise<SensorView>
  /** Take values in order; the first that is no number ends it, and the ones before are taken. */
  push(values: readonly PushedValue[]): Promise<void>
  /** Live readings until `signal` aborts. */
  watch(query: ReadingQuery, signal: AbortSignal): AsyncIterable<Reading>
  /** Kept readings that have no date yet, in the order in which they were published. */
  unplaced(
    query: { readonly device: string; readonly sensor?: string | undefined },
    signal: AbortSignal,
  ): AsyncIterable<UnplacedReading>
  /** Kept readings, oldest first, and gaps in their place. */
  history(query: HistoryQuery, signal: AbortSignal): AsyncIterable<HistoryRow>
  /**
   * The bytes of a file with the home's membership and the signed packs of these devices, which
   * anybody can check without this device. SPEC.md of protocols/telemetry, "Export".
   */
  exportLogs(input: ExportInput, signal: AbortSignal): AsyncIterable<Uint8Array>
  doctor(): Promise<readonly Check[]>
  /** Incidents of this device and of those it could ask, oldest first; for owners alone. */
  incidents(query: IncidentQuery): Promise<readonly IncidentView[]>
  /** Forget the home and everything measured, and make a new identity at the next start. */
  reset(): Promise<void>
  /** The settings in force. */
  config(): Promise<readonly ConfigRow[]>
  /**
   * Events after number `since` that are still kept, then live ones; without it only those after
   * this call, even where the first is asked for later.
   */
  events(since: number | undefined, signal: AbortSignal): AsyncIterable<EventView>
}
