/**
 * Readings as rows, for questions about the past. The signed packs are the truth; these rows repeat
 * what is in them, filed under the time that the receiver trusts, and go when their pack goes.
 */
import type { DatabaseSync } from 'node:sqlite'

import type { Pack, Reading } from '../../protocols/telemetry/index.ts'
import { NodeError } from '../errors.ts'

export const READING_TABLES = `
  CREATE TABLE sensors (
    id INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    name TEXT NOT NULL,
    unit TEXT NOT NULL,
    kind TEXT NOT NULL,
    UNIQUE (log, name, unit, kind)
  ) STRICT;
  CREATE TABLE readings (
    sensor INTEGER NOT NULL,
    t_ms INTEGER NOT NULL,
    pack INTEGER NOT NULL,
    i INTEGER NOT NULL,
    value ANY NOT NULL,
    PRIMARY KEY (sensor, t_ms, pack, i)
  ) STRICT, WITHOUT ROWID;
`

/** Sensors of one log that get rows; what a device invents beyond stays in its packs only. */
const MAX_SENSORS = 1024
/** Most rows, or buckets of one sensor, that one question may return. */
const MAX_ROWS = 10_000

export interface HistoryQuery {
  /** A sensor's name, with `*` for any characters; all sensors where absent. */
  readonly sensor?: string | undefined
  /** From here on, UTC milliseconds. */
  readonly sinceMs: number
  /** And before here. */
  readonly untilMs: number
  /** One summary for each span of this length instead of each reading. */
  readonly everyMs?: number | undefined
  /** Most readings to return, oldest first; 10,000 where absent. Not for summaries. */
  readonly limit?: number | undefined
}

export interface ReadingRow extends Reading {
  readonly kind: 'reading'
  /** Number of the pack that holds it. */
  readonly seq: number
  /** The pack's `FLAGS`. */
  readonly flags: number
}

/** Numbers of one sensor in one span; true counts as 1, text is left out. */
export interface BucketRow {
  readonly kind: 'bucket'
  readonly sensor: string
  readonly unit?: string
  /** Start of the span. */
  readonly atMs: number
  readonly min: number
  readonly mean: number
  readonly max: number
  readonly last: number
  readonly count: number
}

export interface ReadingTable {
  /** Write the rows of one pack; inside the caller's transaction. */
  insert(log: number, packId: number, pack: Pack, times: readonly number[]): void
  /** Remove the rows of one pack, whose times lie in `fromMs`..`toMs`. */
  remove(log: number, packId: number, fromMs: number, toMs: number): void
  /** @throws NodeError NODE_USAGE where the span holds too many buckets */
  query(log: number, query: HistoryQuery): (ReadingRow | BucketRow)[]
  /** Forget what is remembered of the tables, after a transaction was undone. */
  forget(): void
}

interface Sensor {
  readonly id: number
  readonly name: string
  readonly unit: string
  readonly kind: string
}

export function readingTable(db: DatabaseSync): ReadingTable {
  const known = new Map<number, Map<string, number | undefined>>()
  const listSensors = db.prepare('SELECT id, name, unit, kind FROM sensors WHERE log = ?')
  const addSensor = db.prepare('INSERT INTO sensors (log, name, unit, kind) VALUES (?, ?, ?, ?)')
  const addReading = db.prepare(
    'INSERT INTO readings (sensor, t_ms, pack, i, value) VALUES (?, ?, ?, ?, ?)',
  )
  const dropReadings = db.prepare(
    'DELETE FROM readings WHERE sensor = ? AND t_ms BETWEEN ? AND ? AND pack = ?',
  )

  function sensorsOf(log: number): Map<string, number | undefined> {
    let found = known.get(log)
    if (found === undefined) {
      const rows = listSensors.all(log) as unknown as Sensor[]
      found = new Map(rows.map(({ id, name, unit, kind }) => [keyOf(name, unit, kind), id]))
      known.set(log, found)
    }
    return found
  }

  function sensorId(log: number, { sensor, unit = '', value }: Reading): number | undefined {
    const sensors = sensorsOf(log)
    const key = keyOf(sensor, unit, typeof value)
    const id = sensors.get(key)
    if (id !== undefined || sensors.size >= MAX_SENSORS) return id
    const added = Number(addSensor.run(log, sensor, unit, typeof value).lastInsertRowid)
    sensors.set(key, added)
    return added
  }

  return {
    insert(log, packId, pack, times) {
      for (const [i, reading] of pack.readings.entries()) {
        const sensor = sensorId(log, reading)
        if (sensor === undefined) continue
        const kept = typeof reading.value === 'boolean' ? Number(reading.value) : reading.value
        addReading.run(sensor, times[i] ?? 0, packId, i, kept)
      }
    },
    remove(log, packId, fromMs, toMs) {
      for (const id of sensorsOf(log).values()) {
        if (id !== undefined) dropReadings.run(id, fromMs, toMs, packId)
      }
    },
    query(log, query) {
      const wanted = (
        db
          .prepare('SELECT id, name, unit, kind FROM sensors WHERE log = ? AND name GLOB ?')
          .all(log, query.sensor ?? '*') as unknown as Sensor[]
      ).slice(0, MAX_SENSORS)
      if (wanted.length === 0) return []
      const sensors = new Map(wanted.map((sensor) => [sensor.id, sensor]))
      return query.everyMs === undefined
        ? eachReading(db, sensors, query)
        : buckets(db, sensors, { ...query, everyMs: query.everyMs })
    },
    forget: () => known.clear(),
  }
}

