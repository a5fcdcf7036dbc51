/**
 * Calls of one device: what it asks others to do, and what others ask it to do. The documents and
 * the stream are protocols/calls, the disk is node/storage/calls.ts, and what is moved is a `Thing`.
 * Who may call comes as a function. Joins the caller and the callee, which are files beside this one.
 */
import type { Logger } from 'pino'

import type {
  Allows,
  Call,
  Cause,
  Json,
  Receipt,
  Status,
  Verb,
} from '../../../protocols/calls/index.ts'
import type { LateVerifier, Signer } from '../../../protocols/identity/index.ts'
import type { CallState } from '../../call-state.ts'
import type { Clock, Random } from '../../env.ts'
import type { Emitter } from '../../events.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import type { CallStore } from '../../storage/calls.ts'
import type { Timekeeper } from '../../timekeeper.ts'
import { joinCalls } from './start.ts'
import type { Thing } from './thing.ts'

/** What a call is asked of: the affordance and, of a cancelling call, nothing. */
export interface Asked {
  readonly verb: Verb | 'observe'
  readonly name: string
  readonly args?: Json | undefined
}

/**
 * What a device may do here. `counted` names what the call counts against (`used` is asked with the
 * same name), and is absent where nothing is counted.
 */
export type Verdict =
  | { readonly allow: true; readonly counted?: string | undefined }
  | { readonly allow: false; readonly why: string }

/** Rights on this device, asked again for every call and every observed value. */
export interface Rights {
  /** A device of this home that was not removed. */
  isActive(device: Uint8Array): boolean
  /** `used` gives how many accepted calls of `caller` were counted under a name. */
  judge(caller: Uint8Array, asked: Asked, used: (counted: string) => number): Verdict
  /** What `caller` may use at all, with some argument at some time. */
  allows(caller: Uint8Array): Allows
}

/** What the mailbox of this device does for calls to sleepers. */
export interface CallMailbox {
  /** The device sleeps between its windows, as far as is known here. */
  isSleeper(device: Uint8Array): boolean
  /** When such a device is due at the latest, UTC milliseconds; undefined where that is not known. */
  deliversByMs(device: Uint8Array): number | undefined
  /** Keep a call until the device has it. Resolves once it is kept here or by others. */
  hold(call: {
    readonly bytes: Uint8Array
    readonly id: Uint8Array
    readonly to: Uint8Array
    readonly caller: Uint8Array
    readonly issuedMs: number
    readonly ttlMs: number
    readonly coalesceKey?: string | undefined
  }): Promise<HeldView>
  /** Forget a call that never left this device. False where others may have it. */
  cancel(id: Uint8Array): Promise<boolean>
}

/** How far a call that is held has come. */
export interface HeldView {
  /** `superseded`: a later call of this device took its place. */
  readonly state: 'queued' | 'held' | 'delivered' | 'superseded' | 'expired' | 'unknown'
  /** Public keys of the devices that have it on disk. */
  readonly holders: readonly Uint8Array[]
  readonly deliversByMs?: number | undefined
}

