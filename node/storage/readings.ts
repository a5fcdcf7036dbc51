/**
 * Readings as rows, for questions about the past. The signed packs are the truth; these rows repeat
 * what is in them, filed under the time that the receiver trusts, and go when their pack goes. What
 * is left of them then are the summaries of rollups.ts.
 */
import type { DatabaseSync } from 'node:sqlite'

import { FLAGS, type Pack, type Reading } from '../../protocols/telemetry/index.ts'
import type { Measured, RollupTable } from './rollups.ts'
import { sensorTable, type Sensor } from './sensor-rows.ts'
import { plan, spanRows, type SpanNumbers } from './spans.ts'

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

const KEPT_APART = `
  SELECT r.sensor, r.t_ms AS atMs, p.seq, r.i, r.value FROM packs p
  JOIN sensors s ON s.log = p.log AND s.kind <> 'string'
  JOIN readings r ON r.sensor = s.id AND r.t_ms BETWEEN p.from_ms AND p.to_ms AND r.pack = p.id
  WHERE p.log = ? AND (p.flags & ${FLAGS.quarantined}) <> 0`

/** Most readings that one question may return. */
const MAX_ROWS = 10_000

export interface HistoryQuery {
  /** A sensor's name, with `*` for any characters; all sensors where absent. */
  readonly sensor?: string | undefined
  /** From here on, UTC milliseconds. */
  readonly sinceMs: number
  /** And before here. */
  readonly untilMs: number
  /** One summary for each span of this length instead of each reading: whole spans, see spans.ts. */
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

/**
 * Numbers of one sensor in one span; true counts as 1, text is left out, and so is what came after
 * proof of two histories.
 */
export interface BucketRow extends SpanNumbers {
  readonly kind: 'bucket'
  readonly sensor: string
  readonly unit?: string
}

export interface ReadingTable {
  /** Write the rows of one pack; inside the caller's transaction. */
  insert(log: number, packId: number, kept: FiledPack): void
  /** Remove the rows of one pack, whose times lie in `fromMs`..`toMs`; what they add up to stays. */
  remove(log: number, packId: number, fromMs: number, toMs: number): void
  /** Packs that were kept apart count from now on; inside the caller's transaction. */
  release(log: number): void
  /** @throws NodeError NODE_USAGE where the span holds too many buckets */
  query(log: number, query: HistoryQuery): (ReadingRow | BucketRow)[]
  /** Forget what is remembered of the tables, after a transaction was undone. */
  forget(): void
}

/** A pack, the times to file its readings under, and its `FLAGS`. */
export interface FiledPack {
  readonly pack: Pack
  readonly times: readonly number[]
  readonly flags: number
}

export function readingTable(db: DatabaseSync, rollups: RollupTable): ReadingTable {
  const sensors = sensorTable(db)
  const add = db.prepare(
    'INSERT INTO readings (sensor, t_ms, pack, i, value) VALUES (?, ?, ?, ?, ?)',
  )
  const drop = db.prepare(
    'DELETE FROM readings WHERE sensor = ? AND t_ms BETWEEN ? AND ? AND pack = ?',
  )
  return {
    insert(log, packId, { pack, times, flags }) {
      const numbers: Measured[] = []
      for (const [i, reading] of pack.readings.entries()) {
        const sensor = sensors.idOf(log, reading)
        if (sensor === undefined) continue
        const value = typeof reading.value === 'boolean' ? Number(reading.value) : reading.value
        const atMs = times[i] ?? 0
        add.run(sensor, atMs, packId, i, value)
        if (typeof value === 'number') numbers.push({ sensor, atMs, seq: pack.seq, i, value })
      }
      if ((flags & FLAGS.quarantined) === 0) rollups.add(numbers)
    },
    remove(log, packId, fromMs, toMs) {
      for (const id of sensors.idsOf(log)) drop.run(id, fromMs, toMs, packId)
      rollups.dropped(log, toMs)
    },
    release(log) {
      const rows = db.prepare(KEPT_APART).iterate(log) as IterableIterator<unknown>
      for (const row of rows) rollups.add([row as Measured])
      db.prepare(`UPDATE packs SET flags = flags & ~${FLAGS.quarantined} WHERE log = ?`).run(log)
    },
    query(log, query) {
      const wanted = sensors.matching(log, query.sensor ?? '*')
      if (wanted.size === 0) return []
      const { everyMs } = query
      return everyMs === undefined
        ? eachReading(db, wanted, query)
        : summaries({ db, rollups }, { log, sensors: wanted }, { ...query, everyMs })
    },
    forget: () => sensors.forget(),
  }
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

function summaries(
  { db, rollups }: { readonly db: DatabaseSync; readonly rollups: RollupTable },
  { log, sensors }: { readonly log: number; readonly sensors: Sensors },
  query: HistoryQuery & { readonly everyMs: number },
): BucketRow[] {
  const numbers = [...sensors.values()].filter(({ kind }) => kind !== 'string')
  const ids = numbers.map(({ id }) => id)
  const asked = { ...query, everyMs: Math.max(1, Math.floor(query.everyMs)) }
  const parts = plan(asked, oldestOf(db, ids), (level) => rollups.completeFrom(log, level))
  return parts
    .flatMap((part) => spanRows(db, part, { log, sensors: ids }))
    .map(({ sensor: id, ...row }) => {
      const { name, unit } = sensors.get(id) ?? { name: '', unit: '' }
      return { kind: 'bucket', sensor: name, ...unitOf(unit), ...row }
    })
}

/** Time of the oldest row of any kind, short of the oldest reading by an hour at most. */
function oldestOf(db: DatabaseSync, sensors: readonly number[]): number {
  const oldest = db.prepare(
    `SELECT min(
       ifnull((SELECT min(t_ms) FROM rollups WHERE sensor = :id AND level = 60), 9e15),
       ifnull((SELECT min(t_ms) FROM rollups WHERE sensor = :id AND level = 5), 9e15),
       ifnull((SELECT min(t_ms) FROM readings WHERE sensor = :id), 9e15)) AS oldest`,
  )
  return Math.min(...sensors.map((id) => (oldest.get({ id }) as { oldest: number }).oldest))
}

function unitOf(unit: string): { unit?: string } {
  return unit === '' ? {} : { unit }
}
