/**
 * Reads the sensors that are on at a steady pace, and listens to those that speak by themselves. A
 * sensor that is off is not read, and a source that fails, or never answers, says so and holds up no
 * other.
 */
import type { Logger } from 'pino'

import type { Reading } from '../../../protocols/telemetry/index.ts'
import { asError, NodeError } from '../../errors.ts'
import type { Clock } from '../../env.ts'
import {
  isChosen,
  type PolledSource,
  type Sample,
  type SensorInfo,
  type SensorSource,
  type StreamSource,
} from '../sensors/index.ts'
import { createOutlet, type Outlet } from './outlet.ts'
import { createTroubles, type Troubles } from './troubles.ts'

export interface SamplerDeps {
  readonly sources: readonly SensorSource[]
  /** Names of the sensors that are on, as in `isChosen`. */
  readonly enabled: readonly string[]
  /** At least 1,000; for sources that have no interval of their own. */
  readonly intervalMs: number
  readonly clock: Clock
  readonly log: Logger
}

export interface SensorState extends SensorInfo {
  readonly on: boolean
  /** The newest value since the start. */
  readonly value?: Reading['value']
  readonly atMs?: number
  /** Why its source gives nothing, for people. */
  readonly problem?: string
}

export interface PushedValue {
  readonly sensor: string
  readonly value: number | boolean | string
}

export interface Sampler {
  /**
   * Read at every interval, and listen, until `signal` aborts; then rejects with its reason.
   * `onFirst` is called when every source that is read was read once.
   */
  run(signal: AbortSignal, onFirst?: () => void): Promise<void>
  /** Read everything that is on, once. */
  sample(): Promise<void>
  /**
   * Values from another program, in order.
   *
   * @throws NodeError NODE_NOT_FOUND and NODE_CONFLICT before any is taken, NODE_USAGE at the first
   * that is no number
   */
  push(values: readonly PushedValue[]): void
  sensors(): SensorState[]
  /** Until the next start; false for a name that no sensor has. */
  setEnabled(sensor: string, on: boolean): boolean
}

const MIN_INTERVAL_MS = 1000
const DESCRIBED_MS = 1000
/** The shortest time between two readings of what is watched. */
const WATCHED_MS = 20
/** Where a source fails again and again it is asked less often, but this often. */
const LONGEST_WAIT_MS = 60_000
/** Wait before a stream that broke is started again, doubled each time up to the longest. */
const FIRST_WAIT_MS = 1000
/** A stream that ran this long was no failure. */
const STEADY_MS = 60_000
/** A reading that takes longer is of the time it came, not of the time it was asked for. */
const PROMPT_MS = 1000

export function createSampler(
  deps: SamplerDeps,
  onReadings: (readings: readonly Reading[]) => void,
): Sampler {
  return new SourceSampler(deps, onReadings)
}

class SourceSampler implements Sampler {
  readonly #deps: SamplerDeps
  readonly #onReadings: (readings: readonly Reading[]) => void
  readonly #choice = new Map<string, boolean>()
  readonly #newest = new Map<string, Reading>()
  readonly #troubles: Troubles
  /** Sources that are being read, each with when that began, monotonic. */
  readonly #busy = new Map<SensorSource, number>()
  readonly #said = new Map<SensorSource, { readonly infos: SensorInfo[]; readonly atMs: number }>()
  /** Sources that are being read and have changed meanwhile. */
  readonly #changed = new Set<SensorSource>()
  readonly #outlets = new Map<SensorSource, Outlet>()
  /** Streams that run, and how to stop each. */
  readonly #running = new Map<StreamSource, AbortController>()
  /** Streams that are off, and how to wake each. */
  readonly #resting = new Set<() => void>()

  constructor(deps: SamplerDeps, onReadings: (readings: readonly Reading[]) => void) {
    this.#deps = deps
    this.#onReadings = onReadings
    this.#troubles = createTroubles(deps)
    for (const source of deps.sources) {
      const { pace } = source
      if (pace === undefined) continue
      const spacing = { pace, spacingMs: spacingOf(source), clock: deps.clock }
      const outlet = createOutlet(spacing, (reading) => onReadings([reading]))
      this.#outlets.set(source, outlet)
    }
  }

