/**
 * Telemetry of one device: what it measures goes into its own signed log, what its peers measured
 * comes into theirs, and both are served to whoever may read them. Joins the parts beside it; the
 * formats and the stream are protocols/telemetry, the disk is node/storage.
 */
import { setImmediate } from 'node:timers/promises'

import type { Logger } from 'pino'

import type { Signer, Verifier } from '../../../protocols/identity/index.ts'
import {
  FLAGS,
  serveLogs,
  TELEMETRY,
  trustedTimes,
  type ClockQuality,
  type Pack,
  type Reading,
  type SeqRange,
} from '../../../protocols/telemetry/index.ts'
import { equalBytes, toHex } from '../../../protocols/wire/index.ts'
import type { Clock, Random } from '../../env.ts'
import { createEmitter, type Emitter } from '../../events.ts'
import type { Fork } from '../../storage/pack-logs.ts'
import type { GapRow, PackStore } from '../../storage/packs.ts'
import type { BucketRow, HistoryQuery, ReadingRow } from '../../storage/readings.ts'
import type { SensorSource } from '../sensors/index.ts'
import { ageClock } from './age.ts'
import { createFollower, type TelemetryMesh } from './follower.ts'
import { createIntake, type TelemetryMember } from './intake.ts'
import {
  readingsOf,
  watchReadings,
  type KeptPack,
  type LiveFilter,
  type LiveReading,
  type TelemetryEvents,
} from './live.ts'
import { createPublisher } from './publisher.ts'
import { createSampler, type SensorState } from './sampler.ts'

export interface TelemetryDeps {
  readonly mesh: TelemetryMesh
  readonly store: PackStore
  readonly signer: Signer
  readonly verifier: Verifier
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  /** The home's devices at the start; see `setMembers`. */
  readonly members: readonly TelemetryMember[]
  /** Whether this device keeps the log of `device` too: a hub says yes to all. */
  readonly follows: (device: Uint8Array) => boolean
  /** Whether `peer` may read the log of `device`; asked for every pack. */
  readonly mayRead: (peer: Uint8Array, device: Uint8Array) => boolean
  /** Number of effective revocations that this device knows. */
  readonly epoch: () => number
  readonly clockQuality: () => ClockQuality
  readonly sources: readonly SensorSource[]
  readonly settings: TelemetrySettings
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

export interface TelemetrySettings {
  /** Names of the sensors that are on, as in `isChosen`. */
  readonly enabled: readonly string[]
  readonly intervalMs: number
  /** How long a reading waits for others to share its signature; ten seconds where absent. */
  readonly maxWaitMs?: number | undefined
  /** Packs go when they were received longer ago than this. */
  readonly retentionMs: number
  /** Packs go, oldest first, while the database holds more than this. */
  readonly maxBytes: number
}

export interface Telemetry extends AsyncDisposable {
  readonly events: Emitter<TelemetryEvents>
  /** Put readings of this device into its log; at once with `now`, else within ten seconds. */
  publish(readings: readonly Reading[], options?: { readonly now?: boolean }): void
  /** Make a pack of what waits, now. False where the disk is full. */
  flushNow(): boolean
  watch(
    filter: LiveFilter,
    signal: AbortSignal,
  ): AsyncIterable<LiveReading & { readonly missed: number }>
  /** Kept readings and gaps of one log, oldest first. @throws NodeError NODE_USAGE */
  history(
    query: HistoryQuery & { readonly device: Uint8Array },
  ): (ReadingRow | BucketRow | GapRow)[]
  sensors(): SensorState[]
  /** Until the next start. False for a name that no sensor has. */
  setEnabled(sensor: string, on: boolean): boolean
  /** Every known log and its highest number. */
  heads(): { readonly device: Uint8Array; readonly seq: number }[]
  /** Highest number known of one log; 0 for none. */
  lastSeq(device: Uint8Array): number
  gaps(device: Uint8Array): SeqRange[]
  forks(device: Uint8Array): Fork[]
  /** An owner trusts a device again that had signed two histories. */
  release(device: Uint8Array): void
  /** The home has changed: who publishes, who was removed and with which last number. */
  setMembers(members: readonly TelemetryMember[]): void
}

/** How often retention is looked at. */
const PRUNE_EVERY_MS = 60_000

export async function startTelemetry(deps: TelemetryDeps, signal: AbortSignal): Promise<Telemetry> {
  signal.throwIfAborted()
  const { clock, log, mesh, store } = deps
  const stop = new AbortController()
  const until = AbortSignal.any([signal, stop.signal])
  const events = createEmitter<TelemetryEvents>((err) => log.error({ err }, 'listener failed'))
  let members = byKey(deps.members)

  function kept(pack: KeptPack): void {
    events.emit('pack', pack)
    // A log with two histories is kept, but not shown as if it were true.
    if ((pack.flags & FLAGS.quarantined) !== 0) return
    for (const reading of readingsOf(pack)) events.emit('reading', reading)
  }

  const publisher = createPublisher({ ...deps, maxWaitMs: deps.settings.maxWaitMs }, (pack) =>
    kept(ownPack(pack, clock.now())),
  )
  const sampler = createSampler({ ...deps, ...deps.settings }, (readings) => {
    // A device that was removed, or may not publish, measures for itself alone.
    if (members.get(toHex(mesh.key))?.publishes === true) publisher.add(readings)
  })
  const intake = createIntake({
    ...deps,
    events,
    onKept: kept,
    onFailed: (error) => follower.restart(error),
    member: (device) => members.get(toHex(device)),
  })
  const follower = createFollower(
    { ...deps, intake, targets: () => targetsIn(members, deps) },
    until,
  )
  await mesh.serve(TELEMETRY, async (channel, peer, streamSignal) => {
    const mayRead = (device: Uint8Array): boolean => deps.mayRead(peer, device)
    await serveLogs(channel, { source: store, mayRead }, AbortSignal.any([until, streamSignal]))
  })
  // At once: whoever waits for this device to come back waits for its first reading.
  const sampling = sampler.run(until, () => void (until.aborted || publisher.flush()))
  const loops = Promise.allSettled([sampling, retain(deps, until)])

  return {
    ...asked(deps),
    events,
    publish(readings, { now = false } = {}) {
      publisher.add(readings)
      if (now) publisher.flush()
    },
    flushNow: () => publisher.flush(),
    watch: (filter, watchSignal) =>
      watchReadings(events, filter, AbortSignal.any([until, watchSignal])),
    sensors: () => sampler.sensors(),
    setEnabled: (sensor, on) => sampler.setEnabled(sensor, on),
    setMembers(list) {
      members = byKey(list)
      intake.membersChanged()
      follower.refresh()
    },
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('stopping'))
      await Promise.all([loops, follower.done()])
      publisher.flush()
      publisher.close()
    },
  }
}

