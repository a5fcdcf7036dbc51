/** The membership ops of this device's home, in SQLite: they only ever grow, until a factory reset. */
import type { DatabaseSync } from 'node:sqlite'

import { equalBytes } from '../../protocols/wire/index.ts'
import { NodeError } from '../errors.ts'
import { changeOrExplain, type Migration } from './db.ts'

export const migration: Migration = {
  version: 1,
  sql: `
    CREATE TABLE home (
      one INTEGER PRIMARY KEY CHECK (one = 1),
      id BLOB NOT NULL CHECK (length(id) = 32)
    ) STRICT;
    CREATE TABLE member_ops (
      position INTEGER PRIMARY KEY AUTOINCREMENT,
      id BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
      bytes BLOB NOT NULL
    ) STRICT;
  `,
}

export interface StoredOp {
  /** 32 bytes. */
  readonly id: Uint8Array
  /** The signed envelope. */
  readonly bytes: Uint8Array
}

export interface OpStore {
  /** The home that this device is in, 32 bytes. */
  home(): Uint8Array | undefined
  /** All ops in the order in which they were stored: parents first. */
  loadAll(): readonly Uint8Array[]
  /**
   * Store ops of `home`, all or none; those that are there already stay as they are. On disk when
   * this returns. The first call puts the device into that home.
   *
   * @throws NodeError NODE_CONFLICT where the device is in another home
   */
  append(home: Uint8Array, ops: readonly StoredOp[]): void
  /** Leave the home and forget all of its ops. */
  forget(): void
}

/** `db` was opened with `migration`. */
export function openOpStore(db: DatabaseSync): OpStore {
  const selectHome = db.prepare('SELECT id FROM home')
  const insertHome = db.prepare('INSERT INTO home (one, id) VALUES (1, ?)')
  const selectOps = db.prepare('SELECT bytes FROM member_ops ORDER BY position')
  const insertOp = db.prepare(
    'INSERT INTO member_ops (id, bytes) VALUES (?, ?) ON CONFLICT (id) DO NOTHING',
  )

  function home(): Uint8Array | undefined {
    const row = selectHome.get() as { id: Uint8Array } | undefined
    return row === undefined ? undefined : Uint8Array.from(row.id)
  }

  return {
    home,
    loadAll: () =>
      (selectOps.all() as { bytes: Uint8Array }[]).map(({ bytes }) => Uint8Array.from(bytes)),
    append(of, ops) {
      changeOrExplain(db, () => {
        const current = home()
        if (current === undefined) insertHome.run(of)
        else if (!equalBytes(current, of)) {
          throw new NodeError('NODE_CONFLICT', 'This device is in another home.', {
            hint: 'Nothing was changed. To move it, reset it first: kith reset.',
          })
        }
        for (const { id, bytes } of ops) insertOp.run(id, bytes)
      })
    },
    forget() {
      changeOrExplain(db, () => db.exec('DELETE FROM member_ops; DELETE FROM home'))
    },
  }
}
