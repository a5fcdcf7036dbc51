/**
 * Questions for summaries: which rows answer them, and the answer. Spans are whole: the first begins
 * at or just before the asked time, the last ends at or just after it. The coarsest rows that give
 * exactly the asked spans are taken; where those have gone already, the next coarser ones stand in,
 * in spans of their own length.
 */
import type { DatabaseSync } from 'node:sqlite'

import { FLAGS } from '../../protocols/telemetry/index.ts'
import { NodeError } from '../errors.ts'
import { LEVELS, spanMs, type Level } from './rollups.ts'

/** Most spans of one sensor that one question may ask for. */
export const MAX_SPANS = 10_000

const QUARTER_MS = 900_000
const HOUR_MS = 3_600_000

export interface SpanQuery {
  /** UTC milliseconds. */
  readonly sinceMs: number
  readonly untilMs: number
  /** Whole milliseconds. */
  readonly everyMs: number
}

/** What one statement answers. */
export interface Part extends SpanQuery {
  readonly level: Level
  /** Spans begin here and at multiples of `everyMs` from here. */
  readonly anchorMs: number
}

/** What the numbers of one sensor in one span come to. */
export interface SpanNumbers {
  /** Start of the span. */
  readonly atMs: number
  /** Length of the span: as asked, or longer where shorter ones are no longer kept. */
  readonly everyMs: number
  readonly min: number
  readonly mean: number
  readonly max: number
  readonly last: number
  readonly count: number
}

interface SpanRow extends SpanNumbers {
  readonly sensor: number
}

/**
 * Where the first span begins. At the asked time, where that is a quarter of an hour and spans are
 * an hour or more: so a day begins at midnight in any time zone. Else at the span, or the hour, in
 * which the asked time lies, counted from 1970 in UTC.
 */
export function anchorOf({ sinceMs, everyMs }: SpanQuery): number {
  if (everyMs >= HOUR_MS && sinceMs % QUARTER_MS === 0) return sinceMs
  const grid = Math.min(everyMs, HOUR_MS)
  return Math.floor(sinceMs / grid) * grid
}

/**
 * `firstMs` is the time of the oldest row of any kind; `completeFrom` says from when on the rows of
 * a level are all there. Parts come in order of time, and no reading belongs to two of them.
 *
 * @throws NodeError NODE_USAGE where more than `MAX_SPANS` are asked for
 */
export function plan(
  query: SpanQuery,
  firstMs: number,
  completeFrom: (level: Level) => number,
): Part[] {
  const { everyMs } = query
  const anchorMs = anchorOf(query)
  const skipped = Math.max(0, Math.floor((firstMs - anchorMs) / everyMs))
  const sinceMs = anchorMs + skipped * everyMs
  const count = Math.ceil((query.untilMs - sinceMs) / everyMs)
  if (count > MAX_SPANS) {
    throw new NodeError('NODE_USAGE', `More than ${MAX_SPANS} spans were asked for.`, {
      hint: 'Ask for longer spans, or for a shorter time.',
    })
  }
  const fits = LEVELS.filter(
    (level) => level === 0 || (everyMs % spanMs(level) === 0 && anchorMs % spanMs(level) === 0),
  )
  const exact = fits.at(-1) ?? 0
  const levels = LEVELS.filter((level) => level >= exact)
  const parts: Part[] = []
  let untilMs = sinceMs + Math.max(0, count) * everyMs
  for (const [i, level] of levels.entries()) {
    if (untilMs <= sinceMs) break
    const own = level === exact ? { everyMs, anchorMs } : coarser({ everyMs, anchorMs }, level)
    const next = levels[i + 1]
    const fromMs =
      next === undefined ? sinceMs : startingAt(sinceMs, completeFrom(level), spanMs(next))
    if (fromMs < untilMs) parts.unshift({ level, sinceMs: fromMs, untilMs, ...own })
    untilMs = Math.min(untilMs, fromMs)
  }
  return parts
}

/** From `sinceMs`, or where rows are complete from, at the beginning of a coarser span. */
function startingAt(sinceMs: number, completeFromMs: number, coarserMs: number): number {
  return completeFromMs <= sinceMs ? sinceMs : Math.ceil(completeFromMs / coarserMs) * coarserMs
}

