/** The wakes of this device: says when it sleeps, chooses its parents and visits them. */
import type { Logger } from 'pino'

import { peerIdOf } from '../../../protocols/identity/index.ts'
import {
  chooseParents,
  MAILBOX,
  visitHolder,
  type Post,
  type Schedule,
  type ScheduleContent,
  type Timetable,
  type Visit,
} from '../../../protocols/mailbox/index.ts'
import { equalBytes, toHex } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import type { MissedStore } from '../../storage/mailbox.ts'
import type { Timekeeper } from '../../timekeeper.ts'
import type { MailboxDeps, MailboxSettings } from './mailbox.ts'
import type { WakeResult } from './types.ts'

export interface WakingDeps {
  readonly mesh: Pick<Mesh, 'key' | 'events' | 'open' | 'peers'>
  readonly post: Post
  readonly timetable: Timetable
  readonly missed: MissedStore
  readonly settings: MailboxSettings
  readonly time: Pick<Timekeeper, 'quality'>
  readonly clock: Clock
  readonly log: Logger
  readonly candidates: () => readonly Uint8Array[]
  readonly logHead: (device: Uint8Array) => number
  readonly deliver: MailboxDeps['deliver']
  readonly seal: (content: ScheduleContent) => Schedule
}

export interface Waking {
  /** Say that this device does not sleep any more, where it said that it does. */
  announce(): void
  wake(reason: string | undefined, signal: AbortSignal): Promise<WakeResult>
  /** A device that slept before fetches what still waits for it elsewhere. */
  connected(peer: Uint8Array): void
  done(): Promise<void>
}

/** A parent that did not answer this often is replaced. */
const MISSED = 3
/** Parents have this long before others are asked, and the second one once the first answered. */
const SECOND_MS = 500

export function createWaking(deps: WakingDeps, signal: AbortSignal): Waking {
  const { mesh, settings, timetable } = deps
  const running = new Set<Promise<unknown>>()

  function own(): Schedule | undefined {
    return timetable.get(mesh.key)
  }

  function track<T>(run: Promise<T>): Promise<T> {
    const settled = run.then(
      () => undefined,
      () => undefined,
    )
    running.add(settled)
    void settled.then(() => running.delete(settled))
    return run
  }

  return {
    announce() {
      if (settings.mode === 'powered' && own()?.mode === 'sleepy')
        sayNow(deps, own()?.parents ?? [])
    },
    wake: (reason, until) => track(wakeOnce(deps, reason, until)),
    connected(peer) {
      if (settings.mode !== 'powered' || own() === undefined || !deps.post.deps.mayHold(peer))
        return
      const { bytes } = sayNow(deps, own()?.parents ?? [])
      void track(visit(deps, { holder: peer, schedule: bytes, reason: undefined }, signal))
    },
    async done() {
      await Promise.all(running)
    },
  }
}

/** Sign the next schedule, and put it on disk. */
function sayNow(deps: WakingDeps, parents: readonly Uint8Array[]): Schedule {
  const { clock, mesh, seal, settings, time, timetable } = deps
  const schedule = seal({
    ...settings,
    seq: (timetable.get(mesh.key)?.seq ?? 0) + 1,
    atMs: Math.max(0, Math.floor(clock.now())),
    clock: time.quality(),
    parents,
  })
  timetable.hear(schedule.bytes, 0, mesh.key)
  return schedule
}

function parentsNow(deps: WakingDeps): Uint8Array[] {
  const { candidates, mesh, missed, timetable } = deps
  const connected = new Set(mesh.peers().map(({ key }) => toHex(key)))
  const known = candidates().filter((key) => !equalBytes(key, mesh.key))
  const near = known.filter((key) => connected.has(toHex(key)))
  const far = known.filter((key) => !connected.has(toHex(key)))
  return chooseParents({
    current: timetable.parentsOf(mesh.key),
    dead: new Set(known.filter((key) => missed.get(key) >= MISSED).map(toHex)),
    candidates: [...near, ...far],
  })
}

async function wakeOnce(
  deps: WakingDeps,
  reason: string | undefined,
  signal: AbortSignal,
): Promise<WakeResult> {
  const parents = parentsNow(deps)
  const schedule = sayNow(deps, parents).bytes
  const { candidates, missed, settings } = deps
  let sum: WakeResult = { done: false, calls: 0, receipts: 0, logTaken: false }
  let waiting: readonly Uint8Array[] = parents
  let holder =
    (await someoneOf(deps, waiting, SECOND_MS, signal)) ??
    (await someoneOf(deps, [...waiting, ...candidates()], settings.windowMs, signal))
  while (holder !== undefined) {
    const here = holder
    const rest = waiting.filter((key) => !equalBytes(key, here))
    const found = await visit(deps, { holder: here, schedule, reason }, signal)
    if (found !== undefined) sum = sumOf(sum, here, found)
    if (found?.apart === false) return sum
    // Only a parent's word is of use for the next one.
    if (rest.length === waiting.length) break
    waiting = rest
    holder = await someoneOf(deps, waiting, sum.done ? SECOND_MS : settings.windowMs, signal)
  }
  for (const key of waiting) missed.set(key, missed.get(key) + 1)
  return sum
}

function sumOf(sum: WakeResult, parent: Uint8Array, found: Visit): WakeResult {
  return {
    done: true,
    parent,
    calls: sum.calls + found.calls,
    receipts: sum.receipts + found.receipts,
    logTaken: sum.logTaken || found.logTaken,
    nowMs: found.nowMs,
  }
}

/** The first of `keys` that is connected, now or within `ms`. */
async function someoneOf(
  { clock, mesh }: WakingDeps,
  keys: readonly Uint8Array[],
  ms: number,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  const connected = (): Uint8Array | undefined => {
    const there = new Set(mesh.peers().map(({ key }) => toHex(key)))
    return keys.find((key) => there.has(toHex(key)))
  }
  const now = connected()
  if (now !== undefined || keys.length === 0 || signal.aborted) return now
  return new Promise((resolve) => {
    const end = (): void => {
      cancel()
      off()
      signal.removeEventListener('abort', end)
      resolve(connected())
    }
    const cancel = clock.timer(ms, end)
    const off = mesh.events.on('connect', ({ key }) => {
      if (keys.some((one) => equalBytes(one, key))) end()
    })
    signal.addEventListener('abort', end, { once: true })
  })
}

interface Visiting {
  readonly holder: Uint8Array
  readonly schedule: Uint8Array
  readonly reason: string | undefined
}

/** Undefined where it did not answer, or not to the end. */
async function visit(
  deps: WakingDeps,
  { holder, reason, schedule }: Visiting,
  signal: AbortSignal,
): Promise<Visit | undefined> {
  const { log, mesh, missed, post } = deps
  try {
    await using stream = await mesh.open(holder, MAILBOX, signal)
    const done = await visitHolder(stream.channel, {
      post,
      holder,
      start: { schedule, ...(reason === undefined ? {} : { reason }) },
      logHead: () => deps.logHead(mesh.key),
      deliver: (calls) => deps.deliver(calls, holder),
    })
    missed.set(holder, 0)
    return done
  } catch (error) {
    log.debug({ device: peerIdOf(holder), why: asError(error).message }, 'no mail from there')
    missed.set(holder, missed.get(holder) + 1)
    return undefined
  }
}
