/** Which release of a name a device should have, and whether it may have it now. Pure. */
import {
  decide,
  NOT_FOR,
  type Decision,
  type OpenedIndex,
  type Phase,
  type Rollout,
  type RolloutReport,
  type UpdateReport,
  type WhyNot,
} from '../../../protocols/update/index.ts'
import { equalBytes } from '../../../protocols/wire/index.ts'
import type { Release } from './tuf/index.ts'
import type { Installable, InstallState, UpdatesDeps } from './types.ts'

/**
 * The release to move to; undefined where the device has what it should have. One that was ill or
 * refused here is passed over, and so is every older one: the last word about a name is about its
 * newest build.
 */
export function wantedOf(
  listed: readonly Release[],
  { installed, ill }: Pick<InstallState, 'installed' | 'ill'>,
  { rollout, refused }: { readonly rollout: Rollout; readonly refused: ReadonlySet<string> },
): Release | undefined {
  const bad = ({ sha256 }: Release): boolean => ill.includes(sha256) || refused.has(sha256)
  const good = listed.filter((one) => !one.conflict && !bad(one))
  const [{ name } = { name: '' }] = listed
  const pin = rollout.pins.find((one) => one.name === name)
  if (pin !== undefined) {
    return good.find(({ build }) => build === pin.build && build !== installed?.build)
  }
  const floor = Math.max(installed?.build ?? 0, ...listed.filter(bad).map(({ build }) => build))
  return good.filter(({ build }) => build > floor).toSorted((a, b) => b.build - a.build)[0]
}

export interface Known {
  readonly opened: OpenedIndex
  readonly rollout: Rollout
  readonly reports: readonly UpdateReport[]
  readonly installed: readonly Pick<Installable, 'name' | 'version'>[]
  readonly knownMs: number
}

type ChoiceDeps = Pick<UpdatesDeps, 'clock' | 'devices' | 'facts' | 'signer' | 'installing'>

export function decideHere(known: Known, deps: ChoiceDeps): Decision {
  const { opened, rollout, reports, installed, knownMs } = known
  const { clock, devices, facts, signer, installing } = deps
  if (!installing) return { go: false, why: 'not-for', detail: 'installing' }
  const nowMs = clock.now()
  // What was ill here is not decided about, unless a person wants it tried again.
  const isForgiven = ({ device, index, phase }: UpdateReport): boolean =>
    phase === 'rolled-back' && equalBytes(device, signer.key) && equalBytes(index, opened.id)
  return decide({
    release: { ...opened.index, id: opened.id },
    rollout,
    devices: devices(),
    reports: reports
      .filter((one) => one.name === opened.index.name && !isForgiven(one))
      .map((report): RolloutReport => ({ ...report, sinceMs: Math.min(report.at, nowMs) })),
    here: {
      device: signer.key,
      hardware: facts.hardware,
      arch: facts.arch,
      installed,
      busy: facts.busy(),
      minute: facts.minute(),
      nowMs,
      knownMs,
    },
  })
}

/** Reasons for which nothing is fetched either. The others only hold up installing. */
export const UNFETCHED: ReadonlySet<WhyNot> = new Set([
  'not-for',
  'paused',
  'pinned',
  'deferred',
  'halted',
  'beyond',
])

/** How a device that may not install says so. */
export function heldWords(held: Extract<Decision, { go: false }>) {
  const { why, ring, untilMs } = held
  const code = why === 'not-for' ? NOT_FOR : heldCode(why)
  return { phase: heldPhase(why), code, why: heldText(held), ring, untilMs }
}

function heldPhase(why: WhyNot): Phase {
  if (why === 'not-for') return 'refused'
  return why === 'paused' || why === 'pinned' || why === 'deferred' ? 'paused' : 'waiting'
}

/** `ROLLOUT_NOT_FOR`, `ROLLOUT_RING` … */
export function heldCode(why: WhyNot): string {
  return `ROLLOUT_${why.toUpperCase().replace('-', '_')}`
}

const WORDS: Readonly<Record<WhyNot, string>> = {
  'not-for': 'it is not for this device',
  requires: 'it needs another release first',
  paused: 'an owner has paused it',
  pinned: 'an owner has chosen another build',
  deferred: 'an owner has put it off',
  halted: 'it made other devices ill',
  ring: 'other devices try it first',
  beyond: 'the owners let only a part of the devices have it',
  window: 'it waits for its hours',
  busy: 'this device is in use',
}

function heldText({ why, detail }: Extract<Decision, { go: false }>): string {
  return detail === undefined ? WORDS[why] : `${WORDS[why]} (${detail})`
}