function coarser(
  { everyMs, anchorMs }: Pick<Part, 'everyMs' | 'anchorMs'>,
  level: Level,
): Pick<Part, 'everyMs' | 'anchorMs'> {
  const length = spanMs(level)
  return {
    everyMs: Math.ceil(everyMs / length) * length,
    anchorMs: Math.floor(anchorMs / length) * length,
  }
}

/** Rows of one part for these sensors of one log, in order of time. */
export function spanRows(
  db: DatabaseSync,
  part: Part,
  { log, sensors }: { readonly log: number; readonly sensors: readonly number[] },
): SpanRow[] {
  const { everyMs, anchorMs } = part
  const list = sensors.join(',')
  const sql = part.level === 0 ? fromReadings(part, list, log) : fromRollups(part, list)
  const rows = db.prepare(sql).all() as unknown as (Omit<SpanRow, 'mean' | 'atMs'> & {
    span: number
    sum: number | null
  })[]
  return rows.map(({ sensor, span, min, max, sum, count, last }) => {
    const atMs = anchorMs + span * everyMs
    return { sensor, atMs, everyMs, min, mean: meanOf({ min, max, sum, count }), max, last, count }
  })
}

/** Sums of huge numbers end at infinity, their mean does not. */
function meanOf(facts: { min: number; max: number; sum: number | null; count: number }): number {
  const { min, max, sum, count } = facts
  return sum === null ? min / 2 + max / 2 : Math.min(Math.max(sum / count, min), max)
}

/** Times are whole numbers of our own making, so they stand in the statement itself. */
function rangeOf({ sinceMs, untilMs }: Part, list: string): string {
  return `sensor IN (${list}) AND t_ms >= ${whole(sinceMs)} AND t_ms < ${whole(untilMs)}`
}

function spanOf({ anchorMs, everyMs }: Part): string {
  return `(t_ms - ${whole(anchorMs)}) / ${whole(everyMs)}`
}

function whole(value: number): string {
  if (!Number.isSafeInteger(value)) throw new RangeError(`not a whole number: ${value}`)
  return String(value)
}

/** Packs of a log with two histories are kept, but not counted. */
const QUARANTINED = `(flags & ${FLAGS.quarantined}) <> 0`

function fromReadings(part: Part, list: string, log: number): string {
  const apart = `SELECT id FROM packs WHERE log = ${whole(log)} AND ${QUARANTINED}`
  return `
    SELECT sensor, span, min, max, sum, count,
      (SELECT r.value FROM readings r JOIN packs p ON p.id = r.pack
       WHERE r.sensor = g.sensor AND r.t_ms = g.at AND r.pack NOT IN (${apart})
       ORDER BY p.seq DESC, r.i DESC LIMIT 1) AS last
    FROM (SELECT sensor, ${spanOf(part)} AS span, min(value) AS min, max(value) AS max,
        total(value) AS sum, count(*) AS count, max(t_ms) AS at
      FROM readings WHERE ${rangeOf(part, list)} AND pack NOT IN (${apart})
      GROUP BY 1, 2) AS g
    ORDER BY 2, 1`
}

function fromRollups(part: Part, list: string): string {
  const rows = `level = ${part.level} AND ${rangeOf(part, list)}`
  if (part.everyMs === spanMs(part.level)) {
    return `SELECT sensor, ${spanOf(part)} AS span, min, max, sum, count, last
      FROM rollups WHERE ${rows} ORDER BY t_ms, sensor`
  }
  return `
    SELECT g.sensor, g.span, g.min, g.max, g.sum, g.count, r.last
    FROM (SELECT sensor, ${spanOf(part)} AS span, min(min) AS min, max(max) AS max,
        total(sum) AS sum, sum(count) AS count, max(t_ms) AS at
      FROM rollups WHERE ${rows} GROUP BY 1, 2) AS g
    JOIN rollups r ON r.sensor = g.sensor AND r.level = ${part.level} AND r.t_ms = g.at
    ORDER BY 2, 1`
}
