/**
 * Rows of this device's own packs, written after the pack itself: the pack is what must be on disk
 * before anyone hears of it, its rows only repeat it. What a power cut leaves without rows gets them
 * at the next start. A commit of rows alone need not reach the disk at once, only in its turn.
 */
import type { DatabaseSync } from 'node:sqlite'

import { FLAGS, reopenPack, trustedTimes } from '../../protocols/telemetry/index.ts'
import type { FiledPack, ReadingTable } from './readings.ts'

export const FILING_TABLES = `
  CREATE TABLE filed (
    log INTEGER PRIMARY KEY,
    id INTEGER NOT NULL
  ) STRICT;
`

/** Packs that get their rows in one transaction. */
const CHUNK = 64

export interface Filing {
  /** The pack with row `id` was written and has no rows yet. Inside its transaction. */
  later(log: number, id: number, kept: FiledPack): void
  /** There is something to write. */
  readonly waits: boolean
  /** Write the rows of what waits. Inside a transaction. */
  write(): void
  /** Forget what is remembered, after a transaction was undone. */
  forget(): void
}

interface Waiting {
  readonly log: number
  readonly id: number
  /** Absent after a start: read again. */
  readonly kept?: FiledPack
}

export interface FilingDeps {
  readonly db: DatabaseSync
  readonly readings: ReadingTable
  /** When a boot of a log began; undefined where that is not known. */
  readonly bornMs: (log: number, bootId: Uint8Array) => number | undefined
}

export function filing({ db, readings, bornMs }: FilingDeps): Filing {
  const mark = db.prepare(
    `INSERT INTO filed (log, id) VALUES (?, ?)
     ON CONFLICT DO UPDATE SET id = max(id, excluded.id)`,
  )
  const unfiled = db.prepare(
    `SELECT f.log, p.id FROM filed f JOIN packs p ON p.log = f.log AND p.id > f.id
     WHERE (p.flags & ${FLAGS.unplaced}) = 0 ORDER BY p.id`,
  )
  const packAt = db.prepare('SELECT bytes, flags, received_at FROM packs WHERE id = ?')
  let waiting: Waiting[] | undefined
  /** Logs that a start knows of. */
  const known = new Set<number>()

  function queue(): Waiting[] {
    waiting ??= unfiled.all() as unknown as Waiting[]
    return waiting
  }

  function reopened(log: number, { bytes, flags, received_at: receivedAtMs }: Row): FiledPack {
    const pack = reopenPack(bytes)
    const { times } = trustedTimes(pack, { receivedAtMs, bornMs: bornMs(log, pack.bootId) })
    return { pack, flags, times }
  }

  return {
    later(log, id, kept) {
      const all = queue()
      if (!known.has(log)) mark.run(log, id - 1)
      known.add(log)
      all.push({ log, id, kept })
    },
    get waits() {
      return queue().length > 0
    },
    write() {
      const all = queue()
      const now = all.slice(0, CHUNK)
      for (const { log, id, kept } of now) {
        const row = packAt.get(id) as Row | undefined
        // Given up for room meanwhile.
        if (row !== undefined) readings.insert(log, id, kept ?? reopened(log, row))
      }
      const last = now.at(-1)
      if (last !== undefined) mark.run(last.log, last.id)
      waiting = all.slice(CHUNK)
    },
    forget() {
      waiting = undefined
      known.clear()
    },
  }
}

interface Row {
  readonly bytes: Uint8Array
  readonly flags: number
  readonly received_at: number
}
