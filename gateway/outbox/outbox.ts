/**
 * What waits on disk to leave the home: for each sink its own queue, in the order of arrival. What was
 * put is sent at least once, and never in another order of one device to one sink, but for sinks that
 * want what is new first; it ends in one of three ways that are all counted: sent, set aside because
 * the far side will never take it, or dropped with a signed gap because it was too old, too much, or
 * may not leave any more. Sinks do not wait for each other. Where another gateway of the home sends,
 * what that one is through with is taken out, and counted there.
 *
 * It does not decide what may leave and to whom; that is decided before, and asked again here just
 * before it does.
 */
import { asError, type Clock, type Logger, type Random } from '../../node/index.ts'
import type { OutItem, Sink } from '../sinks/sink.ts'
import { createPump, type Pump, type PumpState } from './pump.ts'
import type { Sign, SignedGap } from './gaps.ts'
import { openStore, type Counts, type Store, type Taken } from './store.ts'

export interface OutboxOptions {
  readonly path: string
  /** Of all sinks together. Above it, the oldest of the sink that has most are dropped. */
  readonly maxBytes: number
}

export interface OutboxDeps {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** An envelope of this gateway, around gaps. */
  readonly sign: Sign
}

export interface SinkOptions {
  /** What waited longer is dropped. */
  readonly maxAgeMs: number
  /** Asked before every try: what may not is dropped with a gap. */
  readonly mayLeave: (item: OutItem) => boolean
}

export interface SinkState extends Counts, PumpState {
  readonly sink: string
  /** When the oldest that waits was put. */
  readonly oldestMs?: number
}

export interface Outbox extends AsyncDisposable {
  /** Device id to the number of the last pack that is here for good: where to go on. */
  cursor(): ReadonlyMap<string, number>
  /**
   * Resolves when all of it is on disk. Waits while the disk is full, so that what is not taken stays
   * in the mesh. A pack that was taken before is left out.
   *
   * @throws what `signal` aborts with
   */
  put(packs: readonly Taken[], signal: AbortSignal): Promise<void>
  /** Send what waits for `sink`, until it is disposed of. One at a time for each name. */
  attach(sink: Sink, options: SinkOptions): AsyncDisposable
  /** Device id to a number: nothing of its packs up to that one waits for `sink`. */
  through(sink: string): ReadonlyMap<string, number>
  /** Another gateway is through with this for `sink`: it is not sent from here, now or when it comes. */
  throughElsewhere(sink: string, cursor: ReadonlyMap<string, number>): void
  /** What waits for sinks that are not named is dropped, with gaps. */
  keepOnly(sinks: readonly string[]): void
  state(): SinkState[]
  gaps(): readonly SignedGap[]
  /** What the far side of `sink` will never take, and why; the newest 1000. */
  asides(sink: string): readonly { atMs: number; why: string; item: OutItem }[]
}

/** `SQLITE_FULL` and, where the disk is full while its log grows, `SQLITE_IOERR_WRITE`. */
const FULL = new Set([13, 778])
const FULL_AGAIN_MS = 2000
const PRUNE_MS = 60_000
const JUMP_MS = 60_000
const DROP_ITEMS = 500
/** Dropped down to this part of the bound, so that it is not done for every item. */
const DROP_TO = 0.95

/** @throws NodeError NODE_DATABASE */
export function openOutbox(options: OutboxOptions, deps: OutboxDeps): Outbox {
  return new DiskOutbox(openStore(options.path, deps.sign), options, deps)
}

class DiskOutbox implements Outbox {
  readonly #store: Store
  readonly #maxBytes: number
  readonly #deps: OutboxDeps
  readonly #taken: Map<string, number>
  readonly #pumps = new Map<string, { pump: Pump; maxAgeMs: number }>()
  /** By sink, what another gateway is through with. Told anew after a start. */
  readonly #elsewhere = new Map<string, Map<string, number>>()
  /** Of the wall clock to the one that never jumps. */
  #offsetMs: number
  #cancelPrune: () => void

