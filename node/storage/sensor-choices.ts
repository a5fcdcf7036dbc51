/** Which sensors a person switched on or off on this device; it stands above the settings. */
import type { DatabaseSync } from 'node:sqlite'

import type { Migration } from './db.ts'

export const migration: Migration = {
  version: 6,
  sql: `CREATE TABLE sensor_choice (
    name TEXT PRIMARY KEY,
    is_on INTEGER NOT NULL CHECK (is_on IN (0, 1))
  ) STRICT, WITHOUT ROWID`,
}

export interface SensorChoices {
  all(): readonly { readonly name: string; readonly on: boolean }[]
  set(name: string, on: boolean): void
}

export function openSensorChoices(db: DatabaseSync): SensorChoices {
  const select = db.prepare('SELECT name, is_on FROM sensor_choice ORDER BY name')
  const upsert = db.prepare(
    `INSERT INTO sensor_choice (name, is_on) VALUES (?, ?)
     ON CONFLICT (name) DO UPDATE SET is_on = excluded.is_on`,
  )
  return {
    all: () =>
      select.all().map((row) => ({ name: String(row['name']), on: Number(row['is_on']) === 1 })),
    set(name, on) {
      upsert.run(name, on ? 1 : 0)
    },
  }
}
