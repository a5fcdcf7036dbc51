/**
 * Under which grant each device stood when it was caught with two histories. A newer grant is an
 * owner's word that the device is trusted again, and reaches every device with the membership.
 */
import type { DatabaseSync } from 'node:sqlite'

import type { Migration } from './db.ts'

export const migration: Migration = {
  version: 7,
  sql: `CREATE TABLE distrusted (
    device BLOB PRIMARY KEY,
    grant_id BLOB NOT NULL
  ) STRICT, WITHOUT ROWID`,
}

export interface DistrustStore {
  all(): readonly { readonly device: Uint8Array; readonly grant: Uint8Array }[]
  /** The newest word counts. */
  put(device: Uint8Array, grant: Uint8Array): void
  delete(device: Uint8Array): void
}

export function openDistrustStore(db: DatabaseSync): DistrustStore {
  const list = db.prepare('SELECT device, grant_id AS "grant" FROM distrusted')
  const put = db.prepare('INSERT OR REPLACE INTO distrusted (device, grant_id) VALUES (?, ?)')
  const drop = db.prepare('DELETE FROM distrusted WHERE device = ?')
  return {
    all: () => list.all() as unknown as ReturnType<DistrustStore['all']>,
    put: (device, grant) => void put.run(device, grant),
    delete: (device) => void drop.run(device),
  }
}
