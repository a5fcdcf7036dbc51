/**
 * What a verified channel offers, and whether anything new may be installed from it now. Pure.
 *
 * Time: a file is judged by the latest of four times: the clock, the floor of the device, the newest
 * time that the channel itself signed, and the latest time of a synced clock that fitted those. So a
 * clock that falls back revives nothing. One that leaps ahead blocks new installs until it is right
 * again, and leaves no trace: what it said is not kept.
 */
import type { ClockTrust } from '../../../timekeeper.ts'
import { BOUNDS } from '../../../../protocols/update/index.ts'
import { TufError, type TufErrorCode } from './errors.ts'
import {
  DAY_MS,
  readPlain,
  ROLES,
  sha256Hex,
  signedAtMs,
  TUF_LIMITS,
  type Role,
} from './metadata.ts'
import type { Trust } from './trust-store.ts'
import {
  conflictsOf,
  parseTargetPath,
  type Alarm,
  type Listed,
  type ReleaseName,
  type Witnessed,
} from './witness.ts'

/** Releases that were taken back, by path: nobody can sign another under their name unseen. */
export const WITHDRAWN = 'x-kith-withdrawn'
export type Withdrawn = Record<string, { length: number; sha256: string }>

export interface TufTime {
  readonly nowMs: number
  /** The true time is not before this. */
  readonly floorMs: number
  readonly quality: ClockTrust
}

export interface Release extends ReleaseName {
  readonly path: string
  /** SHA-256 of its index, in hex: the release's id. */
  readonly sha256: string
  /** Length of its index, in bytes. */
  readonly length: number
  /** Another release has its name and build: neither may be installed. */
  readonly conflict: boolean
}

export interface RoleState {
  readonly version: number
  readonly expiresMs: number
}

export interface ChannelView {
  readonly channel: string
  /** SHA-256 of the first root, in hex. */
  readonly pin: string
  readonly roles: Readonly<Partial<Record<Role, RoleState>>>
  /** What it lists now, sorted by name, then build. */
  readonly releases: readonly Release[]
  /** All that it ever listed, as this device saw it. */
  readonly witnessed: readonly Witnessed[]
  readonly alarms: readonly Alarm[]
  /** Newest time that it signed, in ms; 0 where it says none. */
  readonly signedMs: number
  /** Why nothing new may be installed; undefined where it may. The running version is not meant. */
  readonly blocked?: { readonly code: TufErrorCode; readonly about: string }
}

const PLAUSIBLE_MS = 400 * DAY_MS

/** A list of releases, as tuf-js or plain JSON has it. */
export interface TargetsList {
  readonly targets: Readonly<
    Record<string, { readonly length: number; readonly hashes: Readonly<Record<string, string>> }>
  >
  readonly unrecognizedFields: Readonly<Record<string, unknown>>
}

interface Delegated {
  readonly roles?: object | undefined
  readonly succinctRoles?: object | undefined
}

/** What a channel says that we refuse although it is signed. @throws TufError */
export function conclude(
  signed: TargetsList & { readonly delegations?: Delegated | undefined },
): void {
  const { delegations } = signed
  const roles = Object.keys(delegations?.roles ?? {}).length
  if (roles > 0 || delegations?.succinctRoles !== undefined) {
    throw new TufError('TUF_DELEGATIONS', 'targets')
  }
  const withdrawn = withdrawnIn(signed)
  if (Object.keys(withdrawn).length > TUF_LIMITS.maxWithdrawn) {
    throw new TufError('TUF_TOO_MANY', 'targets')
  }
  for (const { sha256, length, path } of listedIn(signed)) {
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw new TufError('TUF_MALFORMED', 'targets', path)
    if (length > BOUNDS.maxIndexBytes) throw new TufError('TUF_TOO_LONG', 'targets', path)
  }
}

/** The releases that a list names, those taken back included. Targets that are none are passed over. */
export function listedIn(signed: TargetsList): readonly Listed[] {
  const gone = Object.entries(withdrawnIn(signed)).map(([path, one]) => ({
    path,
    ...one,
    withdrawn: true,
  }))
  const here = Object.entries(signed.targets).map(([path, { length, hashes }]) => ({
    path,
    length,
    sha256: hashes['sha256'] ?? '',
    withdrawn: false,
  }))
  // The later of two alike counts: what is listed is not gone.
  return [...gone, ...here].filter(({ path }) => parseTargetPath(path) !== undefined)
}

/** What a list of releases says was taken back. Entries of another form are passed over. */
export function withdrawnIn(
  signed: Pick<TargetsList, 'unrecognizedFields'> | undefined,
): Withdrawn {
  const said = signed?.unrecognizedFields[WITHDRAWN]
  if (typeof said !== 'object' || said === null || Array.isArray(said)) return {}
  const found = Object.entries(said).flatMap(([path, one]: [string, unknown]) => {
    if (typeof one !== 'object' || one === null || Array.isArray(one)) return []
    const { length, sha256 } = one as Readonly<Record<string, unknown>>
    const fits = Number.isSafeInteger(length) && typeof sha256 === 'string'
    return fits ? [[path, { length: Number(length), sha256 }] as const] : []
  })
  return Object.fromEntries(found)
}

