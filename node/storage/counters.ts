/** Pairing's window counters on disk: they outlive kill -9, a power cut and any clock. */
import { uptime } from 'node:os'
import type { DatabaseSync } from 'node:sqlite'

import type { WindowRecord, WindowStore } from '../../protocols/pairing/index.ts'
import { type Migration, transaction } from './db.ts'

export const migration: Migration = {
  version: 3,
  sql: `CREATE TABLE pairing_window (
    position INTEGER PRIMARY KEY,
    opened_uptime_ms INTEGER NOT NULL CHECK (opened_uptime_ms >= 0),
    tries INTEGER NOT NULL CHECK (tries >= 0)
  ) STRICT`,
}

/**
 * A store over `db`, which has `migration` applied. `uptimeMs` is the time since the machine
 * started, as the kernel counts it; no wall clock has a part in it.
 */
export function createWindowStore(
  db: DatabaseSync,
  uptimeMs: () => number = () => uptime() * 1000,
): WindowStore {
  const select = db.prepare('SELECT opened_uptime_ms, tries FROM pairing_window ORDER BY position')
  const clear = db.prepare('DELETE FROM pairing_window')
  const insert = db.prepare(
    'INSERT INTO pairing_window (position, opened_uptime_ms, tries) VALUES (?, ?, ?)',
  )
  return {
    load: () =>
      select.all().map((row): WindowRecord => ({
        openedUptimeMs: Number(row['opened_uptime_ms']),
        tries: Number(row['tries']),
      })),
    save(records) {
      transaction(db, () => {
        clear.run()
        for (const [position, { openedUptimeMs, tries }] of records.entries()) {
          insert.run(position, openedUptimeMs, tries)
        }
      })
    },
    uptimeMs: () => Math.floor(uptimeMs()),
  }
}
