/**
 * What the two sides agree on, and the keys and tags that follow from it. SPEC.md "Cryptography".
 * Nothing here talks to anyone: both sides and the tests compute the same values from it.
 */
import { hkdf } from '@noble/hashes/hkdf.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 as hash } from '@noble/hashes/sha2.js'

import { peerIdBytes, sha256 } from '../identity/index.ts'
import { encodeVarint, equalBytes, type Infer, lvCat, utf8 } from '../wire/index.ts'
import { type CpaceInput, type CpaceShares, sessionKey } from './cpace.ts'
import { PairingError } from './errors.ts'
import type { Opening } from './messages.ts'
import type { PairingSecret } from './protocol.ts'

const SUITE = utf8('CPACE-RISTR255-SHA512')
/** CPace's associated data of either side; fixed, so that a share cannot change sides. */
const AD_MEMBER = utf8('kith-pair-v1 member')
const AD_CANDIDATE = utf8('kith-pair-v1 candidate')
const MAC_KEY_BYTES = 32

/** Who talks to whom about what, before any share is made. */
export interface Meeting {
  readonly memberKey: Uint8Array
  readonly candidateKey: Uint8Array
  /** M1 as sent, or as received. */
  readonly opening: Infer<typeof Opening>
  /** The candidate's nonce, 16 bytes. */
  readonly nonce: Uint8Array
}

/** The password-related string of a code's eight digits or a QR code's 16 bytes. */
export function secretString(secret: PairingSecret): Uint8Array {
  const value = secret.kind === 'code' ? utf8(secret.code.digits) : secret.ticket.secret
  return lvCat(utf8('kith-pair-prs-v1'), utf8(secret.kind), value)
}

/** The inputs of CPace. Peer ids come from the connection, so a relay in the middle changes them. */
export function cpaceInput(meeting: Meeting, prs: Uint8Array): CpaceInput {
  const { opening, memberKey, candidateKey } = meeting
  return {
    prs,
    sid: sha256(lvCat(utf8('kith-pair-v1 sid'), opening.nonce, meeting.nonce)),
    ci: lvCat(
      utf8('kith-pair-v1'),
      SUITE,
      utf8('member'),
      peerIdBytes(memberKey),
      utf8('candidate'),
      peerIdBytes(candidateKey),
      opening.home,
      utf8(opening.intent),
      utf8(opening.role),
    ),
  }
}

export interface RunKeys {
  /** T_I, 32 bytes. */
  readonly memberTag: Uint8Array
  /** T_R, 32 bytes. */
  readonly candidateTag: Uint8Array
  /** Over M6. */
  introductionMac(status: number, name: string): Uint8Array
  /** Over the ops of all M7, in order. */
  payloadMac(ops: readonly Uint8Array[]): Uint8Array
  /** Over M8; bound to the payload that it answers. */
  ackMac(status: number, payloadMac: Uint8Array): Uint8Array
}

/** All keys of one run from the point K. `ya` is the member's share, `yb` the candidate's. */
export function runKeys(
  input: CpaceInput,
  k: Uint8Array,
  { ya, yb }: { readonly ya: Uint8Array; readonly yb: Uint8Array },
): RunKeys {
  const shares: CpaceShares = { ya, ada: AD_MEMBER, yb, adb: AD_CANDIDATE }
  const isk = sessionKey(input.sid, k, shares)
  const key = (label: string): Uint8Array =>
    hkdf(hash, isk, input.sid, utf8(`kith-pair-v1 ${label}`), MAC_KEY_BYTES)
  const mac = (label: string, ...parts: readonly Uint8Array[]): Uint8Array =>
    Uint8Array.from(hmac(hash, key(label), lvCat(...parts)))
  const transcript = [input.sid, input.ci, ya, AD_MEMBER, yb, AD_CANDIDATE]

  return {
    memberTag: mac('confirm member', ...transcript),
    candidateTag: mac('confirm candidate', ...transcript),
    introductionMac: (status, name) => mac('introduction', Uint8Array.of(status), utf8(name)),
    payloadMac(ops) {
      const running = hmac.create(hash, key('payload'))
      for (const op of ops) running.update(encodeVarint(op.length)).update(op)
      return Uint8Array.from(running.digest())
    },
    ackMac: (status, payloadMac) => mac('ack', Uint8Array.of(status), payloadMac),
  }
}

/** One's own share coming back is a reflection. @throws PairingError PAIRING_BAD_SHARE */
export function refuseOwnShare(own: Uint8Array, received: Uint8Array): void {
  if (equalBytes(own, received)) {
    throw new PairingError('PAIRING_BAD_SHARE', { detail: 'our own share' })
  }
}
