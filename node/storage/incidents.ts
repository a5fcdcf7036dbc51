/** Signed reports of what went wrong: this device's own, and on an owner those of the others. */
import type { DatabaseSync } from 'node:sqlite'

import { BOUNDS, NO_PREV, type Report } from '../../protocols/incidents/index.ts'
import { transaction, type Migration } from './db.ts'

export const migration: Migration = {
  version: 8,
  sql: `CREATE TABLE incidents (
    device BLOB NOT NULL,
    seq INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    hash BLOB NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (device, seq)
  ) STRICT`,
}

export interface KeptReport {
  /** Whose, 32 bytes. */
  readonly device: Uint8Array
  readonly seq: number
  readonly bytes: Uint8Array
}

export interface IncidentStore {
  /** Make the next report of this device and put it on disk. */
  append(device: Uint8Array, make: (seq: number, prev: Uint8Array) => Report): Report
  /** Keep a report that was checked. The oldest of its device go where there are too many. */
  insert(report: Report): void
  last(device: Uint8Array): { readonly seq: number; readonly hash: Uint8Array } | undefined
  /** The first kept report of `device` with this number or a higher one. */
  next(device: Uint8Array, fromSeq: number): KeptReport | undefined
  /** Reports since then, oldest first, by the clocks of those who made them. */
  list(query: { readonly device?: Uint8Array | undefined; readonly sinceMs: number }): KeptReport[]
}

export function openIncidentStore(db: DatabaseSync): IncidentStore {
  const newest = db.prepare(
    'SELECT seq, hash FROM incidents WHERE device = ? ORDER BY seq DESC LIMIT 1',
  )
  const add = db.prepare('INSERT OR IGNORE INTO incidents VALUES (?, ?, ?, ?, ?)')
  const trim = db.prepare('DELETE FROM incidents WHERE device = ? AND seq <= ?')
  const after = db.prepare(
    'SELECT device, seq, bytes FROM incidents WHERE device = ? AND seq >= ? ORDER BY seq LIMIT 1',
  )
  const some = db.prepare(
    `SELECT device, seq, bytes FROM incidents
     WHERE (:device IS NULL OR device = :device) AND at_ms >= :since ORDER BY at_ms, seq`,
  )
  const last = (device: Uint8Array): ReturnType<IncidentStore['last']> =>
    newest.get(device) as { seq: number; hash: Uint8Array } | undefined

  function write({ device, seq, at, hash, bytes }: Report): void {
    add.run(device, seq, at, hash, bytes)
    trim.run(device, seq - BOUNDS.maxKept)
  }

  return {
    last,
    append(device, make) {
      return transaction(db, () => {
        const before = last(device)
        const report = make((before?.seq ?? 0) + 1, before?.hash ?? NO_PREV)
        write(report)
        return report
      })
    },
    insert: (report) => transaction(db, () => write(report)),
    next: (device, fromSeq) => after.get(device, fromSeq) as KeptReport | undefined,
    list: ({ device, sinceMs }) =>
      some.all({ device: device ?? null, since: sinceMs }) as unknown as KeptReport[],
  }
}
