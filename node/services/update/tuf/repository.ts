/**
 * The channel of a home, in a folder of the device that publishes: every root, the newest of the other
 * files, and the indexes. Drafts that come back signed are held against the same rules that every
 * device holds them against, then snapshot and timestamp follow with the keys that the device has.
 */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import type { Random } from '../../../env.ts'
import { ensurePrivateFolder } from '../../../storage/files.ts'
import { openIndex, targetPath } from '../../../../protocols/update/index.ts'
import {
  firstRoot,
  LIFETIME_DAYS,
  makeSnapshot,
  makeTimestamp,
  nextTargets,
  signDraft,
  type Thresholds,
} from './drafts.ts'
import { TufError, verifying } from './errors.ts'
import { placeOf, readInside, writeInside } from './folder.ts'
import {
  listKeyFiles,
  newUpdateKey,
  readKeyFile,
  writeKeyFile,
  type UpdateKey,
} from './key-files.ts'
import { conclude, listedIn } from './listing.ts'
import {
  DAY_MS,
  openMetadata,
  sha256Hex,
  signedAtMs,
  TUF_LIMITS,
  type MetadataOf,
  type Role,
} from './metadata.ts'
import { NO_WITNESS, parseTargetPath, witness } from './witness.ts'

/** The keys that stay on the device. */
export interface OnlineKeys {
  readonly snapshot: UpdateKey
  readonly timestamp: UpdateKey
}

export interface RepositoryFiles {
  /** From version 1 on. */
  readonly roots: readonly Uint8Array[]
  readonly root: Uint8Array
  readonly targets: Uint8Array
  readonly snapshot?: Uint8Array
  readonly timestamp?: Uint8Array
}

export interface InitOptions {
  /** Of the channel; made where it is missing. */
  readonly folder: string
  readonly channel: string
  /** Where the keys for root and targets go: a stick, or a folder to be moved to one. */
  readonly keysFolder: string
  /** Where the keys for snapshot and timestamp stay. */
  readonly onlineFolder: string
  readonly keys?: Partial<Thresholds>
  readonly thresholds?: Partial<Thresholds>
  /** For root and targets keys. */
  readonly passphrase?: string
  readonly random: Random
  readonly nowMs: number
}

export interface InitResult {
  /** SHA-256 of the first root, 32 bytes: what the home pins. */
  readonly pin: Uint8Array
  readonly root: Uint8Array
  /** Files that belong on a stick. */
  readonly offline: readonly string[]
  readonly online: readonly string[]
}

/** Make a channel with fresh keys and no release. @throws TufError TUF_CHANNEL, TUF_KEY_FILE */
export async function initChannel(options: InitOptions): Promise<InitResult> {
  const { folder, channel, keysFolder, onlineFolder, random, nowMs, passphrase } = options
  if ((await readInside(folder, placeOf('1.root.json'), TUF_LIMITS.root)) !== undefined) {
    throw new TufError('TUF_CHANNEL', channel, 'it is there already')
  }
  await ensurePrivateFolder(folder)
  const counts = { root: options.keys?.root ?? 1, targets: options.keys?.targets ?? 1 }
  const make = (role: Role, count: number): UpdateKey[] =>
    Array.from({ length: count }, () => newUpdateKey(channel, role, random))
  const offline = [...make('root', counts.root), ...make('targets', counts.targets)]
  const [snapshot, timestamp] = [make('snapshot', 1), make('timestamp', 1)].flat()
  if (snapshot === undefined || timestamp === undefined) throw new TypeError('no keys')
  const thresholds = { root: 1, targets: 1, ...options.thresholds }
  const draft = firstRoot([...offline, snapshot, timestamp], thresholds, { nowMs })
  const secret = passphrase === undefined ? { random } : { random, passphrase }
  const paths = { offline: [] as string[], online: [] as string[] }
  for (const key of offline) paths.offline.push(await writeKeyFile(keysFolder, key, secret))
  for (const key of [snapshot, timestamp]) {
    paths.online.push(await writeKeyFile(onlineFolder, key, { random }))
  }
  const signers = (role: Role): UpdateKey[] => offline.filter((key) => key.role === role)
  const root = signDraft(draft, signers('root'))
  const targets = signDraft(nextTargets(undefined, { nowMs }), signers('targets'))
  await writeInside(folder, placeOf('1.targets.json'), targets)
  await writeInside(folder, placeOf('1.root.json'), root)
  await renewChannel({ folder, online: { snapshot, timestamp }, nowMs })
  return { pin: new Uint8Array(Buffer.from(sha256Hex(root), 'hex')), root, ...paths }
}

