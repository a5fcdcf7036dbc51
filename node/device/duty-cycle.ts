/**
 * When a sleepy device opens its windows: one each period, and one at once for an alarm. One at a
 * time: what comes while a window is open shares the next one. Only the monotonic clock counts, so a
 * wall clock that is set by years moves nothing.
 */
import type { Logger } from 'pino'

import type { Clock } from '../env.ts'

/** `told`: a parent has heard when the next window is. `missed`: nobody has. */
export type WindowOutcome = 'told' | 'missed'

export interface DutyCycleDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly periodMs: number
  /** One window, from its opening until everything is closed. */
  readonly window: (reason: string) => Promise<WindowOutcome>
}

export interface DutyCycle extends AsyncDisposable {
  /** Open a window at once. Resolves with the outcome of the first window that began after the call. */
  alarm(reason: string): Promise<WindowOutcome>
  /** Monotonic time of the next window that nobody has asked for. */
  readonly dueMs: number
}

/** From the beginning of one alarm's window to the next one's, so that a flapping contact empties no battery. */
export const ALARM_GAP_MS = 2000
/** An alarm that nobody heard is told again after this, then twice that, up to the period. */
export const ALARM_RETRY_MS = 5000
const MAX_REASONS = 4
export const MAX_REASON_CHARS = 64

interface Alarm {
  readonly reason: string
  readonly done: PromiseWithResolvers<WindowOutcome>
}

/** The first window opens at once. */
export function startDutyCycle(deps: DutyCycleDeps, signal: AbortSignal): DutyCycle {
  return new Cycle(deps, signal)
}

class Cycle implements DutyCycle {
  readonly #deps: DutyCycleDeps
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #running: Promise<void>
  #alarms: Alarm[] = []
  /** Reasons of alarms that nobody has heard yet. */
  #unheard: readonly string[] = []
  #retryMs = ALARM_RETRY_MS
  #retryAtMs = Infinity
  #alarmedMs = -Infinity
  #dueMs: number
  #look = (): void => undefined

  constructor(deps: DutyCycleDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#signal = AbortSignal.any([signal, this.#stop.signal])
    this.#dueMs = deps.clock.monotonic()
    this.#signal.addEventListener('abort', () => this.#look(), { once: true })
    this.#running = this.#run()
  }

  get dueMs(): number {
    return this.#dueMs
  }

  alarm(reason: string): Promise<WindowOutcome> {
    const done = Promise.withResolvers<WindowOutcome>()
    if (this.#signal.aborted) return Promise.resolve('missed')
    this.#alarms.push({ reason: reason.slice(0, MAX_REASON_CHARS), done })
    this.#look()
    return done.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('stopping'))
    await this.#running
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#wait()
      if (this.#signal.aborted) break
      await this.#open()
    }
    for (const { done } of this.#alarms.splice(0)) done.resolve('missed')
  }

  async #wait(): Promise<void> {
    for (;;) {
      const now = this.#deps.clock.monotonic()
      const at = this.#nextMs()
      if (at <= now || this.#signal.aborted) return
      const changed = Promise.withResolvers<void>()
      this.#look = changed.resolve
      const cancel = this.#deps.clock.timer(at - now, changed.resolve)
      await changed.promise
      cancel()
    }
  }

  #nextMs(): number {
    const alarmMs = this.#alarms.length > 0 ? this.#alarmedMs + ALARM_GAP_MS : Infinity
    return Math.min(this.#dueMs, this.#retryAtMs, alarmMs)
  }

  async #open(): Promise<void> {
    const { clock, log, window } = this.#deps
    const beganMs = clock.monotonic()
    const alarms = this.#alarms.splice(0)
    const reasons = [...new Set([...this.#unheard, ...alarms.map(({ reason }) => reason)])]
    if (reasons.length > 0) this.#alarmedMs = beganMs
    let outcome: WindowOutcome = 'missed'
    try {
      outcome = await window(reasons.slice(-MAX_REASONS).join(', ') || 'period')
    } catch (err) {
      if (!this.#signal.aborted) log.warn({ err }, 'the window failed')
    }
    this.#unheard = outcome === 'told' ? [] : reasons.slice(-MAX_REASONS)
    this.#plan(beganMs, outcome)
    for (const { done } of alarms) done.resolve(outcome)
  }

  #plan(beganMs: number, outcome: WindowOutcome): void {
    const { clock, periodMs } = this.#deps
    // Whoever was told counts from this window on; whoever was not still counts from an older one.
    if (outcome === 'told' || this.#dueMs <= beganMs) this.#dueMs = beganMs + periodMs
    if (this.#unheard.length === 0) {
      this.#retryMs = ALARM_RETRY_MS
      this.#retryAtMs = Infinity
    } else {
      this.#retryAtMs = clock.monotonic() + this.#retryMs
      this.#retryMs = Math.min(2 * this.#retryMs, periodMs)
    }
  }
}
