/**
 * Summaries of readings for spans of five minutes and of an hour: they answer questions about months
 * at once, and stay when the readings themselves have gone. Kept up reading by reading, in the same
 * transaction as the packs, so they never say other than the readings did; a late reading goes into
 * the span that it belongs to. Removing packs leaves them alone.
 *
 * Here too: from when on each kind of row is complete, which is what `plan` of spans.ts asks.
 */
import type { DatabaseSync } from 'node:sqlite'

export const ROLLUP_TABLES = `
  CREATE TABLE rollups (
    sensor INTEGER NOT NULL,
    level INTEGER NOT NULL,
    t_ms INTEGER NOT NULL,
    min REAL NOT NULL,
    max REAL NOT NULL,
    sum REAL NOT NULL,
    count INTEGER NOT NULL,
    last REAL NOT NULL,
    last_ms INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    last_i INTEGER NOT NULL,
    PRIMARY KEY (sensor, level, t_ms)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE history_floors (
    log INTEGER NOT NULL,
    level INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    PRIMARY KEY (log, level)
  ) STRICT, WITHOUT ROWID;
`

/** Length of the spans in minutes; 0 stands for the readings themselves. */
export const LEVELS = [0, 5, 60] as const
export type Level = (typeof LEVELS)[number]
type SpanLevel = Exclude<Level, 0>

const SPAN_LEVELS: readonly SpanLevel[] = [5, 60]
const MINUTE_MS = 60_000
/** What goes at a time, where room is needed: a day of short spans, a month of long ones. */
const ROOM_STEP_MS: Readonly<Record<SpanLevel, number>> = { 5: 86_400_000, 60: 30 * 86_400_000 }
/** Floors that hold for every log. */
const ALL_LOGS = 0

/** One number of one sensor. */
export interface Measured {
  /** Row of `sensors`. */
  readonly sensor: number
  /** UTC milliseconds. */
  readonly atMs: number
  /** Number of the pack and place in it: which of two readings of one moment is the later. */
  readonly seq: number
  readonly i: number
  readonly value: number
}

/** Summaries that begin before these times go. UTC milliseconds. */
export interface SpanLimits {
  readonly fiveMinutesBeforeMs: number
  readonly hoursBeforeMs: number
}

export interface RollupTable {
  /** Add readings that were not added before. Inside the caller's transaction. */
  add(readings: readonly Measured[]): void
  /** Readings of `log` up to and including `toMs` may be gone. Inside a transaction. */
  dropped(log: number, toMs: number): void
  /** From when on the rows of `level` are complete. UTC milliseconds; -Infinity for always. */
  completeFrom(log: number, level: Level): number
  /** Remove summaries by age; returns how many went. Inside a transaction. */
  prune(limits: SpanLimits): number
  /** Remove some of the oldest summaries, short spans first. 0 where there are none. */
  makeRoom(): number
}

export function spanMs(level: Level): number {
  return level * MINUTE_MS
}

