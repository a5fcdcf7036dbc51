/** When each device of the home was last connected, and where: for people, and for the next start. */
import type { DatabaseSync } from 'node:sqlite'

import type { Migration } from './db.ts'

export const migration: Migration = {
  version: 5,
  sql: `CREATE TABLE peer_seen (
    device BLOB PRIMARY KEY CHECK (length(device) = 32),
    seen_ms INTEGER NOT NULL,
    address TEXT NOT NULL,
    version TEXT
  ) STRICT, WITHOUT ROWID`,
}

export interface PeerSeen {
  /** Milliseconds since the Unix epoch, by our own clock. */
  readonly seenMs: number
  /** Multiaddr in use then. */
  readonly address: string
  /** Kith's version there; null where it did not say. */
  readonly version: string | null
}

export interface PeerStore {
  get(device: Uint8Array): PeerSeen | undefined
  put(device: Uint8Array, seen: PeerSeen): void
  clear(): void
}

export function createPeerStore(db: DatabaseSync): PeerStore {
  const select = db.prepare('SELECT seen_ms, address, version FROM peer_seen WHERE device = ?')
  const upsert = db.prepare(
    `INSERT INTO peer_seen (device, seen_ms, address, version) VALUES (?, ?, ?, ?)
     ON CONFLICT (device) DO UPDATE SET
       seen_ms = excluded.seen_ms, address = excluded.address,
       version = coalesce(excluded.version, version)`,
  )
  const clear = db.prepare('DELETE FROM peer_seen')
  return {
    get(device) {
      const row = select.get(device) as
        | { seen_ms: number; address: string; version: string | null }
        | undefined
      if (row === undefined) return undefined
      return { seenMs: row.seen_ms, address: row.address, version: row.version }
    },
    put(device, { seenMs, address, version }) {
      upsert.run(device, seenMs, address, version)
    },
    clear() {
      clear.run()
    },
  }
}
