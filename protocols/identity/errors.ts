import { wordedError } from '../errors.ts'

/** SPEC.md "Errors". */
export const IDENTITY_ERRORS = {
  IDENTITY_BAD_KEY: 'not an Ed25519 public key that may be trusted',
  IDENTITY_BAD_PEER_ID: 'not the peer id of an Ed25519 key',
  IDENTITY_BAD_ENVELOPE: 'not a signed document of the expected kind',
  IDENTITY_BAD_SIGNATURE: 'the signature does not match',
} as const

export type IdentityErrorCode = keyof typeof IDENTITY_ERRORS

/** A key, an id or a signed document is not what it claims to be. */
export class IdentityError extends wordedError(IDENTITY_ERRORS) {}
