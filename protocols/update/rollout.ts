/**
 * Whether a device may install a release now: what the owners decided, held against what the devices
 * of the home report. Every device decides for itself, and all that know the same decide alike. Pure:
 * what the time is, which reports are verified, and whether someone uses the device, the caller says.
 * SPEC.md "Rollout".
 */
import { sha256 } from '../identity/index.ts'
import { concatBytes, equalBytes, toHex } from '../wire/index.ts'
import { deviceLabel, type Ring, type Rollout, type Window } from './policy.ts'
import type { ReleaseIndex } from './release-index.ts'
import type { UpdateReport } from './report.ts'

export const ROLLOUT = {
  /** A device that says nothing about a release for this long is not waited for. */
  silentMs: 24 * 60 * 60 * 1000,
  /** How often a device that waits looks again, at least. */
  lookMs: 60_000,
} as const

/** Code of the report of a device that a release is not for: rings are counted without it. */
export const NOT_FOR = 'ROLLOUT_NOT_FOR'

export type RolloutRelease = Pick<ReleaseIndex, 'name' | 'build' | 'for' | 'security'> & {
  /** SHA-256 of the index, 32 bytes. */
  readonly id: Uint8Array
}

export type RolloutReport = Pick<UpdateReport, 'device' | 'index' | 'build' | 'phase' | 'code'> & {
  /** When it became so, as far as the reader can tell; UTC milliseconds. */
  readonly sinceMs: number
}

/** What only the device itself knows. */
export interface RolloutHere {
  /** Its key, 32 bytes. */
  readonly device: Uint8Array
  readonly hardware: readonly string[]
  readonly arch: readonly string[]
  readonly installed: readonly { readonly name: string; readonly version: string }[]
  /** Someone is using it. */
  readonly busy: boolean
  /** Minutes since midnight, local time. */
  readonly minute: number
  readonly nowMs: number
  /** When this device first saw the release. */
  readonly knownMs: number
}

export interface RolloutInput {
  readonly release: RolloutRelease
  readonly rollout: Rollout
  /** Keys of all devices of the home that take updates. */
  readonly devices: readonly Uint8Array[]
  /** The newest about this name by each device. */
  readonly reports: readonly RolloutReport[]
  readonly here: RolloutHere
}

export type WhyNot =
  /** Hardware, processor or group is another. */
  | 'not-for'
  | 'requires'
  | 'paused'
  /** An owner chose another build. */
  | 'pinned'
  | 'deferred'
  /** It made too many devices ill. */
  | 'halted'
  /** Earlier devices come first. */
  | 'ring'
  /** No ring reaches this device. */
  | 'beyond'
  | 'window'
  | 'busy'

export type Decision =
  | { readonly go: true; readonly ring: number }
  | {
      readonly go: false
      readonly why: WhyNot
      readonly ring?: number
      /** When it may be otherwise without anything else happening; UTC milliseconds. */
      readonly untilMs?: number
      /** What is missing, for `requires` and `not-for`. */
      readonly detail?: string
    }

/** Whether the release may be installed here, now. */
export function decide(input: RolloutInput): Decision {
  return unfit(input) ?? forbidden(input) ?? byRings(input)
}

/** The groups of a device. */
export function groupsOf({ groups }: Rollout, device: Uint8Array): readonly string[] {
  const own = deviceLabel(device)
  return groups
    .filter(({ devices }) => devices.some((one) => equalBytes(one, own)))
    .map(({ name }) => name)
}

/** The order in which devices get a release: nobody can choose a place in it beforehand. */
export function rolloutOrder(id: Uint8Array, devices: readonly Uint8Array[]): Uint8Array[] {
  return devices
    .map((key) => ({ key, place: toHex(sha256(concatBytes(id, key))) }))
    .toSorted((a, b) => (a.place < b.place ? -1 : 1))
    .map(({ key }) => key)
}

/** How many of `count` devices each ring reaches, those before it included. */
export function ringEnds(rings: readonly Ring[], count: number): number[] {
  let end = 0
  return rings.map(({ devices, percent = 0 }) => {
    const reached = devices === undefined ? Math.ceil((count * percent) / 100) : end + devices
    end = Math.min(count, Math.max(end, reached))
    return end
  })
}

/** Minutes from `minute` until the window opens; 0 inside it. A window of no length is the whole day. */
export function minutesUntil({ from, to }: Window, minute: number): number {
  const inside =
    from === to || (from < to ? minute >= from && minute < to : minute >= from || minute < to)
  return inside ? 0 : (from - minute + 24 * 60) % (24 * 60)
}

