/** Readings as they arrive, for whoever watches. A slow watcher misses the oldest, and is told. */
import type { Pack, Reading } from '../../../protocols/telemetry/index.ts'
import { equalBytes } from '../../../protocols/wire/index.ts'
import type { Emitter } from '../../events.ts'
import { isChosen } from '../sensors/index.ts'
import type { Progress } from './progress.ts'

export interface LiveReading {
  /** Public key of the device that measured, 32 bytes. */
  readonly device: Uint8Array
  readonly sensor: string
  readonly unit?: string
  readonly value: number | boolean | string
  /** UTC milliseconds: the device's time, or the receiver's where that cannot be right. */
  readonly atMs: number
  /** Number of the pack that holds it. */
  readonly seq: number
  /** The pack's `FLAGS`. */
  readonly flags: number
  /** Signature and place in the log were checked here. */
  readonly verified: boolean
  /** Told by the device itself, without signature: what a guest gets. */
  readonly source?: 'extract'
}

export interface KeptPack {
  readonly pack: Pack
  /** The time to show for each reading. */
  readonly times: readonly number[]
  readonly flags: number
}

/** All but the first after the pack is on disk. */
export interface TelemetryEvents extends Record<string, unknown> {
  /** A sensor of this device said so, just now. It may not get into the log. */
  measured: Reading
  /** A sensor of this device was switched on or off. */
  chosen: { readonly sensor: string; readonly on: boolean }
  reading: LiveReading
  /** The home has changed. */
  members: undefined
  pack: KeptPack
  /** Packs that are newly known to be missing, both ends included. */
  gap: { readonly device: Uint8Array; readonly from: number; readonly to: number }
  /** Proof that a device signed two histories: compromised or cloned. `seq` is where they part. */
  fork: { readonly device: Uint8Array; readonly seq: number }
  /** A log that was far behind begins to be caught up, goes on, or has been. */
  progress: Progress & { readonly device: Uint8Array }
  /** A pack of this device, or what it sent as a holder, was refused for this reason. */
  refused: { readonly device: Uint8Array; readonly code: string }
}

export interface LiveFilter {
  readonly device?: Uint8Array | undefined
  /** Names as in `isChosen`; all where absent. */
  readonly sensor?: string | undefined
}

/** Readings that wait for one slow watcher, at most. */
const MAX_WAITING = 4096

/** The readings of one kept pack, in order. */
export function readingsOf({ pack, times, flags }: KeptPack): LiveReading[] {
  const { device, seq } = pack
  return pack.readings.map((reading, i) => {
    const atMs = times[i] ?? reading.atMs
    return { ...reading, device, atMs, seq, flags, verified: true }
  })
}

/**
 * Live readings until `signal` aborts. `missed` counts readings that were dropped just before this
 * one, because the watcher was slow.
 */
export async function* watchReadings(
  events: Emitter<TelemetryEvents>,
  { device, sensor }: LiveFilter,
  signal: AbortSignal,
): AsyncGenerator<LiveReading & { readonly missed: number }, void, undefined> {
  const waiting: LiveReading[] = []
  let missed = 0
  let wake = (): void => undefined
  const stop = new AbortController()
  const until = AbortSignal.any([signal, stop.signal])
  until.addEventListener('abort', () => wake(), { once: true })
  events.on(
    'reading',
    (reading) => {
      if (device !== undefined && !equalBytes(device, reading.device)) return
      if (sensor !== undefined && !isChosen(reading.sensor, [sensor])) return
      waiting.push(reading)
      if (waiting.length > MAX_WAITING) {
        waiting.shift()
        missed++
      }
      wake()
    },
    until,
  )
  try {
    while (!until.aborted) {
      const next = waiting.shift()
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        continue
      }
      const before = missed
      missed = 0
      yield { ...next, missed: before }
    }
  } finally {
    stop.abort()
  }
}
