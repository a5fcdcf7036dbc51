/**
 * Reads the sensors that are on, at a steady pace. A sensor that is off is not read, and a source
 * that fails, or never answers, says so and holds up no other.
 */
import type { Logger } from 'pino'

import type { Reading } from '../../../protocols/telemetry/index.ts'
import { asError } from '../../errors.ts'
import type { Clock } from '../../env.ts'
import { isChosen, type SensorInfo, type SensorSource } from '../sensors/index.ts'

export interface SamplerDeps {
  readonly sources: readonly SensorSource[]
  /** Names of the sensors that are on, as in `isChosen`. */
  readonly enabled: readonly string[]
  /** At least 1,000. */
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

export interface Sampler {
  /** Read at every interval until `signal` aborts. `onFirst` is called when all were read once. */
  run(signal: AbortSignal, onFirst?: () => void): Promise<void>
  /** Read everything that is on, once. */
  sample(): Promise<void>
  sensors(): SensorState[]
  /** Until the next start; false for a name that no sensor has. */
  setEnabled(sensor: string, on: boolean): boolean
}

const MIN_INTERVAL_MS = 1000

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
  readonly #problems = new Map<string, string>()
  readonly #busy = new Set<SensorSource>()

  constructor(deps: SamplerDeps, onReadings: (readings: readonly Reading[]) => void) {
    this.#deps = deps
    this.#onReadings = onReadings
  }

  async run(signal: AbortSignal, onFirst?: () => void): Promise<void> {
    const { clock, intervalMs } = this.#deps
    let then = onFirst
    while (!signal.aborted) {
      // Not awaited: a source that never answers must not stop the clock for the others.
      void this.sample().then(then)
      then = undefined
      await clock.sleep(Math.max(MIN_INTERVAL_MS, intervalMs), signal)
    }
  }

  async sample(): Promise<void> {
    await Promise.all(this.#deps.sources.map((source) => this.#read(source)))
  }

  sensors(): SensorState[] {
    return this.#deps.sources.flatMap((source) => {
      const infos = this.#describe(source)
      const problem = this.#problems.get(source.id)
      return infos.map((info) => ({
        ...info,
        on: this.#isOn(info.name),
        ...newestOf(this.#newest.get(info.name)),
        ...(problem === undefined ? {} : { problem }),
      }))
    })
  }

  setEnabled(sensor: string, on: boolean): boolean {
    const known = this.#deps.sources.some((source) =>
      this.#describe(source).some(({ name }) => name === sensor),
    )
    if (known) this.#choice.set(sensor, on)
    return known
  }

  #isOn(name: string): boolean {
    return this.#choice.get(name) ?? isChosen(name, this.#deps.enabled)
  }

  #describe(source: SensorSource): SensorInfo[] {
    try {
      return source.describe()
    } catch (error) {
      this.#report(source, error)
      return []
    }
  }

  #report(source: SensorSource, error: unknown): void {
    const { message } = asError(error)
    if (this.#problems.get(source.id) === message) return
    this.#problems.set(source.id, message)
    this.#deps.log.warn({ source: source.id, err: error }, 'sensor cannot be read')
  }

  async #read(source: SensorSource): Promise<void> {
    if (this.#busy.has(source)) {
      this.#report(source, new Error('the last reading has not come yet'))
      return
    }
    if (!this.#describe(source).some(({ name }) => this.#isOn(name))) return
    this.#busy.add(source)
    const atMs = this.#deps.clock.now()
    try {
      const samples = await source.read()
      const readings = samples
        .filter(({ sensor }) => this.#isOn(sensor))
        .map((sample) => ({ ...sample, atMs }))
      for (const reading of readings) this.#newest.set(reading.sensor, reading)
      this.#problems.delete(source.id)
      this.#onReadings(readings)
    } catch (error) {
      this.#report(source, error)
    } finally {
      this.#busy.delete(source)
    }
  }
}

function newestOf(reading: Reading | undefined): Pick<SensorState, 'value' | 'atMs'> {
  return reading === undefined ? {} : { value: reading.value, atMs: reading.atMs }
}