/** Not for this device, or not yet: policy or not. */
function unfit({ release, rollout, here }: RolloutInput): Decision | undefined {
  const { hardware, arch, groups, requires } = release.for
  const parts = [
    ['hardware', hardware, here.hardware],
    ['arch', arch, here.arch],
    ['groups', groups, groupsOf(rollout, here.device)],
  ] as const
  for (const [detail, wanted, found] of parts) {
    if (wanted.length > 0 && !found.some((one) => wanted.includes(one))) {
      return { go: false, why: 'not-for', detail }
    }
  }
  const missing = requires.find(
    ({ name, version }) =>
      !here.installed.some((one) => one.name === name && one.version === version),
  )
  if (missing === undefined) return undefined
  return { go: false, why: 'requires', detail: `${missing.name} ${missing.version}` }
}

/** What an owner said about it by name. */
function forbidden({ release, rollout, here }: RolloutInput): Decision | undefined {
  const { name, build } = release
  if (rollout.paused.some((one) => one === '*' || one === name)) return { go: false, why: 'paused' }
  const pin = rollout.pins.find((one) => one.name === name)
  if (pin !== undefined && pin.build !== build) {
    return { go: false, why: 'pinned', detail: `build ${pin.build}` }
  }
  const later = rollout.defer.find((one) => one.name === name && one.build === build)
  if (later === undefined || here.nowMs >= later.until) return undefined
  return { go: false, why: 'deferred', untilMs: later.until }
}

interface RingState {
  readonly size: number
  readonly ill: number
  /** On trial now. */
  readonly trying: number
  /** Since when those that are well are, rising. */
  readonly wellSince: readonly number[]
}

function byRings(input: RolloutInput): Decision {
  const { release, rollout, here } = input
  const order = rolloutOrder(release.id, counted(input))
  const atOnce = release.security === true && rollout.securityAtOnce
  const rings: readonly Ring[] = atOnce ? [{ percent: 100, minHealthyMs: 0 }] : rollout.rings
  const ends = ringEnds(rings, order.length)
  const place = order.findIndex((key) => equalBytes(key, here.device))
  const ring = ends.findIndex((end) => place >= 0 && place < end)
  if (ring < 0) return { go: false, why: 'beyond' }
  const states = ends
    .slice(0, ring + 1)
    .map((end, n) => ringState(order.slice(ends[n - 1] ?? 0, end), input))
  if (states.some((state) => isHalted(state, rollout))) return { go: false, why: 'halted', ring }
  const passes = states.slice(0, ring).map((one, n) => passedAt(one, rings[n]?.minHealthyMs ?? 0))
  const untilMs = Math.max(0, ...passes)
  if (untilMs > here.nowMs) {
    return { go: false, why: 'ring', ring, ...(Number.isFinite(untilMs) && { untilMs }) }
  }
  return atOnce ? { go: true, ring } : byMoment(input, ring)
}

/** The devices that rings are counted over: those that it is for, and that are not silent for long. */
function counted({ release, rollout, devices, reports, here }: RolloutInput): Uint8Array[] {
  const { groups } = release.for
  const patient = here.nowMs < here.knownMs + ROLLOUT.silentMs
  return devices.filter((key) => {
    if (equalBytes(key, here.device)) return true
    if (groups.length > 0 && !groupsOf(rollout, key).some((one) => groups.includes(one)))
      return false
    const said = reports.find(({ device }) => equalBytes(device, key))
    if (said === undefined || !equalBytes(said.index, release.id)) {
      // One that has gone beyond this release does not come back to it.
      const beyond = said !== undefined && said.build > release.build
      return patient && !beyond
    }
    return said.code !== NOT_FOR
  })
}

function ringState(members: readonly Uint8Array[], { release, reports }: RolloutInput): RingState {
  const said = reports.filter(
    ({ device, index }) =>
      equalBytes(index, release.id) && members.some((key) => equalBytes(key, device)),
  )
  const well = said.filter(({ phase }) => phase === 'healthy')
  return {
    size: members.length,
    ill: said.filter(({ phase }) => phase === 'rolled-back').length,
    trying: said.filter(({ phase }) => phase === 'installed').length,
    wellSince: well.map(({ sinceMs }) => sinceMs).toSorted((a, b) => a - b),
  }
}

function isHalted({ ill, size }: RingState, { haltPercent }: Rollout): boolean {
  return ill > 0 && ill * 100 > haltPercent * size
}

/**
 * When a ring is passed: half of it, at least, is well for long enough, and nobody is on trial.
 * Infinity: that depends on what its devices will say.
 */
function passedAt({ size, trying, wellSince }: RingState, minHealthyMs: number): number {
  if (size === 0) return 0
  const last = wellSince[Math.ceil(size / 2) - 1]
  return trying > 0 || last === undefined ? Number.POSITIVE_INFINITY : last + minHealthyMs
}

function byMoment({ rollout, here }: RolloutInput, ring: number): Decision {
  const wait = rollout.window === undefined ? 0 : minutesUntil(rollout.window, here.minute)
  if (wait > 0) {
    return { go: false, why: 'window', ring, untilMs: here.nowMs + wait * 60_000 }
  }
  return rollout.dnd && here.busy ? { go: false, why: 'busy', ring } : { go: true, ring }
}