  async run(signal: AbortSignal, onFirst: () => void = () => undefined): Promise<void> {
    let unread = this.#deps.sources.filter((source) => 'read' in source).length
    if (unread === 0) onFirst()
    const first = (): void => {
      unread -= 1
      if (unread === 0) onFirst()
    }
    await Promise.allSettled(
      this.#deps.sources.map((source) =>
        'read' in source ? this.#poll(source, signal, first) : this.#follow(source, signal),
      ),
    )
    for (const outlet of this.#outlets.values()) outlet.close()
    signal.throwIfAborted()
  }

  async sample(): Promise<void> {
    const polled = this.#deps.sources.filter((source) => 'read' in source)
    await Promise.all(polled.map((source) => this.#read(source)))
  }

  push(values: readonly PushedValue[]): void {
    const targets = values.map(({ sensor, value }) => ({
      sensor,
      value,
      to: this.#pushable(sensor),
    }))
    for (const { sensor, value, to } of targets) {
      try {
        to.push(value)
      } catch (cause) {
        if (!(cause instanceof RangeError)) throw cause
        throw new NodeError('NODE_USAGE', `${sensor}: ${cause.message}.`, { cause })
      }
    }
  }

  sensors(): SensorState[] {
    return this.#deps.sources.flatMap((source) => {
      const infos = this.#describe(source)
      const problem = this.#troubles.of(source.id)
      return infos.map((info) => ({
        ...info,
        on: this.#isOn(source, info.name),
        ...newestOf(this.#newest.get(info.name)),
        ...(problem === undefined ? {} : { problem }),
      }))
    })
  }

  setEnabled(sensor: string, on: boolean): boolean {
    const source = this.#deps.sources.find((one) =>
      this.#describe(one).some(({ name }) => name === sensor),
    )
    if (source === undefined) return false
    this.#choice.set(sensor, on)
    for (const wake of this.#resting) wake()
    for (const [stream, stop] of this.#running) {
      if (!this.#wants(stream)) stop.abort(new Error('switched off'))
    }
    return true
  }

  #pushable(sensor: string) {
    const source = this.#deps.sources.find(({ id }) => id === sensor)
    if (source === undefined || !('push' in source)) {
      throw new NodeError('NODE_NOT_FOUND', `No sensor "${sensor}" takes values from programs.`, {
        hint: `Write it into the settings file: [sensor.${sensor}] with type = "push"`,
      })
    }
    if (this.#running.has(source)) return source
    throw new NodeError('NODE_CONFLICT', `The sensor "${sensor}" is off.`, {
      hint: `Switch it on with: kith sensors enable ${sensor}`,
    })
  }

  #isOn({ asked = false }: SensorSource, name: string): boolean {
    return this.#choice.get(name) ?? (asked || isChosen(name, this.#deps.enabled))
  }

  #wants(source: SensorSource): boolean {
    return this.#describe(source).some(({ name }) => this.#isOn(source, name))
  }

