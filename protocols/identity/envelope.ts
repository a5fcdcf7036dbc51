/**
 * COSE_Sign1 envelopes (RFC 9052 section 4.2) around everything that outlives a connection. The
 * exact bytes that the signer made are what is verified, stored and passed on. SPEC.md "Envelope".
 */
import { concatBytes, decodeCbor, encodeCbor, equalBytes, utf8 } from '../wire/index.ts'
import { KEY_BYTES, sha256 } from './device-id.ts'
import { IdentityError } from './errors.ts'
import { SIGNATURE_BYTES, type Signer, type Verifier } from './keys.ts'

/** What an envelope can be about; part of what is signed, so none can pass for another. */
export type DocumentKind =
  | 'member-op'
  | 'telemetry-pack'
  | 'call'
  | 'receipt'
  | 'incident'
  | 'schedule'
  | 'update-report'
  | 'gateway-record'

export interface Context {
  readonly kind: DocumentKind
  /** Home id, 32 bytes; `NO_HOME` for the op that makes a home. */
  readonly home: Uint8Array
}

export interface Envelope {
  /** The signer's public key, 32 bytes. */
  readonly signer: Uint8Array
  /** What was signed, still encoded. */
  readonly payload: Uint8Array
  /** SHA-256 of the to-be-signed bytes, without the signature: names the document. 32 bytes. */
  readonly id: Uint8Array
  /** The whole envelope as received. */
  readonly bytes: Uint8Array
}

/** Home id in the context of documents that are made before there is a home. */
export const NO_HOME: Uint8Array = new Uint8Array(KEY_BYTES)

/** COSE header labels and algorithm (RFC 9052 table 3, RFC 9596, RFC 9053 section 2.2). */
const HEADER_ALG = 1
const HEADER_KID = 4
const HEADER_TYP = 16
const ALG_EDDSA = -8

const PROTECTED_LIMITS = { maxBytes: 128, maxDepth: 1, maxItems: 8 }
/** Bytes that an envelope adds to its payload, at most. */
export const ENVELOPE_OVERHEAD_BYTES = 192

/**
 * Sign `payload` (an encoded CBOR document) as a document of `context`.
 *
 * @throws IdentityError IDENTITY_BAD_ENVELOPE where the home id is not 32 bytes
 */
export function seal(payload: Uint8Array, context: Context, signer: Signer): Envelope {
  const header = encodeProtected(signer.key, context.kind)
  const signed = toBeSigned(header, payload, context)
  const bytes = encodeCbor([header, new Map(), payload, signer.sign(signed)])
  return { signer: signer.key, payload, id: sha256(signed), bytes }
}

/**
 * Check form, kind and signature of a received envelope. Says nothing about what the signer may do.
 *
 * @throws IdentityError IDENTITY_BAD_ENVELOPE, IDENTITY_BAD_SIGNATURE; WireError
 */
export function open(
  bytes: Uint8Array,
  context: Context,
  verifier: Verifier,
  maxBytes: number,
): Envelope {
  const { header, payload, signature } = parse(bytes, maxBytes)
  const signer = signerIn(header, context.kind)
  const signed = toBeSigned(header, payload, context)
  if (!verifier.verify(signer, signed, signature)) {
    throw new IdentityError('IDENTITY_BAD_SIGNATURE', context.kind)
  }
  return { signer, payload, id: sha256(signed), bytes }
}

/**
 * An envelope whose signature was checked when it came in, with its id.
 *
 * @throws IdentityError IDENTITY_BAD_ENVELOPE; WireError
 */
export function reopen(bytes: Uint8Array, context: Context, maxBytes: number): Envelope {
  const { header, payload } = parse(bytes, maxBytes)
  const signer = signerIn(header, context.kind)
  return { signer, payload, id: sha256(toBeSigned(header, payload, context)), bytes }
}

/**
 * Signer and payload of an envelope whose signature was checked when it came in.
 *
 * @throws IdentityError IDENTITY_BAD_ENVELOPE; WireError
 */
export function peek(
  bytes: Uint8Array,
  kind: DocumentKind,
  maxBytes: number,
): Pick<Envelope, 'signer' | 'payload'> {
  const { header, payload } = parse(bytes, maxBytes)
  return { signer: signerIn(header, kind), payload }
}

/** `header` is the first element of COSE_Sign1, and a byte string like the payload. */
function parse(
  bytes: Uint8Array,
  maxBytes: number,
): { header: Uint8Array; payload: Uint8Array; signature: Uint8Array } {
  const parts = decodeCbor(bytes, { maxBytes, maxDepth: 2, maxItems: 5 })
  if (!Array.isArray(parts) || parts.length !== 4) throw new IdentityError('IDENTITY_BAD_ENVELOPE')
  const [header, unprotected, payload, signature] = parts as readonly unknown[]
  if (
    !(header instanceof Uint8Array) ||
    !(payload instanceof Uint8Array) ||
    !(signature instanceof Uint8Array) ||
    signature.length !== SIGNATURE_BYTES ||
    !(unprotected instanceof Map) ||
    unprotected.size > 0
  ) {
    throw new IdentityError('IDENTITY_BAD_ENVELOPE')
  }
  return { header, payload, signature }
}

/** The header of a kind up to the key, and after it: only the key differs. */
interface Header {
  readonly before: Uint8Array
  readonly after: Uint8Array
  /** What is signed besides, in front of the home id. */
  readonly signed: Uint8Array
}

const HEADERS: Readonly<Record<DocumentKind, Header>> = {
  'member-op': headerOf('member-op'),
  'telemetry-pack': headerOf('telemetry-pack'),
  call: headerOf('call'),
  receipt: headerOf('receipt'),
  incident: headerOf('incident'),
  schedule: headerOf('schedule'),
  'update-report': headerOf('update-report'),
  'gateway-record': headerOf('gateway-record'),
}

function headerOf(kind: DocumentKind): Header {
  const before = new Map<number, unknown>([
    [HEADER_ALG, ALG_EDDSA],
    [HEADER_KID, new Uint8Array(KEY_BYTES)],
  ])
  const typ = `application/kith-${kind}+cbor`
  const whole = encodeCbor(new Map([...before, [HEADER_TYP, typ]]))
  // Both begin with a head of one byte, which says how many entries follow.
  const end = encodeCbor(before).length
  return {
    before: whole.slice(0, end - KEY_BYTES),
    after: whole.slice(end),
    signed: utf8(`kith-${kind}-v1`),
  }
}

function encodeProtected(key: Uint8Array, kind: DocumentKind): Uint8Array {
  const { before, after } = HEADERS[kind]
  return concatBytes(before, key, after)
}

/** The signer named in a protected header, which must be exactly ours. */
function signerIn(header: Uint8Array, kind: DocumentKind): Uint8Array {
  const at = HEADERS[kind].before.length
  const kid = header.slice(at, at + KEY_BYTES)
  if (kid.length === KEY_BYTES && equalBytes(header, encodeProtected(kid, kind))) return kid
  // Only to tell what is no CBOR at all from what is another header.
  decodeCbor(header, PROTECTED_LIMITS)
  throw new IdentityError('IDENTITY_BAD_ENVELOPE', 'header')
}

/** Sig_structure (RFC 9052 section 4.4). */
function toBeSigned(header: Uint8Array, payload: Uint8Array, context: Context): Uint8Array {
  if (context.home.length !== KEY_BYTES) throw new IdentityError('IDENTITY_BAD_ENVELOPE', 'home')
  const aad = concatBytes(HEADERS[context.kind].signed, context.home)
  return encodeCbor(['Signature1', header, aad, payload])
}
