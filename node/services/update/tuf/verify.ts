/**
 * One refresh of a channel in the order that TUF 1.0 section 5 asks for, over tuf-js' verifying store.
 * What is fetched is bounded before it is parsed and verified before it is kept. Nothing is written
 * here: the caller keeps `trust` before anybody acts on it, also where this throws.
 */
import { TrustedMetadataStore } from 'tuf-js/dist/store.js'

import { TufError, verifying } from './errors.ts'
import {
  checkedJson,
  openMetadata,
  readPlain,
  sha256Hex,
  TUF_LIMITS,
  type MetadataOf,
  type Role,
} from './metadata.ts'
import { conclude, listedIn } from './listing.ts'
import type { Trust } from './trust-store.ts'
import { witness } from './witness.ts'

/** A file of the channel; undefined where the source has none. Already bounded. */
export type Source = (file: string, maxBytes: number) => Promise<Uint8Array | undefined>

export interface Work {
  /** Grows as files are verified. */
  trust: Trust
}

/**
 * Follow the channel as far as `source` goes. `reference` gives the time by which it is judged; it is
 * asked again once new roots are in, for what an old key said of time goes with that key.
 *
 * @throws TufError
 */
export async function follow(
  work: Work,
  source: Source,
  reference: (trust: Trust) => number,
): Promise<void> {
  const newest = work.trust.roots.at(-1)
  if (newest === undefined) throw new TufError('TUF_STORE', 'root')
  const store = verifying('root', () => new TrustedMetadataStore(Buffer.from(newest)))
  await followRoots(store, work, source)
  const referenceMs = reference(work.trust)
  setTime(store, referenceMs)
  if (store.root.signed.isExpired(new Date(referenceMs))) throw new TufError('TUF_EXPIRED', 'root')
  await followTimestamp(store, work, { source, referenceMs })
  await followSnapshot(store, work, source)
  await followTargets(store, work, source)
}

/** tuf-js' store judges expiry by its own clock: it is told ours. */
function setTime(store: TrustedMetadataStore, referenceMs: number): void {
  if (!(Reflect.get(store, 'referenceTime') instanceof Date)) {
    throw new Error('tuf-js keeps its time elsewhere')
  }
  Reflect.set(store, 'referenceTime', new Date(referenceMs))
}

async function followRoots(store: TrustedMetadataStore, work: Work, source: Source): Promise<void> {
  const before = store.root
  for (let i = 0; i < TUF_LIMITS.maxRootsAtOnce; i++) {
    const version = store.root.signed.version + 1
    if (version > TUF_LIMITS.maxRoots) throw new TufError('TUF_TOO_MANY', 'root')
    const bytes = await source(`${version}.root.json`, TUF_LIMITS.root)
    if (bytes === undefined) break
    checkedJson('root', bytes)
    verifying('root', () => store.updateRoot(Buffer.from(bytes)))
    work.trust = { ...work.trust, roots: [...work.trust.roots, bytes] }
  }
  if (!sameKeys(before, store.root)) {
    // TUF 5.3.11: what a stolen key said of versions to come is forgotten with that key.
    const { timestamp: _timestamp, snapshot: _snapshot, ...kept } = work.trust
    work.trust = kept
  }
}

/** Whether the keys that say what is newest are the same, and as many must sign. */
function sameKeys(a: MetadataOf<'root'>, b: MetadataOf<'root'>): boolean {
  return (['timestamp', 'snapshot'] as const).every((role) => {
    const [before, after] = [a.signed.roles[role], b.signed.roles[role]]
    const ids = (one: typeof before): string => (one?.keyIDs ?? []).toSorted().join()
    return ids(before) === ids(after) && before?.threshold === after?.threshold
  })
}

async function followTimestamp(
  store: TrustedMetadataStore,
  work: Work,
  { source, referenceMs }: { source: Source; referenceMs: number },
): Promise<void> {
  const { timestamp: kept } = work.trust
  if (kept !== undefined) {
    // An expired one still counts against older ones.
    quietly(
      () => verifying('timestamp', () => store.updateTimestamp(Buffer.from(kept))),
      ['TUF_EXPIRED', 'TUF_SIGNATURE'],
    )
  }
  const bytes = await need(source, 'timestamp.json', TUF_LIMITS.timestamp)
  checkedJson('timestamp', bytes)
  const known = store.timestamp
  const fresh = openMetadata('timestamp', bytes)
  verifying('timestamp', () => store.root.verifyDelegate('timestamp', fresh))
  if (known !== undefined && fresh.signed.version === known.signed.version) {
    // Two devices may sign the same anew at once: what counts is which snapshot they name.
    if (!fresh.signed.snapshotMeta.equals(known.signed.snapshotMeta)) {
      throw new TufError('TUF_FORK', 'timestamp')
    }
    // tuf-js looks at the expiry of one that it has only when a snapshot comes.
    if (known.signed.isExpired(new Date(referenceMs)))
      throw new TufError('TUF_EXPIRED', 'timestamp')
    return
  }
  verifying('timestamp', () => store.updateTimestamp(Buffer.from(bytes)))
  work.trust = { ...work.trust, timestamp: bytes }
}

