/**
 * The rules of this device: values of sensors in, calls out. Whether a rule fires is `machine.ts`;
 * here it gets what its sensor says, and its calls go out with their cause. Nothing that a rule names
 * can stop the device or another rule: what does not work is told and left.
 *
 * Own sensors count the moment they are measured. Another device's readings count where they are
 * verified, newer than the one before, and at most a minute from now by this device's clock: history
 * that is caught up moves nothing.
 */
import type { Logger } from 'pino'

import type { Cause, Json } from '../../../protocols/calls/index.ts'
import { CodedError } from '../../../protocols/errors.ts'
import { equalBytes } from '../../../protocols/wire/index.ts'
import type { SensorValue } from '../../condition.ts'
import type { RuleCall, RuleSettings } from '../../config-rules.ts'
import type { Clock } from '../../env.ts'
import { NEW_RULE, step, type RuleEvent, type RuleState } from './machine.ts'

/** What a sensor said. */
export interface Measured {
  readonly sensor: string
  readonly value: SensorValue
  /** UTC milliseconds. */
  readonly atMs: number
}

/** A verified reading. */
export interface RemoteReading extends Measured {
  /** Public key of the device that measured, 32 bytes. */
  readonly device: Uint8Array
  /** Number of its pack. */
  readonly seq: number
}

/** What a rule asks for. */
export interface RuleWish {
  /** Public key, 32 bytes. */
  readonly to: Uint8Array
  readonly verb: 'invoke' | 'write'
  readonly name: string
  readonly args?: Json
  readonly ttlMs?: number
  readonly cause: Cause
}

/** What became of a call: a receipt, or a state in which it waits. */
export interface RuleOutcome {
  readonly state: string
  readonly receipt?: { readonly status: string } | undefined
}

export interface RuleFailure {
  readonly rule: string
  /** The device and what was to be called, as the rule names them; absent where it never came so far. */
  readonly device?: string
  readonly name?: string
  /**
   * `no-device`: no device of this name. `budget`: it fires too often. `busy`: its calls before have
   * not ended. Otherwise the status of the receipt, the state of the call, or the code of an error.
   */
  readonly why: string
}

export interface RulesDeps {
  readonly rules: readonly RuleSettings[]
  /** Public key of this device, 32 bytes. */
  readonly self: Uint8Array
  /** The key of a device by the name that a person gave it. */
  readonly resolve: (name: string) => Uint8Array | undefined
  /** Own values, the moment they are measured. Returns what stops it, as do all of these. */
  readonly onMeasured: (listener: (value: Measured) => void) => () => void
  /** Verified readings of other devices. */
  readonly onReading: (listener: (reading: RemoteReading) => void) => () => void
  /** A device is not connected any more. */
  readonly onGone: (listener: (device: Uint8Array) => void) => () => void
  /** What a sensor said last, before this start. */
  readonly before: (device: Uint8Array, sensor: string) => SensorValue | undefined
  /** Put what was just measured into the log; the number of its pack, 0 where it is in none. */
  readonly logged: () => number
  readonly call: (wish: RuleWish, signal: AbortSignal) => Promise<RuleOutcome>
  readonly onFailed: (failure: RuleFailure) => void
  readonly clock: Clock
  readonly log: Logger
}

export interface RuleView {
  readonly name: string
  readonly enabled: boolean
  /** UTC milliseconds; absent where it did not since the start. */
  readonly firedAtMs?: number
}

export interface Rules extends AsyncDisposable {
  list(): RuleView[]
}

/** A reading of another device counts where it is this close to now. */
export const FRESH_MS = 60_000
/** Firings of one rule whose calls have not ended. */
export const MAX_RUNNING = 4
/** The same rule's budget is told of once in this time. */
const TELL_EVERY_MS = 60_000
/** States of calls that are on their way. */
const UNDER_WAY: ReadonlySet<string> = new Set(['sent', 'queued', 'held', 'delivered'])

export function startRules(deps: RulesDeps, signal: AbortSignal): Rules {
  const stop = new AbortController()
  const until = AbortSignal.any([signal, stop.signal])
  const runners = deps.rules
    .filter(({ enabled }) => enabled)
    .map((rule) => new Runner(rule, deps, until))
  const all = (tell: (runner: Runner) => void): void => {
    if (until.aborted) return
    for (const runner of runners) tell(runner)
  }
  const listening = [
    deps.onMeasured((value) => all((runner) => runner.measured(value))),
    deps.onReading((reading) => all((runner) => runner.reading(reading))),
    deps.onGone((device) => all((runner) => runner.gone(device))),
  ]
  const end = (): void => {
    for (const off of listening) off()
    for (const runner of runners) runner.end()
  }
  until.addEventListener('abort', end, { once: true })
  return {
    list: () =>
      deps.rules.map(({ name, enabled }) => ({
        name,
        enabled,
        ...runners.find((runner) => runner.name === name)?.fired(),
      })),
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('stopping'))
      await Promise.all(runners.map((runner) => runner.settled()))
    },
  }
}

/** Another device, or this one, by its key; undefined where nobody has the name. */
type Source = { readonly key: Uint8Array } | undefined

class Runner {
  readonly #rule: RuleSettings
  readonly #deps: RulesDeps
  readonly #signal: AbortSignal
  readonly #running = new Set<Promise<void>>()
  #source: Source
  #state: RuleState = NEW_RULE
  #cancel = (): void => undefined
  /** The newest reading that counted. */
  #newest: (Measured & { readonly seq?: number }) | undefined
  #firedAtMs: number | undefined
  #toldMs = -Infinity

