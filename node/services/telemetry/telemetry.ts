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
  TELEMETRY,
  trustedTimes,
  type Pack,
  type Reading,
  type SeqRange,
} from '../../../protocols/telemetry/index.ts'
import { equalBytes, toHex } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import { createEmitter, type Emitter } from '../../events.ts'
import type { Fork } from '../../storage/pack-logs.ts'
import type { GapRow, PackStore } from '../../storage/packs.ts'
import type { Unplaced } from '../../storage/placing.ts'
import type { BucketRow, HistoryQuery, ReadingRow } from '../../storage/readings.ts'
import { seldom } from '../../seldom.ts'
import type { Timekeeper } from '../../timekeeper.ts'
import type { SensorSource } from '../sensors/index.ts'
import { ageClock } from './age.ts'
import { followExtracts, type ExtractTaker } from './extract-follower.ts'
import { createExtractShelf, type Extracted, type ExtractShelf } from './extract-shelf.ts'
import { createFollower, type Follower, type TelemetryMesh } from './follower.ts'
import { changesOf, extractsOf, isGuest, serve, type Guests } from './guests.ts'
import { createIntake, type Intake, type TelemetryMember } from './intake.ts'
import {
  readingsOf,
  watchReadings,
  type KeptPack,
  type LiveFilter,
  type LiveReading,
  type TelemetryEvents,
} from './live.ts'
import type { Progress } from './progress.ts'
import { createPublisher, type Publisher } from './publisher.ts'
import { createSampler, type PushedValue, type Sampler, type SensorState } from './sampler.ts'

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
  /** Those who get extracts instead of logs; this device may be one of them. None where absent. */
  readonly guests?: Guests | undefined
  /** Number of effective revocations that this device knows. */
  readonly epoch: () => number
  readonly time: Timekeeper
  readonly sources: readonly SensorSource[]
  readonly settings: TelemetrySettings
  readonly clock: Clock
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
  /** Summaries go when they are of longer ago than this; never where absent. */
  readonly keepFiveMinutesMs?: number | undefined
  readonly keepHoursMs?: number | undefined
  /** Packs go, oldest first, while the database holds more than this. */
  readonly maxBytes: number
}

export type HistoryRow = ((ReadingRow | BucketRow) & Partial<Extracted>) | GapRow

export interface Telemetry extends AsyncDisposable {
  readonly events: Emitter<TelemetryEvents>
  /** Every source that is read was read once, and what came of it is in the log. */
  readonly first: Promise<void>
  /** Put readings of this device into its log; at once with `now`, else within ten seconds. */
  publish(readings: readonly Reading[], options?: { readonly now?: boolean }): void
  /** Values of other programs for sensors that take them. @throws NodeError, see Sampler */
  push(values: readonly PushedValue[]): void
  /** Make a pack of what waits, now. False where the disk is full. */
  flushNow(): boolean
  watch(
    filter: LiveFilter,
    signal: AbortSignal,
  ): AsyncIterable<LiveReading & { readonly missed: number }>
  /** Kept readings and gaps of one log, oldest first. @throws NodeError NODE_USAGE */
  history(query: HistoryQuery & { readonly device: Uint8Array }): HistoryRow[]
  sensors(): SensorState[]
  /** Until the next start. False for a name that no sensor has. */
  setEnabled(sensor: string, on: boolean): boolean
  /** Every known log and its highest number. */
  heads(): { readonly device: Uint8Array; readonly seq: number }[]
  /** Highest number known of one log; 0 for none. */
  lastSeq(device: Uint8Array): number
  gaps(device: Uint8Array): SeqRange[]
  /** How far a log has been caught up; undefined where no connected device has anything of it. */
  progress(device: Uint8Array): Progress | undefined
  /** Packs of one log that wait for their time to be known; undefined for none. */
  unplaced(device: Uint8Array): Unplaced | undefined
  forks(device: Uint8Array): Fork[]
  /** Whether the device signed two histories and is not trusted again. */
  isQuarantined(device: Uint8Array): boolean
  /** An owner trusts a device again that had signed two histories. */
  release(device: Uint8Array): void
  /**
   * Ask devices for extracts of their logs, as a gateway that may have a part of them; until `signal`
   * aborts. What comes is shown as well, and waits for `take`.
   */
  followExtracts(taker: ExtractTaker, signal: AbortSignal): Promise<void>
  /** The home has changed: who publishes, who was removed and with which last number. */
  setMembers(members: readonly TelemetryMember[]): void
}

