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
  type Pack,
  type Reading,
} from '../../../protocols/telemetry/index.ts'
import type { Clock } from '../../env.ts'
import type { PackStore } from '../../storage/packs.ts'
import type { Timekeeper } from '../../timekeeper.ts'

export interface PublisherDeps {
  readonly store: Pick<PackStore, 'appendOwn' | 'bornMs' | 'file'>
  readonly signer: Signer
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  /** Number of effective revocations that this device knows. */
  readonly epoch: () => number
  readonly time: Timekeeper
  /** How long a reading waits for others to share its signature; ten seconds at most, and where absent. */
  readonly maxWaitMs?: number | undefined
  readonly clock: Clock
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
  /** Stop the timers. What waits stays until `flush`. */
  close(): void
}

/** Readings kept in memory while the disk is full. */
const MAX_WAITING = 16 * BOUNDS.maxReadings
/** A reading that is older when it comes has its time from elsewhere than an unset clock. */
const MAX_AGE_MS = 3_600_000
/** Rows for questions about the past are written once the pack is on its way to those who wait. */
const FILE_AFTER_MS = 5

interface Waiting {
  readonly reading: Reading
  /** Boot clock when it was taken. */
  readonly monoMs: number
  /** The wall clock was not set when it came: its own time says nothing. */
  readonly undated: boolean
}

/** When readings came. */
interface Moment {
  readonly undated: boolean
  readonly monoMs: number
  readonly wallMs: number
}

export function createPublisher(deps: PublisherDeps, onPack: (pack: Pack) => void): Publisher {
  return new OwnLog(deps, onPack)
}

class OwnLog implements Publisher {
  readonly #deps: PublisherDeps
  readonly #onPack: (pack: Pack) => void
  readonly #waiting: Waiting[] = []
  #waitingBytes = PACK_OVERHEAD_BYTES
  /** When the machine started, once that is known; the same in all packs of this boot. */
  #bornMs: number | undefined
  /** The disk refused the last pack: only the timer tries again. */
  #refused = false
  #cancelTimer: (() => void) | undefined
  #cancelFiling: (() => void) | undefined

  constructor(deps: PublisherDeps, onPack: (pack: Pack) => void) {
    this.#deps = deps
    this.#onPack = onPack
    this.#bornMs = deps.store.bornMs(deps.signer.key, deps.time.bootId)
  }

  add(readings: readonly Reading[]): void {
    if (readings.length === 0) return
    const { clock, time } = this.#deps
    // Once for all: both clocks are asked of the kernel.
    const now = { undated: time.quality() === 'unset', monoMs: time.monoMs(), wallMs: clock.now() }
    for (const reading of readings) this.#take(reading, now)
    if (this.#waiting.length > 0) this.#startTimer()
  }

  flush(): boolean {
    this.#stopTimer()
    while (this.#waiting.length > 0) {
      const taken = this.#waiting.slice(0, fitting(this.#waiting))
      const pack = this.#append(taken)
      this.#refused = pack === undefined
      if (pack === undefined) {
        this.#startTimer()
        return false
      }
      this.#waiting.splice(0, taken.length)
      this.#onPack(pack)
      this.#fileSoon()
    }
    this.#waitingBytes = PACK_OVERHEAD_BYTES
    return true
  }

  close(): void {
    this.#stopTimer()
    this.#cancelFiling?.()
    this.#cancelFiling = undefined
  }

  #stopTimer(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  #fileSoon(): void {
    this.#cancelFiling ??= this.#deps.clock.timer(FILE_AFTER_MS, () => {
      this.#cancelFiling = undefined
      try {
        this.#deps.store.file()
      } catch (error) {
        // They are written with the next pack, or at the next start.
        this.#deps.log.warn({ err: error }, 'rows of readings cannot be written yet')
      }
    })
  }

  #take(reading: Reading, { undated, monoMs, wallMs }: Moment): void {
    try {
      requireReading(reading)
    } catch (error) {
      if (!(error instanceof TelemetryError)) throw error
      this.#deps.log.warn({ sensor: reading.sensor, err: error }, 'reading left out')
      return
    }
    const size = readingBytes(reading)
    if (!this.#refused && this.#waitingBytes + size > BOUNDS.maxPackBytes) this.flush()
    const ageMs = wallMs - reading.atMs
    const takenMs = monoMs - (ageMs > 0 && ageMs <= MAX_AGE_MS ? ageMs : 0)
    this.#waiting.push({ reading, monoMs: takenMs, undated })
    this.#waitingBytes += size
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift()
    if (!this.#refused && this.#waiting.length >= BOUNDS.maxReadings) this.flush()
  }

  #append(taken: readonly Waiting[]): Pack | undefined {
    const { clock, epoch, home, log, signer, store, time } = this.#deps
    const mono = time.monoMs()
    const quality = time.quality()
    const wall = quality === 'unset' ? undefined : clock.now()
    if (wall !== undefined) this.#bornMs ??= wall - mono
    const born = this.#bornMs
    const readings = taken.map((one) => ({ ...one.reading, atMs: timeOf(one, { mono, wall }) }))
    const rest = {
      bootId: time.bootId,
      epoch: epoch(),
      clock: quality,
      mono,
      readings,
      ...(born === undefined ? {} : { born }),
    }
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

/** What the pack says: the wall time where that is known, else how long before the sealing. */
function timeOf(
  { reading, monoMs, undated }: Waiting,
  { mono, wall }: { readonly mono: number; readonly wall: number | undefined },
): number {
  const beforeMs = Math.min(0, Math.round(monoMs) - mono)
  if (wall === undefined) return beforeMs
  return undated ? wall + beforeMs : reading.atMs
}

/** How many of what waits, from the first, fit into one pack. */
function fitting(waiting: readonly Waiting[]): number {
  let size = PACK_OVERHEAD_BYTES
  let count = 0
  for (const { reading } of waiting.slice(0, BOUNDS.maxReadings)) {
    size += readingBytes(reading)
    if (size > BOUNDS.maxPackBytes) break
    count++
  }
  return count
}
