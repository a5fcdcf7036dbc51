/**
 * Calls on disk: those that this device executed, so that none is executed twice and each can be
 * accounted for, and those that it made.
 */
import type { DatabaseSync } from 'node:sqlite'

import { EXECUTED_TABLES, executedCalls, type ExecutedCalls } from './calls-executed.ts'
import { MADE_TABLES, madeCalls, type MadeCalls } from './calls-made.ts'
import type { Migration } from './db.ts'
import { lateSync, type LateSync } from './late-sync.ts'

export const migration: Migration = {
  version: 9,
  sql: `${EXECUTED_TABLES}${MADE_TABLES}`,
}

export interface CallStore {
  readonly executed: ExecutedCalls
  readonly made: MadeCalls
  /** Resolves when everything that was written is on disk. */
  readonly flush: LateSync['flush']
}

export function openCallStore(db: DatabaseSync): CallStore {
  const late = lateSync(db)
  return {
    executed: executedCalls(db, late),
    made: madeCalls(db, late),
    flush: () => late.flush(),
  }
}