export interface CallsDeps {
  readonly mesh: Pick<Mesh, 'key' | 'events' | 'serve' | 'open' | 'peers' | 'cut'>
  readonly store: CallStore
  readonly signer: Signer
  readonly verifier: LateVerifier
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  readonly thing: Thing
  readonly rights: Rights
  /** This device's Thing Description, JSON, of what `peer` may use. */
  readonly describe: (peer: Uint8Array) => string
  /** Number of effective revocations that this device knows. */
  readonly epoch: () => number
  /** Undefined until there is one. */
  readonly mailbox: () => CallMailbox | undefined
  readonly time: Pick<Timekeeper, 'quality'>
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

export interface CallRecord {
  /** 32 bytes. */
  readonly id: Uint8Array
  /** Public key of the device that is to execute it. */
  readonly to: Uint8Array
  readonly verb: Verb
  readonly name: string
  readonly args?: Json | undefined
  readonly state: CallState
  readonly issuedMs: number
  readonly ttlMs: number
  readonly deliversByMs?: number | undefined
  readonly holders: readonly Uint8Array[]
  readonly receipt?: Receipt | undefined
  readonly cause?: Cause | undefined
}

/** One thing that was done: by whom, why, and what became of it. Both signatures were verified. */
export interface WhyRow {
  readonly id: Uint8Array
  readonly caller: Uint8Array
  readonly callee: Uint8Array
  readonly verb: Verb
  readonly name: string
  readonly args?: Json | undefined
  readonly cause?: Cause | undefined
  readonly status: Status
  /** When it had ended, by the device's own clock. */
  readonly atMs: number
  readonly call: Call
  readonly receipt: Receipt
}

export interface Description {
  /** W3C WoT Thing Description 1.1, JSON. */
  readonly text: string
  /** When the device gave it, UTC milliseconds. */
  readonly atMs: number
  /** It came just now; otherwise it is what the device last said. */
  readonly live: boolean
}

export interface Observed {
  readonly name: string
  readonly value: Json
  readonly atMs: number
}

export interface WantedCall {
  readonly to: Uint8Array
  readonly verb: Exclude<Verb, 'cancel'>
  readonly name: string
  readonly args?: Json | undefined
  /** Thirty seconds where absent; of a sleeper one hour beyond the time at which it is due. */
  readonly ttlMs?: number | undefined
  readonly cause?: Cause | undefined
}

export interface CallEvents extends Record<string, unknown> {
  /** A call of this device is new, or its state is. */
  call: CallRecord
  /** This device executed something. */
  executed: WhyRow
  /** A device answered over its own connection, and the signature was wrong. */
  refused: { readonly device: Uint8Array; readonly code: string }
}

export interface Calls extends AsyncDisposable {
  readonly events: Emitter<CallEvents>
  /** @throws NodeError NODE_TIMEOUT where it is not connected and never said anything */
  describe(device: Uint8Array, signal: AbortSignal): Promise<Description>
  /**
   * Resolves with the receipt where the device is awake, and once it is kept where it sleeps.
   *
   * @throws NodeError NODE_TIMEOUT where nothing could be sent, NODE_CONFLICT where too much waits;
   * CallsError for arguments that no call carries
   */
  call(wanted: WantedCall, signal: AbortSignal): Promise<CallRecord>
  observe(device: Uint8Array, name: string, signal: AbortSignal): AsyncIterable<Observed>
  /** What `device` did, newest first; all of its affordances where `name` is undefined. */
  why(
    device: Uint8Array,
    name: string | undefined,
    limit: number,
    signal: AbortSignal,
  ): Promise<WhyRow[]>
  /** Calls of this device, newest first. */
  list(): CallRecord[]
  /** @throws NodeError NODE_NOT_FOUND, NODE_AMBIGUOUS */
  find(idPrefix: string): CallRecord
  /** Ask for a call not to be executed; resolves with what is known of it then. */
  cancel(id: Uint8Array, signal: AbortSignal): Promise<CallRecord>
  /** Resolves when nothing more will become of it. */
  wait(id: Uint8Array, signal: AbortSignal): Promise<CallRecord>
  /**
   * For the mailbox of a sleeper: execute calls that `via` held, in order of issue, cancelling ones
   * first. Receipts of those that are calls to this device.
   */
  deliver(calls: readonly Uint8Array[], via: Uint8Array): Promise<Uint8Array[]>
  /** For the mailbox of a caller: a receipt came back. Others' receipts are ignored. */
  settled(receipt: Uint8Array): void
  /** For the mailbox of a caller: a call has come further. */
  moved(id: Uint8Array, view: HeldView): void
}

/** Serves calls when this resolves. What was not finished before this start goes on. */
export function startCalls(deps: CallsDeps, signal: AbortSignal): Promise<Calls> {
  return joinCalls(deps, signal)
}
