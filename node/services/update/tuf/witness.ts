/**
 * Everything that a channel ever signed, as this device saw it. A release that vanishes stays listed;
 * a second release under the name of another raises an alarm, and neither is installed from then on.
 * Pure.
 */
import { MAX_BUILD, NAME, VERSION } from '../../../../protocols/update/index.ts'
import { TufError } from './errors.ts'

export interface ReleaseName {
  readonly name: string
  readonly version: string
  readonly build: number
}

export interface Witnessed {
  /** `NAME/VERSION-BUILD.index` */
  readonly path: string
  /** SHA-256 of the index, in hex. */
  readonly sha256: string
  /** Length of the index, in bytes. */
  readonly length: number
  /** The channel lists it no longer. */
  readonly withdrawn: boolean
  /** Version of the list in which it was first seen. */
  readonly since: number
}

/** Two releases, one name: `a` was seen first. */
export interface Alarm {
  readonly name: string
  readonly build: number
  readonly a: string
  readonly b: string
  /** Version of the list that brought the second. */
  readonly since: number
}

export interface Witness {
  readonly seen: readonly Witnessed[]
  readonly alarms: readonly Alarm[]
}

export const NO_WITNESS: Witness = { seen: [], alarms: [] }
/** Entries kept; the oldest of those that were withdrawn go first. */
export const MAX_WITNESSED = 8_192
const MAX_ALARMS = 64

/** The release that a target is; undefined for targets that are none of ours. */
export function parseTargetPath(path: string): ReleaseName | undefined {
  const found = /^([^/]{1,64})\/([^/]{1,32})-([1-9]\d{0,9})\.index$/.exec(path)
  const [name = '', version = '', digits = ''] = found?.slice(1) ?? []
  const build = Number(digits)
  const fits = NAME.test(name) && VERSION.test(version) && !version.includes('..')
  return found !== null && fits && build <= MAX_BUILD ? { name, version, build } : undefined
}

export type Listed = Pick<Witnessed, 'path' | 'sha256' | 'length' | 'withdrawn'>

/**
 * What is known after a list of releases was verified. The order of `listed` does not matter.
 *
 * @throws TufError TUF_TOO_MANY
 */
export function witness(before: Witness, listed: readonly Listed[], version: number): Witness {
  const now = new Map(listed.map((one) => [keyOf(one), one]))
  const seen = before.seen.map((one) => {
    const still = now.get(keyOf(one))
    return { ...one, withdrawn: still?.withdrawn ?? true }
  })
  const known = new Set(seen.map(keyOf))
  const builds = new Map<string, Witnessed>()
  for (const one of seen) if (!builds.has(buildOf(one.path))) builds.set(buildOf(one.path), one)
  const alarms = [...before.alarms]
  for (const one of now.values()) {
    if (known.has(keyOf(one))) continue
    const entry = { ...one, since: version }
    seen.push(entry)
    const first = builds.get(buildOf(one.path))
    if (first === undefined) builds.set(buildOf(one.path), entry)
    else alarms.push(alarmOf(first, entry))
  }
  return { seen: bounded(seen), alarms: alarms.slice(-MAX_ALARMS) }
}

/** What others have seen, held against what we have: releases that are not the same for all. */
export function compareWitness(ours: Witness, theirs: readonly Witnessed[]): readonly Alarm[] {
  const builds = new Map(ours.seen.map((one) => [buildOf(one.path), one]))
  return theirs.flatMap((one) => {
    const first = builds.get(buildOf(one.path))
    const same = first === undefined || keyOf(first) === keyOf(one)
    return same ? [] : [alarmOf(first, one)]
  })
}

/** The releases that share name and build with another, as a question about a path. */
export function conflictsOf({ alarms, seen }: Witness): (path: string) => boolean {
  const first = new Map<string, string>()
  const bad = new Set(alarms.map(({ name, build }) => `${name} ${build}`))
  for (const one of seen) {
    const build = buildOf(one.path)
    const known = first.get(build)
    if (known === undefined) first.set(build, keyOf(one))
    else if (known !== keyOf(one)) bad.add(build)
  }
  return (path) => bad.has(buildOf(path))
}

function keyOf({ path, sha256, length }: Listed): string {
  return `${path} ${sha256} ${length}`
}

/** Version is what makers write; the build is what orders, and only one release may have it. */
function buildOf(path: string): string {
  const found = parseTargetPath(path)
  return found === undefined ? path : `${found.name} ${found.build}`
}

function alarmOf(a: Witnessed, b: Witnessed): Alarm {
  const { name = b.path, build = 0 } = parseTargetPath(b.path) ?? {}
  return { name, build, a: keyOf(a), b: keyOf(b), since: b.since }
}

function bounded(seen: readonly Witnessed[]): readonly Witnessed[] {
  let over = seen.length - MAX_WITNESSED
  if (over <= 0) return seen
  const kept = seen.filter((one) => !one.withdrawn || over-- <= 0)
  if (kept.length > MAX_WITNESSED) throw new TufError('TUF_TOO_MANY', 'targets')
  return kept
}
