import type { Random } from '../env.ts'
import { CodedError } from '../errors.ts'
import { type Protocol, WireError } from '../wire/index.ts'
import type { PairingCode } from './code.ts'
import { PairingError, type PairingErrorCode } from './errors.ts'
import { WINDOW } from './limits.ts'
import type { PairingIntent, PairingRole } from './messages.ts'
import type { PairingTicket } from './qr.ts'
import type { PairingWindow } from './window.ts'

/** SPEC.md "Limits". */
export const PAIRING = {
  id: '/kith/pair/1.0.0',
  maxFrameBytes: 65_536,
  maxFrames: 384,
  maxInboundStreams: 1,
  maxOutboundStreams: 1,
  messageDeadlineMs: 10_000,
} as const satisfies Protocol

/** What the person at the member typed or scanned. */
export type PairingSecret =
  | { readonly kind: 'code'; readonly code: PairingCode }
  | { readonly kind: 'qr'; readonly ticket: PairingTicket }

/** What the member's side needs. Both keys are the ones that the connection proved. */
export interface AdmitDeps {
  /** Our public key, 32 bytes. */
  readonly memberKey: Uint8Array
  /** The public key at the other end of the connection, 32 bytes. */
  readonly candidateKey: Uint8Array
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  readonly intent: PairingIntent
  readonly role: PairingRole
  readonly secret: PairingSecret
  readonly random: Random
  /**
   * Grant the role to `candidateKey` and give all ops of the home, the new grant among them. Called
   * at most once, and only after both sides have proved the code; the candidate waits for it no
   * longer than `PAIRING.messageDeadlineMs`.
   */
  makeGrant(candidateKey: Uint8Array, name: string): Promise<readonly Uint8Array[]>
}

export interface Admitted {
  readonly candidateKey: Uint8Array
  /** What the new device calls itself, 1..64 bytes. */
  readonly name: string
}

/** What the candidate's side needs. Both keys are the ones that the connection proved. */
export interface JoinDeps {
  /** Our public key, 32 bytes. */
  readonly candidateKey: Uint8Array
  /** The public key at the other end of the connection, 32 bytes. */
  readonly memberKey: Uint8Array
  /** What we call ourselves; see `isDeviceName`. */
  readonly name: string
  readonly window: PairingWindow
  readonly random: Random
  /**
   * Check that the ops begin with the genesis that `home` names and hold an effective grant of
   * exactly `role` to us, and store them; on disk when it resolves. Throws to refuse. The same ops
   * a second time change nothing.
   */
  accept(
    ops: readonly Uint8Array[],
    home: Uint8Array,
    role: PairingRole,
    memberKey: Uint8Array,
  ): Promise<void>
}

export interface Joined {
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  readonly intent: PairingIntent
  readonly role: PairingRole
  /** Who let us in, 32 bytes. */
  readonly memberKey: Uint8Array
}

/** A device in its pairing window, as discovery saw it. */
export interface Candidate {
  readonly key: Uint8Array
  readonly addresses: readonly string[]
}

/** Run `act`; where the stream ends in it, throw `code` instead. */
export async function orEnd<T>(code: PairingErrorCode, act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (cause) {
    if (cause instanceof WireError ? cause.code !== 'WIRE_CLOSED' : cause instanceof CodedError) {
      throw cause
    }
    throw new PairingError(code, { cause })
  }
}

/**
 * What to tell the person at the member after `failures` codes in a row did not match on one
 * candidate. The candidate tells nobody how many tries it has left: this is our own count.
 */
export function mismatchText(failures: number): string {
  const left = Math.max(0, WINDOW.maxTries - failures)
  const tries = left === 1 ? '1 try left' : `${left === 0 ? 'No' : left} tries left`
  const first = `The code did not match. ${tries}.`
  if (failures < 2) return first
  return `${first} If it was typed as shown, someone may be interfering; scan the QR instead.`
}
