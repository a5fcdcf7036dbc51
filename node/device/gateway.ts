/**
 * A device that carries readings out of its home: what a gateway's program sees of the mesh. The
 * device itself runs as any other does, with its local API; this is the door to it, for the same
 * process. What a gateway may have and call is decided by the home's signed policy, and enforced by
 * the devices that hold readings and answer calls, not here.
 */
import type { ThingModel } from '../../protocols/calls/index.ts'
import type { GatewayRights } from '../../protocols/members/index.ts'
import type { NodeView } from '../api/view.ts'
import type { CallView, Json } from '../api/view-calls.ts'
import type { DeviceState, Role } from '../api/view-devices.ts'
import type { Emitter } from '../events.ts'
import type { Logger } from '../log.ts'

export interface GatewayHome {
  /** Home id, 64 hexadecimal digits. */
  readonly id: string
  readonly name: string
}

/** One device of the home, as a gateway sees it. */
export interface GatewayDeviceFacts {
  /** Peer id, `12D3KooW…`. */
  readonly id: string
  /** Public key, 32 bytes. */
  readonly key: Uint8Array
  readonly fingerprint: string
  readonly name: string
  readonly role: Role
  readonly state: DeviceState
  /** Of a device that sleeps: when it wakes next, or should have; UTC milliseconds. */
  readonly dueAtMs?: number
  readonly version?: string
  /** True for the gateway itself. */
  readonly self: boolean
}

export interface GatewayReading {
  /** Public key of the device that measured, 32 bytes. */
  readonly device: Uint8Array
  /** Its peer id. */
  readonly deviceId: string
  readonly name: string
  readonly sensor: string
  /** SenML unit; absent where it has none. */
  readonly unit?: string
  readonly value: number | string | boolean
  /** UTC milliseconds. */
  readonly atMs: number
  /** Number of the pack that holds it. */
  readonly seq: number
  /** Place in that pack, from 0. With `deviceId` and `seq` this names the reading for ever. */
  readonly index: number
  /** The device's clock was set by nothing outside then, or the time is the receiver's. */
  readonly timeUncertain: boolean
  /** Signature and chain were checked here. False for extracts: the device said it, without proof. */
  readonly verified: boolean
}

/** All that a gateway may have of one pack; `readings` is in order and never empty. */
export interface GatewayPack {
  readonly kind: 'pack'
  readonly device: Uint8Array
  readonly deviceId: string
  readonly name: string
  readonly seq: number
  /** The signed pack, byte for byte; absent where the gateway may have a part of the sensors alone. */
  readonly bytes?: Uint8Array
  readonly readings: readonly GatewayReading[]
  /** False while older packs of this device are caught up. */
  readonly live: boolean
}

/** Packs that are known to be missing, both ends included. What fills it later is delivered then. */
export interface GatewayGap {
  readonly kind: 'gap'
  readonly device: Uint8Array
  readonly deviceId: string
  readonly name: string
  readonly from: number
  readonly to: number
}

export type GatewayDelivery = GatewayPack | GatewayGap

/** Peer id of a device to the number of the last pack that was taken from it for good. */
export type GatewayCursor = ReadonlyMap<string, number>

export interface GatewayEvents extends Record<string, unknown> {
  /** A device is new, or its name, role, state or version is another. */
  device: GatewayDeviceFacts
  /** A device is not in the home any more. */
  removed: { readonly key: Uint8Array; readonly id: string; readonly name: string }
  /** What an owner signed about this gateway is another; narrowed to nothing where it was taken. */
  policy: GatewayRights
  /** This device came into a home, or is in none any more. */
  home: GatewayHome | undefined
}

export interface GatewayCall {
  /** Name, fingerprint or peer id of the device. */
  readonly device: string
  readonly verb: 'write' | 'invoke'
  /** The property's or action's name. */
  readonly name: string
  /** The property's value, or the action's arguments. */
  readonly input?: Json
  /** Where the wish came from: `gateway:` and the sink's name. `kith why` shows it. */
  readonly origin: string
  readonly ttlMs?: number
}

export interface GatewayLeaseEvents extends Record<string, unknown> {
  /** Who sends may be another. */
  change: undefined
  /** What the gateway that sends is through with: nothing up to these packs waits there any more. */
  done: { readonly name: string; readonly cursor: GatewayCursor }
}

/** Among the gateways of a home one sends at a time, for each name. */
export interface GatewayLeases {
  readonly events: Emitter<GatewayLeaseEvents>
  /** The names for which this gateway would send. */
  want(names: readonly string[]): void
  wants(name: string): boolean
  /** Whether this gateway is the one, at this moment. */
  holds(name: string): boolean
  /** The one, as far as it is known here. */
  holder(name: string): { readonly id: string; readonly name: string } | undefined
  /** Asked every second of what is held here, while there are other gateways. */
  progress(of: (name: string) => GatewayCursor): void
}

export interface GatewayDevice extends AsyncDisposable {
  /** Peer id. */
  readonly id: string
  /** Public key, 32 bytes. */
  readonly key: Uint8Array
  readonly version: string
  /** Undefined before it is in a home. */
  home(): GatewayHome | undefined
  /** The devices of the home, this one too. */
  devices(): readonly GatewayDeviceFacts[]
  readonly events: Emitter<GatewayEvents>
  /** What an owner signed about this gateway: nothing where nobody did. */
  policy(): GatewayRights
  /**
   * What this gateway may have: in order for each device, from the pack after the cursor's, once in
   * one run; first what was missed, then as it comes. Paced by the reader: what is not taken stays
   * in the mesh. One at a time.
   */
  deliveries(cursor: GatewayCursor, signal: AbortSignal): AsyncIterable<GatewayDelivery>
  /** What a device offers this gateway; the last that it said where it is away. @throws NodeError */
  describe(device: string, signal: AbortSignal): Promise<ThingModel>
  readonly leases: GatewayLeases
  /** @throws NodeError NODE_DENIED and others, as `kith call` */
  call(call: GatewayCall, signal: AbortSignal): Promise<CallView>
  /**
   * A signed envelope under this device's key, which anybody can check. `kind` is what it is for,
   * 1 to 64 characters: one kind never passes for another. The home is part of it.
   *
   * @throws NodeError NODE_NO_HOME
   */
  sign(kind: string, payload: Uint8Array): Uint8Array
  /**
   * The payload of what `sign` made here.
   *
   * @throws IdentityError, WireError where another signed it, or as another kind, or for another home
   */
  opened(kind: string, bytes: Uint8Array): Uint8Array
  /** What the local API serves: for everything that people ask. */
  readonly view: NodeView
  readonly log: Logger
  /** Resolves when the device was reset by its owner: it has no home and no key any more. */
  readonly ended: Promise<void>
}
