/**
 * The four kinds of signed files of a channel, as TUF 1.0 writes them: read with bounds that hold
 * before anything is verified, made, and signed. What is bounded here is what tuf-js takes on trust:
 * numbers that are no whole numbers, ten thousand entries, one key under two names.
 *
 * Not here: whether a file is to be believed (`client.ts`).
 */
import { createHash, sign as signBytes, type KeyObject } from 'node:crypto'

import { Key, Metadata, MetadataKind, Signature } from '@tufjs/models'
import type { Root, Snapshot, Targets, Timestamp } from '@tufjs/models'

import { TufError, verifying } from './errors.ts'

export type Role = 'root' | 'targets' | 'snapshot' | 'timestamp'
export const ROLES: readonly Role[] = ['root', 'targets', 'snapshot', 'timestamp']

/** SPEC.md "Channel". */
export const TUF_LIMITS = {
  /** A file of each role, in bytes. */
  root: 65_536,
  targets: 4_194_304,
  snapshot: 65_536,
  timestamp: 16_384,
  /** Releases that a channel lists at a time; tuf-js takes time with the square of it. */
  maxTargets: 512,
  /** Releases that it lists as taken back. */
  maxWithdrawn: 2_048,
  /** Keys in a root, and signatures of a file. */
  maxKeys: 64,
  /** Files that a snapshot lists. */
  maxListed: 64,
  /** Roots that one refresh follows. */
  maxRootsAtOnce: 64,
  /** Roots of a channel since it was pinned. */
  maxRoots: 256,
} as const

export const SPEC_VERSION = '1.0.31'
/** When it was signed. TUF says only when it expires; a device without a clock needs both. */
export const SIGNED_AT = 'x-kith-signed-at'
export const DAY_MS = 86_400_000

type SignedOf = { root: Root; targets: Targets; snapshot: Snapshot; timestamp: Timestamp }
export type MetadataOf<R extends Role> = Metadata<SignedOf[R]>
type Json = Parameters<typeof Metadata.fromJSON>[1]
type Fields = Readonly<Record<string, unknown>>

const EXPIRES =
  /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$/
const KINDS = {
  root: MetadataKind.Root,
  targets: MetadataKind.Targets,
  snapshot: MetadataKind.Snapshot,
  timestamp: MetadataKind.Timestamp,
} as const

/** Whole seconds, as TUF writes them. */
export function isoTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/**
 * The file, every bound checked and nothing verified.
 *
 * @throws TufError TUF_MALFORMED, TUF_TOO_LONG, TUF_TOO_MANY
 */
export function openMetadata<R extends Role>(role: R, bytes: Uint8Array): MetadataOf<R> {
  const json = checkedJson(role, bytes)
  return verifying(role, () => Metadata.fromJSON(KINDS[role] as never, json) as never)
}

export interface PlainSigned {
  readonly version: number
  readonly expiresMs: number
  /** All that is in the signed part. */
  readonly unrecognizedFields: Fields
}

/** What a file says, bounded, without the cost of tuf-js' objects. For files that were verified. */
export function readPlain(role: Role, bytes: Uint8Array): PlainSigned {
  const signed = checkedJson(role, bytes)['signed'] as Fields
  const { version, expires } = signed as { version: number; expires: string }
  return { version, expiresMs: Date.parse(expires), unrecognizedFields: signed }
}

/** Which role a file says it is of. @throws TufError TUF_MALFORMED, TUF_TOO_LONG */
export function roleOf(bytes: Uint8Array, about: string): Role {
  if (bytes.length > TUF_LIMITS.targets) throw new TufError('TUF_TOO_LONG', about)
  const parsed = verifying(about, () => JSON.parse(textOf(bytes, about)) as unknown)
  const said =
    isFields(parsed) && isFields(parsed['signed']) ? parsed['signed']['_type'] : undefined
  const role = ROLES.find((one) => one === said)
  if (role === undefined) malformed(about, 'no signed file of a channel')
  return role
}

