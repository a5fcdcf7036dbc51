/**
 * The sinks that run: those that the rules name and to which something may leave. A sink whose settings
 * change is stopped and started anew; one to which nothing may leave any more, or to which another
 * gateway of the home sends, is stopped, and opens no connection. Changes are made one after the other.
 */
import { asError, type GatewayDeviceFacts, type Logger } from '../node/index.ts'
import type { GatewaySettings } from './config.ts'
import type { SinkSettings } from './config-sinks.ts'
import type { Directory } from './directory.ts'
import type { Policy } from './policy.ts'
import type { OutItem, Sink } from './sinks/sink.ts'

export interface SinksDeps {
  readonly log: Logger
  readonly directory: Directory
  readonly devices: () => readonly GatewayDeviceFacts[]
  readonly policy: () => Policy
  readonly start: (settings: SinkSettings, signal: AbortSignal) => Promise<Sink>
  readonly outbox: {
    attach(
      sink: Sink,
      options: { readonly maxAgeMs: number; readonly mayLeave: (item: OutItem) => boolean },
    ): AsyncDisposable
    keepOnly(sinks: readonly string[]): void
  }
  readonly turns: Turns
}

/** Among the gateways of a home, one at a time sends to a sink. */
export interface Turns {
  /** Those to which this gateway would send. */
  want(sinks: readonly SinkSettings[]): void
  /** Whether it is the one. */
  has(sink: SinkSettings): boolean
}

export interface RunningSinks extends AsyncDisposable {
  /** As the rules, the signed policy and the devices are now. */
  apply(settings: GatewaySettings): Promise<void>
  /** While true nothing runs and nothing is connected. */
  cut(on: boolean): Promise<void>
  names(): readonly string[]
  /** The running sink of this name. */
  get(name: string): Sink | undefined
  /** Why a sink does not run; by name. */
  faults(): ReadonlyMap<string, string>
}

interface Running {
  readonly settings: string
  readonly sink: Sink
  readonly pump: AsyncDisposable
  readonly stop: AbortController
  /** The devices that it was told last. */
  told: string
}

export function runSinks(deps: SinksDeps, signal: AbortSignal): RunningSinks {
  return new Sinks(deps, signal)
}

class Sinks implements RunningSinks {
  readonly #deps: SinksDeps
  readonly #signal: AbortSignal
  readonly #running = new Map<string, Running>()
  readonly #faults = new Map<string, string>()
  #last: Promise<unknown> = Promise.resolve()
  #wanted: readonly SinkSettings[] | undefined
  #isCut = false
  #isFirst = true

  constructor(deps: SinksDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#signal = signal
  }

  apply({ sinks }: GatewaySettings): Promise<void> {
    this.#wanted = sinks
    return this.#settleNext()
  }

  cut(on: boolean): Promise<void> {
    this.#isCut = on
    return this.#settleNext()
  }

  names(): readonly string[] {
    return [...this.#running.keys()]
  }

  get(name: string): Sink | undefined {
    return this.#running.get(name)?.sink
  }

  faults(): ReadonlyMap<string, string> {
    return this.#faults
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#last
    for (const name of this.#running.keys()) await this.#stop(name)
  }

  #settleNext(): Promise<void> {
    const next = this.#last.then(() => this.#settle())
    this.#last = next.catch((error: unknown) =>
      this.#deps.log.error({ err: error }, 'sinks could not be set'),
    )
    return next
  }

  async #settle(): Promise<void> {
    if (this.#wanted === undefined || this.#signal.aborted) return
    const { turns } = this.#deps
    const used = this.#wanted.filter(({ name }) => this.#isUsed(name))
    turns.want(used)
    const use = this.#isCut ? [] : used.filter((one) => turns.has(one))
    await this.#stopOthers(use)
    for (const one of use) if (!this.#running.has(one.name)) await this.#start(one)
    for (const name of this.#faults.keys()) {
      if (!use.some((one) => one.name === name)) this.#faults.delete(name)
    }
    // Once: a file that is being written has no sinks for a moment, and what waits is not to go for that.
    if (this.#isFirst) this.#deps.outbox.keepOnly(this.#wanted.map(({ name }) => name))
    this.#isFirst = false
    await this.#tell()
  }

  /** Whether anything may leave to it or be asked through it: otherwise it has no business to be there. */
  #isUsed(name: string): boolean {
    const policy = this.#deps.policy()
    return this.#deps.devices().some(({ id }) => policy.knows(name, id))
  }

  async #stopOthers(use: readonly SinkSettings[]): Promise<void> {
    for (const [name, { settings }] of this.#running) {
      const now = use.find((one) => one.name === name)
      // What it was told is taken back first, such as entries that others keep of a removed device.
      if (!this.#isUsed(name)) await this.#tell()
      if (now === undefined || JSON.stringify(now) !== settings) await this.#stop(name)
    }
  }

  async #start(settings: SinkSettings): Promise<void> {
    const { name, type } = settings
    const { log, outbox, policy, start } = this.#deps
    const stop = new AbortController()
    try {
      const sink = await start(settings, AbortSignal.any([this.#signal, stop.signal]))
      const pump = outbox.attach(sink, {
        maxAgeMs: settings.max_age,
        mayLeave: (item) => policy().mayLeave(name, item),
      })
      this.#running.set(name, { settings: JSON.stringify(settings), sink, pump, stop, told: '' })
      this.#faults.delete(name)
      log.info({ sink: name, type }, 'sink runs')
    } catch (error) {
      stop.abort()
      this.#faults.set(name, asError(error).message)
      log.error({ sink: name, why: asError(error).message }, 'sink cannot run')
    }
  }

  async #stop(name: string): Promise<void> {
    const one = this.#running.get(name)
    if (one === undefined) return
    this.#running.delete(name)
    one.stop.abort(new Error('the sink is stopped'))
    for (const part of [one.pump, one.sink]) {
      try {
        await part[Symbol.asyncDispose]()
      } catch (error) {
        const why = asError(error).message
        this.#deps.log.warn({ sink: name, why }, 'a sink did not stop cleanly')
      }
    }
  }

  async #tell(): Promise<void> {
    const { directory, policy, devices, log } = this.#deps
    for (const [name, one] of this.#running) {
      const known = directory.for(name, policy(), devices())
      const text = JSON.stringify(known)
      if (text === one.told) continue
      one.told = text
      await one.sink.devices?.(known).catch((error: unknown) => {
        one.told = ''
        log.warn({ sink: name, why: asError(error).message }, 'devices could not be told')
      })
    }
  }
}
