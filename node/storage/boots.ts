/**
 * When each boot of each device was, as its packs tell: needed for packs that were made before the
 * device's clock was set, which may come before or after the one that tells.
 */
import type { DatabaseSync } from 'node:sqlite'

import { equalBytes } from '../../protocols/wire/index.ts'

export const BOOT_TABLES = `
  CREATE TABLE boots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    log INTEGER NOT NULL,
    boot BLOB NOT NULL,
    born_ms INTEGER,
    UNIQUE (log, boot)
  ) STRICT;
`

/** Boots of one log that are remembered; the oldest are forgotten. */
const MAX_BOOTS = 1024

export interface Boot {
  readonly id: number
  /** UTC milliseconds when it began; undefined where no pack has told. */
  readonly bornMs: number | undefined
}

export interface NotedBoot extends Boot {
  /** When it began was not known before. */
  readonly fresh: boolean
}

export interface BootTable {
  find(log: number, bootId: Uint8Array): Boot | undefined
  /**
   * Remember a boot, and when it began where `bornMs` says so: what was told first stays. Inside a
   * transaction.
   */
  note(log: number, bootId: Uint8Array, bornMs: number | undefined): NotedBoot
  /** Forget what is remembered of the table, after a transaction was undone. */
  forget(): void
}

export function bootTable(db: DatabaseSync): BootTable {
  /** The boot of each log that was asked for last: mostly the running one. */
  const newest = new Map<number, Boot & { readonly bootId: Uint8Array }>()
  const select = db.prepare('SELECT id, born_ms FROM boots WHERE log = ? AND boot = ?')
  const insert = db.prepare('INSERT INTO boots (log, boot, born_ms) VALUES (?, ?, ?)')
  const update = db.prepare('UPDATE boots SET born_ms = ? WHERE id = ?')
  const trim = db.prepare(
    `DELETE FROM boots WHERE log = :log AND id <=
       (SELECT id FROM boots WHERE log = :log ORDER BY id DESC LIMIT 1 OFFSET ${MAX_BOOTS})`,
  )

  function find(log: number, bootId: Uint8Array): Boot | undefined {
    const remembered = newest.get(log)
    if (remembered !== undefined && equalBytes(remembered.bootId, bootId)) return remembered
    const row = select.get(log, bootId) as { id: number; born_ms: number | null } | undefined
    if (row === undefined) return undefined
    return remember(log, bootId, { id: row.id, bornMs: row.born_ms ?? undefined })
  }

  function remember(log: number, bootId: Uint8Array, boot: Boot): Boot {
    newest.set(log, { ...boot, bootId })
    return boot
  }

  return {
    find,
    note(log, bootId, bornMs) {
      const known = find(log, bootId)
      if (known === undefined) {
        const { lastInsertRowid } = insert.run(log, bootId, bornMs ?? null)
        trim.run({ log })
        const boot = remember(log, bootId, { id: Number(lastInsertRowid), bornMs })
        return { ...boot, fresh: bornMs !== undefined }
      }
      if (known.bornMs !== undefined || bornMs === undefined) return { ...known, fresh: false }
      update.run(bornMs, known.id)
      return { ...remember(log, bootId, { id: known.id, bornMs }), fresh: true }
    },
    forget: () => newest.clear(),
  }
}