export function encodeMetadata(file: { toJSON(): object }): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(file.toJSON(), undefined, 1)}\n`)
}

/** When it says that it was signed, in ms; undefined where it does not. */
export function signedAtMs(signed: { unrecognizedFields: Fields }): number | undefined {
  const said = signed.unrecognizedFields[SIGNED_AT]
  return typeof said === 'string' && EXPIRES.test(said) ? Date.parse(said) : undefined
}

/** @throws TufError TUF_MALFORMED, TUF_TOO_LONG, TUF_TOO_MANY */
export function checkedJson(role: Role, bytes: Uint8Array): Json {
  if (bytes.length > TUF_LIMITS[role]) throw new TufError('TUF_TOO_LONG', role)
  const parsed = verifying(role, () => JSON.parse(textOf(bytes, role)) as unknown)
  if (!isFields(parsed) || !isFields(parsed['signed'])) malformed(role, 'nothing signed')
  const { signed, signatures } = parsed
  if (!isFields(signed) || signed['_type'] !== role) malformed(role, 'another role')
  if (!Array.isArray(signatures)) malformed(role, 'no signatures')
  atMost(role, signatures.length, TUF_LIMITS.maxKeys)
  wholeFrom(role, signed['version'], 1)
  if (typeof signed['expires'] !== 'string' || !EXPIRES.test(signed['expires'])) {
    malformed(role, 'expires')
  }
  CHECKS[role](signed)
  return parsed as Json
}

const CHECKS: Readonly<Record<Role, (signed: Fields) => void>> = {
  root(signed) {
    const keys = fieldsOf('root', signed['keys'], TUF_LIMITS.maxKeys)
    const roles = fieldsOf('root', signed['roles'], TUF_LIMITS.maxKeys)
    if (signed['consistent_snapshot'] !== true) malformed('root', 'no consistent snapshots')
    for (const role of ROLES) requireKeys(role, roles[role], keys)
  },
  targets(signed) {
    const targets = fieldsOf('targets', signed['targets'], TUF_LIMITS.maxTargets)
    for (const one of Object.values(targets)) {
      if (!isFields(one)) malformed('targets', 'target')
      wholeFrom('targets', one['length'], 0)
    }
  },
  snapshot(signed) {
    const meta = fieldsOf('snapshot', signed['meta'], TUF_LIMITS.maxListed)
    for (const one of Object.values(meta)) requireListed('snapshot', one)
    requireListed('snapshot', meta['targets.json'])
  },
  timestamp(signed) {
    const meta = fieldsOf('timestamp', signed['meta'], 1)
    requireListed('timestamp', meta['snapshot.json'])
  },
}

function requireListed(role: Role, meta: unknown): void {
  if (!isFields(meta)) malformed(role, 'a file that it must list')
  wholeFrom(role, meta['version'], 1)
  if (meta['length'] !== undefined) wholeFrom(role, meta['length'], 0)
}

/** Enough keys for the threshold, and none under two names: it would count twice. */
function requireKeys(role: Role, said: unknown, keys: Fields): void {
  if (!isFields(said) || !Array.isArray(said['keyids'])) malformed('root', `keys of ${role}`)
  atMost('root', said['keyids'].length, TUF_LIMITS.maxKeys)
  const seen = new Set<string>()
  for (const id of said['keyids'] as unknown[]) {
    if (typeof id !== 'string') malformed('root', `keys of ${role}`)
    if (!Object.hasOwn(keys, id)) continue
    const print = fingerprint(keys[id])
    if (seen.has(print)) malformed('root', `one key twice for ${role}`)
    seen.add(print)
  }
  wholeFrom('root', said['threshold'], 1)
}

/** One text for one public key, however it is written. Only Ed25519: one key, one form. */
function fingerprint(key: unknown): string {
  if (!isFields(key) || key['keytype'] !== 'ed25519' || key['scheme'] !== 'ed25519') {
    malformed('root', 'a key that is not Ed25519')
  }
  const hex = isFields(key['keyval']) ? key['keyval']['public'] : undefined
  if (typeof hex !== 'string' || !/^[0-9a-fA-F]{64}$/.test(hex)) malformed('root', 'a key')
  return hex.toLowerCase()
}

function textOf(bytes: Uint8Array, about: string): string {
  return verifying(about, () => new TextDecoder('utf-8', { fatal: true }).decode(bytes))
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function fieldsOf(role: Role, value: unknown, max: number): Fields {
  if (!isFields(value)) malformed(role, 'a list that it must have')
  atMost(role, Object.keys(value).length, max)
  return value
}

function atMost(role: Role, count: number, max: number): void {
  if (count > max) throw new TufError('TUF_TOO_MANY', role, `${count} of at most ${max}`)
}

function wholeFrom(role: Role, value: unknown, min: number): void {
  if (!Number.isSafeInteger(value) || (value as number) < min) malformed(role, 'a number')
}

function malformed(about: string, detail: string): never {
  throw new TufError('TUF_MALFORMED', about, detail)
}

/** The name of a public key: SHA-256 of its canonical form, in hex. 32 bytes in, 64 letters out. */
export function keyId(publicKey: Uint8Array): string {
  const hex = Buffer.from(publicKey).toString('hex')
  return sha256Hex(
    new TextEncoder().encode(
      `{"keytype":"ed25519","keyval":{"public":"${hex}"},"scheme":"ed25519"}`,
    ),
  )
}

export function tufKey(publicKey: Uint8Array): Key {
  return new Key({
    keyID: keyId(publicKey),
    keyType: 'ed25519',
    scheme: 'ed25519',
    keyVal: { public: Buffer.from(publicKey).toString('hex') },
  })
}

/** Add one signature. */
export function addSignature(
  file: Pick<MetadataOf<Role>, 'sign'>,
  key: { readonly id: string; readonly secret: KeyObject },
): void {
  file.sign((bytes) => {
    const signature = signBytes(null, bytes, key.secret)
    return new Signature({ keyID: key.id, sig: signature.toString('hex') })
  })
}
