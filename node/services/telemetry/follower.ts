/**
 * Follows the logs of other devices: one stream to each connected peer, for that peer's own log and
 * for the logs of followed devices that are not connected themselves, whoever may have kept them. A
 * stream that breaks is opened again, and goes on where the log on disk ends.
 */
import type { Logger } from 'pino'

import { peerIdOf, type Verifier } from '../../../protocols/identity/index.ts'
import {
  BOUNDS,
  isPackFault,
  readLogs,
  TELEMETRY,
  TelemetryError,
  type LogEntry,
  type LogEvent,
  type LogReader,
  type SeqRange,
} from '../../../protocols/telemetry/index.ts'
import { equalBytes, toHex, type Channel } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import type { Emitter } from '../../events.ts'
import type { PackStore } from '../../storage/packs.ts'
import { createBackfill, type Backfill } from './backfill.ts'
import type { Intake } from './intake.ts'
import type { TelemetryEvents } from './live.ts'
import { createProgressBook, type Progress, type ProgressBook } from './progress.ts'

export type TelemetryMesh = Pick<Mesh, 'key' | 'events' | 'serve' | 'open' | 'peers'>

export interface FollowerDeps {
  readonly mesh: TelemetryMesh
  readonly store: Pick<PackStore, 'head' | 'gaps'>
  readonly intake: Intake
  /** The devices whose logs to follow, this one not among them. */
  readonly targets: () => readonly Uint8Array[]
  /** A peer sent what no honest device sends. */
  readonly onFault: (peer: Uint8Array, code: string) => void
  /** Where this device is a guest: what it gets from a device itself, until the stream ends. */
  readonly extracts: {
    readonly wanted: () => boolean
    readonly read: (channel: Channel, peer: Uint8Array) => Promise<void>
  }
  readonly events: Emitter<TelemetryEvents>
  readonly home: Uint8Array
  readonly verifier: Verifier
  readonly clock: Clock
  readonly log: Logger
}

export interface Follower {
  /** Look again at who is to be followed. */
  refresh(): void
  /** Break every stream off, and open it again from where the log on disk ends. */
  restart(error: Error): void
  /** A gap was found: tell of it, unless it is about to be filled. */
  gap(device: Uint8Array, gap: SeqRange): void
  /** Undefined where no connected device has anything of the log. */
  progress(device: Uint8Array): Progress | undefined
  /** Resolves when every stream has ended, after the signal. */
  done(): Promise<void>
}

/** Wait before a stream is opened again, doubled each time up to the longest. */
const FIRST_WAIT_MS = 1_000
const LONGEST_WAIT_MS = 60_000
/** Gaps of one log that are asked for on one stream, the newest. */
const MAX_GAPS = 8

interface OpenStream {
  /** Undefined on the stream of a guest. */
  readonly reader: LogReader | undefined
  readonly backfill: Backfill
  readonly asked: Map<string, Uint8Array>
  readonly abort: (error: Error) => void
}

interface Session {
  readonly peer: Uint8Array
  readonly stop: AbortController
  /** The open stream's reader, and the devices asked for on it. */
  open: OpenStream | undefined
  /** Call when there may be something else to ask for. */
  changed: () => void
}

export function createFollower(deps: FollowerDeps, signal: AbortSignal): Follower {
  return new LogFollower(deps, signal)
}

class LogFollower implements Follower {
  readonly #deps: FollowerDeps
  readonly #signal: AbortSignal
  readonly #sessions = new Map<string, Session>()
  readonly #running = new Set<Promise<void>>()
  readonly #book: ProgressBook
  /** Gaps that nobody was told of, because they may be filled: their lowest number, by log. */
  readonly #untold = new Map<string, number>()
  /** Logs whose history is on the way, or not on disk yet. */
  readonly #catching = new Set<string>()
  /** Tenths that were told, by log. */
  readonly #tenths = new Map<string, number>()

