/** What the mailbox service offers to the parts that it is joined with. */
import type { Presence, Schedule } from '../../../protocols/mailbox/index.ts'
import type { Emitter } from '../../events.ts'

/** A signed call that should reach a device when it wakes. */
export interface WaitingCall {
  readonly bytes: Uint8Array
  /** 32 bytes. */
  readonly id: Uint8Array
  readonly to: Uint8Array
  readonly caller: Uint8Array
  readonly issuedMs: number
  readonly ttlMs: number
  /** Calls of one caller with the same key replace each other; at most 128 bytes of text. */
  readonly coalesceKey?: string
}

/**
 * `queued`: on this device alone. `held`: it would survive the loss of one device. `delivered`: the
 * sleeper has it. `superseded`: a later call took its place before it was given to the sleeper by
 * anyone we know of. `expired`: its time passed and it never left this device. `unknown`: its time
 * passed, and others had it. A receipt outranks each of these.
 */
export type WaitingState = 'queued' | 'held' | 'delivered' | 'superseded' | 'expired' | 'unknown'

export interface HeldView {
  readonly id: Uint8Array
  readonly state: WaitingState
  /** Members that are known to hold it, this one among them if it is powered. */
  readonly holders: readonly Uint8Array[]
  /** UTC milliseconds by our clock; absent where the sleeper is late or unknown. */
  readonly deliversByMs?: number
}

export interface WakeResult {
  /** A parent took and gave everything. */
  readonly done: boolean
  /** The last parent that answered. */
  readonly parent?: Uint8Array
  readonly calls: number
  readonly receipts: number
  /** The parent has our whole log. */
  readonly logTaken: boolean
  /** The parent's clock, UTC milliseconds. */
  readonly nowMs?: number
}

export interface MailboxEvents extends Record<string, unknown> {
  /** A device woke, or said when it will. */
  presence: { readonly device: Uint8Array }
  /** A device woke and asked us for its mail. */
  woke: { readonly device: Uint8Array; readonly reason: string | undefined }
  /** A receipt of a call of ours came back; `settled` was told before. */
  receipt: { readonly call: Uint8Array; readonly receipt: Uint8Array }
  /** The state of one of our calls changed. */
  held: HeldView
}

export interface Mailbox extends AsyncDisposable {
  readonly events: Emitter<MailboxEvents>
  /** On disk when it returns. @throws MailboxError MAILBOX_BUSY, MAILBOX_BAD_DOCUMENT */
  hold(call: WaitingCall): Promise<HeldView>
  /** Forget a call of ours that never left this device. False where others may have it. */
  cancel(id: Uint8Array): Promise<boolean>
  /** One of our calls that waits, or waited and has no receipt yet. */
  find(id: Uint8Array): HeldView | undefined
  /** Times are UTC milliseconds by our clock. */
  presence(device: Uint8Array): Presence
  /** The newest schedule of each device, our own among them. */
  schedules(): readonly Schedule[]
  /** Members that keep the mail of this device, preferred one first; none where it never slept. */
  parents(): readonly Uint8Array[]
  /** The device sleeps, or did when we heard of it last. */
  sleeps(device: Uint8Array): boolean
  /** One exchange with our parents: receipts out, calls in. Bounded by `signal`. */
  wake(reason: string | undefined, signal: AbortSignal): Promise<WakeResult>
  /** Who may hold or call has changed. */
  refresh(): void
}
