/**
 * Room on disk for packs: keeps to the limits of age and size, and, where the disk is full, makes
 * room for the newest by giving up the ballast and then the oldest. Deleting gives pages back to the
 * database, not to the file system; what is new goes there. From then on the database must not grow:
 * what it writes first goes into its log file, and could never be moved from there to a place that
 * the disk has no room for.
 */
import type { DatabaseSync } from 'node:sqlite'

import { FLAGS } from '../../protocols/telemetry/index.ts'
import { NodeError } from '../errors.ts'
import type { Ballast } from './ballast.ts'
import { transaction } from './db.ts'
import type { ReadingTable } from './readings.ts'
import type { RollupTable, SpanLimits } from './rollups.ts'

export interface Limits extends Partial<SpanLimits> {
  readonly receivedBeforeMs: number
  readonly maxBytes: number
}

export interface RoomDeps {
  readonly db: DatabaseSync
  readonly readings: ReadingTable
  readonly rollups: RollupTable
  readonly ballast?: Ballast | undefined
  /** A transaction was undone: forget what was remembered of the tables. */
  readonly undone: () => void
}

export interface Room {
  /**
   * Run `work` in one transaction; where the disk is full, make room and run it again.
   * @throws NodeError NODE_DATABASE where it stays full
   */
  run<T>(work: () => T): T
  /** As `PackStore.prune`; takes the ballast back where the disk has room again. */
  prune(limits: Limits): number
  /** Called with true when the disk is found full, with false when it is no longer. */
  onFull(listener: (full: boolean) => void): () => void
}

/** Packs removed in one transaction. */
const PRUNE_CHUNK = 64
/** How often room is made for one write before giving up. */
const MAX_TRIES = 10
/** As large as SQLite lets a database be. */
const MAX_PAGES = 4_294_967_294
/** `SQLITE_FULL`, and `SQLITE_IOERR_SHMSIZE`: no room for the index of the log file. */
const FULL_CODES: readonly unknown[] = [13, 4874]

export function isFull(error: unknown): boolean {
  return FULL_CODES.includes((error as { errcode?: unknown }).errcode)
}

export function roomFor(deps: RoomDeps): Room {
  const { db, ballast, rollups } = deps
  const listeners = new Set<(full: boolean) => void>()
  let full = ballast?.refill() === false
  if (full) pin(db, true)

  function tell(now: boolean): void {
    if (now === full) return
    full = now
    if (!now) pin(db, false)
    for (const listener of listeners) listener(now)
  }

  /** False where nothing more can be given up. */
  function makeRoom(): boolean {
    const released = ballast?.release() === true
    try {
      // The log file keeps its length: its room on disk stays ours.
      db.exec('PRAGMA wal_checkpoint(RESTART)')
      pin(db, true)
      const dropped = transaction(db, () => dropOldest(deps, Infinity) || rollups.makeRoom())
      db.exec('PRAGMA wal_checkpoint(RESTART)')
      return released || dropped > 0
    } catch (error) {
      deps.undone()
      if (isFull(error)) return false
      throw error
    }
  }

  return {
    run(work) {
      for (let tries = 0; ; tries++) {
        try {
          return transaction(db, work)
        } catch (error) {
          deps.undone()
          if (!isFull(error)) throw error
          tell(true)
          if (tries >= MAX_TRIES || !makeRoom()) throw noRoom(error)
        }
      }
    },
    prune({ receivedBeforeMs, maxBytes, ...spans }) {
      if (ballast === undefined || ballast.refill()) tell(false)
      const { fiveMinutesBeforeMs = -Infinity, hoursBeforeMs = -Infinity } = spans
      return transaction(db, () => {
        const over = usedBytes(db) > maxBytes
        const dropped = dropOldest(deps, over ? Infinity : receivedBeforeMs)
        if (dropped > 0) return dropped
        const aged = rollups.prune({ fiveMinutesBeforeMs, hoursBeforeMs })
        return aged > 0 || !over ? aged : rollups.makeRoom()
      })
    },
    onFull(listener) {
      listeners.add(listener)
      if (full) listener(true)
      return () => void listeners.delete(listener)
    },
  }
}

/** Whether the database must stay as large as it is. */
function pin(db: DatabaseSync, on: boolean): void {
  const { page_count: pages } = db.prepare('PRAGMA page_count').get() as { page_count: number }
  db.exec(`PRAGMA max_page_count = ${on ? pages : MAX_PAGES}`)
}

function usedBytes(db: DatabaseSync): number {
  const read = (name: string): number => {
    const row = db.prepare(`PRAGMA ${name}`).get() as Record<string, number>
    return row[name] ?? 0
  }
  return (read('page_count') - read('freelist_count')) * read('page_size')
}

/** Inside a transaction. The newest pack of each log stays. */
function dropOldest({ db, readings }: RoomDeps, receivedBeforeMs: number): number {
  const rows = db
    .prepare(
      `SELECT id, log, received_at, flags, from_ms, to_ms FROM packs AS p
       WHERE seq < (SELECT max(seq) FROM packs WHERE log = p.log) ORDER BY id LIMIT ?`,
    )
    .all(PRUNE_CHUNK) as Record<
    'id' | 'log' | 'received_at' | 'flags' | 'from_ms' | 'to_ms',
    number
  >[]
  const drop = db.prepare('DELETE FROM packs WHERE id = ?')
  let dropped = 0
  for (const { id, log, received_at: at, flags, from_ms: fromMs, to_ms: toMs } of rows) {
    if (at >= receivedBeforeMs) break
    if ((flags & FLAGS.unplaced) === 0) readings.remove(log, id, fromMs, toMs)
    drop.run(id)
    dropped++
  }
  return dropped
}

function noRoom(cause: unknown): NodeError {
  return new NodeError('NODE_DATABASE', 'The disk is full: new readings cannot be kept.', {
    cause,
    hint: 'Everything kept so far is safe. Free some space; readings go on by themselves.',
  })
}
