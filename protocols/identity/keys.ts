/**
 * Ed25519 (RFC 8032) signing and strict verification with node:crypto. Importing a key costs half
 * as much as a verification, so imported keys are kept, in a bounded table. Keys of small order are
 * refused: such a "key" accepts a signature over anything.
 */
import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'

import { ed25519 } from '@noble/curves/ed25519.js'

import { concatBytes, equalBytes } from '../wire/index.ts'
import { peerIdOf } from './device-id.ts'
import { IdentityError } from './errors.ts'

/** Length of an Ed25519 signature and seed, in bytes. */
export const SIGNATURE_BYTES = 64
export const SEED_BYTES = 32

/** DER in front of a raw key (RFC 8410 section 7 and 4). */
const PKCS8_PREFIX = Uint8Array.of(
  0x30,
  0x2e,
  0x02,
  0x01,
  0x00,
  0x30,
  0x05,
  0x06,
  0x03,
  0x2b,
  0x65,
  0x70,
  0x04,
  0x22,
  0x04,
  0x20,
)
const SPKI_PREFIX = Uint8Array.of(
  0x30,
  0x2a,
  0x30,
  0x05,
  0x06,
  0x03,
  0x2b,
  0x65,
  0x70,
  0x03,
  0x21,
  0x00,
)

export interface Signer {
  /** The public key, 32 bytes. */
  readonly key: Uint8Array
  /** The same as a peer id, which takes longer to write than a signature to make. */
  readonly peerId: string
  /** A 64-byte signature over `bytes`. */
  sign(bytes: Uint8Array): Uint8Array
}

export interface Verifier {
  /** Strict RFC 8032; false for a wrong signature and for a key that may not be trusted. */
  verify(key: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean
}

/** A verifier that can also work beside the main thread, which costs a little more time in all. */
export interface LateVerifier extends Verifier {
  /** As `verify`. */
  verifyLater(key: Uint8Array, bytes: Uint8Array, signature: Uint8Array): Promise<boolean>
}

/** A signer from a 32-byte seed. The seed is not kept readable. */
export function signerFromSeed(seed: Uint8Array): Signer {
  if (seed.length !== SEED_BYTES) throw new IdentityError('IDENTITY_BAD_KEY', 'seed')
  const der = concatBytes(PKCS8_PREFIX, seed)
  const secret = createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' })
  const spki = createPublicKey(secret).export({ format: 'der', type: 'spki' })
  const key = Uint8Array.from(spki.subarray(SPKI_PREFIX.length))
  return {
    key,
    peerId: peerIdOf(key),
    sign: (bytes) => new Uint8Array(sign(null, bytes, secret)),
  }
}

/**
 * Refuse what is not a point on the curve, not canonical, or of small order.
 *
 * @throws IdentityError IDENTITY_BAD_KEY
 */
export function requireTrustableKey(key: Uint8Array): void {
  try {
    const point = ed25519.Point.fromBytes(key, false)
    if (!point.isSmallOrder() && equalBytes(point.toBytes(), key)) return
  } catch {
    // Not a point: the same refusal.
  }
  throw new IdentityError('IDENTITY_BAD_KEY')
}

/** Verify with at most `maxKeys` imported keys kept, least recently used dropped first. */
export function createVerifier(maxKeys = 1024): LateVerifier {
  const imported = new Map<string, KeyObject | undefined>()

  function keyObject(key: Uint8Array): KeyObject | undefined {
    const name = Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')
    let found = imported.get(name)
    if (found === undefined && !imported.has(name)) found = importKey(key)
    imported.delete(name)
    imported.set(name, found)
    if (imported.size > maxKeys) {
      for (const oldest of imported.keys()) {
        imported.delete(oldest)
        break
      }
    }
    return found
  }

  return {
    verify(key, bytes, signature) {
      if (signature.length !== SIGNATURE_BYTES) return false
      const object = keyObject(key)
      return object !== undefined && verify(null, bytes, object, signature)
    },
    verifyLater(key, bytes, signature) {
      const object = signature.length === SIGNATURE_BYTES ? keyObject(key) : undefined
      if (object === undefined) return Promise.resolve(false)
      return new Promise((resolve) => {
        verify(null, bytes, object, signature, (error, valid) => resolve(error === null && valid))
      })
    },
  }
}

function importKey(key: Uint8Array): KeyObject | undefined {
  try {
    requireTrustableKey(key)
    const der = Buffer.from(concatBytes(SPKI_PREFIX, key))
    return createPublicKey({ key: der, format: 'der', type: 'spki' })
  } catch {
    return undefined
  }
}
