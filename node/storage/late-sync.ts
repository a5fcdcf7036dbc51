/**
 * Commits whose sync may wait: what they wrote outlives this process at once, and a power cut once
 * the log file of the database is synced, which the next ordinary commit does, or `flush`.
 */
import { open } from 'node:fs/promises'
import type { DatabaseSync } from 'node:sqlite'

export interface LateSync {
  /** Commit what `work` writes without waiting for the disk; several statements with `whole`. */
  commit<T>(work: () => T, whole?: boolean): T
  /** Resolves when everything committed so far is on disk, or cannot be. */
  flush(): Promise<void>
}

export function lateSync(db: DatabaseSync): LateSync {
  const path = db.location()
  return {
    commit(work, whole = false) {
      // In a transaction of somebody else it is synced with that.
      if (db.isTransaction) return work()
      db.exec('PRAGMA synchronous = NORMAL')
      try {
        if (!whole) return work()
        db.exec('BEGIN IMMEDIATE')
        const result = work()
        db.exec('COMMIT')
        return result
      } finally {
        if (db.isTransaction) db.exec('ROLLBACK')
        db.exec('PRAGMA synchronous = FULL')
      }
    },
    async flush() {
      if (path === null) return
      try {
        await using log = await open(`${path}-wal`, 'r')
        await log.datasync()
      } catch {
        // No such file any more: then it was synced when it was given up.
      }
    },
  }
}