/** The time by which this channel's files are judged. */
export function referenceMs(trust: Trust, time: TufTime): number {
  return Math.max(time.nowMs, time.floorMs, trust.seenMs, newestSignedMs(trust))
}

/**
 * Newest time that is signed in what is trusted now. No file speaks for a time after its own expiry or
 * that of the root: a stolen online key cannot move time far.
 */
export function newestSignedMs(trust: Trust): number {
  const files = filesOf(trust)
  const rootEnds = files.find(([role]) => role === 'root')?.[1].expiresMs ?? 0
  return Math.max(
    0,
    ...files.map(([, { signedMs, expiresMs }]) => Math.min(signedMs, expiresMs, rootEnds)),
  )
}

/** `seenMs` after a look at the clock. */
export function seenAfter(trust: Trust, { nowMs, quality }: TufTime): number {
  const newest = newestSignedMs(trust)
  const fits = quality === 'synced' && newest > 0 && nowMs <= newest + PLAUSIBLE_MS
  return fits ? Math.max(trust.seenMs, nowMs) : trust.seenMs
}

export function viewOf(channel: string, trust: Trust, time: TufTime): ChannelView {
  const { alarms, seen } = trust.witness
  const roles = Object.fromEntries(
    filesOf(trust).map(([role, { version, expiresMs }]) => [role, { version, expiresMs }]),
  )
  const blocked = blockedBy(roles, { time, nowMs: referenceMs(trust, time) })
  return {
    channel,
    pin: Buffer.from(trust.pin).toString('hex'),
    roles,
    releases: releasesOf(trust),
    witnessed: seen,
    alarms,
    signedMs: newestSignedMs(trust),
    ...(blocked === undefined ? {} : { blocked }),
  }
}

function releasesOf({ targets, witness }: Trust): readonly Release[] {
  if (targets === undefined) return []
  const conflict = conflictsOf(witness)
  return listedIn(plainList(targets))
    .filter(({ withdrawn }) => !withdrawn)
    .flatMap(({ path, sha256, length }) => {
      const named = parseTargetPath(path)
      return named === undefined
        ? []
        : [{ ...named, path, sha256, length, conflict: conflict(path) }]
    })
    .toSorted((a, b) => (a.name === b.name ? a.build - b.build : a.name < b.name ? -1 : 1))
}

/** Of a file that was verified. */
function plainList(targets: Uint8Array): TargetsList {
  const { unrecognizedFields } = readPlain('targets', targets)
  return { targets: unrecognizedFields['targets'] as TargetsList['targets'], unrecognizedFields }
}

function blockedBy(
  roles: ChannelView['roles'],
  { time, nowMs }: { time: TufTime; nowMs: number },
): ChannelView['blocked'] {
  if (time.quality === 'unset') return { code: 'TUF_CLOCK', about: 'clock' }
  for (const role of ROLES) {
    const state = roles[role]
    if (state === undefined) return { code: 'TUF_MISSING', about: role }
    if (nowMs >= state.expiresMs) return { code: 'TUF_EXPIRED', about: role }
  }
  return undefined
}

/** The reason for people: with the time by the clock, which may be what is wrong. */
export function blockedText(
  { code, about }: NonNullable<ChannelView['blocked']>,
  nowMs: number,
): string {
  if (code === 'TUF_CLOCK') return 'the clock of this device is not set'
  if (code !== 'TUF_EXPIRED') return 'the channel is not all here yet'
  const day = new Date(nowMs).toISOString().slice(0, 10)
  return `the ${about} of the channel has expired, or the clock of this device is wrong: it says ${day}`
}

interface FileState extends RoleState {
  readonly signedMs: number
}

function filesOf(trust: Trust): readonly (readonly [Role, FileState])[] {
  return ROLES.flatMap((role) => {
    const bytes = role === 'root' ? trust.roots.at(-1) : trust[role]
    if (bytes === undefined) return []
    const plain = readPlain(role, bytes)
    const { version, expiresMs } = plain
    return [[role, { version, expiresMs, signedMs: signedAtMs(plain) ?? 0 }]]
  })
}

/** Name under which a channel keeps a release's index: a file of it as TUF names them. */
export function indexFile({
  name,
  version,
  build,
  sha256,
}: ReleaseName & Pick<Release, 'sha256'>): string {
  return `${name}/${sha256}.${version}-${build}.index`
}

/** @throws TufError TUF_HASH */
export function requireIndex({ path, sha256, length }: Release, bytes: Uint8Array): void {
  if (bytes.length !== length || sha256Hex(bytes) !== sha256) throw new TufError('TUF_HASH', path)
}
