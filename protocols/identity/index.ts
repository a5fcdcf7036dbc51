/** Who a device is and what it signed. SPEC.md has names, keys and the envelope. */
export {
  fingerprintOf,
  homeText,
  idFromText,
  idText,
  KEY_BYTES,
  keyOfPeerId,
  peerIdBytes,
  peerIdOf,
  sha256,
} from './device-id.ts'
export { ENVELOPE_OVERHEAD_BYTES, NO_HOME, open, peek, reopen, seal } from './envelope.ts'
export type { Context, DocumentKind, Envelope } from './envelope.ts'
export { IDENTITY_ERRORS, IdentityError } from './errors.ts'
export type { IdentityErrorCode } from './errors.ts'
export {
  createVerifier,
  requireTrustableKey,
  SEED_BYTES,
  SIGNATURE_BYTES,
  signerFromSeed,
} from './keys.ts'
export type { LateVerifier, Signer, Verifier } from './keys.ts'
