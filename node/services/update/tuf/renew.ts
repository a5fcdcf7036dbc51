/** Snapshot and timestamp, signed by devices that have keys for it: where something changed, or they are old. */
import { LIFETIME_DAYS, makeSnapshot, makeTimestamp } from './drafts.ts'
import { TufError } from './errors.ts'
import { placeOf, writeInside } from './folder.ts'
import { DAY_MS, openMetadata, signedAtMs, type MetadataOf, type Role } from './metadata.ts'
import { isSigned, readRepository, type OnlineKeys, type RepositoryFiles } from './repository.ts'

/**
 * Sign snapshot and timestamp where something changed, or they are old. Call it often: it writes at
 * most once a day when nothing happens.
 *
 * @throws TufError TUF_EXPIRED where root or targets must be signed again first, TUF_CLOCK, TUF_WRONG_KEY
 */
export async function renewChannel(options: {
  readonly folder: string
  readonly online: OnlineKeys
  readonly nowMs: number
  readonly timestampDays?: number
  readonly always?: boolean
}): Promise<{ readonly renewed: boolean }> {
  const { folder, online, nowMs, timestampDays = LIFETIME_DAYS.timestamp, always } = options
  const files = await readRepository(folder)
  const root = openMetadata('root', files.root)
  requireOnline(root, online)
  requireTime(files, nowMs)
  const patience = patienceOf(root, online)
  const snapshot = await renewSnapshot({ folder, files, root, nowMs, patience, online })
  const last = files.timestamp && openMetadata('timestamp', files.timestamp)
  const current =
    always !== true &&
    last?.signed.snapshotMeta.version === snapshot.version &&
    isFresh(root, { role: 'timestamp', file: last, nowMs, patience, mostMs: DAY_MS })
  if (current) return { renewed: false }
  const by = { key: online.timestamp, nowMs, days: timestampDays }
  const bytes = makeTimestamp((last?.signed.version ?? 0) + 1, snapshot, by)
  await writeInside(folder, placeOf('timestamp.json'), bytes)
  return { renewed: true }
}

/** The snapshot of the newest list: the one that is there, or the next. */
async function renewSnapshot(options: {
  readonly folder: string
  readonly files: RepositoryFiles
  readonly root: MetadataOf<'root'>
  readonly online: OnlineKeys
  readonly patience: number
  readonly nowMs: number
}): Promise<{ readonly version: number; readonly bytes: Uint8Array }> {
  const { folder, files, root, online, patience, nowMs } = options
  const { version: targets } = openMetadata('targets', files.targets).signed
  const old = files.snapshot && openMetadata('snapshot', files.snapshot)
  const keep =
    old?.signed.meta['targets.json']?.version === targets &&
    isFresh(root, { role: 'snapshot', file: old, nowMs, patience })
  if (keep && files.snapshot !== undefined) {
    return { version: old.signed.version, bytes: files.snapshot }
  }
  const version = (old?.signed.version ?? 0) + 1
  const by = { key: online.snapshot, nowMs }
  const bytes = makeSnapshot(version, { version: targets, bytes: files.targets }, by)
  await writeInside(folder, placeOf(`${version}.snapshot.json`), bytes)
  return { version, bytes }
}

/**
 * How long this device leaves it to others to sign anew: 1 for the device whose key the root names
 * first, a quarter more for each behind it. So two that are on together do not sign at once.
 */
function patienceOf(root: MetadataOf<'root'>, { timestamp }: OnlineKeys): number {
  const place = root.signed.roles['timestamp']?.keyIDs.indexOf(timestamp.id) ?? 0
  return 1 + Math.min(Math.max(place, 0), 3) / 4
}

/** Signed by a key that still counts, and less than half of its life is over. */
function isFresh(
  root: MetadataOf<'root'>,
  options: {
    readonly role: Role
    readonly file: MetadataOf<Role>
    readonly nowMs: number
    readonly patience: number
    readonly mostMs?: number
  },
): boolean {
  const { role, file, nowMs, patience, mostMs = Infinity } = options
  if (!isSigned(root, role, file)) return false
  const signedMs = signedAtMs(file.signed) ?? 0
  const halfMs = (Date.parse(file.signed.expires) - signedMs) / 2
  return nowMs - signedMs < Math.min(halfMs, mostMs) * patience
}

/** A clock that fell back, or leapt over the life of the keys, signs nothing. */
function requireTime(files: RepositoryFiles, nowMs: number): void {
  for (const role of ['root', 'targets', 'snapshot', 'timestamp'] as const) {
    const bytes = files[role]
    if (bytes === undefined) continue
    const { signed } = openMetadata(role, bytes)
    if (nowMs < (signedAtMs(signed) ?? 0)) throw new TufError('TUF_CLOCK', role)
    const offline = role === 'root' || role === 'targets'
    if (offline && nowMs >= Date.parse(signed.expires)) throw new TufError('TUF_EXPIRED', role)
  }
}

/** @throws TufError TUF_WRONG_KEY */
export function requireOnline(root: MetadataOf<'root'>, online: OnlineKeys): void {
  for (const role of ['snapshot', 'timestamp'] as const) {
    if (root.signed.roles[role]?.keyIDs.includes(online[role].id) !== true) {
      throw new TufError('TUF_WRONG_KEY', role, 'the root does not name the key of this device')
    }
  }
}
