/**
 * Making the next file of a channel and signing it, wherever the keys are: no network, no running
 * device, no clock but the time that is handed in. A draft is the file itself with too few signatures;
 * it may travel from machine to machine until it has enough.
 */
import { MetaFile, Metadata, Root, Snapshot, TargetFile, Targets, Timestamp } from '@tufjs/models'
import { Role as RoleKeys } from '@tufjs/models/dist/role.js'

import { openIndex, targetPath } from '../../../../protocols/update/index.ts'
import { TufError } from './errors.ts'
import type { PublicUpdateKey, UpdateKey } from './key-files.ts'
import {
  addSignature,
  DAY_MS,
  encodeMetadata,
  isoTime,
  openMetadata,
  ROLES,
  roleOf,
  sha256Hex,
  SIGNED_AT,
  SPEC_VERSION,
  tufKey,
  TUF_LIMITS,
  type MetadataOf,
  type Role,
} from './metadata.ts'
import { WITHDRAWN, withdrawnIn, type Withdrawn } from './listing.ts'
import { parseTargetPath } from './witness.ts'

/** How long a fresh file holds, in days. */
export const LIFETIME_DAYS = { root: 730, targets: 730, snapshot: 90, timestamp: 30 } as const

export interface Thresholds {
  readonly root: number
  readonly targets: number
}

/** The first root of a channel, unsigned. */
export function firstRoot(
  keys: readonly PublicUpdateKey[],
  thresholds: Thresholds,
  times: { readonly nowMs: number; readonly days?: number },
): Uint8Array {
  return rootOf({ version: 1, keys, thresholds, ...times })
}

export interface RootChange {
  readonly add?: readonly PublicUpdateKey[]
  /** Ids of keys that no longer sign. */
  readonly remove?: readonly string[]
  readonly thresholds?: Partial<Thresholds>
  readonly nowMs: number
  readonly days?: number
}

/**
 * The root after `current`, unsigned: without a change the same keys for longer.
 *
 * @throws TufError TUF_CHANNEL where a role would be left with too few keys, or a key is not there
 */
export function nextRoot(current: Uint8Array, change: RootChange): Uint8Array {
  const { signed: before } = openMetadata('root', current)
  const { add = [], remove = [], thresholds = {}, nowMs, days } = change
  const keys = keysOf(before)
  for (const id of remove) {
    if (!keys.some((key) => key.id === id)) cannot('root', `there is no key ${id}`)
  }
  for (const key of add) {
    if (keys.some((one) => one.id === key.id)) cannot('root', `the key ${key.id} is there already`)
  }
  return rootOf({
    version: before.version + 1,
    keys: [...keys.filter(({ id }) => !remove.includes(id)), ...add],
    thresholds: {
      root: thresholds.root ?? thresholdOf(before, 'root'),
      targets: thresholds.targets ?? thresholdOf(before, 'targets'),
    },
    nowMs,
    ...(days === undefined ? {} : { days }),
  })
}

/** The keys of a root, by role. A key that serves two roles is there twice. */
export function keysOf(root: Root): readonly PublicUpdateKey[] {
  return ROLES.flatMap((role) =>
    (root.roles[role]?.keyIDs ?? []).flatMap((id) => {
      const hex = root.keys[id]?.keyVal['public']
      const publicKey = new Uint8Array(Buffer.from(hex ?? '', 'hex'))
      return publicKey.length === 32 ? [{ role, id, publicKey }] : []
    }),
  )
}

export function thresholdOf(root: Root, role: Role): number {
  return root.roles[role]?.threshold ?? 1
}

interface RootParts {
  readonly version: number
  readonly keys: readonly PublicUpdateKey[]
  readonly thresholds: Thresholds
  readonly nowMs: number
  readonly days?: number
}

function rootOf({ version, keys, thresholds, nowMs, days = LIFETIME_DAYS.root }: RootParts) {
  const roles = ROLES.map((role) => {
    const keyIDs = keys.filter((key) => key.role === role).map(({ id }) => id)
    const threshold = role === 'root' || role === 'targets' ? thresholds[role] : 1
    if (!Number.isInteger(threshold) || threshold < 1 || threshold > keyIDs.length) {
      cannot('root', `${keyIDs.length} keys for ${role}, of which ${threshold} must sign`)
    }
    return [role, new RoleKeys({ keyIDs, threshold })] as const
  })
  const root = new Root({
    ...stampOf(nowMs, days),
    version,
    keys: Object.fromEntries(keys.map(({ id, publicKey }) => [id, tufKey(publicKey)])),
    roles: Object.fromEntries(roles),
    consistentSnapshot: true,
  })
  const bytes = encodeMetadata(new Metadata(root))
  openMetadata('root', bytes)
  return bytes
}

export interface TargetsChange {
  /** Indexes to publish. */
  readonly add?: readonly Uint8Array[]
  /** Paths to take back. */
  readonly remove?: readonly string[]
  readonly nowMs: number
  readonly days?: number
}

/**
 * The list of releases after `current` (undefined: the first), unsigned.
 *
 * @throws TufError TUF_CONFLICT for a release under a name that another has or had, TUF_CHANNEL,
 *   TUF_TOO_MANY; UpdateError UPDATE_BAD_INDEX; WireError
 */
