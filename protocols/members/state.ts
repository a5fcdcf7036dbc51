/** What a home is at one moment, as `reduce` finds it. Values only. */
import type { Grant } from './authority.ts'
import type { Paired, Reason } from './messages.ts'
import type { Op } from './op.ts'
import { permits, type Act, type Role } from './roles.ts'

export interface Device {
  /** Public key, 32 bytes. */
  readonly key: Uint8Array
  readonly name: string
  readonly role: Role
  /** What the device may do where its role is bound by caps. Sorted. */
  readonly caps: readonly string[]
  /** UTC milliseconds; judge it by your own clock: `isExpired`. */
  readonly expiresAtMs: number | undefined
  /** Id of the grant that decides: what the device acts under. */
  readonly grant: Uint8Array
  /** When the author of that grant says it was given. Advisory. */
  readonly grantedAtMs: number
  /** How the device was paired, where the grant says so. */
  readonly paired: Paired | undefined
  /** Grants between genesis and the device: 0 for the founder. */
  readonly depth: number
  /** Caught signing two histories; does nothing until an owner grants it anew. Never an owner. */
  readonly quarantined: boolean
}

export interface RemovedDevice {
  readonly key: Uint8Array
  readonly name: string
  readonly reason: Reason | 'retired' | 'replaced'
  /** Newest telemetry seq that is still accepted; undefined where the revocation names none. */
  readonly lastSeq: number | undefined
}

/** Two different ops of one signer with one seq: proof of a cloned, restored or stolen key. */
export interface Equivocation {
  readonly signer: Uint8Array
  readonly seq: number
  readonly ops: readonly [Op, Op]
}

export interface Checkpoint {
  readonly op: Uint8Array
  readonly heads: readonly Uint8Array[]
  readonly stateHash: Uint8Array
  readonly timeMs: number
}

export interface HomeState {
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  readonly name: string
  readonly policy: Uint8Array
  readonly recoveryKey: Uint8Array
  /** Devices with a live grant, by key in hexadecimal, in order of key. Expired ones included. */
  readonly devices: ReadonlyMap<string, Device>
  /** Devices that had a grant and have none now, likewise. */
  readonly removed: ReadonlyMap<string, RemovedDevice>
  /** Number of effective revocations, retirements and successions. */
  readonly epoch: number
  /** SHA-256 over all of the above: equal in two devices that agree. 32 bytes. */
  readonly hash: Uint8Array
  /** Heads of the set that this was made of. */
  readonly heads: readonly Uint8Array[]
  readonly equivocations: readonly Equivocation[]
  /** The newest by its own time, among the effective ones. */
  readonly checkpoint: Checkpoint | undefined
  /** Every live grant; a device may have several, of which the least counts. */
  readonly grants: readonly Grant[]
  /** Whether the op with this id (hexadecimal) has an effect. */
  readonly isEffective: (hex: string) => boolean
}

export function isExpired(device: Device, nowMs: number): boolean {
  return device.expiresAtMs !== undefined && nowMs >= device.expiresAtMs
}

/** Devices that may connect at `nowMs`: live, not expired. Quarantined ones may, to be told. */
export function membersAt(state: HomeState, nowMs: number): readonly Device[] {
  return [...state.devices.values()].filter((device) => !isExpired(device, nowMs))
}

/** Whether the device may try `act` at `nowMs`; `boundBy` says what else must allow it. */
export function mayAct(device: Device, act: Act, nowMs: number): boolean {
  if (isExpired(device, nowMs) || !permits(device.role, act)) return false
  return !device.quarantined || act === 'sync' || act === 'retire'
}
