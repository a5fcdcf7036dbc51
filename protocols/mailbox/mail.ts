/** What is kept of one call that waits, or of its receipt, and where it is kept. */
import { elapsed, type Stamp } from './stamp.ts'

/** What the mailbox must know of a signed call. */
export interface CallFacts {
  /** 32 bytes each. */
  readonly id: Uint8Array
  readonly caller: Uint8Array
  readonly to: Uint8Array
  /** UTC milliseconds by the caller's clock: for the order of its calls only. */
  readonly issuedMs: number
  readonly ttlMs: number
  /** It takes another call back. */
  readonly cancels: boolean
}

/** What the mailbox must know of a signed receipt. */
export interface ReceiptFacts {
  /** Id of the call, 32 bytes; the others too. */
  readonly call: Uint8Array
  readonly caller: Uint8Array
  readonly callee: Uint8Array
}

export interface MailRow extends CallFacts {
  /** Later calls with the same key, caller and device take its place; '' for none. */
  readonly key: string
  /** The signed call; empty once it need not be given any more. */
  readonly bytes: Uint8Array
  /** The signed receipt; empty until there is one. */
  readonly receipt: Uint8Array
  /** How old the call was when it was stored. */
  readonly ageMs: number
  readonly stored: Stamp
  /** Somebody else may have it, or have had it. */
  readonly handed: boolean
  /** The device that it is for has it. */
  readonly given: boolean
  /** The caller has the receipt. */
  readonly acked: boolean
  /** Others that are known to have the call on disk, 32 bytes each. */
  readonly holders: readonly Uint8Array[]
}

export interface MailStore {
  /** Every row. */
  load(): MailRow[]
  /** Put rows on disk in the place of those with their ids, and remove others: all, or none. */
  change(put: readonly MailRow[], remove: readonly Uint8Array[]): void
}

export const NONE: Uint8Array = new Uint8Array(0)

/** How long ago it was issued, at the least. */
export function ageOf({ ageMs, stored }: Pick<MailRow, 'ageMs' | 'stored'>, now: Stamp): number {
  return ageMs + elapsed(stored, now).ms
}

/** It should still be given to the device. */
export function waits({ bytes, receipt }: MailRow): boolean {
  return bytes.length > 0 && receipt.length === 0
}

export function sizeOf({ bytes, receipt }: MailRow): number {
  return bytes.length + receipt.length
}