  constructor(deps: FollowerDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#signal = signal
    this.#book = createProgressBook(deps.store)
    deps.mesh.events.on('connect', ({ key }) => this.#connected(key), signal)
    deps.mesh.events.on('disconnect', ({ key }) => this.#disconnected(key), signal)
    for (const { key } of deps.mesh.peers()) this.#connected(key)
  }

  refresh(): void {
    for (const session of this.#sessions.values()) {
      session.changed()
      // A stream that cannot take the wish is broken, and is opened again with all of them.
      this.#ask(session).catch(() => undefined)
    }
  }

  restart(error: Error): void {
    for (const { open } of this.#sessions.values()) open?.abort(error)
  }

  gap(device: Uint8Array, gap: SeqRange): void {
    const key = toHex(device)
    if (!this.#catching.has(key)) {
      this.#deps.events.emit('gap', { device, ...gap })
      return
    }
    this.#untold.set(key, Math.min(gap.from, this.#untold.get(key) ?? Infinity))
  }

  progress(device: Uint8Array): Progress | undefined {
    return this.#book.progress(device)
  }

  async done(): Promise<void> {
    await Promise.all(this.#running)
  }

  #connected(peer: Uint8Array): void {
    const key = toHex(peer)
    if (this.#sessions.has(key) || this.#signal.aborted) return
    const stop = new AbortController()
    const session = { peer, stop, open: undefined, changed: () => undefined }
    this.#sessions.set(key, session)
    const running = this.#run(session).finally(() => this.#running.delete(running))
    this.#running.add(running)
    this.refresh()
  }

  #disconnected(peer: Uint8Array): void {
    const key = toHex(peer)
    this.#sessions.get(key)?.stop.abort(new Error('disconnected'))
    this.#sessions.delete(key)
    this.#book.forget(peer)
    this.refresh()
  }

  async #run(session: Session): Promise<void> {
    const { clock, log } = this.#deps
    const until = AbortSignal.any([this.#signal, session.stop.signal])
    until.addEventListener('abort', () => session.changed(), { once: true })
    let waitMs = FIRST_WAIT_MS
    while (!until.aborted) {
      if (this.#wanted(session.peer).size === 0) {
        await new Promise<void>((resolve) => {
          session.changed = resolve
        })
        continue
      }
      const startedMs = clock.monotonic()
      try {
        await this.#followOnce(session, until)
      } catch (error) {
        if (until.aborted) return
        log.warn({ peer: peerIdOf(session.peer), err: error }, 'following broke off')
        if (isPackFault(error) && error.code !== 'TELEMETRY_FORBIDDEN')
          this.#deps.onFault(session.peer, error.code)
      }
      if (clock.monotonic() - startedMs > LONGEST_WAIT_MS) waitMs = FIRST_WAIT_MS
      await clock.sleep(waitMs, until).catch(() => undefined)
      waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)
    }
  }

  /** One stream, from its opening to its end. */
  async #followOnce(session: Session, until: AbortSignal): Promise<void> {
    const stream = await this.#deps.mesh.open(session.peer, TELEMETRY, until)
    const abort = (): void => stream.abort(until.reason as Error)
    until.addEventListener('abort', abort, { once: true })
    try {
      until.throwIfAborted()
      const guest = this.#deps.extracts.wanted()
      const open: OpenStream = {
        reader: guest ? undefined : readLogs(stream.channel, this.#deps),
        backfill: createBackfill(),
        asked: new Map(),
        abort: (error) => stream.abort(error),
      }
      session.open = open
      await this.#ask(session)
      if (open.reader === undefined) await this.#deps.extracts.read(stream.channel, session.peer)
      else await this.#read(open.reader, open.backfill, session.peer)
    } finally {
      session.open = undefined
      until.removeEventListener('abort', abort)
      await stream[Symbol.asyncDispose]()
    }
  }

  async #read(reader: LogReader, backfill: Backfill, peer: Uint8Array): Promise<void> {
    const { intake } = this.#deps
    for await (const event of reader.events()) {
      const { pack, proof, refused } = event
      // It may not have heard yet that we may read: all is asked for again, after the wait.
      if (refused !== undefined) throw new TelemetryError(refused)
      if (proof !== undefined) {
        intake.prove(proof)
        continue
      }
      this.#book.note(peer, event)
      const entries = backfill.on(event)
      if (entries.length > 0) await reader.follow(entries)
      if (pack !== undefined) await intake.offer(pack)
      if (event.ended !== undefined) await this.#pieceEnded(event)
    }
  }

  async #pieceEnded({ device }: LogEvent): Promise<void> {
    const { events, intake, store } = this.#deps
    const key = toHex(device)
    const busy = this.#isBusy(device)
    if (busy) this.#catching.add(key)
    if (!this.#catching.has(key)) return
    if (!busy) await intake.settled()
    this.#tell(device, busy)
    if (busy) return
    this.#catching.delete(key)
    const from = this.#untold.get(key) ?? Infinity
    this.#untold.delete(key)
    for (const gap of store.gaps(device)) {
      if (gap.to >= from) events.emit('gap', { device, from: Math.max(gap.from, from), to: gap.to })
    }
  }

  /** The beginning, each tenth of the way, and the end. */
  #tell(device: Uint8Array, busy: boolean): void {
    const progress = this.#book.progress(device)
    if (progress === undefined) return
    const key = toHex(device)
    const tenth = Math.floor((10 * progress.packs) / progress.of)
    if (busy && this.#tenths.get(key) === tenth) return
    if (busy) this.#tenths.set(key, tenth)
    else this.#tenths.delete(key)
    this.#deps.events.emit('progress', { device, ...progress })
  }

  /** Its history is on the way. */
  #isBusy(device: Uint8Array): boolean {
    return [...this.#sessions.values()].some(({ open }) => open?.backfill.busy(device) === true)
  }

  /** Ask on the open stream for what is wanted now and was not asked for, and end the rest. */
  async #ask({ open, peer }: Session): Promise<void> {
    if (open?.reader === undefined) return
    const { backfill, reader } = open
    const wanted = this.#wanted(peer)
    const entries: LogEntry[] = []
    for (const [key, device] of open.asked) {
      if (!wanted.has(key)) entries.push(...backfill.stop(device))
    }
    for (const [key, device] of wanted) {
      if (open.asked.has(key)) continue
      const { store } = this.#deps
      const gaps = store.gaps(device).slice(-MAX_GAPS)
      entries.push(...backfill.start(device, store.head(device), gaps))
    }
    open.asked.clear()
    for (const [key, device] of wanted) open.asked.set(key, device)
    if (entries.length > 0) await reader.follow(entries.slice(0, BOUNDS.maxEntries))
  }

  /** The devices to ask `peer` for. */
  #wanted(peer: Uint8Array): Map<string, Uint8Array> {
    const out = new Map<string, Uint8Array>()
    const guest = this.#deps.extracts.wanted()
    for (const device of this.#deps.targets()) {
      const key = toHex(device)
      const absent = !guest && !this.#sessions.has(key)
      if (equalBytes(device, peer) || absent) out.set(key, device)
    }
    return out
  }
}
