/**
 * Readings that have no date yet: their device's clock was not set when they were taken, and nothing
 * has told since when that was. Read from the packs themselves, for there is no date to file them by.
 */
import type { DatabaseSync } from 'node:sqlite'

import { FLAGS, reopenPack } from '../../protocols/telemetry/index.ts'

export interface UnplacedRow {
  readonly sensor: string
  readonly unit?: string
  readonly value: number | boolean | string
  /** One life of the machine, 16 bytes. */
  readonly bootId: Uint8Array
  /** Milliseconds from the start of the machine to the reading. */
  readonly sinceStartMs: number
  readonly seq: number
  /** The pack's `FLAGS`. */
  readonly flags: number
}

const PAGE_PACKS = 32

/** Of one log, in the order in which they were published; read page by page. */
export function* unplacedRows(
  db: DatabaseSync,
  device: Uint8Array,
): Generator<UnplacedRow, void, undefined> {
  const page = db.prepare(
    `SELECT p.seq, p.flags, p.bytes FROM packs p JOIN logs l ON l.id = p.log
     WHERE l.device = ? AND (p.flags & ${FLAGS.unplaced}) <> 0 AND p.seq > ?
     ORDER BY p.seq LIMIT ${PAGE_PACKS}`,
  )
  for (let after = 0; ;) {
    const packs = page.all(device, after) as { seq: number; flags: number; bytes: Uint8Array }[]
    for (const { bytes, flags, seq } of packs) {
      after = seq
      const { bootId, mono, readings } = reopenPack(bytes)
      for (const { atMs, ...reading } of readings) {
        yield { ...reading, bootId, sinceStartMs: Math.max(0, mono + atMs), seq, flags }
      }
    }
    if (packs.length < PAGE_PACKS) return
  }
}
