/** Which packs of a log an export holds. */
import type { DatabaseSync } from 'node:sqlite'

import type { SeqRange } from '../../protocols/telemetry/index.ts'

export interface ExportTimes {
  /** UTC milliseconds; all where absent. */
  readonly sinceMs?: number | undefined
  readonly untilMs?: number | undefined
}

/**
 * From the first to the last kept pack that touches the time: what lies between belongs to it too,
 * whatever its clock said. Undefined where there is none.
 */
export function exportRange(
  db: DatabaseSync,
  device: Uint8Array,
  { sinceMs, untilMs }: ExportTimes,
): SeqRange | undefined {
  const row = db
    .prepare(
      `SELECT min(seq) AS first, max(seq) AS last FROM packs JOIN logs ON logs.id = log
       WHERE device = ? AND (? IS NULL OR to_ms >= ?) AND (? IS NULL OR from_ms < ?)`,
    )
    .get(device, sinceMs ?? null, sinceMs ?? null, untilMs ?? null, untilMs ?? null)
  const { first, last } = row as { first: number | null; last: number | null }
  return first === null || last === null ? undefined : { from: first, to: last }
}
