/**
 * What a guest was told by the devices that measure: readings without proof, in memory only, so that
 * they can be shown and cannot be taken for more. Bounded; the oldest go first.
 */
import { FLAGS, trustedTimes, type Extract } from '../../../protocols/telemetry/index.ts'
import { toHex } from '../../../protocols/wire/index.ts'
import type { BucketRow, HistoryQuery, ReadingRow } from '../../storage/readings.ts'
import { isChosen } from '../sensors/index.ts'
import type { LiveReading } from './live.ts'

/** A row that no signed pack stands behind. */
export interface Extracted {
  readonly source: 'extract'
}

export interface ExtractShelf {
  /** Keep an extract, and return its readings to show. */
  take(device: Uint8Array, extract: Extract, receivedAtMs: number): readonly LiveReading[]
  /** Number of the newest pack that an extract of this device was from; 0 for none. */
  head(device: Uint8Array): number
  rows(device: Uint8Array, query: HistoryQuery): ((ReadingRow | BucketRow) & Extracted)[]
  clear(): void
}

/** Readings kept of one device. */
const MAX_READINGS = 8192
const DEFAULT_ROWS = 10_000

interface Shelf {
  head: number
  readings: LiveReading[]
}

export function createExtractShelf(): ExtractShelf {
  const shelves = new Map<string, Shelf>()
  return {
    take(device, { seq, clock, readings }, receivedAtMs) {
      const key = toHex(device)
      const shelf = shelves.get(key) ?? { head: 0, readings: [] }
      shelves.set(key, shelf)
      const told = { clock, mono: 0, born: 0, readings }
      const { times, flags } = trustedTimes(told, { receivedAtMs })
      const unsynced = clock === 'synced' ? 0 : FLAGS.clockUnsynced
      const shown = readings.map((reading, i): LiveReading => ({
        ...reading,
        atMs: times[i] ?? receivedAtMs,
        device,
        seq,
        flags: flags | unsynced,
        verified: false,
        source: 'extract',
      }))
      shelf.head = seq
      shelf.readings = [...shelf.readings, ...shown].slice(-MAX_READINGS)
      return shown
    },
    head: (device) => shelves.get(toHex(device))?.head ?? 0,
    rows(device, query) {
      const { sensor, sinceMs, untilMs, everyMs, limit = DEFAULT_ROWS } = query
      const found = (shelves.get(toHex(device))?.readings ?? [])
        .filter(({ atMs }) => atMs >= sinceMs && atMs < untilMs)
        .filter((reading) => sensor === undefined || isChosen(reading.sensor, [sensor]))
        .toSorted((a, b) => a.atMs - b.atMs)
      return everyMs === undefined ? found.slice(0, limit).map(rowOf) : buckets(found, everyMs)
    },
    clear: () => shelves.clear(),
  }
}

function rowOf({ sensor, unit, value, atMs, seq, flags }: LiveReading): ReadingRow & Extracted {
  const named = unit === undefined ? { sensor } : { sensor, unit }
  return { kind: 'reading', ...named, value, atMs, seq, flags, source: 'extract' }
}

function buckets(readings: readonly LiveReading[], everyMs: number): (BucketRow & Extracted)[] {
  const groups = Map.groupBy(
    readings.filter(({ value }) => typeof value !== 'string'),
    ({ sensor, unit, atMs }) => `${Math.floor(atMs / everyMs)} ${sensor} ${unit ?? ''}`,
  )
  return [...groups.values()].flatMap((group) => {
    const [first] = group
    if (first === undefined) return []
    const values = group.map(({ value }) => Number(value))
    const { sensor, unit, atMs } = first
    const sum = values.reduce((total, value) => total + value, 0)
    return [
      {
        kind: 'bucket',
        ...(unit === undefined ? { sensor } : { sensor, unit }),
        atMs: Math.floor(atMs / everyMs) * everyMs,
        everyMs,
        min: Math.min(...values),
        mean: sum / values.length,
        max: Math.max(...values),
        last: values.at(-1) ?? 0,
        count: values.length,
        source: 'extract',
      },
    ]
  })
}
