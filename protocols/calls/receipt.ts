/** A receipt: what became of a call, under the callee's signature. SPEC.md "Receipt". */
import {
  ENVELOPE_OVERHEAD_BYTES,
  KEY_BYTES,
  open,
  reopen,
  seal,
  type Envelope,
  type Signer,
} from '../identity/index.ts'
import { bytes, equalBytes, field, message, oneOf, optional, text, uint } from '../wire/index.ts'
import { json, MAX_TIME_MS, type CallsContext } from './call.ts'
import { RESULT, type Json } from './json.ts'
import { BOUNDS, CallsError } from './protocol.ts'

/** What became of a call. SPEC.md "Receipt". */
export const STATUSES = [
  'done',
  'failed',
  'denied',
  'invalid',
  'unknown',
  'expired',
  'timeout',
  'superseded',
  'cancelled',
  'refused',
  'busy',
] as const
export type Status = (typeof STATUSES)[number]

/** How good the callee says its clock is. */
export const CLOCKS = ['synced', 'unsynced', 'unset'] as const
export type ClockState = (typeof CLOCKS)[number]

export interface ReceiptContent {
  /** Id of the call, 32 bytes. */
  readonly call: Uint8Array
  /** Who called, 32 bytes. */
  readonly caller: Uint8Array
  readonly status: Status
  /** What came out, where it was done and something did. */
  readonly result?: Json
  /** A sentence of ours for people, ≤ 200 bytes; never words of a plug-in or a command. */
  readonly detail?: string
  /** UTC milliseconds by the callee's clock, when it ended. */
  readonly atMs: number
  readonly clock: ClockState
}

export type Receipt = ReceiptContent & {
  /** The signer's public key, 32 bytes. */
  readonly callee: Uint8Array
  /** Names the receipt; 32 bytes. */
  readonly id: Uint8Array
  /** The whole envelope. */
  readonly bytes: Uint8Array
}

const key = bytes({ length: KEY_BYTES })

/** What is signed. SPEC.md "Receipt". */
export const ReceiptPayload = message(
  'calls.receipt',
  {
    call: field(1, key),
    caller: field(2, key),
    status: field(3, oneOf(...STATUSES)),
    result: optional(4, json(RESULT)),
    detail: optional(5, text(BOUNDS.maxDetailBytes)),
    atMs: field(6, uint(MAX_TIME_MS)),
    clock: field(7, oneOf(...CLOCKS)),
  },
  { maxBytes: BOUNDS.maxReceiptBytes - ENVELOPE_OVERHEAD_BYTES, maxDepth: 1, maxItems: 32 },
)

/** @throws CallsError CALLS_BAD_RECEIPT; WireError where a value is not of its form */
export function sealReceipt(content: ReceiptContent, home: Uint8Array, signer: Signer): Receipt {
  requireForm(content)
  return receiptOf(content, seal(ReceiptPayload.encode(content), contextOf(home), signer))
}

/** The call that a receipt must be about, and who must have signed it. */
export interface ExpectedReceipt {
  /** Id of the call, 32 bytes. */
  readonly call: Uint8Array
  readonly caller: Uint8Array
  readonly callee: Uint8Array
}

/**
 * Check and read a receipt from anywhere; where the call is known, also that it is for this call.
 *
 * @throws CallsError CALLS_BAD_RECEIPT, CALLS_WRONG_RECEIPT; IdentityError; WireError
 */
export function openReceipt(
  input: Uint8Array,
  { home, verifier }: CallsContext,
  expected?: ExpectedReceipt,
): Receipt {
  const receipt = read(open(input, contextOf(home), verifier, BOUNDS.maxReceiptBytes))
  if (expected !== undefined && !answers(receipt, expected)) {
    throw new CallsError('CALLS_WRONG_RECEIPT')
  }
  return receipt
}

/** Read a receipt that `openReceipt` accepted before, from where only we can write. */
export function reopenReceipt(input: Uint8Array, home: Uint8Array): Receipt {
  return read(reopen(input, contextOf(home), BOUNDS.maxReceiptBytes))
}

function answers(receipt: Receipt, { call, caller, callee }: ExpectedReceipt): boolean {
  return (
    equalBytes(receipt.call, call) &&
    equalBytes(receipt.caller, caller) &&
    equalBytes(receipt.callee, callee)
  )
}

function read(envelope: Envelope): Receipt {
  const content = ReceiptPayload.decode(envelope.payload)
  requireForm(content)
  return receiptOf(content, envelope)
}

function receiptOf(content: ReceiptContent, { signer, id, bytes: whole }: Envelope): Receipt {
  return { ...content, callee: signer, id, bytes: whole }
}

function requireForm({ status, result }: ReceiptContent): void {
  if (result !== undefined && status !== 'done') {
    throw new CallsError('CALLS_BAD_RECEIPT', 'result of what was not done')
  }
}

function contextOf(home: Uint8Array): { kind: 'receipt'; home: Uint8Array } {
  return { kind: 'receipt', home }
}
