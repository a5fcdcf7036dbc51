/**
 * A channel is made and changed. Drafts that come back signed are held against the same rules that
 * every device holds them against, then snapshot and timestamp follow with the keys of the device.
 */
import type { Random } from '../../../env.ts'
import { ensurePrivateFolder } from '../../../storage/files.ts'
import { openIndex, targetPath } from '../../../../protocols/update/index.ts'
import { firstRoot, nextTargets, signDraft, type Thresholds } from './drafts.ts'
import { TufError, verifying } from './errors.ts'
import { placeOf, readInside, writeInside } from './folder.ts'
import { newUpdateKey, writeKeyFile, type UpdateKey } from './key-files.ts'
import { conclude, listedIn } from './listing.ts'
import { openMetadata, sha256Hex, TUF_LIMITS, type MetadataOf, type Role } from './metadata.ts'
import { renewChannel, requireOnline } from './renew.ts'
import { forgetOld, readRepository, type OnlineKeys } from './repository.ts'
import { NO_WITNESS, parseTargetPath, witness } from './witness.ts'

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
  /** Brings an index that is neither given nor kept, by its hash. */
  readonly bring?: (sha256: string) => Promise<Uint8Array | undefined>
  readonly online: OnlineKeys
  readonly nowMs: number
}): Promise<void> {
  const { folder, draft, indexes, bring, online, nowMs } = change
  const now = await readRepository(folder)
  const next = requireNextTargets(now.targets, draft, openMetadata('root', now.root))
  await placeIndexes(folder, next.signed.targets, { indexes, bring })
  await writeInside(folder, placeOf(`${next.signed.version}.targets.json`), draft)
  await renewChannel({ folder, online, nowMs })
  await forgetOld(folder)
}

/** @throws TufError TUF_NOT_SIGNED, TUF_CHANNEL, TUF_CONFLICT */
function requireNextTargets(
  current: Uint8Array,
  draft: Uint8Array,
  root: MetadataOf<'root'>,
): MetadataOf<'targets'> {
  const next = openMetadata('targets', draft)
  const before = openMetadata('targets', current).signed
  requireSigned(root, 'targets', next)
  if (next.signed.version !== before.version + 1) {
    throw new TufError('TUF_CHANNEL', 'targets', `version ${before.version + 1} comes next`)
  }
  conclude(next.signed)
  const old = witness(NO_WITNESS, listedIn(before), before.version)
  const all = witness(old, listedIn(next.signed), next.signed.version)
  const [alarm] = all.alarms
  if (alarm !== undefined) throw new TufError('TUF_CONFLICT', `${alarm.name} build ${alarm.build}`)
  return next
}

async function placeIndexes(
  folder: string,
  targets: MetadataOf<'targets'>['signed']['targets'],
  {
    indexes,
    bring,
  }: {
    readonly indexes: readonly Uint8Array[]
    readonly bring?: ((sha256: string) => Promise<Uint8Array | undefined>) | undefined
  },
): Promise<void> {
  const given = new Map(indexes.map((bytes) => [sha256Hex(bytes), bytes]))
  for (const [path, { length, hashes }] of Object.entries(targets)) {
    const named = parseTargetPath(path)
    const sha256 = hashes['sha256'] ?? ''
    if (named === undefined) throw new TufError('TUF_CHANNEL', path, 'not the name of a release')
    const place = ['targets', named.name, `${sha256}.${named.version}-${named.build}.index`]
    const kept = await readInside(folder, place, length)
    if (kept !== undefined && sha256Hex(kept) === sha256) continue
    const bytes = given.get(sha256) ?? (await bring?.(sha256))
    if (bytes === undefined) throw new TufError('TUF_CHANNEL', path, 'its index is missing')
    if (targetPath(openIndex(bytes).index) !== path) {
      throw new TufError('TUF_CHANNEL', path, 'its index says another name')
    }
    await writeInside(folder, place, bytes)
  }
}

/**
 * Take a signed root, which the one before it allows, and the list of releases as its keys signed it:
 * both at once, so that no device ever sees a list by keys that no longer count. The list is written
 * first; after a power cut in between it counts for nothing, and both are handed in again.
 *
 * @throws TufError TUF_NOT_SIGNED, TUF_CHANNEL, TUF_WRONG_KEY
 */
export async function acceptRoot(change: {
  readonly folder: string
  readonly draft: Uint8Array
  /** Where the keys or the threshold for releases are others now; may be given always. */
  readonly targets?: Uint8Array
  /** As the new root names them. */
  readonly online: OnlineKeys
  readonly nowMs: number
}): Promise<void> {
  const { folder, draft, targets, online, nowMs } = change
  const now = await readRepository(folder)
  const [before, next] = [openMetadata('root', now.root), openMetadata('root', draft)]
  if (next.signed.version !== before.signed.version + 1) {
    throw new TufError('TUF_CHANNEL', 'root', `version ${before.signed.version + 1} comes next`)
  }
  requireSigned(before, 'root', next)
  requireSigned(next, 'root', next)
  requireOnline(next, online)
  if (targets === undefined) {
    requireSigned(next, 'targets', openMetadata('targets', now.targets))
  } else {
    const { signed: list } = requireNextTargets(now.targets, targets, next)
    await writeInside(folder, placeOf(`${list.version}.targets.json`), targets)
  }
  await writeInside(folder, placeOf(`${next.signed.version}.root.json`), draft)
  // Others ask for what is new when there is a new timestamp.
  await renewChannel({ folder, online, nowMs, always: true })
  await forgetOld(folder)
}

function requireSigned(root: MetadataOf<'root'>, role: Role, file: MetadataOf<Role>): void {
  try {
    verifying(role, () => root.verifyDelegate(role, file))
  } catch (cause) {
    throw new TufError('TUF_NOT_SIGNED', role, (cause as Error).message, { cause })
  }
}