  /** What the machine has is looked at once in a second, however often it is asked for. */
  #describe(source: SensorSource): SensorInfo[] {
    const nowMs = this.#deps.clock.monotonic()
    const said = this.#said.get(source)
    if (said !== undefined && nowMs - said.atMs < DESCRIBED_MS) return said.infos
    try {
      const infos = source.describe()
      this.#said.set(source, { infos, atMs: nowMs })
      return infos
    } catch (error) {
      this.#troubles.report(source.id, asError(error))
      return []
    }
  }

  async #poll(source: PolledSource, signal: AbortSignal, onFirst: () => void): Promise<void> {
    const { clock, intervalMs } = this.#deps
    let then: (() => void) | undefined = onFirst
    const everyMs = source.pace?.intervalMs ?? Math.max(MIN_INTERVAL_MS, intervalMs)
    this.#watch(source, signal)
    const mostSkips = Math.max(0, Math.floor(LONGEST_WAIT_MS / everyMs) - 1)
    let skips = 0
    while (!signal.aborted) {
      // Whole intervals are left out, so that all sources stay in step and share packs.
      if (skips > 0 && this.#troubles.count(source.id) > 0) skips--
      else {
        skips = Math.min(2 ** Math.max(0, this.#troubles.count(source.id) - 1) - 1, mostSkips)
        // Not awaited: a source that never answers must not stop the clock.
        void this.#read(source, signal).then(then)
        then = undefined
      }
      await clock.sleep(everyMs, signal)
    }
  }

  /** Read at once when it says so; once more where it says so meanwhile. */
  #watch(source: PolledSource, signal: AbortSignal): void {
    const changed = (): void => {
      if (this.#busy.has(source)) this.#changed.add(source)
      else void this.#read(source, signal)
    }
    source.watch?.(changed, signal)
  }

  async #follow(source: StreamSource, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps
    let waitMs = FIRST_WAIT_MS
    while (!signal.aborted) {
      if (!this.#wants(source)) {
        await this.#woken(signal)
        continue
      }
      const startMs = clock.monotonic()
      if (await this.#runOnce(source, signal)) continue
      if (clock.monotonic() - startMs >= STEADY_MS) waitMs = FIRST_WAIT_MS
      await clock.sleep(waitMs, signal)
      waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)
    }
  }

  /** True where it was told to stop, false where it broke. */
  async #runOnce(source: StreamSource, signal: AbortSignal): Promise<boolean> {
    const stop = new AbortController()
    const until = AbortSignal.any([signal, stop.signal])
    this.#running.set(source, stop)
    const sink = {
      sample: (sample: Sample) => {
        if (!until.aborted) this.#take(source, [sample], this.#deps.clock.now())
      },
      ready: () => this.#troubles.clear(source.id),
      problem: (error: Error) => this.#troubles.report(source.id, error),
    }
    try {
      await source.run(sink, until)
      if (!until.aborted) throw new Error('it ended')
    } catch (error) {
      if (!until.aborted) this.#troubles.report(source.id, asError(error))
    } finally {
      this.#running.delete(source)
    }
    return until.aborted
  }

  #woken(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#resting.delete(wake)
        signal.removeEventListener('abort', wake)
        resolve()
      }
      this.#resting.add(wake)
      signal.addEventListener('abort', wake, { once: true })
      if (signal.aborted) wake()
    })
  }

  async #read(source: PolledSource, signal?: AbortSignal): Promise<void> {
    const { clock } = this.#deps
    const [askedMs, startMs] = [clock.now(), clock.monotonic()]
    const sinceMs = this.#busy.get(source)
    if (sinceMs !== undefined) {
      if (startMs - sinceMs < PROMPT_MS) return
      this.#troubles.report(source.id, new Error('the last reading has not come yet'))
      return
    }
    if (!this.#wants(source)) return
    this.#busy.set(source, startMs)
    try {
      const samples = await source.read(signal)
      const prompt = clock.monotonic() - startMs < PROMPT_MS
      if (signal?.aborted !== true) this.#take(source, samples, prompt ? askedMs : clock.now())
    } catch (error) {
      if (signal?.aborted !== true) this.#troubles.report(source.id, asError(error))
    } finally {
      this.#busy.delete(source)
      if (this.#changed.delete(source)) void this.#read(source, signal)
    }
  }

  #take(source: SensorSource, samples: readonly Sample[], atMs: number): void {
    const readings = samples
      .filter(({ sensor }) => this.#isOn(source, sensor))
      .map((sample) => ({ ...sample, atMs }))
    for (const reading of readings) this.#newest.set(reading.sensor, reading)
    this.#troubles.clear(source.id)
    const outlet = this.#outlets.get(source)
    if (outlet === undefined) this.#onReadings(readings)
    else for (const reading of readings) outlet.offer(reading)
  }
}

/** A polled source keeps its time by itself, but for changes that it tells of. */
function spacingOf(source: SensorSource): number {
  if ('read' in source) return source.watch === undefined ? 0 : WATCHED_MS
  return source.pace?.intervalMs ?? 0
}

function newestOf(reading: Reading | undefined): Pick<SensorState, 'value' | 'atMs'> {
  return reading === undefined ? {} : { value: reading.value, atMs: reading.atMs }
}
