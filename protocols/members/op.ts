/** One membership op: a signed payload, its name, and what both say. SPEC.md "Ops". */
import {
  ENVELOPE_OVERHEAD_BYTES,
  IdentityError,
  NO_HOME,
  open,
  seal,
  type Envelope,
  type Signer,
  type Verifier,
} from '../identity/index.ts'
import { decodeCbor, equalBytes, lvCat, toHex, utf8, WireError } from '../wire/index.ts'
import { Payload, type OpPayload } from './messages.ts'
import { CAPS, MembersError } from './protocol.ts'

export interface Op {
  /** SHA-256 of what was signed, without the signature. 32 bytes. */
  readonly id: Uint8Array
  /** `id` in hexadecimal, for tables. */
  readonly hex: string
  readonly signer: Uint8Array
  readonly payload: OpPayload
  /** The envelope exactly as its signer made it. */
  readonly bytes: Uint8Array
}

const ENVELOPE_LIMITS = { maxBytes: CAPS.maxOpBytes, maxDepth: 2, maxItems: 5 }

function opOf(envelope: Envelope, payload: OpPayload): Op {
  const { id, signer, bytes } = envelope
  return { id, hex: toHex(id), signer, payload, bytes }
}

/** Sign an op. @throws MembersError MEMBERS_BAD_OP where the payload is out of bounds */
export function sealOp(payload: OpPayload, signer: Signer): Op {
  let encoded: Uint8Array
  try {
    encoded = Payload.encode(payload)
  } catch (cause) {
    throw new MembersError('MEMBERS_BAD_OP', (cause as Error).message, { cause })
  }
  if (encoded.length + ENVELOPE_OVERHEAD_BYTES > CAPS.maxOpBytes) {
    throw new MembersError('MEMBERS_BAD_OP', `over ${CAPS.maxOpBytes} bytes`)
  }
  return opOf(seal(encoded, { kind: 'member-op', home: homeOf(payload) }, signer), payload)
}

/**
 * Check the form and the signature of a received op of `home`. Nothing else is judged here.
 *
 * @throws MembersError MEMBERS_BAD_OP, MEMBERS_BAD_SIGNATURE, MEMBERS_WRONG_HOME
 */
export function openOp(bytes: Uint8Array, home: Uint8Array, verifier: Verifier): Op {
  // A caller's buffer may change later; an op must not.
  const own = Uint8Array.from(bytes)
  try {
    const payload = Payload.decode(payloadIn(own))
    const of = homeOf(payload)
    if (payload.type !== 'genesis' && !equalBytes(of, home)) {
      throw new MembersError('MEMBERS_WRONG_HOME')
    }
    const envelope = open(own, { kind: 'member-op', home: of }, verifier, CAPS.maxOpBytes)
    if (payload.type === 'genesis' && !equalBytes(envelope.id, home)) {
      throw new MembersError('MEMBERS_WRONG_HOME')
    }
    return opOf(envelope, payload)
  } catch (cause) {
    throw asMembersError(cause)
  }
}

function asMembersError(cause: unknown): unknown {
  if (cause instanceof IdentityError) {
    const forged = cause.code === 'IDENTITY_BAD_SIGNATURE'
    return new MembersError(forged ? 'MEMBERS_BAD_SIGNATURE' : 'MEMBERS_BAD_OP', cause.message, {
      cause,
    })
  }
  if (cause instanceof WireError)
    return new MembersError('MEMBERS_BAD_OP', cause.message, { cause })
  return cause
}

/** The still unverified payload: it says under which context the signature is to be checked. */
function payloadIn(bytes: Uint8Array): Uint8Array {
  const parts = decodeCbor(bytes, ENVELOPE_LIMITS)
  const payload: unknown = Array.isArray(parts) ? parts[2] : undefined
  if (!(payload instanceof Uint8Array)) throw new MembersError('MEMBERS_BAD_OP', 'no payload')
  return payload
}

function homeOf(payload: OpPayload): Uint8Array {
  return payload.type === 'genesis' ? NO_HOME : payload.home
}

/** Parents of an op; none for genesis. */
export function parentsOf({ payload }: Op): readonly Uint8Array[] {
  return payload.type === 'genesis' ? [] : payload.prev
}

export interface Succession {
  readonly home: Uint8Array
  readonly oldKey: Uint8Array
  readonly newKey: Uint8Array
  /** The grant that changes hands. */
  readonly auth: Uint8Array
}

/** What the new key signs to accept a succession; its signature travels in the op's body. */
export function successionStatement({ home, oldKey, newKey, auth }: Succession): Uint8Array {
  return lvCat(utf8('kith-successor-v1'), home, oldKey, newKey, auth)
}