  constructor(store: Store, { maxBytes }: OutboxOptions, deps: OutboxDeps) {
    this.#store = store
    this.#maxBytes = maxBytes
    this.#deps = deps
    this.#taken = store.taken()
    this.#offsetMs = offsetOf(deps.clock)
    this.#cancelPrune = deps.clock.timer(PRUNE_MS, () => this.#pruneAndAgain())
  }

  cursor(): ReadonlyMap<string, number> {
    return this.#taken
  }

  async put(packs: readonly Taken[], signal: AbortSignal): Promise<void> {
    const fresh = packs.filter(
      ({ deviceId, seq, held }) => held === true || seq > (this.#taken.get(deviceId) ?? -1),
    )
    if (fresh.length === 0) return
    await this.#whileFull(() => {
      this.#store.put(
        fresh.map((pack) => this.#unsent(pack)),
        this.#deps.clock.now(),
      )
      for (const { deviceId, seq } of fresh) {
        this.#taken.set(deviceId, Math.max(seq, this.#taken.get(deviceId) ?? seq))
      }
    }, signal)
    this.#makeRoom()
    const sinks = new Set(fresh.flatMap(({ items }) => items.map(({ sink }) => sink)))
    for (const sink of sinks) this.#pumps.get(sink)?.pump.wake()
  }

  /** Without what another gateway has sent. */
  #unsent(pack: Taken): Taken {
    if (this.#elsewhere.size === 0) return pack
    const { deviceId, seq, items } = pack
    const isThrough = (sink: string): boolean =>
      seq <= (this.#elsewhere.get(sink)?.get(deviceId) ?? -1)
    return { ...pack, items: items.filter(({ sink }) => !isThrough(sink)) }
  }

  through(sink: string): ReadonlyMap<string, number> {
    const through = new Map(this.#taken)
    if ((this.#store.counts().get(sink)?.items ?? 0) === 0) return through
    for (const [device, seq] of this.#store.lowest(sink)) through.set(device, seq - 1)
    return through
  }

  throughElsewhere(sink: string, cursor: ReadonlyMap<string, number>): void {
    const known = this.#elsewhere.get(sink) ?? new Map<string, number>()
    if (known.size + cursor.size === 0) return
    this.#elsewhere.set(sink, known)
    for (const [device, seq] of cursor) known.set(device, Math.max(seq, known.get(device) ?? 0))
    // What is on its way this moment is settled by its pump.
    if (!this.#pumps.has(sink)) this.#attempt(() => this.#store.forget(sink, known))
  }

  async #whileFull(write: () => void, signal: AbortSignal): Promise<void> {
    let told = false
    for (;;) {
      signal.throwIfAborted()
      try {
        write()
        return
      } catch (error) {
        if (!isFull(error)) throw error
      }
      if (!told) this.#deps.log.error('the disk is full: readings stay in the mesh')
      told = true
      await this.#deps.clock.sleep(FULL_AGAIN_MS, signal)
    }
  }

  attach(sink: Sink, { maxAgeMs, mayLeave }: SinkOptions): AsyncDisposable {
    if (this.#pumps.has(sink.name)) throw new Error(`two sinks are called ${sink.name}`)
    const pump = createPump(sink, { ...this.#deps, store: this.#store, mayLeave })
    this.#pumps.set(sink.name, { pump, maxAgeMs })
    this.#attempt(() => this.#dropOld(sink.name, maxAgeMs))
    pump.wake()
    return {
      [Symbol.asyncDispose]: async () => {
        await pump[Symbol.asyncDispose]()
        this.#pumps.delete(sink.name)
        this.throughElsewhere(sink.name, new Map())
      },
    }
  }

  keepOnly(sinks: readonly string[]): void {
    for (const [sink, { items }] of this.#store.counts()) {
      if (items > 0 && !sinks.includes(sink)) {
        this.#attempt(() => {
          while (this.#dropSome(sink, 'sink-removed') > 0);
        })
      }
    }
  }

  /** What is not on its way this moment. */
  #idle(sink: string): { sink: string; except: ReadonlySet<number> } {
    return { sink, except: this.#pumps.get(sink)?.pump.onTheWay() ?? new Set() }
  }

  #dropSome(sink: string, why: 'room' | 'sink-removed'): number {
    const maxBytes = this.#maxBytes / 20
    const rows = this.#store.oldest({ ...this.#idle(sink), maxItems: DROP_ITEMS, maxBytes })
    this.#store.drop(sink, rows, why)
    return rows.length
  }

  /** Above the bound: the oldest of the sink that has most, so that no sink suffers for another. */
  #makeRoom(): void {
    if (this.#bytes() <= this.#maxBytes) return
    this.#attempt(() => {
      while (this.#bytes() > this.#maxBytes * DROP_TO) {
        const [most] = [...this.#store.counts()].toSorted(([, a], [, b]) => b.bytes - a.bytes)
        if (most === undefined || this.#dropSome(most[0], 'room') === 0) return
      }
    })
  }

  #bytes(): number {
    return [...this.#store.counts().values()].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  #dropOld(sink: string, maxAgeMs: number): void {
    for (;;) {
      const before = this.#deps.clock.now() - maxAgeMs
      const rows = this.#store
        .oldest({ ...this.#idle(sink), maxItems: DROP_ITEMS, maxBytes: Infinity })
        .filter(({ queuedMs }) => queuedMs < before)
      if (rows.length === 0) return
      this.#store.drop(sink, rows, 'age')
    }
  }

  #pruneAndAgain(): void {
    this.#attempt(() => this.#followClock())
    for (const [sink, { maxAgeMs }] of this.#pumps) {
      this.#attempt(() => this.#dropOld(sink, maxAgeMs))
    }
    this.#makeRoom()
    this.#cancelPrune = this.#deps.clock.timer(PRUNE_MS, () => this.#pruneAndAgain())
  }

  /** Set anew, the clock says nothing about how long things have waited. */
  #followClock(): void {
    const offsetMs = offsetOf(this.#deps.clock)
    const jumpMs = offsetMs - this.#offsetMs
    if (Math.abs(jumpMs) < JUMP_MS) return
    this.#store.shift(jumpMs)
    this.#offsetMs = offsetMs
  }

  /** Dropping waits for another time where the disk does not take the gap. */
  #attempt(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#deps.log.error({ error: asError(error).message }, 'the outbox could not be shortened')
    }
  }

  state(): SinkState[] {
    const names = new Set([...this.#store.counts().keys(), ...this.#pumps.keys()])
    return [...names]
      .toSorted((a, b) => (a < b ? -1 : 1))
      .map((sink) => {
        const counts = this.#store.counts().get(sink) ?? NO_COUNTS
        const oldestMs = this.#store.oldestMs(sink)
        return {
          sink,
          ...counts,
          ...this.#pumps.get(sink)?.pump.state(),
          ...(oldestMs === undefined ? {} : { oldestMs }),
        }
      })
  }

  gaps(): readonly SignedGap[] {
    return this.#store.gaps()
  }

  asides(sink: string): readonly { atMs: number; why: string; item: OutItem }[] {
    return this.#store.asides(sink)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelPrune()
    await Promise.all([...this.#pumps.values()].map(({ pump }) => pump[Symbol.asyncDispose]()))
    this.#pumps.clear()
    this.#store[Symbol.dispose]()
  }
}

const NO_COUNTS: Counts = { items: 0, bytes: 0, sent: 0, dropped: 0, aside: 0 }

function offsetOf(clock: Clock): number {
  return Math.round(clock.now() - clock.monotonic())
}

function isFull(error: unknown): boolean {
  return FULL.has((error as { errcode?: number }).errcode ?? 0)
}
