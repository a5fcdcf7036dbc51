/**
 * The mailbox of a device: keeps calls for devices that sleep, hands them over when those wake, and
 * brings receipts back. Every device is a caller here, every one that is always on a holder too, and
 * one that sleeps makes the exchange of each wake. What is kept and told is protocols/mailbox.
 */
import type { Logger } from 'pino'

import type { Signer, Verifier } from '../../../protocols/identity/index.ts'
import {
  createOutbox,
  MAILBOX,
  openSchedule,
  Post,
  sealSchedule,
  serveMail,
  Timetable,
  type CallFacts,
  type Ending,
  type MailRow,
  type MailStore,
  type Outbox,
  type ReceiptFacts,
  type ScheduleStore,
  type Stamp,
} from '../../../protocols/mailbox/index.ts'
import { equalBytes } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import { createEmitter, type Emitter } from '../../events.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import type { MissedStore } from '../../storage/mailbox.ts'
import type { Timekeeper } from '../../timekeeper.ts'
import { createPump, type Pump } from './pump.ts'
import type { HeldView, Mailbox, MailboxEvents, WaitingCall } from './types.ts'
import { createWaking, type Waking } from './waking.ts'

export interface MailboxSettings {
  readonly mode: 'sleepy' | 'powered'
  readonly periodMs: number
  readonly windowMs: number
  readonly slackMs: number
}

export interface MailboxDeps {
  readonly mesh: Pick<Mesh, 'key' | 'events' | 'serve' | 'open' | 'peers'>
  readonly mail: MailStore
  readonly scheduleStore: ScheduleStore
  readonly missed: MissedStore
  readonly signer: Signer
  readonly verifier: Verifier
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  readonly settings: MailboxSettings
  readonly time: Pick<Timekeeper, 'bootId' | 'monoMs' | 'quality'>
  readonly clock: Clock
  readonly log: Logger
  /** Check and read a signed call or receipt. @throws any coded error */
  readonly read: (bytes: Uint8Array) => CallFacts
  readonly readReceipt: (bytes: Uint8Array) => ReceiptFacts
  readonly isMember: (device: Uint8Array) => boolean
  readonly mayCall: (caller: Uint8Array, to: Uint8Array) => boolean
  /** The role of the device lets it keep mail. Whether it is always on is known here. */
  readonly mayHold: (device: Uint8Array) => boolean
  /** Devices that may hold, the one that was connected last first. */
  readonly candidates: () => readonly Uint8Array[]
  /** Highest number that we have of a device's log. */
  readonly logHead: (device: Uint8Array) => number
  /** Call `listener` when we have more of a log. Returns the function that stops it. */
  readonly onLog: (listener: (device: Uint8Array) => void) => () => void
  /** Execute calls that a holder gave; resolves with their receipts, which are on disk. */
  readonly deliver: (
    calls: readonly Uint8Array[],
    via: Uint8Array,
  ) => Promise<readonly Uint8Array[]>
  /** A receipt for a call of ours; on disk when it returns. */
  readonly settled: (receipt: Uint8Array) => void
}

/** What is over is looked for this often. */
const TICK_MS = 30_000

export async function startMailbox(deps: MailboxDeps, signal: AbortSignal): Promise<Mailbox> {
  signal.throwIfAborted()
  const stop = new AbortController()
  const until = AbortSignal.any([signal, stop.signal])
  const parts = joinParts(deps, until)
  const { events, post, pump, timetable, waking } = parts
  await deps.mesh.serve(MAILBOX, async (channel, peer) => {
    await serveMail(channel, {
      post,
      peer,
      isConnected: (device) => isConnected(deps, device),
      logHead: () => deps.logHead(peer),
      logReaches: (head, ms) => logReaches(deps, { peer, head, ms }),
      woke: (reason) => events.emit('woke', { device: peer, reason }),
    }).finally(() => pump.all())
  })
  watchPeers(deps, parts, until)
  repeat(deps.clock, TICK_MS, until, () => {
    post.tick()
    pump.all()
  })
  waking.announce()
  pump.all()
  return {
    events,
    hold: (call) => hold(deps, parts, call),
    cancel: (id) => Promise.resolve(post.forget(id)),
    find: (id) => {
      const row = post.find(id)
      return row === undefined ? undefined : viewOf(deps, parts, row)
    },
    presence: (device) => presenceOf(deps, parts, device),
    schedules: () => timetable.all,
    parents: () => timetable.parentsOf(deps.mesh.key),
    sleeps: (device) => timetable.sleeps(device),
    wake: (reason, until_) => waking.wake(reason, AbortSignal.any([until, until_])),
    refresh: () => pump.all(),
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('stopping'))
      await Promise.all([pump.done(), waking.done()])
    },
  }
}

interface Parts {
  readonly events: Emitter<MailboxEvents>
  readonly timetable: Timetable
  readonly post: Post
  readonly outbox: Outbox
  readonly pump: Pump
  readonly waking: Waking
}

