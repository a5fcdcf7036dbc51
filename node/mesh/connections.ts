/**
 * The open connections and their greetings. A connection belongs to a member (anything else is
 * aborted as it opens), counts once its greeting has succeeded on this side, and is aborted where
 * that fails or takes too long.
 */
import type { Connection } from '@libp2p/interface'
import type { Logger } from 'pino'

import { asError } from '../errors.ts'
import type { Clock } from '../env.ts'

export interface Live {
  readonly id: string
  readonly peer: string
  readonly connection: Connection
  readonly signal: AbortSignal
  /** Settles when the connection may be used, or never will be. */
  readonly greeting: Promise<void>
  /** Monotonic; undefined until the greeting succeeded. */
  greetedMs: number | undefined
}

export interface ConnectionsDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly isMember: (peer: string) => boolean
  /** Run the greeting as the side that we are on; ends with `signal`. */
  readonly greet: (connection: Connection, signal: AbortSignal) => Promise<void>
  readonly onOpened: (live: Live) => void
  readonly onGreeted: (live: Live, first: boolean) => void
  readonly onClosed: (live: Live, last: boolean) => void
}

export interface Connections {
  all(): readonly Live[]
  get(id: string): Live | undefined
  /** Connections to `peer`, usable ones first, newest first among those. */
  of(peer: string): readonly Live[]
  add(connection: Connection): void
  cut(peer: string, why: string): void
  cutOne(id: string, why: string): void
}

export const GREETING_DEADLINE_MS = 5000

export function createConnections(deps: ConnectionsDeps): Connections {
  return new OpenConnections(deps)
}

class OpenConnections implements Connections {
  readonly #deps: ConnectionsDeps
  readonly #open = new Map<string, Live>()

  constructor(deps: ConnectionsDeps) {
    this.#deps = deps
  }

  all(): readonly Live[] {
    return [...this.#open.values()]
  }

  get(id: string): Live | undefined {
    return this.#open.get(id)
  }

  of(peer: string): readonly Live[] {
    return this.all()
      .filter((live) => live.peer === peer && live.connection.status === 'open')
      .toSorted((a, b) => (b.greetedMs ?? -1) - (a.greetedMs ?? -1))
  }

  add(connection: Connection): void {
    const peer = connection.remotePeer.toString()
    if (!this.#deps.isMember(peer)) return connection.abort(new Error('not a member'))
    const gone = new AbortController()
    const started = Promise.withResolvers<void>()
    const live: Live = {
      id: connection.id,
      peer,
      connection,
      signal: gone.signal,
      greeting: started.promise.then(() => this.#greet(connection, gone.signal)),
      greetedMs: undefined,
    }
    this.#open.set(live.id, live)
    void this.#follow(live)
    this.#deps.onOpened(live)
    connection.addEventListener('close', () => this.#closed(live, gone), { once: true })
    // It may have closed while it was handed over; then there is no event to come.
    if (connection.status !== 'open') this.#closed(live, gone)
    started.resolve()
  }

  cut(peer: string, why: string): void {
    for (const live of this.all()) if (live.peer === peer) this.cutOne(live.id, why)
  }

  cutOne(id: string, why: string): void {
    this.#open.get(id)?.connection.abort(new Error(why))
  }

  async #follow(live: Live): Promise<void> {
    try {
      await live.greeting
      const first = !this.of(live.peer).some(isGreeted)
      live.greetedMs = this.#deps.clock.monotonic()
      this.#deps.onGreeted(live, first)
    } catch (error) {
      this.#deps.log.debug({ peer: live.peer, err: error }, 'greeting failed')
      live.connection.abort(asError(error))
    }
  }

  async #greet(connection: Connection, gone: AbortSignal): Promise<void> {
    const late = new AbortController()
    const cancel = this.#deps.clock.timer(GREETING_DEADLINE_MS, () =>
      late.abort(new Error('the greeting took too long')),
    )
    try {
      const signal = AbortSignal.any([gone, late.signal])
      signal.throwIfAborted()
      await untilAborted(this.#deps.greet(connection, signal), signal)
      gone.throwIfAborted()
    } finally {
      cancel()
    }
  }

  #closed(live: Live, gone: AbortController): void {
    if (!this.#open.delete(live.id)) return
    gone.abort(new Error('the connection is gone'))
    this.#deps.onClosed(live, isGreeted(live) && !this.of(live.peer).some(isGreeted))
  }
}

export function isGreeted(live: Live): boolean {
  return live.greetedMs !== undefined
}

/** `work`, or the signal's reason where that comes first. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(asError(signal.reason))
    if (signal.aborted) aborted()
    signal.addEventListener('abort', aborted, { once: true })
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}