/** How often retention is looked at. */
const PRUNE_EVERY_MS = 60_000

interface Shared {
  readonly events: Emitter<TelemetryEvents>
  readonly shelf: ExtractShelf
  members: ReadonlyMap<string, TelemetryMember>
}

interface Parts {
  readonly publisher: Publisher
  readonly sampler: Sampler
  readonly intake: Intake
  readonly follower: Follower
}

export async function startTelemetry(deps: TelemetryDeps, signal: AbortSignal): Promise<Telemetry> {
  signal.throwIfAborted()
  const { log, mesh } = deps
  const stop = new AbortController()
  const until = AbortSignal.any([signal, stop.signal])
  const events = createEmitter<TelemetryEvents>((err) => log.error({ err }, 'listener failed'))
  const shared: Shared = { events, shelf: createExtractShelf(), members: byKey(deps.members) }
  const { publisher, sampler, intake, follower } = partsOf(deps, shared, until)
  const roleChanged = changesOf(() => isGuest(deps))
  await mesh.serve(TELEMETRY, (channel, peer, streamSignal) =>
    serve(deps, channel, peer, AbortSignal.any([until, streamSignal])),
  )
  // At once: whoever waits for this device to come back waits for its first reading.
  const first = Promise.withResolvers<void>()
  const sampling = sampler.run(until, () => {
    if (!until.aborted) publisher.flush()
    first.resolve()
  })
  const loops = Promise.allSettled([sampling, retain(deps, until)])

  return {
    ...asked(deps, shared.shelf),
    ...measured(sampler, events),
    progress: (device) => follower.progress(device),
    events,
    first: first.promise,
    publish(readings, { now = false } = {}) {
      publisher.add(readings)
      if (now) publisher.flush()
    },
    flushNow: () => publisher.flush(),
    watch: (filter, watchSignal) =>
      watchReadings(events, filter, AbortSignal.any([until, watchSignal])),
    followExtracts: (taker, followSignal) =>
      followExtracts(deps, shared, taker, AbortSignal.any([until, followSignal])),
    setMembers(list) {
      shared.members = byKey(list)
      events.emit('members', undefined)
      intake.membersChanged()
      if (roleChanged()) {
        shared.shelf.clear()
        follower.restart(new Error('the role of this device has changed'))
      }
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

function partsOf(deps: TelemetryDeps, shared: Shared, signal: AbortSignal): Parts {
  const { clock, mesh, settings } = deps
  const { events, shelf } = shared

  function show(pack: KeptPack): void {
    // A log with two histories is kept, but not shown as if it were true.
    if ((pack.flags & FLAGS.quarantined) !== 0) return
    for (const reading of readingsOf(pack)) events.emit('reading', reading)
  }

  // A full disk refuses every pack, and there may be one each second.
  const ownLog = { ...deps, log: seldom(deps.log, clock), maxWaitMs: settings.maxWaitMs }
  const publisher = createPublisher(ownLog, (own) => {
    const pack = ownPack(own, clock.now())
    events.emit('pack', pack)
    show(pack)
  })
  const sampler = createSampler({ ...deps, ...settings }, (readings) => {
    for (const reading of readings) events.emit('measured', reading)
    // A device that was removed, or may not publish, measures for itself alone.
    if (shared.members.get(toHex(mesh.key))?.publishes === true) publisher.add(readings)
  })
  const intake = createIntake({
    ...deps,
    events,
    // The device that made it has it on disk: a view need not wait for this one.
    onAccepted: show,
    onKept: (pack) => events.emit('pack', pack),
    onGap: (device, gap) => follower.gap(device, gap),
    onFailed: (error) => follower.restart(error),
    member: (device) => shared.members.get(toHex(device)),
  })
  const follower = createFollower(
    {
      ...deps,
      intake,
      targets: () => targetsIn(shared.members, deps),
      onFault: (device, code) => events.emit('refused', { device, code }),
      extracts: extractsOf(deps, events, shelf),
      events,
    },
    signal,
  )
  return { publisher, sampler, intake, follower }
}

/** What only the store knows. */
function asked(
  { store }: TelemetryDeps,
  shelf: ExtractShelf,
): Pick<
  Telemetry,
  'history' | 'heads' | 'lastSeq' | 'gaps' | 'unplaced' | 'forks' | 'isQuarantined' | 'release'
> {
  return {
    history({ device, ...query }) {
      const kept = store.history(device, query)
      const room = (query.limit ?? Infinity) - kept.filter(({ kind }) => kind !== 'gap').length
      return room > 0 ? [...kept, ...shelf.rows(device, { ...query, limit: room })] : kept
    },
    heads: () => store.heads(),
    lastSeq: (device) => store.head(device),
    gaps: (device) => store.gaps(device),
    unplaced: (device) => store.unplaced(device),
    forks: (device) => store.forks(device),
    isQuarantined: (device) => store.isQuarantined(device),
    release: (device) => store.release(device),
  }
}

/** What only the sampler knows. */
function measured(
  sampler: Sampler,
  events: Shared['events'],
): Pick<Telemetry, 'push' | 'sensors' | 'setEnabled'> {
  return {
    push: (values) => sampler.push(values),
    sensors: () => sampler.sensors(),
    setEnabled(sensor, on) {
      const known = sampler.setEnabled(sensor, on)
      if (known) events.emit('chosen', { sensor, on })
      return known
    },
  }
}

function byKey(members: readonly TelemetryMember[]): Map<string, TelemetryMember> {
  return new Map(members.map((member) => [toHex(member.key), member]))
}

/** Removed devices stay on the list: others may still have packs from before. */
function targetsIn(
  members: ReadonlyMap<string, TelemetryMember>,
  { follows, guests, mesh, store }: TelemetryDeps,
): Uint8Array[] {
  // A guest is given nothing but by the device that measures, and nothing of the past.
  if (guests?.has(mesh.key) === true) {
    return [...members.values()].flatMap(({ key, publishes }) => (publishes ? [key] : []))
  }
  return [...members.values()].flatMap(({ key, publishes, lastSeq }) => {
    const more = lastSeq === undefined ? publishes : store.head(key) < lastSeq
    return more && follows(key) && !equalBytes(key, mesh.key) ? [key] : []
  })
}

function ownPack(pack: Pack, nowMs: number): KeptPack {
  const clockUnset = pack.clock === 'unset'
  const receipt = { receivedAtMs: nowMs, clockUnset, bornMs: pack.born }
  return { pack, ...trustedTimes(pack, receipt) }
}

/** Keep to the limits of age and room, a few packs at a time. */
async function retain(deps: TelemetryDeps, signal: AbortSignal): Promise<void> {
  const { clock, log, settings, store } = deps
  const age = ageClock(deps)
  for (;;) {
    await clock.sleep(PRUNE_EVERY_MS, signal)
    const nowMs = age()
    const limits = {
      receivedBeforeMs: nowMs - settings.retentionMs,
      fiveMinutesBeforeMs: nowMs - (settings.keepFiveMinutesMs ?? Infinity),
      hoursBeforeMs: nowMs - (settings.keepHoursMs ?? Infinity),
      maxBytes: settings.maxBytes,
    }
    try {
      while (!signal.aborted && store.prune(limits) > 0) {
        await setImmediate()
      }
    } catch (err) {
      log.error({ err }, 'old readings cannot be removed')
    }
  }
}
