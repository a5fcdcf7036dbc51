/**
 * The readings that the page keeps: for each sensor of each device the points of the last hour, in
 * order of time, with a hole where readings are known to be missing. Pure; knows no network.
 */
import type { HistoryRow, Reading } from '../../api/view.ts'

export const WINDOW_MS = 60 * 60 * 1000
/** One hour of a reading a second. */
const MAX_POINTS = 3600

export interface Series {
  readonly sensor: string
  readonly unit: string
  /** Milliseconds since the Unix epoch, rising. */
  readonly times: readonly number[]
  /** Null is a hole: no line is drawn across it. */
  readonly values: readonly (number | null)[]
  /** The newest reading. */
  readonly last: Reading
  /** Every value so far was a whole number. */
  readonly whole: boolean
}

/** Sensor name → its points. */
export type DeviceSeries = ReadonlyMap<string, Series>

/** Peer id → its sensors. */
export type AllSeries = ReadonlyMap<string, DeviceSeries>

interface Points {
  readonly times: number[]
  readonly values: (number | null)[]
}

/** With one live reading at the end. One that is not newer than the last changes nothing. */
export function withReading(all: AllSeries, reading: Reading): AllSeries {
  const sensors = all.get(reading.device) ?? new Map<string, Series>()
  const before = sensors.get(reading.sensor)
  if (before !== undefined && reading.at <= before.last.at) return all
  const points: Points = {
    times: [...(before?.times ?? []), reading.at],
    values: [...(before?.values ?? []), reading.value],
  }
  const series = toSeries(reading, trimmed(points, reading.at))
  return new Map(all).set(reading.device, new Map(sensors).set(reading.sensor, series))
}

/** With what the device's history tells, oldest first; live readings newer than it stay. */
export function withHistory(
  all: AllSeries,
  device: string,
  rows: readonly HistoryRow[],
): AllSeries {
  const sensors = new Map(all.get(device))
  for (const sensor of new Set(rows.flatMap((row) => ('gap' in row ? [] : [row.sensor])))) {
    const points = pointsOf(rows, sensor)
    const newest = rows.findLast((row) => 'sensor' in row && row.sensor === sensor)
    if (newest === undefined || 'gap' in newest) continue
    const live = sensors.get(sensor)
    live?.times.forEach((at, index) => {
      if (at <= newest.at) return
      points.times.push(at)
      points.values.push(live.values[index] ?? null)
    })
    const last = live !== undefined && live.last.at > newest.at ? live.last : newest
    sensors.set(sensor, toSeries(last, trimmed(points, last.at)))
  }
  return new Map(all).set(device, sensors)
}

/** A gap breaks the line between the readings around it. */
function pointsOf(rows: readonly HistoryRow[], sensor: string): Points {
  const points: Points = { times: [], values: [] }
  let hole = false
  for (const row of rows) {
    if ('gap' in row) {
      hole = points.times.length > 0
    } else if (row.sensor === sensor && row.at > (points.times.at(-1) ?? -Infinity)) {
      if (hole) {
        points.times.push(row.at - 1)
        points.values.push(null)
        hole = false
      }
      points.times.push(row.at)
      points.values.push(row.value)
    }
  }
  return points
}

function trimmed({ times, values }: Points, newest: number): Points {
  const first = times.findIndex((at) => at >= newest - WINDOW_MS)
  const from = Math.max(first, times.length - MAX_POINTS, 0)
  return { times: times.slice(from), values: values.slice(from) }
}

function toSeries(last: Reading, points: Points): Series {
  return {
    sensor: last.sensor,
    unit: last.unit,
    ...points,
    last,
    whole: points.values.every((value) => value === null || Number.isInteger(value)),
  }
}

/** Smallest and largest value, or undefined where there is none. */
export function extent(
  values: readonly (number | null)[],
): { readonly min: number; readonly max: number } | undefined {
  let found: { min: number; max: number } | undefined
  for (const value of values) {
    if (value === null) continue
    found = {
      min: Math.min(found?.min ?? value, value),
      max: Math.max(found?.max ?? value, value),
    }
  }
  return found
}