function keyOf(name: string, unit: string, kind: string): string {
  return `${name} ${unit} ${kind}`
}

type Sensors = ReadonlyMap<number, Sensor>

function eachReading(db: DatabaseSync, sensors: Sensors, query: HistoryQuery): ReadingRow[] {
  const statement = db.prepare(`
    SELECT r.sensor, r.t_ms, r.value, p.seq, p.flags FROM readings r JOIN packs p ON p.id = r.pack
    WHERE r.sensor IN (${[...sensors.keys()].join(',')}) AND r.t_ms >= ? AND r.t_ms < ?
    ORDER BY r.t_ms, p.seq, r.i LIMIT ?`)
  const limit = Math.min(query.limit ?? MAX_ROWS, MAX_ROWS)
  const rows = statement.all(query.sinceMs, query.untilMs, limit) as unknown as {
    sensor: number
    t_ms: number
    value: number | string
    seq: number
    flags: number
  }[]
  return rows.map(({ sensor, t_ms: atMs, value, seq, flags }) => {
    const { name, unit, kind } = sensors.get(sensor) ?? { name: '', unit: '', kind: '' }
    const shown = kind === 'boolean' ? value === 1 : value
    return { kind: 'reading', sensor: name, ...unitOf(unit), value: shown, atMs, seq, flags }
  })
}

function buckets(
  db: DatabaseSync,
  sensors: Sensors,
  query: HistoryQuery & { everyMs: number },
): BucketRow[] {
  const { sinceMs, untilMs, everyMs } = query
  if (!(everyMs >= 1) || (untilMs - sinceMs) / everyMs > MAX_ROWS) {
    throw new NodeError('NODE_USAGE', `More than ${MAX_ROWS} spans were asked for.`, {
      hint: 'Ask for longer spans, or for a shorter time.',
    })
  }
  const from = `FROM readings WHERE sensor IN (${[...sensors.keys()].join(',')})
    AND t_ms >= :since AND t_ms < :until AND typeof(value) <> 'text' GROUP BY 1, 2`
  // Numbers are bound as floating point.
  const span = 'CAST((t_ms - :since) / :every AS INTEGER)'
  const args = { since: sinceMs, until: untilMs, every: Math.floor(everyMs) }
  const rows = db
    .prepare(
      `SELECT sensor, ${span} AS span, min(value) AS min, avg(value) AS mean, max(value) AS max,
       count(*) AS count ${from} ORDER BY 2, 1`,
    )
    .all(args) as unknown as (Omit<BucketRow, 'sensor'> & { sensor: number; span: number })[]
  // With max() alone, SQLite takes the other columns from the row that has the maximum.
  const lasts = db
    .prepare(`SELECT sensor, ${span} AS span, max(t_ms), value AS last ${from}`)
    .all(args) as unknown as { sensor: number; span: number; last: number }[]
  const lastOf = new Map(lasts.map(({ sensor, span: at, last }) => [`${sensor}/${at}`, last]))
  return rows.map(({ sensor, span: at, min, mean, max, count }) => {
    const { name, unit } = sensors.get(sensor) ?? { name: '', unit: '' }
    const last = lastOf.get(`${sensor}/${at}`) ?? mean
    const atMs = sinceMs + at * Math.floor(everyMs)
    return { kind: 'bucket', sensor: name, ...unitOf(unit), atMs, min, mean, max, last, count }
  })
}

function unitOf(unit: string): { unit?: string } {
  return unit === '' ? {} : { unit }
}