async function followSnapshot(
  store: TrustedMetadataStore,
  work: Work,
  source: Source,
): Promise<void> {
  const { snapshot: kept } = work.trust
  const meta = store.timestamp?.signed.snapshotMeta
  if (meta === undefined) throw new TufError('TUF_MALFORMED', 'timestamp')
  if (kept !== undefined) {
    const usable = quietly(
      () => verifying('snapshot', () => store.updateSnapshot(Buffer.from(kept), true)),
      ['TUF_EXPIRED', 'TUF_SIGNATURE', 'TUF_ROLLBACK'],
    )
    if (usable) {
      if (meta.hashes?.['sha256'] === undefined || meta.hashes['sha256'] === sha256Hex(kept)) return
      throw new TufError('TUF_FORK', 'snapshot')
    }
  }
  const length = Math.min(meta.length ?? TUF_LIMITS.snapshot, TUF_LIMITS.snapshot)
  const bytes = await need(source, `${meta.version}.snapshot.json`, length)
  requireExact('snapshot', bytes, meta)
  checkedJson('snapshot', bytes)
  verifying('snapshot', () => store.updateSnapshot(Buffer.from(bytes)))
  work.trust = { ...work.trust, snapshot: bytes }
}

async function followTargets(
  store: TrustedMetadataStore,
  work: Work,
  source: Source,
): Promise<void> {
  const { targets: kept } = work.trust
  const meta = store.snapshot?.signed.meta['targets.json']
  if (meta === undefined) throw new TufError('TUF_MALFORMED', 'snapshot')
  if (kept !== undefined) {
    const { version } = readPlain('targets', kept)
    const usable = quietly(
      () =>
        verifying('targets', () =>
          store.updateDelegatedTargets(Buffer.from(kept), 'targets', 'root'),
        ),
      ['TUF_EXPIRED', 'TUF_SIGNATURE', 'TUF_ROLLBACK', 'TUF_HASH'],
    )
    if (usable) return
    if (version === meta.version && !isExact(kept, meta) && signedBy(store, kept)) {
      throw new TufError('TUF_FORK', 'targets')
    }
  }
  const length = Math.min(meta.length ?? TUF_LIMITS.targets, TUF_LIMITS.targets)
  const bytes = await need(source, `${meta.version}.targets.json`, length)
  requireExact('targets', bytes, meta)
  checkedJson('targets', bytes)
  verifying('targets', () => store.updateDelegatedTargets(Buffer.from(bytes), 'targets', 'root'))
  const signed = store.targets?.signed
  if (signed === undefined) throw new TufError('TUF_MALFORMED', 'targets')
  conclude(signed)
  const seen = witness(work.trust.witness, listedIn(signed), signed.version)
  work.trust = { ...work.trust, targets: bytes, witness: seen }
}

/** Whether the newest timestamp, its snapshot and that one's list are all there. */
export function isComplete({ timestamp, snapshot, targets }: Trust): boolean {
  if (timestamp === undefined || snapshot === undefined || targets === undefined) return false
  const listed = openMetadata('timestamp', timestamp).signed.snapshotMeta
  const list = openMetadata('snapshot', snapshot).signed.meta['targets.json']
  return (
    listed.version === readPlain('snapshot', snapshot).version &&
    isExact(snapshot, listed) &&
    list !== undefined &&
    list.version === readPlain('targets', targets).version &&
    isExact(targets, list)
  )
}

function signedBy(store: TrustedMetadataStore, targets: Uint8Array): boolean {
  return quietly(
    () =>
      verifying('targets', () =>
        store.root.verifyDelegate('targets', openMetadata('targets', targets)),
      ),
    ['TUF_SIGNATURE'],
  )
}

interface Meta {
  readonly length?: number | undefined
  readonly hashes?: Readonly<Record<string, string>> | undefined
}

function isExact(bytes: Uint8Array, { length, hashes }: Meta): boolean {
  const said = hashes?.['sha256']
  return (
    (length === undefined || bytes.length === length) &&
    (said === undefined || said === sha256Hex(bytes))
  )
}

/** Before a byte of it is parsed. */
function requireExact(role: Role, bytes: Uint8Array, meta: Meta): void {
  if (!isExact(bytes, meta)) throw new TufError('TUF_HASH', role)
}

async function need(source: Source, file: string, maxBytes: number): Promise<Uint8Array> {
  const bytes = await source(file, maxBytes)
  if (bytes === undefined) throw new TufError('TUF_MISSING', file)
  return bytes
}

/** Whether it went well; errors of these codes are no more than a no. */
function quietly(run: () => unknown, codes: readonly TufError['code'][]): boolean {
  try {
    run()
    return true
  } catch (error) {
    if (error instanceof TufError && codes.includes(error.code)) return false
    throw error
  }
}
