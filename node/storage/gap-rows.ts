/** What is missing in a log, as rows of its history. */
import { gapsOf, type LogState, type SeqRange } from '../../protocols/telemetry/index.ts'
import type { BucketRow, HistoryQuery, ReadingRow } from './readings.ts'

export interface GapRow extends SeqRange {
  readonly kind: 'gap'
  /** Time of the last reading before it; undefined for a log that starts with a gap. */
  readonly afterMs?: number
  /** Time of the first reading after it. */
  readonly beforeMs: number
}

export function gapRows(state: LogState, { sinceMs, untilMs }: HistoryQuery): GapRow[] {
  return gapsOf(state).flatMap(({ from, to }) => {
    const afterMs = state.segments.find((segment) => segment.to === from - 1)?.toMs
    const beforeMs = state.segments.find((segment) => segment.from === to + 1)?.fromMs ?? 0
    if (beforeMs < sinceMs || (afterMs ?? -Infinity) >= untilMs) return []
    return [{ kind: 'gap', from, to, beforeMs, ...(afterMs === undefined ? {} : { afterMs }) }]
  })
}

/** Where a row stands in time. */
export function timeOf(row: ReadingRow | BucketRow | GapRow): number {
  return row.kind === 'gap' ? (row.afterMs ?? row.beforeMs - 1) : row.atMs
}
