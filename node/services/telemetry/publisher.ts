/**
 * This device's own log: gathers readings and makes packs of them. A pack is made when it is full,
 * when its first reading has waited long enough, or at once on demand; and it is on disk before
 * anyone hears of it. Where the disk is full, readings wait in memory, the oldest are given up first,
 * and the next attempt is made with the next pack.
 */
import type { Logger } from 'pino'

import type { Signer } from '../../../protocols/identity/index.ts'
import {
  BOUNDS,
  PACK_OVERHEAD_BYTES,
  readingBytes,
  requireReading,
  sealPack,
  TelemetryError,
  type ClockQuality,
  type Pack,
  type Reading,
} from '../../../protocols/telemetry/index.ts'
import type { Clock, Random } from '../../env.ts'
import type { PackStore } from '../../storage/packs.ts'

export interface PublisherDeps {
  readonly store: Pick<PackStore, 'appendOwn'>
  readonly signer: Signer
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  /** Number of effective revocations that this device knows. */
  readonly epoch: () => number
  readonly clockQuality: () => ClockQuality
  /** How long a reading waits for others to share its signature; ten seconds at most, and where absent. */
  readonly maxWaitMs?: number | undefined
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

export interface Publisher {
  /**
   * Take readings into the next pack. One that no pack can carry is left out and logged; the others
   * are taken.
   */
  add(readings: readonly Reading[]): void
  /** Make packs of all that waits. False where the disk refused; nothing is lost by that yet. */
  flush(): boolean
  /** Stop the timer. What waits stays until `flush`. */
  close(): void
}

/** Readings kept in memory while the disk is full. */
const MAX_WAITING = 16 * BOUNDS.maxReadings

export function createPublisher(deps: PublisherDeps, onPack: (pack: Pack) => void): Publisher {
  return new OwnLog(deps, onPack)
}

class OwnLog implements Publisher {
  readonly #deps: PublisherDeps
  readonly #onPack: (pack: Pack) => void
  readonly #bootId: Uint8Array
  readonly #waiting: Reading[] = []
  #waitingBytes = PACK_OVERHEAD_BYTES
  /** The disk refused the last pack: only the timer tries again. */
  #refused = false
  #cancelTimer: (() => void) | undefined

  constructor(deps: PublisherDeps, onPack: (pack: Pack) => void) {
    this.#deps = deps
    this.#onPack = onPack
    this.#bootId = deps.random.bytes(16)
  }

  add(readings: readonly Reading[]): void {
    for (const reading of readings) this.#take(reading)
    if (this.#waiting.length > 0) this.#startTimer()
  }

  flush(): boolean {
    this.close()
    while (this.#waiting.length > 0) {
      const readings = this.#waiting.slice(0, fitting(this.#waiting))
      const pack = this.#append(readings)
      this.#refused = pack === undefined
      if (pack === undefined) {
        this.#startTimer()
        return false
      }
      this.#waiting.splice(0, readings.length)
      this.#onPack(pack)
    }
    this.#waitingBytes = PACK_OVERHEAD_BYTES
    return true
  }

  close(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  #take(reading: Reading): void {
    try {
      requireReading(reading)
    } catch (error) {
      if (!(error instanceof TelemetryError)) throw error
      this.#deps.log.warn({ sensor: reading.sensor, err: error }, 'reading left out')
      return
    }
    const size = readingBytes(reading)
    if (!this.#refused && this.#waitingBytes + size > BOUNDS.maxPackBytes) this.flush()
    this.#waiting.push(reading)
    this.#waitingBytes += size
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift()
    if (!this.#refused && this.#waiting.length >= BOUNDS.maxReadings) this.flush()
  }

  #append(readings: readonly Reading[]): Pack | undefined {
    const { clock, clockQuality, epoch, home, log, signer, store } = this.#deps
    const rest = { bootId: this.#bootId, epoch: epoch(), clock: clockQuality(), readings }
    try {
      return store.appendOwn(
        signer.key,
        (seq, prev) => sealPack({ ...rest, seq, prev }, home, signer),
        clock.now(),
      )
    } catch (error) {
      log.error({ err: error, waiting: this.#waiting.length }, 'readings cannot be kept')
      return undefined
    }
  }

  #startTimer(): void {
    const { clock, maxWaitMs = BOUNDS.maxPackAgeMs } = this.#deps
    const waitMs = Math.min(maxWaitMs, BOUNDS.maxPackAgeMs)
    this.#cancelTimer ??= clock.timer(waitMs, () => this.flush())
  }
}

/** How many of `readings`, from the first, fit into one pack. */
function fitting(readings: readonly Reading[]): number {
  let size = PACK_OVERHEAD_BYTES
  let count = 0
  for (const reading of readings.slice(0, BOUNDS.maxReadings)) {
    size += readingBytes(reading)
    if (size > BOUNDS.maxPackBytes) break
    count++
  }
  return count
}
