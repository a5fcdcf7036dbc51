/**
 * The channel of a home, in a folder of the device that publishes: every root, the newest of the other
 * files, and the indexes. How it is changed: changes.ts; how it is kept young: renew.ts.
 */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { ensurePrivateFolder } from '../../../storage/files.ts'
import { TufError } from './errors.ts'
import { placeOf, readInside, writeInside } from './folder.ts'
import { listKeyFiles, readKeyFile, type UpdateKey } from './key-files.ts'
import { indexFile, type ChannelView } from './listing.ts'
import { openMetadata, TUF_LIMITS, type MetadataOf, type Role } from './metadata.ts'

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
  const targets = root && (await newestSigned(folder, root))
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

/**
 * Take over what was verified of the channel since: other devices that have keys sign it too.
 * `file` gives a file by its name in TUF.
 */
export async function catchUp(
  folder: string,
  view: ChannelView,
  file: (name: string) => Promise<Uint8Array | undefined>,
): Promise<void> {
  const { roles, releases } = view
  const { root, targets, snapshot, timestamp } = roles
  if (root === undefined || targets === undefined || snapshot === undefined) return
  const kept = await readInside(folder, placeOf('timestamp.json'), TUF_LIMITS.timestamp)
  const last = kept === undefined ? 0 : openMetadata('timestamp', kept).signed.version
  if (timestamp === undefined || timestamp.version <= last) return
  await ensurePrivateFolder(folder)
  const names = [
    ...releases.map((release) => indexFile(release)),
    `${targets.version}.targets.json`,
    `${snapshot.version}.snapshot.json`,
    ...Array.from({ length: root.version }, (_, i) => `${i + 1}.root.json`),
    'timestamp.json',
  ]
  for (const name of names) {
    const bytes = await file(name)
    if (bytes !== undefined) await writeInside(folder, placeOf(name), bytes)
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

/** The newest list that the keys of `root` signed: another waits for the root that it was made for. */
async function newestSigned(folder: string, root: Uint8Array): Promise<Uint8Array | undefined> {
  const rules = openMetadata('root', root)
  for (const version of await versionsOf(folder, 'targets')) {
    const place = placeOf(`${version}.targets.json`)
    const bytes = await readInside(folder, place, TUF_LIMITS.targets)
    if (bytes !== undefined && isSigned(rules, 'targets', openMetadata('targets', bytes)))
      return bytes
  }
  return undefined
}

/** Lists and snapshots but the two newest: a device in the middle of a refresh may still ask. */
export async function forgetOld(folder: string): Promise<void> {
  for (const role of ['targets', 'snapshot'] as const) {
    for (const version of (await versionsOf(folder, role)).slice(2)) {
      await rm(join(folder, ...placeOf(`${version}.${role}.json`)), { force: true })
    }
  }
}

export function isSigned(root: MetadataOf<'root'>, role: Role, file: MetadataOf<Role>): boolean {
  try {
    root.verifyDelegate(role, file)
    return true
  } catch {
    return false
  }
}
