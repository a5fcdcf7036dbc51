/** Pairing's window counters on disk: they outlive kill -9, a power cut and any clock. */
import type { DatabaseSync } from 'node:sqlite'

import type { WindowRecord, WindowStore } from '../../protocols/pairing/index.ts'
import { systemBoot, type Boot } from '../boot.ts'
import { changeOrExplain, type Migration } from './db.ts'

export const migration: Migration = {
  version: 3,
  sql: `CREATE TABLE pairing_window (
    position INTEGER PRIMARY KEY,
    boot TEXT NOT NULL,
    opened_uptime_ms INTEGER NOT NULL CHECK (opened_uptime_ms >= 0),
    tries INTEGER NOT NULL CHECK (tries >= 0)
  ) STRICT`,
}

/** A store over `db`, which has `migration` applied. */
export function createWindowStore(db: DatabaseSync, boot: Boot = systemBoot()): WindowStore {
  const select = db.prepare(
    'SELECT boot, opened_uptime_ms, tries FROM pairing_window ORDER BY position',
  )
  const clear = db.prepare('DELETE FROM pairing_window')
  const insert = db.prepare(
    'INSERT INTO pairing_window (position, boot, opened_uptime_ms, tries) VALUES (?, ?, ?, ?)',
  )
  return {
    load: () =>
      select.all().map((row): WindowRecord => ({
        // Opened before this boot, so at least as long ago as this boot.
        openedUptimeMs: row['boot'] === boot.id ? Number(row['opened_uptime_ms']) : 0,
        tries: Number(row['tries']),
      })),
    save(records) {
      changeOrExplain(db, () => {
        clear.run()
        for (const [position, { openedUptimeMs, tries }] of records.entries()) {
          insert.run(position, boot.id, openedUptimeMs, tries)
        }
      })
    },
    uptimeMs: () => Math.floor(boot.uptimeMs()),
  }
}