function joinParts(deps: MailboxDeps, signal: AbortSignal): Parts {
  const { home, log, mesh, settings, signer } = deps
  const events = createEmitter<MailboxEvents>((err) => log.error({ err }, 'listener failed'))
  const timetable = new Timetable({
    store: deps.scheduleStore,
    now: () => stampOf(deps),
    read: (bytes) => openSchedule(bytes, deps),
    isMember: deps.isMember,
    heard: ({ device }) => events.emit('presence', { device }),
  })
  const mayHold = (key: Uint8Array): boolean => deps.mayHold(key) && !timetable.sleeps(key)
  const post = new Post({
    self: mesh.key,
    powered: settings.mode === 'powered',
    store: deps.mail,
    timetable,
    now: () => stampOf(deps),
    read: deps.read,
    readReceipt: deps.readReceipt,
    mayCall: deps.mayCall,
    mayHold,
    settled(receipt, { call }) {
      deps.settled(receipt)
      events.emit('receipt', { call, receipt })
    },
    moved: (id, ending) => events.emit('held', movedTo(deps, { post, timetable }, { id, ending })),
  })
  const outbox = createOutbox(post)
  const pump = createPump({ ...deps, outbox }, signal)
  const waking = createWaking(
    {
      ...deps,
      post,
      timetable,
      candidates: () => deps.candidates().filter((key) => mayHold(key)),
      seal: (content) => sealSchedule(content, home, signer),
    },
    signal,
  )
  return { events, timetable, post, outbox, pump, waking }
}

function watchPeers(
  deps: MailboxDeps,
  { events, outbox, pump, waking }: Parts,
  signal: AbortSignal,
) {
  deps.mesh.events.on(
    'connect',
    ({ key }) => {
      pump.one(key)
      waking.connected(key)
      events.emit('presence', { device: key })
    },
    signal,
  )
  deps.mesh.events.on(
    'disconnect',
    ({ key }) => {
      outbox.left(key)
      events.emit('presence', { device: key })
    },
    signal,
  )
}

async function hold(deps: MailboxDeps, parts: Parts, call: WaitingCall): Promise<HeldView> {
  const row = parts.post.hold(call.bytes, call.coalesceKey)
  parts.pump.all()
  return viewOf(deps, parts, row)
}

function viewOf(
  deps: MailboxDeps,
  { post, timetable }: Pick<Parts, 'post' | 'timetable'>,
  row: MailRow,
): HeldView {
  const holders = post.holdersOf(row)
  const late = timetable.presence(row.to, false, deps.clock.now()).deliversByMs
  const { id } = row
  const by = late === undefined ? {} : { deliversByMs: late }
  if (row.receipt.length > 0 || row.given) return { id, state: 'delivered', holders }
  if (row.bytes.length === 0) return { id, state: 'superseded', holders: [] }
  return { id, state: holders.length >= 2 ? 'held' : 'queued', holders, ...by }
}

function movedTo(
  deps: MailboxDeps,
  parts: Pick<Parts, 'post' | 'timetable'>,
  { id, ending }: { readonly id: Uint8Array; readonly ending: Ending | undefined },
): HeldView {
  const row = parts.post.find(id)
  if (ending !== undefined || row === undefined) {
    return { id, state: ending ?? 'unknown', holders: [] }
  }
  return viewOf(deps, parts, row)
}

function presenceOf(
  deps: MailboxDeps,
  { timetable }: Parts,
  device: Uint8Array,
): ReturnType<Mailbox['presence']> {
  return timetable.presence(device, isConnected(deps, device), deps.clock.now())
}

function stampOf({ clock, time }: Pick<MailboxDeps, 'clock' | 'time'>): Stamp {
  const synced = time.quality() === 'synced'
  return { wallMs: clock.now(), monoMs: time.monoMs(), boot: time.bootId, synced }
}

function isConnected({ mesh }: Pick<MailboxDeps, 'mesh'>, device: Uint8Array): boolean {
  return mesh.peers().some(({ key }) => equalBytes(key, device))
}

interface LogWait {
  readonly peer: Uint8Array
  readonly head: number
  readonly ms: number
}

function logReaches(
  { clock, logHead, onLog }: MailboxDeps,
  { head, ms, peer }: LogWait,
): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      cancel()
      off()
      resolve()
    }
    const cancel = clock.timer(ms, end)
    const off = onLog((device) => {
      if (equalBytes(device, peer) && logHead(peer) >= head) end()
    })
    if (logHead(peer) >= head) end()
  })
}

function repeat(clock: Clock, everyMs: number, signal: AbortSignal, run: () => void): void {
  const next = (): void => {
    if (signal.aborted) return
    run()
    cancel = clock.timer(everyMs, next)
  }
  let cancel = clock.timer(everyMs, next)
  signal.addEventListener('abort', () => cancel(), { once: true })
}
