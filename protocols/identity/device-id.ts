/**
 * Names of devices and homes. A device is its Ed25519 public key (32 bytes); its libp2p peer id is
 * the same key in another coat, so neither is ever stored beside the other. SPEC.md "Names".
 */
import { hash } from 'node:crypto'

import { base32 } from 'multiformats/bases/base32'
import { base58btc } from 'multiformats/bases/base58'
import { identity } from 'multiformats/hashes/identity'

import { concatBytes, equalBytes } from '../wire/index.ts'
import { IdentityError } from './errors.ts'

/** Length of a device's public key, a home id, an op id and any SHA-256, in bytes. */
export const KEY_BYTES = 32

/** libp2p's protobuf of an Ed25519 public key, up to the key itself (libp2p specs, peer-ids). */
const KEY_PREFIX = Uint8Array.of(0x08, 0x01, 0x12, 0x20)

const FINGERPRINT_LENGTH = 8
const HOME_TEXT_LENGTH = 12

/** SHA-256, 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  const whole = parts.length === 1 && only !== undefined ? only : concatBytes(...parts)
  return new Uint8Array(hash('sha256', whole, 'buffer'))
}

/** The 38 bytes of a device's libp2p peer id: an identity multihash of its public key. */
export function peerIdBytes(key: Uint8Array): Uint8Array {
  if (key.length !== KEY_BYTES) throw new IdentityError('IDENTITY_BAD_KEY')
  return Uint8Array.from(identity.digest(concatBytes(KEY_PREFIX, key)).bytes)
}

/** A device's libp2p peer id as text, `12D3KooW…`. */
export function peerIdOf(key: Uint8Array): string {
  return base58btc.baseEncode(peerIdBytes(key))
}

/** The public key in a peer id. @throws IdentityError IDENTITY_BAD_PEER_ID */
export function keyOfPeerId(peerId: string): Uint8Array {
  let bytes: Uint8Array
  try {
    bytes = base58btc.baseDecode(peerId.slice(0, 64))
  } catch (cause) {
    throw new IdentityError('IDENTITY_BAD_PEER_ID', undefined, { cause })
  }
  const key = Uint8Array.from(bytes.subarray(-KEY_BYTES))
  if (key.length !== KEY_BYTES || !equalBytes(bytes, peerIdBytes(key))) {
    throw new IdentityError('IDENTITY_BAD_PEER_ID')
  }
  return key
}

/** Eight lower-case letters and digits that tell devices of one home apart; shown, never trusted. */
export function fingerprintOf(key: Uint8Array): string {
  return base32.baseEncode(sha256(key)).slice(0, FINGERPRINT_LENGTH)
}

/** A home id, or any 32-byte hash, in full: multibase base32, `b…`. */
export function idText(id: Uint8Array): string {
  return base32.encode(id)
}

/** @throws IdentityError IDENTITY_BAD_PEER_ID where `text` is not what `idText` writes */
export function idFromText(text: string): Uint8Array {
  try {
    const id = base32.decode(text)
    if (id.length === KEY_BYTES && idText(id) === text) return Uint8Array.from(id)
  } catch {
    // One refusal for every way to be wrong.
  }
  throw new IdentityError('IDENTITY_BAD_PEER_ID', 'not an id')
}

/** The beginning of a home's id, as people see it. */
export function homeText(home: Uint8Array): string {
  return idText(home).slice(0, HOME_TEXT_LENGTH)
}
