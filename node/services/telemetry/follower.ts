/**
 * Follows the logs of other devices: one stream to each connected peer, for that peer's own log and
 * for the logs of followed devices that are not connected themselves, whoever may have kept them. A
 * stream that breaks is opened again, and goes on where the log on disk ends.
 */
import type { Logger } from 'pino'

import { peerIdOf, type Verifier } from '../../../protocols/identity/index.ts'
import {
  BOUNDS,
  readLogs,
  TELEMETRY,
  TelemetryError,
  type LogEntry,
  type LogReader,
} from '../../../protocols/telemetry/index.ts'
import { equalBytes, toHex } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import type { PackStore } from '../../storage/packs.ts'
import type { Intake } from './intake.ts'

export type TelemetryMesh = Pick<Mesh, 'key' | 'events' | 'serve' | 'open' | 'peers'>

export interface FollowerDeps {
  readonly mesh: TelemetryMesh
  readonly store: Pick<PackStore, 'head' | 'gaps'>
  readonly intake: Intake
  /** The devices whose logs to follow, this one not among them. */
  readonly targets: () => readonly Uint8Array[]
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
  /** Resolves when every stream has ended, after the signal. */
  done(): Promise<void>
}

/** Wait before a stream is opened again, doubled each time up to the longest. */
const FIRST_WAIT_MS = 1_000
const LONGEST_WAIT_MS = 60_000
/** Gaps of one log that are asked for on one stream, the newest. */
const MAX_GAPS = 8

interface OpenStream {
  readonly reader: LogReader
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

  constructor(deps: FollowerDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#signal = signal
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
      const reader = readLogs(stream.channel, this.#deps)
      session.open = { reader, asked: new Map(), abort: (error) => stream.abort(error) }
      await this.#ask(session)
      for await (const { pack, refused } of reader.events()) {
        // It may not have heard yet that we may read: all is asked for again, after the wait.
        if (refused !== undefined) throw new TelemetryError(refused)
        if (pack !== undefined) await this.#deps.intake.offer(pack)
      }
    } finally {
      session.open = undefined
      until.removeEventListener('abort', abort)
      await stream[Symbol.asyncDispose]()
    }
  }

  /** Ask on the open stream for what is wanted now and was not asked for, and end the rest. */
  async #ask({ open, peer }: Session): Promise<void> {
    if (open === undefined) return
    const wanted = this.#wanted(peer)
    const entries: LogEntry[] = []
    for (const [key, device] of open.asked) {
      if (!wanted.has(key)) entries.push({ device, from: 0 })
    }
    for (const [key, device] of wanted) {
      if (!open.asked.has(key)) entries.push(...entriesFor(this.#deps.store, device))
    }
    open.asked.clear()
    for (const [key, device] of wanted) open.asked.set(key, device)
    if (entries.length > 0) await open.reader.follow(entries.slice(0, BOUNDS.maxEntries))
  }

  /** The devices to ask `peer` for. */
  #wanted(peer: Uint8Array): Map<string, Uint8Array> {
    const out = new Map<string, Uint8Array>()
    for (const device of this.#deps.targets()) {
      const key = toHex(device)
      if (equalBytes(device, peer) || !this.#sessions.has(key)) out.set(key, device)
    }
    return out
  }
}

/** From where the log on disk ends, and what is missing in it. */
function entriesFor(store: FollowerDeps['store'], device: Uint8Array): LogEntry[] {
  const gaps = store.gaps(device).slice(-MAX_GAPS)
  return [
    { device, from: store.head(device) + 1 },
    ...gaps.map(({ from, to }) => ({ device, from, to })),
  ]
}
