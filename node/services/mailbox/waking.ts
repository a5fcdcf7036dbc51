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
  readonly mesh: Pick<Mesh, 'key' | 'open' | 'peers'>
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
/** Devices beside its parents that a sleeper asks in one wake where no parent answers. */
const OTHERS = 2

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
  const { mesh } = deps
  const parents = parentsNow(deps)
  const schedule = sayNow(deps, parents).bytes
  const connected = new Set(mesh.peers().map(({ key }) => toHex(key)))
  const near = parents.filter((key) => connected.has(toHex(key)))
  const far = parents.filter((key) => !connected.has(toHex(key)))
  const others = deps
    .candidates()
    .filter((key) => connected.has(toHex(key)) && !parents.some((one) => equalBytes(one, key)))
  let sum: WakeResult = { done: false, calls: 0, receipts: 0, logTaken: false }
  for (const holder of [...near, ...far, ...others.slice(0, OTHERS)]) {
    if (signal.aborted) break
    const isParent = parents.some((one) => equalBytes(one, holder))
    if (!isParent && sum.done) break
    const found = await visit(deps, { holder, schedule, reason }, signal)
    if (found === undefined) continue
    sum = {
      done: true,
      parent: holder,
      calls: sum.calls + found.calls,
      receipts: sum.receipts + found.receipts,
      logTaken: sum.logTaken || found.logTaken,
      nowMs: found.nowMs,
    }
    if (isParent && !found.apart) break
  }
  return sum
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