/** What only the store knows. */
function asked({
  store,
}: TelemetryDeps): Pick<Telemetry, 'history' | 'heads' | 'lastSeq' | 'gaps' | 'forks' | 'release'> {
  return {
    history: ({ device, ...query }) => store.history(device, query),
    heads: () => store.heads(),
    lastSeq: (device) => store.head(device),
    gaps: (device) => store.gaps(device),
    forks: (device) => store.forks(device),
    release: (device) => store.release(device),
  }
}

function byKey(members: readonly TelemetryMember[]): Map<string, TelemetryMember> {
  return new Map(members.map((member) => [toHex(member.key), member]))
}

/** Removed devices stay on the list: others may still have packs from before. */
function targetsIn(
  members: ReadonlyMap<string, TelemetryMember>,
  { follows, mesh, store }: TelemetryDeps,
): Uint8Array[] {
  return [...members.values()].flatMap(({ key, publishes, lastSeq }) => {
    const more = lastSeq === undefined ? publishes : store.head(key) < lastSeq
    return more && follows(key) && !equalBytes(key, mesh.key) ? [key] : []
  })
}

function ownPack(pack: Pack, nowMs: number): KeptPack {
  const { times, plausible } = trustedTimes(pack, nowMs)
  return { pack, times, flags: plausible ? 0 : FLAGS.clockImplausible }
}

/** Keep to the limits of age and room, a few packs at a time. */
async function retain(
  { clock, log, settings, store }: TelemetryDeps,
  signal: AbortSignal,
): Promise<void> {
  const ageNow = ageClock(clock)
  for (;;) {
    await clock.sleep(PRUNE_EVERY_MS, signal)
    const receivedBeforeMs = ageNow() - settings.retentionMs
    try {
      while (!signal.aborted && store.prune({ receivedBeforeMs, ...settings }) > 0) {
        await setImmediate()
      }
    } catch (err) {
      log.error({ err }, 'old readings cannot be removed')
    }
  }
}