/** The keys of this device that `root` names. @throws TufError TUF_KEY_FILE */
export async function openOnlineKeys(folder: string, root: Uint8Array): Promise<OnlineKeys> {
  const files = await listKeyFiles(folder)
  const { roles } = openMetadata('root', root).signed
  const newest = async (role: Role): Promise<UpdateKey> => {
    const ids = roles[role]?.keyIDs ?? []
    const file = files.find((one) => one.role === role && ids.includes(one.id))
    if (file === undefined) throw new TufError('TUF_KEY_FILE', folder, `no key for ${role}`)
    return readKeyFile(file.path, () => Promise.resolve(undefined))
  }
  return { snapshot: await newest('snapshot'), timestamp: await newest('timestamp') }
}

/** @throws TufError TUF_CHANNEL where there is no channel in the folder */
export async function readRepository(folder: string): Promise<RepositoryFiles> {
  const roots: Uint8Array[] = []
  for (let version = 1; version <= TUF_LIMITS.maxRoots; version++) {
    const root = await readInside(folder, placeOf(`${version}.root.json`), TUF_LIMITS.root)
    if (root === undefined) break
    roots.push(root)
  }
  const root = roots.at(-1)
  const targets = await newestOf(folder, 'targets')
  if (root === undefined || targets === undefined) {
    throw new TufError('TUF_CHANNEL', folder, 'there is no channel')
  }
  const snapshot = await newestOf(folder, 'snapshot')
  const timestamp = await readInside(folder, placeOf('timestamp.json'), TUF_LIMITS.timestamp)
  return {
    roots,
    root,
    targets,
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(timestamp === undefined ? {} : { timestamp }),
  }
}

/** The folder is ours: its names may be listed. */
async function versionsOf(folder: string, role: Role): Promise<readonly number[]> {
  const names = await readdir(join(folder, 'metadata')).catch(() => [])
  const pattern = new RegExp(`^([1-9]\\d{0,15})\\.${role}\\.json$`)
  return names
    .flatMap((name) => pattern.exec(name)?.slice(1).map(Number) ?? [])
    .toSorted((a, b) => b - a)
}

async function newestOf(folder: string, role: Role): Promise<Uint8Array | undefined> {
  const [newest] = await versionsOf(folder, role)
  if (newest === undefined) return undefined
  return readInside(folder, placeOf(`${newest}.${role}.json`), TUF_LIMITS[role])
}

/**
 * Take a signed list of releases, and sign on from there.
 *
 * @throws TufError TUF_NOT_SIGNED below the threshold, TUF_CHANNEL where it does not follow the newest
 *   or an index is missing, TUF_CONFLICT; UpdateError, WireError for an index
 */
export async function acceptTargets(change: {
  readonly folder: string
  readonly draft: Uint8Array
  readonly indexes: readonly Uint8Array[]
  readonly online: OnlineKeys
  readonly nowMs: number
}): Promise<void> {
  const { folder, draft, indexes, online, nowMs } = change
  const now = await readRepository(folder)
  const next = openMetadata('targets', draft)
  const before = openMetadata('targets', now.targets).signed
  requireSigned(openMetadata('root', now.root), 'targets', next)
  if (next.signed.version !== before.version + 1) {
    throw new TufError('TUF_CHANNEL', 'targets', `version ${before.version + 1} comes next`)
  }
  conclude(next.signed)
  const old = witness(NO_WITNESS, listedIn(before), before.version)
  const all = witness(old, listedIn(next.signed), next.signed.version)
  const [alarm] = all.alarms
  if (alarm !== undefined) throw new TufError('TUF_CONFLICT', `${alarm.name} build ${alarm.build}`)
  await placeIndexes(folder, next.signed.targets, indexes)
  await writeInside(folder, placeOf(`${next.signed.version}.targets.json`), draft)
  await renewChannel({ folder, online, nowMs })
  await forgetOld(folder)
}

async function placeIndexes(
  folder: string,
  targets: MetadataOf<'targets'>['signed']['targets'],
  indexes: readonly Uint8Array[],
): Promise<void> {
  const given = new Map(indexes.map((bytes) => [sha256Hex(bytes), bytes]))
  for (const [path, { length, hashes }] of Object.entries(targets)) {
    const named = parseTargetPath(path)
    const sha256 = hashes['sha256'] ?? ''
    if (named === undefined) throw new TufError('TUF_CHANNEL', path, 'not the name of a release')
    const place = ['targets', named.name, `${sha256}.${named.version}-${named.build}.index`]
    const kept = await readInside(folder, place, length)
    if (kept !== undefined && sha256Hex(kept) === sha256) continue
    const bytes = given.get(sha256)
    if (bytes === undefined) throw new TufError('TUF_CHANNEL', path, 'its index is missing')
    if (targetPath(openIndex(bytes).index) !== path) {
      throw new TufError('TUF_CHANNEL', path, 'its index says another name')
    }
    await writeInside(folder, place, bytes)
  }
}

