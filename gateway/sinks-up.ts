/**
 * The sinks that run: those that the rules name and to which something may leave. A sink whose settings
 * change is stopped and started anew; one to which nothing may leave any more is stopped, and opens no
 * connection. Changes are made one after the other.
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
  const running = new Map<string, Running>()
  const faults = new Map<string, string>()
  let last: Promise<unknown> = Promise.resolve()
  let wanted: GatewaySettings | undefined
  let isCut = false
  let isFirst = true

  async function stop(name: string): Promise<void> {
    const one = running.get(name)
    if (one === undefined) return
    running.delete(name)
    one.stop.abort(new Error('the sink is stopped'))
    for (const part of [one.pump, one.sink]) {
      try {
        await part[Symbol.asyncDispose]()
      } catch (error) {
        deps.log.warn({ sink: name, why: asError(error).message }, 'a sink did not stop cleanly')
      }
    }
  }

  async function start(settings: SinkSettings): Promise<void> {
    const { name } = settings
    const until = new AbortController()
    try {
      const sink = await deps.start(settings, AbortSignal.any([signal, until.signal]))
      const pump = deps.outbox.attach(sink, {
        maxAgeMs: settings.max_age,
        mayLeave: (item) => deps.policy().mayLeave(name, item),
      })
      running.set(name, { settings: JSON.stringify(settings), sink, pump, stop: until, told: '' })
      faults.delete(name)
      deps.log.info({ sink: name, type: settings.type }, 'sink runs')
    } catch (error) {
      until.abort()
      faults.set(name, asError(error).message)
      deps.log.error({ sink: name, why: asError(error).message }, 'sink cannot run')
    }
  }

  /** Whether anything may leave to it or be asked through it: otherwise it has no business to be there. */
  function isUsed(name: string): boolean {
    const policy = deps.policy()
    return deps.devices().some(({ id }) => policy.knows(name, id))
  }

  async function tell(): Promise<void> {
    for (const [name, one] of running) {
      const devices = deps.directory.for(name, deps.policy(), deps.devices())
      const text = JSON.stringify(devices)
      if (text === one.told) continue
      one.told = text
      await one.sink.devices?.(devices).catch((error: unknown) => {
        one.told = ''
        deps.log.warn({ sink: name, why: asError(error).message }, 'devices could not be told')
      })
    }
  }

  async function settle(): Promise<void> {
    if (wanted === undefined || signal.aborted) return
    const { sinks } = wanted
    const use = isCut ? [] : sinks.filter(({ name }) => isUsed(name))
    for (const [name, { settings }] of running) {
      const now = use.find((one) => one.name === name)
      // What it was told is taken back first, such as entries that others keep of a removed device.
      if (now === undefined && !isCut) await tell()
      if (now === undefined || JSON.stringify(now) !== settings) await stop(name)
    }
    for (const one of use) if (!running.has(one.name)) await start(one)
    for (const name of faults.keys()) if (!use.some((one) => one.name === name)) faults.delete(name)
    // Once: a file that is being written has no sinks for a moment, and what waits is not to go for that.
    if (isFirst) deps.outbox.keepOnly(sinks.map(({ name }) => name))
    isFirst = false
    await tell()
  }

  const queue = (): Promise<void> => {
    const next = last.then(settle)
    last = next.catch((error: unknown) => deps.log.error({ err: error }, 'sinks could not be set'))
    return next
  }

  return {
    apply(settings) {
      wanted = settings
      return queue()
    },
    cut(on) {
      isCut = on
      return queue()
    },
    names: () => [...running.keys()],
    get: (name) => running.get(name)?.sink,
    faults: () => faults,
    async [Symbol.asyncDispose]() {
      await last
      for (const name of running.keys()) await stop(name)
    },
  }
}
