/**
 * Sends what waits for one sink. A far side that is away is tried again after pauses that grow to a
 * minute; a device whose item is to be tried again waits alone, and the other devices go on. An item
 * that was tried ten times is set aside. A sink that fails without a word about which item gets them
 * one by one, until the one is found.
 */
import { asError, type Clock, type Logger, type Random } from '../../node/index.ts'
import { SinkDown, type OutItem, type Outcome, type Sink } from '../sinks/sink.ts'
import type { Queued, Store } from './store.ts'

export interface PumpDeps {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly store: Store
  readonly mayLeave: (item: OutItem) => boolean
}

export interface PumpState {
  /** Why the far side is not there; absent where it is. */
  readonly down?: string
  /** Since when, UTC milliseconds. */
  readonly downSinceMs?: number
}

export interface Pump extends AsyncDisposable {
  /** There may be more to send. */
  wake(): void
  state(): PumpState
  /** Numbers of the rows that the sink has this moment. */
  onTheWay(): ReadonlySet<number>
}

const BATCH_ITEMS = 500
const BATCH_BYTES = 2 ** 20
/** What waited so long is late: of a sink that wants it so, what is new goes first. */
const LATE_MS = 5000
const MAX_TRIES = 10
const FIRST_PAUSE_MS = 500
const MAX_PAUSE_MS = 60_000

interface Held {
  readonly untilMs: number
  readonly pauses: number
}

export function createPump(sink: Sink, deps: PumpDeps): Pump {
  const pump = new SinkPump(sink, deps)
  pump.start()
  return pump
}

class SinkPump implements Pump {
  readonly #sink: Sink
  readonly #deps: PumpDeps
  readonly #stop = new AbortController()
  readonly #held = new Map<string, Held>()
  #running: Promise<void> | undefined
  #wake = Promise.withResolvers<void>()
  #down: { readonly why: string; readonly sinceMs: number } | undefined
  /** Pauses in a row. */
  #pauses = 0
  /** What has this number or a higher one is new. */
  #newFrom = 0
  /** Batches of a single item that are still to come. */
  #oneByOne = 0
  #trying: readonly Queued[] = []
  /** Sent, but not yet off the disk. */
  #unsettled: (() => void) | undefined

  constructor(sink: Sink, deps: PumpDeps) {
    this.#sink = sink
    this.#deps = deps
  }

  start(): void {
    this.#running = this.#run()
  }

  wake(): void {
    this.#wake.resolve()
  }

  state(): PumpState {
    return this.#down === undefined ? {} : { down: this.#down.why, downSinceMs: this.#down.sinceMs }
  }

