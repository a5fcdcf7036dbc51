/**
 * CPace (draft-irtf-cfrg-cpace), suite CPACE-RISTR255-SHA512, initiator and responder. Turns a short
 * secret that two people share into a long key, so that each run tells an attacker about one guess
 * and no more. It confirms nothing: that both sides hold the same key is proved in transcript.ts,
 * with tags of our own, because the draft's sample tags can be reflected.
 */
import { ristretto255, ristretto255_hasher as hasher } from '@noble/curves/ed25519.js'
import { sha512 } from '@noble/hashes/sha2.js'

import { concatBytes, lvCat, utf8 } from '../wire/index.ts'
import { PairingError } from './errors.ts'

/** Length of an encoded point (a share), in bytes. */
export const SHARE_BYTES = 32
/** Fresh random bytes that one side needs. Twice the scalar, so that the reduction shows no bias. */
export const ENTROPY_BYTES = 64

/** Domain separation of the suite, and SHA-512's input block (draft, "CPACE-RISTR255-SHA512"). */
const DSI = utf8('CPaceRistretto255')
const DSI_ISK = utf8('CPaceRistretto255_ISK')
const HASH_BLOCK_BYTES = 128

export interface CpaceInput {
  /** Password-related string: what both people know. */
  readonly prs: Uint8Array
  /** Channel identifier: what both sides must agree on before the run. */
  readonly ci: Uint8Array
  /** Session id, fresh in every run. */
  readonly sid: Uint8Array
}

export interface CpaceSide {
  /** To send to the other side, 32 bytes. */
  readonly share: Uint8Array
  /** The point K, 32 bytes. @throws PairingError PAIRING_BAD_SHARE */
  agree(peerShare: Uint8Array): Uint8Array
}

/** What both sides sent, in the order initiator, responder. */
export interface CpaceShares {
  readonly ya: Uint8Array
  readonly ada: Uint8Array
  readonly yb: Uint8Array
  readonly adb: Uint8Array
}

/** Begin one run. `entropy` is 64 random bytes, used for this run alone. */
export function startCpace(input: CpaceInput, entropy: Uint8Array): CpaceSide {
  // Typed as optional, because not every curve of the library has the map.
  const generator = hasher.deriveToCurve?.(sha512(generatorString(input)))
  if (generator === undefined) throw new TypeError('no map to ristretto255')
  const scalar = scalarFrom(entropy)
  const share = Uint8Array.from(generator.multiply(scalar).toBytes())
  return {
    share,
    agree(peerShare) {
      const shared = decodeShare(peerShare).multiply(scalar)
      // The identity is the one encoding that makes the key independent of the secret.
      if (shared.is0()) throw new PairingError('PAIRING_BAD_SHARE', { detail: 'identity' })
      return Uint8Array.from(shared.toBytes())
    },
  }
}

/** The intermediate session key, 64 bytes (draft, "ISK", initiator-responder order). */
export function sessionKey(sid: Uint8Array, k: Uint8Array, shares: CpaceShares): Uint8Array {
  const { ya, ada, yb, adb } = shares
  return Uint8Array.from(
    sha512(concatBytes(lvCat(DSI_ISK, sid, k), lvCat(ya, ada), lvCat(yb, adb))),
  )
}

/** Draft, "generator_string": the secret and zeros fill the first block of the hash. */
function generatorString({ prs, ci, sid }: CpaceInput): Uint8Array {
  const used = lvCat(DSI, prs).length
  const padding = new Uint8Array(Math.max(0, HASH_BLOCK_BYTES - 1 - used))
  return lvCat(DSI, prs, padding, ci, sid)
}

function scalarFrom(entropy: Uint8Array): bigint {
  if (entropy.length !== ENTROPY_BYTES) throw new RangeError(`not ${ENTROPY_BYTES} bytes`)
  let value = 0n
  for (const byte of entropy.toReversed()) value = (value << 8n) | BigInt(byte)
  return ristretto255.Point.Fn.create(value)
}

/** Decoding refuses every encoding but the canonical one (RFC 9496 section 4.3.1). */
function decodeShare(share: Uint8Array): InstanceType<typeof ristretto255.Point> {
  try {
    return ristretto255.Point.fromBytes(share)
  } catch (cause) {
    throw new PairingError('PAIRING_BAD_SHARE', { cause })
  }
}