  constructor(rule: RuleSettings, deps: RulesDeps, signal: AbortSignal) {
    this.#rule = rule
    this.#deps = deps
    this.#signal = signal
    this.#locate()
    if (this.#source === undefined) this.#fail({ ...deviceOf(rule.when), why: 'no-device' })
  }

  get name(): string {
    return this.#rule.name
  }

  fired(): Pick<RuleView, 'firedAtMs'> {
    return this.#firedAtMs === undefined ? {} : { firedAtMs: this.#firedAtMs }
  }

  measured(value: Measured): void {
    const { when } = this.#rule
    if (value.sensor !== when.sensor || !this.#isFrom(this.#deps.self)) return
    this.#take(value)
  }

  reading(reading: RemoteReading): void {
    const { clock, self } = this.#deps
    if (reading.sensor !== this.#rule.when.sensor || equalBytes(reading.device, self)) return
    if (Math.abs(clock.now() - reading.atMs) > FRESH_MS || !this.#isFrom(reading.device)) return
    if (reading.atMs < (this.#newest?.atMs ?? -Infinity)) return
    this.#take(reading)
  }

  gone(device: Uint8Array): void {
    if (this.#isFrom(device)) this.#step({ kind: 'gone' })
  }

  end(): void {
    this.#cancel()
  }

  async settled(): Promise<void> {
    await Promise.all(this.#running)
  }

  /** Names move from one device to another: what was known of the one says nothing of the other. */
  #locate(): void {
    const { device, sensor } = this.#rule.when
    const key = device === undefined ? this.#deps.self : this.#deps.resolve(device)
    const before = this.#source?.key
    if (key === before || (key && before && equalBytes(key, before))) return
    this.#source = key && { key }
    this.#cancel()
    this.#newest = undefined
    this.#state = { ...this.#state, condition: NEW_RULE.condition, known: false }
    const value = key && this.#deps.before(key, sensor)
    if (value !== undefined) this.#step({ kind: 'before', value })
  }

  #isFrom(device: Uint8Array): boolean {
    this.#locate()
    return this.#source !== undefined && equalBytes(this.#source.key, device)
  }

  #take(reading: Measured & { readonly seq?: number }): void {
    this.#newest = reading
    this.#step({ kind: 'value', value: reading.value })
  }

  #step(event: RuleEvent): void {
    this.#cancel()
    if (this.#signal.aborted) return
    const { clock } = this.#deps
    const { state, fires, held, dueMs } = step(this.#rule, this.#state, event, clock.monotonic())
    this.#state = state
    if (dueMs !== undefined) {
      // A timer may be early by less than a millisecond.
      const waitMs = Math.ceil(dueMs - clock.monotonic()) + 1
      this.#cancel = clock.timer(waitMs, () => this.#step({ kind: 'time' }))
    }
    if (held === 'budget') this.#tellOfBudget()
    if (fires) this.#fire()
  }

  #tellOfBudget(): void {
    const nowMs = this.#deps.clock.monotonic()
    if (nowMs - this.#toldMs < TELL_EVERY_MS) return
    this.#toldMs = nowMs
    this.#fail({ why: 'budget' })
  }

  #fire(): void {
    const { clock, log } = this.#deps
    const reading = this.#newest
    if (reading === undefined || this.#source === undefined) return
    if (this.#running.size >= MAX_RUNNING) return this.#fail({ why: 'busy' })
    this.#firedAtMs = clock.now()
    log.info({ rule: this.name, sensor: reading.sensor }, 'rule fires')
    const running = this.#callAll(reading, this.#source.key).finally(() => {
      this.#running.delete(running)
    })
    this.#running.add(running)
  }

  /** Calls to one device in their order; one device never waits for another. */
  async #callAll(reading: Measured & { readonly seq?: number }, device: Uint8Array): Promise<void> {
    // What was just measured gets into the log after those who listen were told.
    await Promise.resolve()
    const cause = this.#causeOf(reading, device)
    const byDevice = Map.groupBy(this.#rule.calls, ({ device: name }) => name)
    await Promise.all(
      Array.from(byDevice.values(), async (calls) => {
        for (const call of calls) await this.#call(call, cause)
      }),
    )
  }

  #causeOf(reading: Measured & { readonly seq?: number }, device: Uint8Array): Cause {
    const { sensor, value, atMs, seq } = reading
    const logged = seq ?? this.#logged()
    return {
      rule: this.name,
      device,
      sensor,
      seq: logged,
      atMs: Math.max(0, Math.round(atMs)),
      value,
    }
  }

  #logged(): number {
    try {
      return this.#deps.logged()
    } catch (err) {
      this.#deps.log.warn({ err, rule: this.name }, 'reading that fired a rule is not logged')
      return 0
    }
  }

  async #call(call: RuleCall, cause: Cause): Promise<void> {
    const { self, resolve, log } = this.#deps
    const about = { ...deviceOf(call), name: call.name }
    const to = call.device === undefined ? self : resolve(call.device)
    if (to === undefined) return this.#fail({ ...about, why: 'no-device' })
    if (this.#signal.aborted) return
    try {
      const { device: _, ...wanted } = call
      const { state, receipt } = await this.#deps.call({ ...wanted, to, cause }, this.#signal)
      const done = receipt === undefined ? UNDER_WAY.has(state) : receipt.status === 'done'
      if (!done) this.#fail({ ...about, why: receipt?.status ?? state })
    } catch (err) {
      if (this.#signal.aborted) return
      log.warn({ err, rule: this.name, call: call.name }, 'call of a rule failed')
      this.#fail({ ...about, why: err instanceof CodedError ? err.code : 'failed' })
    }
  }

  #fail(failure: Omit<RuleFailure, 'rule'>): void {
    this.#deps.onFailed({ rule: this.name, ...failure })
  }
}

function deviceOf({ device }: { readonly device?: string }): { readonly device?: string } {
  return device === undefined ? {} : { device }
}