  onTheWay(): ReadonlySet<number> {
    return new Set(this.#trying.map(({ n }) => n))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('stopping'))
    this.#wake.resolve()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      try {
        this.#wake = Promise.withResolvers()
        const more = this.#settleAgain() && (await this.#round())
        if (!more) await this.#rest()
      } catch (error) {
        if (signal.aborted) return
        await this.#trouble(asError(error))
      }
    }
  }

  /** One batch. False where there is nothing to do now. */
  async #round(): Promise<boolean> {
    const batch = this.#next()
    if (batch.length === 0) return false
    const gone = batch.filter(({ item }) => !this.#deps.mayLeave(item))
    if (gone.length > 0) {
      this.#deps.store.drop(this.#sink.name, gone, 'policy')
      return true
    }
    this.#trying = batch
    const items = batch.map(({ item }) => item)
    const outcomes = await this.#sink.send(items, this.#stop.signal)
    this.#take(batch, outcomes)
    if (this.#oneByOne > 0) this.#oneByOne--
    this.#trying = []
    return true
  }

  #next(): Queued[] {
    const { store, clock } = this.#deps
    const nowMs = clock.monotonic()
    const held = [...this.#held].filter(([, { untilMs }]) => untilMs > nowMs)
    const maxItems = this.#oneByOne > 0 ? 1 : BATCH_ITEMS
    const common = {
      sink: this.#sink.name,
      without: held.map(([device]) => device),
      maxBytes: BATCH_BYTES,
    }
    if (this.#sink.newFirst !== true) {
      return store.batch({ ...common, maxItems, fromN: 0, untilN: MAX_N })
    }
    let fresh = store.batch({ ...common, maxItems, fromN: this.#newFrom, untilN: MAX_N })
    if ((fresh[0]?.queuedMs ?? Infinity) < clock.now() - LATE_MS) {
      this.#newFrom = store.nextN()
      fresh = []
    }
    const room = maxItems - fresh.length
    const waited = { ...common, maxItems: room, fromN: 0, untilN: this.#newFrom }
    const late = room === 0 ? [] : store.batch(waited)
    return [...fresh, ...late.map((row) => ({ ...row, item: { ...row.item, late: true } }))]
  }

  #take(batch: readonly Queued[], outcomes: readonly Outcome[]): void {
    const sent: Queued[] = []
    const tried: Queued[] = []
    const poison: { row: Queued; why: string }[] = []
    const stopped = new Set<string>()
    for (const [i, row] of batch.entries()) {
      if (stopped.has(row.device)) continue
      const outcome = outcomes[i] ?? 'retry'
      if (outcome === 'sent') sent.push(row)
      else if (outcome !== 'retry') poison.push({ row, why: outcome.poison })
      else if (row.tries + 1 >= MAX_TRIES) {
        poison.push({ row, why: `not taken in ${MAX_TRIES} tries` })
      } else {
        tried.push(row)
        stopped.add(row.device)
      }
    }
    for (const { device } of sent) this.#held.delete(device)
    for (const { device } of tried) this.#hold(device)
    if (poison.length > 0) {
      const facts = { sink: this.#sink.name, count: poison.length, why: poison[0]?.why }
      this.#deps.log.warn(facts, 'the far side will never take this: set aside')
    }
    const atMs = this.#deps.clock.now()
    this.#unsettled = () =>
      this.#deps.store.settle({ sink: this.#sink.name, sent, tried, poison, atMs })
    this.#settleAgain()
  }

  /** What was sent comes off the disk before anything more is; a full disk may not let it. */
  #settleAgain(): boolean {
    if (this.#unsettled === undefined) return true
    this.#unsettled()
    this.#unsettled = undefined
    this.#trying = []
    this.#up()
    return true
  }

  #hold(device: string): void {
    const pauses = (this.#held.get(device)?.pauses ?? 0) + 1
    const untilMs = this.#deps.clock.monotonic() + this.#pauseMs(pauses)
    this.#held.set(device, { untilMs, pauses })
  }

  #up(): void {
    if (this.#down !== undefined) this.#deps.log.info({ sink: this.#sink.name }, 'sink is back')
    this.#down = undefined
    this.#pauses = 0
  }

  async #trouble(error: Error): Promise<void> {
    const down = error instanceof SinkDown ? error : undefined
    if (down === undefined) this.#unclear(error)
    if (this.#unsettled === undefined) this.#trying = []
    if (this.#down === undefined) {
      this.#down = { why: error.message, sinceMs: this.#deps.clock.now() }
      this.#deps.log.warn({ sink: this.#sink.name, why: error.message }, 'sink is away')
    }
    this.#pauses++
    const pauseMs = Math.max(this.#pauseMs(this.#pauses), down?.retryAfterMs ?? 0)
    await this.#pause(Math.min(pauseMs, 60 * MAX_PAUSE_MS), down?.back)
  }

  /** It failed without saying of which item: the first of a single one is it. */
  #unclear(error: Error): void {
    if (this.#unsettled !== undefined) return
    const [only, ...others] = this.#trying
    if (only !== undefined && others.length === 0) {
      const again = only.tries + 1 < MAX_TRIES
      const why = `failed ${MAX_TRIES} times: ${error.message}`
      this.#deps.store.settle({
        sink: this.#sink.name,
        sent: [],
        tried: again ? [only] : [],
        poison: again ? [] : [{ row: only, why }],
        atMs: this.#deps.clock.now(),
      })
    }
    this.#oneByOne = BATCH_ITEMS
    this.#trying = []
  }

  /** Half to whole of the doubled pause, so that many do not come at once. */
  #pauseMs(pauses: number): number {
    const most = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(pauses, 20))
    const [byte = 0] = this.#deps.random.bytes(1)
    return (most * (256 + byte)) / 512
  }

  /** Until there is more, or a device may be tried again. */
  async #rest(): Promise<void> {
    const nowMs = this.#deps.clock.monotonic()
    const waits = [...this.#held.values()].map(({ untilMs }) => untilMs).filter((at) => at > nowMs)
    const next = waits.length === 0 ? undefined : Math.min(...waits) - nowMs
    if (next === undefined) await this.#wake.promise
    else await this.#pause(next, this.#wake.promise)
  }

  async #pause(ms: number, orUntil?: Promise<void>): Promise<void> {
    const { signal } = this.#stop
    const done = Promise.withResolvers<void>()
    const cancel = this.#deps.clock.timer(ms, done.resolve)
    const stop = (): void => done.resolve()
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    await Promise.race([done.promise, ...(orUntil === undefined ? [] : [orUntil])])
    signal.removeEventListener('abort', stop)
    cancel()
  }
}

const MAX_N = Number.MAX_SAFE_INTEGER