/** Take a signed root, which the one before it allows. @throws TufError TUF_NOT_SIGNED, TUF_CHANNEL */
export async function acceptRoot(change: {
  readonly folder: string
  readonly draft: Uint8Array
  /** As the new root names them. */
  readonly online: OnlineKeys
  readonly nowMs: number
}): Promise<void> {
  const { folder, draft, online, nowMs } = change
  const now = await readRepository(folder)
  const [before, next] = [openMetadata('root', now.root), openMetadata('root', draft)]
  if (next.signed.version !== before.signed.version + 1) {
    throw new TufError('TUF_CHANNEL', 'root', `version ${before.signed.version + 1} comes next`)
  }
  requireSigned(before, 'root', next)
  requireSigned(next, 'root', next)
  requireOnline(next, online)
  await writeInside(folder, placeOf(`${next.signed.version}.root.json`), draft)
  await renewChannel({ folder, online, nowMs })
}

function requireSigned(root: MetadataOf<'root'>, role: Role, file: MetadataOf<Role>): void {
  try {
    verifying(role, () => root.verifyDelegate(role, file))
  } catch (cause) {
    throw new TufError('TUF_NOT_SIGNED', role, (cause as Error).message, { cause })
  }
}

function requireOnline(root: MetadataOf<'root'>, online: OnlineKeys): void {
  for (const role of ['snapshot', 'timestamp'] as const) {
    if (root.signed.roles[role]?.keyIDs.includes(online[role].id) !== true) {
      throw new TufError('TUF_WRONG_KEY', role, 'the root does not name the key of this device')
    }
  }
}

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
}): Promise<{ readonly renewed: boolean }> {
  const { folder, online, nowMs, timestampDays = LIFETIME_DAYS.timestamp } = options
  const files = await readRepository(folder)
  const root = openMetadata('root', files.root)
  requireOnline(root, online)
  requireTime(files, nowMs)
  const snapshot = await renewSnapshot({ folder, files, root, nowMs, key: online.snapshot })
  const last = files.timestamp && openMetadata('timestamp', files.timestamp)
  const current =
    last?.signed.snapshotMeta.version === snapshot.version &&
    nowMs - (signedAtMs(last.signed) ?? 0) < DAY_MS &&
    isHalfFresh(root, { role: 'timestamp', file: last, nowMs })
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
  readonly key: UpdateKey
  readonly nowMs: number
}): Promise<{ readonly version: number; readonly bytes: Uint8Array }> {
  const { folder, files, root, key, nowMs } = options
  const { version: targets } = openMetadata('targets', files.targets).signed
  const old = files.snapshot && openMetadata('snapshot', files.snapshot)
  const keep =
    old?.signed.meta['targets.json']?.version === targets &&
    isHalfFresh(root, { role: 'snapshot', file: old, nowMs })
  if (keep && files.snapshot !== undefined) {
    return { version: old.signed.version, bytes: files.snapshot }
  }
  const version = (old?.signed.version ?? 0) + 1
  const bytes = makeSnapshot(version, { version: targets, bytes: files.targets }, { key, nowMs })
  await writeInside(folder, placeOf(`${version}.snapshot.json`), bytes)
  return { version, bytes }
}

/** Signed by a key that still counts, and less than half of its life is over. */
function isHalfFresh(
  root: MetadataOf<'root'>,
  { role, file, nowMs }: { role: Role; file: MetadataOf<Role>; nowMs: number },
): boolean {
  try {
    root.verifyDelegate(role, file)
  } catch {
    return false
  }
  const signedMs = signedAtMs(file.signed) ?? 0
  return nowMs - signedMs < (Date.parse(file.signed.expires) - signedMs) / 2
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

/** Lists and snapshots but the two newest: a device in the middle of a refresh may still ask. */
async function forgetOld(folder: string): Promise<void> {
  for (const role of ['targets', 'snapshot'] as const) {
    for (const version of (await versionsOf(folder, role)).slice(2)) {
      await rm(join(folder, ...placeOf(`${version}.${role}.json`)), { force: true })
    }
  }
}
