/**
 * Carries out what the dialer decides: dials several addresses of one peer in a race, asks a doubted
 * connection for a sign of life, and watches the byte counters of open connections for silence.
 */
import type { Connection } from '@libp2p/interface'
import { byteStream } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import type { Logger } from 'pino'

import type { Clock } from '../env.ts'
import { asError } from '../errors.ts'
import type { Connections, Live } from './connections.ts'
import { untilAborted } from './connections.ts'
import type { DialerAction, DialerEvent, DialerState } from './dialer-state.ts'
import { nextDialMs, startDialer, step } from './dialer.ts'
import type { HostComponents } from './host.ts'
import { race } from './race.ts'
import type { SocketFacts } from './transport.ts'

export interface DialingDeps {
  /** Our peer id. */
  readonly self: string
  readonly seed: number
  /** See DialerState. */
  readonly onDemand: boolean
  readonly clock: Clock
  readonly log: Logger
  readonly components: HostComponents
  readonly connections: Connections
  readonly facts: (connection: Connection) => SocketFacts | undefined
  /** After every event: someone is missed, or nobody. */
  readonly onMissing: (missing: boolean) => void
}

export interface Dialing extends Disposable {
  tell(event: DialerEvent): void
  proven(peer: string): readonly string[]
}

const PROBE_WITHIN_MS = 1500
const PING = '/ipfs/ping/1.0.0'
const PING_BYTES = 32
/** Counters are compared this often while there are connections. */
const SAMPLE_EVERY_MS = 1000
/** Written but nothing heard for this many samples: doubt it. A one-way stream costs a ping a second. */
const STALLED_SAMPLES = 1
/** Nothing at all for this many samples: ask for a sign of life. */
const IDLE_SAMPLES = 15
/** A lost member is looked for actively this long. */
const MISS_FOR_MS = 600_000

interface Sample {
  bytesRead: number
  bytesWritten: number
  stalled: number
  idle: number
}

export function startDialing(deps: DialingDeps): Dialing {
  return new Shell(deps)
}

class Shell implements Dialing {
  readonly #deps: DialingDeps
  readonly #stop = new AbortController()
  readonly #samples = new WeakMap<Live, Sample>()
  #state: DialerState
  #cancelTick = (): void => {}
  #cancelSample: (() => void) | undefined

  constructor(deps: DialingDeps) {
    this.#deps = deps
    this.#state = startDialer(deps.self, deps.seed, deps.onDemand)
  }

  tell(event: DialerEvent): void {
    if (this.#stop.signal.aborted) return
    const now = this.#deps.clock.monotonic()
    const { state, actions } = step(this.#state, event, now)
    this.#state = state
    for (const action of actions) this.#act(action)
    this.#plan(now)
  }

  proven(peer: string): readonly string[] {
    return this.#state.peers.get(peer)?.proven ?? []
  }

  [Symbol.dispose](): void {
    this.#stop.abort(new Error('stopping'))
    this.#cancelTick()
    this.#cancelSample?.()
  }

  #plan(now: number): void {
    this.#cancelTick()
    const next = nextDialMs(this.#state)
    if (next !== undefined) {
      const tick = (): void => this.tell({ type: 'tick' })
      this.#cancelTick = this.#deps.clock.timer(Math.max(0, next - now), tick)
    }
    const connected = this.#deps.connections.all().length > 0
    if (connected) this.#cancelSample ??= this.#sampleLater()
    const missed = [...this.#state.peers.values()].some(
      ({ lostMs }) => lostMs !== undefined && now - lostMs < MISS_FOR_MS,
    )
    this.#deps.onMissing(missed)
  }

  #act(action: DialerAction): void {
    if (action.type === 'dial') void this.#dial(action.peer, action.addresses)
    else if (action.type === 'probe') void this.#probe(action.peer, action.connection)
    else this.#deps.connections.cutOne(action.connection, 'another connection replaces it')
  }

  async #dial(peer: string, addresses: readonly string[]): Promise<void> {
    const { clock, components, log } = this.#deps
    const attempt = (address: string, signal: AbortSignal): Promise<Connection> =>
      components.transportManager.dial(multiaddr(`${address}/p2p/${peer}`), { signal })
    try {
      const connection = await race(addresses, attempt, clock, this.#stop.signal)
      log.debug({ peer, address: connection.remoteAddr.toString() }, 'dialled')
      this.tell({ type: 'dialled', peer, ok: true })
    } catch (error) {
      log.debug({ peer, addresses, err: error }, 'dial failed')
      this.tell({ type: 'dialled', peer, ok: false })
    }
  }

  async #probe(peer: string, id: string): Promise<void> {
    const live = this.#deps.connections.get(id)
    if (live === undefined) return
    try {
      await ping(live.connection, this.#deps.clock, live.signal)
      this.tell({ type: 'probed', peer, connection: id })
    } catch (error) {
      this.#deps.log.debug({ peer, err: error }, 'no sign of life')
      live.connection.abort(asError(error))
    }
  }

  #sampleLater(): () => void {
    return this.#deps.clock.timer(SAMPLE_EVERY_MS, () => {
      this.#cancelSample = undefined
      const lives = this.#deps.connections.all()
      for (const live of lives) if (live.connection.status === 'open') this.#sample(live)
      if (lives.length > 0) this.#cancelSample ??= this.#sampleLater()
    })
  }

  #sample(live: Live): void {
    const facts = this.#deps.facts(live.connection)
    if (facts === undefined) return
    const { bytesRead, bytesWritten } = facts
    const last = this.#samples.get(live) ?? { bytesRead: 0, bytesWritten: 0, stalled: 0, idle: 0 }
    const heard = bytesRead > last.bytesRead
    const stalled = heard ? 0 : last.stalled + (bytesWritten > last.bytesWritten ? 1 : 0)
    const idle = heard ? 0 : last.idle + 1
    const doubt = stalled >= STALLED_SAMPLES || idle >= IDLE_SAMPLES
    this.#samples.set(live, {
      bytesRead,
      bytesWritten,
      stalled: doubt ? 0 : stalled,
      idle: doubt ? 0 : idle,
    })
    if (doubt) this.tell({ type: 'doubt', peer: live.peer, connection: live.id })
  }
}

/** One round trip over `connection`. @throws Error after 1.5 s, or with `gone` */
export async function ping(connection: Connection, clock: Clock, gone: AbortSignal): Promise<void> {
  const late = new AbortController()
  const cancel = clock.timer(PROBE_WITHIN_MS, () => late.abort(new Error('no answer to a ping')))
  const signal = AbortSignal.any([gone, late.signal])
  try {
    const exchange = async (): Promise<void> => {
      const stream = await connection.newStream(PING, { signal })
      const bytes = byteStream(stream)
      await bytes.write(new Uint8Array(PING_BYTES), { signal })
      await bytes.read({ bytes: PING_BYTES, signal })
      await stream.close({ signal })
    }
    await untilAborted(exchange(), signal)
  } finally {
    cancel()
  }
}