export function rollupTable(db: DatabaseSync): RollupTable {
  const merge = db.prepare(MERGE)
  const lower = db.prepare(
    `INSERT INTO history_floors VALUES (?, ?, ?)
     ON CONFLICT DO UPDATE SET from_ms = max(from_ms, excluded.from_ms)`,
  )
  const floor = db.prepare(
    'SELECT max(from_ms) AS floor FROM history_floors WHERE level = ? AND log IN (?, ?)',
  )
  const listSensors = db.prepare('SELECT id FROM sensors')
  const drop = db.prepare('DELETE FROM rollups WHERE sensor = ? AND level = ? AND t_ms < ?')
  const oldest = db.prepare(
    'SELECT min(t_ms) AS oldest FROM rollups WHERE sensor = ? AND level = ?',
  )
  const sensors = (): number[] => (listSensors.all() as { id: number }[]).map(({ id }) => id)

  function pruneLevel(level: SpanLevel, beforeMs: number): number {
    if (beforeMs === -Infinity) return 0
    // Whole spans only: what is complete ends where a span does.
    const fromMs = startOf(beforeMs, level)
    const gone = sensors().reduce(
      (sum, sensor) => sum + Number(drop.run(sensor, level, fromMs).changes),
      0,
    )
    if (gone > 0) lower.run(ALL_LOGS, level, fromMs)
    return gone
  }

  return {
    add(readings) {
      for (const level of SPAN_LEVELS) {
        for (const span of spansOf(readings, level)) merge.run({ ...span })
      }
    },
    dropped: (log, toMs) => void lower.run(log, 0, toMs + 1),
    completeFrom(log, level) {
      const row = floor.get(level, log, ALL_LOGS) as { floor: number | null }
      return row.floor ?? -Infinity
    },
    prune: ({ fiveMinutesBeforeMs, hoursBeforeMs }) =>
      pruneLevel(5, fiveMinutesBeforeMs) + pruneLevel(60, hoursBeforeMs),
    makeRoom() {
      for (const level of SPAN_LEVELS) {
        const starts = sensors().flatMap((sensor) => {
          const row = oldest.get(sensor, level) as { oldest: number | null }
          return row.oldest ?? []
        })
        const first = Math.min(...starts)
        const gone = starts.length > 0 ? pruneLevel(level, first + ROOM_STEP_MS[level]) : 0
        if (gone > 0) return gone
      }
      return 0
    },
  }
}

/** The largest sum that is kept: beyond it there are only infinities, and no way back from them. */
const MAX = Number.MAX_VALUE

const MERGE = `
  INSERT INTO rollups (sensor, level, t_ms, min, max, sum, count, last, last_ms, last_seq, last_i)
  VALUES (:sensor, :level, :atMs, :min, :max, :sum, :count, :last, :lastMs, :lastSeq, :lastI)
  ON CONFLICT DO UPDATE SET
    min = min(min, excluded.min),
    max = max(max, excluded.max),
    sum = max(min(sum + excluded.sum, ${MAX}), -${MAX}),
    count = count + excluded.count,
    (last, last_ms, last_seq, last_i) = (
      SELECT iif(later, excluded.last, last), iif(later, excluded.last_ms, last_ms),
        iif(later, excluded.last_seq, last_seq), iif(later, excluded.last_i, last_i)
      FROM (SELECT (excluded.last_ms, excluded.last_seq, excluded.last_i)
        > (last_ms, last_seq, last_i) AS later))`

interface Span {
  readonly sensor: number
  readonly level: SpanLevel
  readonly atMs: number
  min: number
  max: number
  sum: number
  count: number
  last: number
  lastMs: number
  lastSeq: number
  lastI: number
}

/** Most readings of a pack share a few spans: each is written once. */
function spansOf(readings: readonly Measured[], level: SpanLevel): readonly Span[] {
  const all: Span[] = []
  /** The last span of each sensor: times of a pack mostly rise. */
  const last = new Map<number, Span>()
  for (const reading of readings) {
    const { sensor } = reading
    const atMs = startOf(reading.atMs, level)
    const near = last.get(sensor)
    if (near?.atMs === atMs) {
      addTo(near, reading)
      continue
    }
    const span = newSpan(reading, level, atMs)
    all.push(span)
    last.set(sensor, span)
  }
  return all
}

function newSpan(
  { sensor, value, atMs: lastMs, seq: lastSeq, i: lastI }: Measured,
  level: SpanLevel,
  atMs: number,
): Span {
  const facts = { min: value, max: value, sum: value, count: 1, last: value }
  return { sensor, level, atMs, ...facts, lastMs, lastSeq, lastI }
}

function addTo(span: Span, { value, atMs, seq, i }: Measured): void {
  span.min = Math.min(span.min, value)
  span.max = Math.max(span.max, value)
  span.sum = Math.max(Math.min(span.sum + value, MAX), -MAX)
  span.count++
  if ((atMs - span.lastMs || seq - span.lastSeq || i - span.lastI) <= 0) return
  span.last = value
  span.lastMs = atMs
  span.lastSeq = seq
  span.lastI = i
}

function startOf(atMs: number, level: SpanLevel): number {
  return Math.floor(atMs / spanMs(level)) * spanMs(level)
}