export function nextTargets(current: Uint8Array | undefined, change: TargetsChange): Uint8Array {
  const before = current === undefined ? undefined : openMetadata('targets', current).signed
  const targets: Record<string, TargetFile> = { ...before?.targets }
  const withdrawn = withdrawnIn(before)
  const { add = [], remove = [], nowMs, days = LIFETIME_DAYS.targets } = change
  for (const path of remove) takeBack(targets, withdrawn, path)
  for (const bytes of add) addIndex(targets, withdrawn, bytes)
  if (Object.keys(withdrawn).length > TUF_LIMITS.maxWithdrawn) {
    throw new TufError('TUF_TOO_MANY', 'targets')
  }
  const stamp = stampOf(nowMs, days)
  const next = new Targets({
    ...stamp,
    version: (before?.version ?? 0) + 1,
    targets: sorted(targets),
    unrecognizedFields: { ...stamp.unrecognizedFields, [WITHDRAWN]: sorted(withdrawn) },
  })
  const bytes = encodeMetadata(new Metadata(next))
  openMetadata('targets', bytes)
  return bytes
}

function takeBack(targets: Record<string, TargetFile>, withdrawn: Withdrawn, path: string): void {
  const gone = Object.hasOwn(targets, path) ? targets[path] : undefined
  if (gone === undefined) cannot('targets', `there is no release ${path}`)
  withdrawn[path] = { length: gone.length, sha256: gone.hashes['sha256'] ?? '' }
  delete targets[path]
}

function addIndex(targets: Record<string, TargetFile>, withdrawn: Withdrawn, bytes: Uint8Array) {
  const { index } = openIndex(bytes)
  const path = targetPath(index)
  const sha256 = sha256Hex(bytes)
  for (const [other, hash] of [
    ...Object.entries(targets).map(([one, file]) => [one, file.hashes['sha256']] as const),
    ...Object.entries(withdrawn).map(([one, file]) => [one, file.sha256] as const),
  ]) {
    const found = parseTargetPath(other)
    if (found?.name !== index.name || found.build !== index.build) continue
    if (other !== path || hash !== sha256) {
      throw new TufError('TUF_CONFLICT', path, `${other} is there already; use a higher build`)
    }
  }
  delete withdrawn[path]
  targets[path] = new TargetFile({ path, length: bytes.length, hashes: { sha256 } })
}

function sorted<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** Who signs a file at once, when, and for how many days. */
interface SignedBy {
  readonly key: UpdateKey
  readonly nowMs: number
  readonly days?: number
}

/** A snapshot that lists these targets, signed. */
export function makeSnapshot(
  version: number,
  targets: { readonly version: number; readonly bytes: Uint8Array },
  by: SignedBy,
): Uint8Array {
  const { key, nowMs, days = LIFETIME_DAYS.snapshot } = by
  const snapshot = new Snapshot({
    ...stampOf(nowMs, days),
    version,
    meta: { 'targets.json': metaFile(targets) },
  })
  return signed(new Metadata(snapshot), key)
}

/** A timestamp of this snapshot, signed. */
export function makeTimestamp(
  version: number,
  snapshot: { readonly version: number; readonly bytes: Uint8Array },
  by: SignedBy,
): Uint8Array {
  const { key, nowMs, days = LIFETIME_DAYS.timestamp } = by
  const timestamp = new Timestamp({
    ...stampOf(nowMs, days),
    version,
    snapshotMeta: metaFile(snapshot),
  })
  return signed(new Metadata(timestamp), key)
}

/** What every file says of itself: when it was signed, and for how long. */
function stampOf(nowMs: number, days: number) {
  return {
    specVersion: SPEC_VERSION,
    expires: isoTime(nowMs + days * DAY_MS),
    unrecognizedFields: { [SIGNED_AT]: isoTime(nowMs) },
  }
}

function metaFile({ version, bytes }: { version: number; bytes: Uint8Array }): MetaFile {
  return new MetaFile({ version, length: bytes.length, hashes: { sha256: sha256Hex(bytes) } })
}

function signed<R extends Role>(file: MetadataOf<R>, key: UpdateKey): Uint8Array {
  addSignature(file, key)
  return encodeMetadata(file)
}

/**
 * The draft with these signatures added; those that it has stay.
 *
 * @throws TufError TUF_WRONG_KEY for a key of another role, and for a root that does not name the
 *   key, unless `replaced` does: the root before it, whose keys sign a rotation too
 */
export function signDraft(
  draft: Uint8Array,
  keys: readonly UpdateKey[],
  replaced?: Uint8Array,
): Uint8Array {
  const role = roleOf(draft, 'draft')
  const file = openMetadata(role, draft)
  const roots = [...(role === 'root' ? [draft] : []), ...(replaced === undefined ? [] : [replaced])]
  const named = roots.flatMap((root) => openMetadata('root', root).signed.roles[role]?.keyIDs ?? [])
  for (const key of keys) {
    if (key.role !== role) throw new TufError('TUF_WRONG_KEY', role, `a key for ${key.role}`)
    if (
      roots.length > 0 &&
      !named.includes(key.id) &&
      (role !== 'root' || replaced !== undefined)
    ) {
      throw new TufError('TUF_WRONG_KEY', role, `the key ${key.id} is not in the root`)
    }
    addSignature(file, key)
  }
  return encodeMetadata(file)
}

export interface Signatures {
  readonly need: number
  /** Ids of keys that signed and count. */
  readonly have: readonly string[]
  /** Ids of keys that may still sign. */
  readonly open: readonly string[]
}

/** How far a draft is towards the threshold that `root` sets. */
export function signaturesOf(draft: Uint8Array, root: Uint8Array): Signatures {
  const role = roleOf(draft, 'draft')
  const file = openMetadata(role, draft)
  const { signed: rules } = openMetadata('root', root)
  const ids = rules.roles[role]?.keyIDs ?? []
  const have = ids.filter((id) => {
    try {
      rules.keys[id]?.verifySignature(file)
      return rules.keys[id] !== undefined
    } catch {
      return false
    }
  })
  const open = ids.filter((id) => !have.includes(id))
  return { need: thresholdOf(rules, role), have, open }
}

function cannot(about: string, detail: string): never {
  throw new TufError('TUF_CHANNEL', about, detail)
}
