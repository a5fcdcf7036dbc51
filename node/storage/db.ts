/**
 * The device's one SQLite database (node:sqlite): WAL with `synchronous = FULL`, because NORMAL
 * loses acknowledged rows at a power cut. Tables are made by numbered migrations, each applied once
 * in its own transaction. A file that is damaged or from a newer version is refused and left as it
 * is, never replaced.
 */
import { DatabaseSync } from 'node:sqlite'

import { NodeError } from '../errors.ts'

export interface Migration {
  /** Unique and rising; never reused. */
  readonly version: number
  readonly sql: string
}

/** `path` is a file, or ':memory:' in tests. @throws NodeError NODE_DATABASE */
export function openDatabase(path: string, migrations: readonly Migration[]): DatabaseSync {
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(path, { timeout: 5000, limits: { attach: 0 } })
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
    const check = db.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }
    if (check.quick_check !== 'ok') throw new Error(check.quick_check)
    migrate(db, path, migrations)
    return db
  } catch (cause) {
    db?.close()
    if (cause instanceof NodeError) throw cause
    throw new NodeError('NODE_DATABASE', `The database ${path} cannot be read: ${String(cause)}`, {
      cause,
      hint: 'Nothing was changed. Check the disk, then restore the file from a backup, or move it away and pair this device again.',
    })
  }
}

function migrate(db: DatabaseSync, path: string, migrations: readonly Migration[]): void {
  const { user_version: current } = db.prepare('PRAGMA user_version').get() as {
    user_version: number
  }
  const ordered = migrations.toSorted((a, b) => a.version - b.version)
  const newest = ordered.at(-1)?.version ?? 0
  if (current > newest) {
    throw new NodeError('NODE_DATABASE', `The database ${path} was written by a newer Kith.`, {
      hint: 'Nothing was changed. Install that version again, or a newer one.',
    })
  }
  for (const { version, sql } of ordered) {
    if (version <= current) continue
    transaction(db, () => {
      db.exec(sql)
      db.exec(`PRAGMA user_version = ${version}`)
    })
  }
}

/** Run `work` in one transaction: all of it is on disk when this returns, or none. */
export function transaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    db.exec('COMMIT')
    return result
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

/** `SQLITE_FULL` */
const FULL = 13

/** As `transaction`. @throws NodeError NODE_DATABASE, for people, where the disk is full */
export function changeOrExplain<T>(db: DatabaseSync, work: () => T): T {
  try {
    return transaction(db, work)
  } catch (cause) {
    if ((cause as { errcode?: number }).errcode !== FULL) throw cause
    throw new NodeError('NODE_DATABASE', 'The disk of this device is full.', {
      cause,
      hint: 'Nothing was changed. Free some space there, then try again.',
    })
  }
}
