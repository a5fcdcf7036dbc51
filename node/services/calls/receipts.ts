/** Receipts that this device signs, and rows that tell of calls with theirs. */
import {
  reopenCall,
  reopenReceipt,
  sealReceipt,
  type Call,
  type CallRow,
  type Receipt,
} from '../../../protocols/calls/index.ts'
import type { CallsDeps, WhyRow } from './calls.ts'
import type { Outcome } from './perform.ts'

export function receiptFor(
  { clock, home, signer, time }: Pick<CallsDeps, 'clock' | 'home' | 'signer' | 'time'>,
  { caller, id: call }: Pick<Call, 'caller' | 'id'>,
  { detail, result, status }: Outcome,
): Receipt {
  const atMs = Math.max(0, Math.floor(clock.now()))
  const about = { call, caller, status, atMs, clock: time.quality() }
  const told = detail === undefined ? about : { ...about, detail }
  if (result === undefined) return sealReceipt(told, home, signer)
  try {
    return sealReceipt({ ...told, result }, home, signer)
  } catch {
    const lost = 'It was done; its result cannot be told, being too large or no JSON.'
    return sealReceipt({ ...about, detail: lost }, home, signer)
  }
}

export function whyRow(call: Call, receipt: Receipt): WhyRow {
  const { args, caller, cause, id, name, verb } = call
  const { atMs, callee, status } = receipt
  return { id, caller, callee, verb, name, args, cause, status, atMs, call, receipt }
}

/** A row of this device itself, or one that was verified. */
export function readRow({ call, receipt }: CallRow, home: Uint8Array): WhyRow {
  return whyRow(reopenCall(call, home), reopenReceipt(receipt, home))
}
