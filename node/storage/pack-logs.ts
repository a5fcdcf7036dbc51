/**
 * What is known of each log, apart from its packs: which numbers were received, whether the device
 * was caught with two histories, and the proof. Kept in memory as well; a transaction that was undone
 * must be followed by `forget`.
 */
import type { DatabaseSync } from 'node:sqlite'

import {
  EMPTY_LOG,
  type ForkProof,
  type HeldProof,
  type LogState,
  type Pack,
  type Segment,
} from '../../protocols/telemetry/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'

export const LOG_TABLES = `
  CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    device BLOB NOT NULL UNIQUE,
    floor INTEGER NOT NULL,
    quarantined INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE segments (
    log INTEGER NOT NULL,
    from_seq INTEGER NOT NULL,
    to_seq INTEGER NOT NULL,
    prev BLOB NOT NULL,
    hash BLOB NOT NULL,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    PRIMARY KEY (log, from_seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE forks (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    kept BLOB,
    other BLOB NOT NULL,
    found_at INTEGER NOT NULL,
    PRIMARY KEY (log, hash)
  ) STRICT;
`

/** Proofs of two histories kept for one log; one is enough to convict. */
const MAX_FORKS = 16

export interface Log {
  readonly id: number
  state: LogState
}

export interface Fork {
  /** Number of the pack that the other one contradicts. */
  readonly seq: number
  /** The two packs as received; the kept one is absent where retention had taken it. */
  readonly kept?: Uint8Array
  readonly other: Uint8Array
}

export interface LogTable {
  find(device: Uint8Array): Log | undefined
  /** The log of `device`, made where there is none. Inside a transaction. */
  ensure(device: Uint8Array): Log
  heads(): { readonly device: Uint8Array; readonly seq: number }[]
  /** Write what changed in the state, and take it over. */
  setState(log: Log, state: LogState): void
  /** Keep a proof that `other` contradicts pack `seq`. `enough`: as many as are kept are there. */
  addFork(
    log: Log,
    fork: { seq: number; kept?: Uint8Array; other: Pack; atMs: number },
  ): 'new' | 'known' | 'enough'
  forks(log: Log): Fork[]
  /** Devices with two histories that are not trusted again, with a whole proof of each. */
  proofs(): HeldProof[]
  /** Forget what is remembered, after a transaction was undone. */
  forget(): void
}

export function logTable(db: DatabaseSync): LogTable {
  const known = new Map<string, Log>()
  const byKey = db.prepare('SELECT id, floor, quarantined FROM logs WHERE device = ?')
  const listSegments = db.prepare('SELECT * FROM segments WHERE log = ? ORDER BY from_seq')

  function find(device: Uint8Array): Log | undefined {
    const key = toHex(device)
    const remembered = known.get(key)
    if (remembered !== undefined) return remembered
    const row = byKey.get(device)
    if (row === undefined) return undefined
    const { id, floor, quarantined } = row as Record<'id' | 'floor' | 'quarantined', number>
    const segments = (listSegments.all(id) as Record<string, unknown>[]).map(segmentOf)
    const log = { id, state: { segments, floor, quarantined: quarantined === 1 } }
    known.set(key, log)
    return log
  }

  function ensure(device: Uint8Array): Log {
    const found = find(device)
    if (found !== undefined) return found
    const { lastInsertRowid } = db
      .prepare('INSERT INTO logs (device, floor, quarantined) VALUES (?, 0, 0)')
      .run(device)
    const log = { id: Number(lastInsertRowid), state: EMPTY_LOG }
    known.set(toHex(device), log)
    return log
  }

  function heads(): { device: Uint8Array; seq: number }[] {
    const rows = db
      .prepare(
        `SELECT device, max(to_seq) AS seq FROM logs JOIN segments ON log = logs.id
         GROUP BY logs.id ORDER BY device`,
      )
      .all()
    return rows as unknown as { device: Uint8Array; seq: number }[]
  }

  return {
    find,
    ensure,
    heads,
    setState: stateWriter(db),
    ...forkTable(db),
    forget: () => known.clear(),
  }
}

function stateWriter(db: DatabaseSync): LogTable['setState'] {
  const putSegment = db.prepare('INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)')
  const dropSegment = db.prepare('DELETE FROM segments WHERE log = ? AND from_seq = ?')
  const putLog = db.prepare('UPDATE logs SET floor = ?, quarantined = ? WHERE id = ?')
  return (log, state) => {
    const { floor, quarantined, segments } = state
    if (floor !== log.state.floor || quarantined !== log.state.quarantined) {
      putLog.run(floor, quarantined ? 1 : 0, log.id)
    }
    const before = log.state.segments
    for (const { from } of before) {
      if (!segments.some((segment) => segment.from === from)) dropSegment.run(log.id, from)
    }
    for (const segment of segments) {
      if (before.includes(segment)) continue
      const { from, to, prev, hash, fromMs, toMs } = segment
      putSegment.run(log.id, from, to, prev, hash, fromMs, toMs)
    }
    log.state = state
  }
}

function forkTable(db: DatabaseSync): Pick<LogTable, 'addFork' | 'forks' | 'proofs'> {
  const count = db.prepare('SELECT count(*) AS n FROM forks WHERE log = ?')
  const add = db.prepare('INSERT INTO forks VALUES (?, ?, ?, ?, ?, ?)')
  const has = db.prepare('SELECT 1 FROM forks WHERE log = ? AND hash = ?')
  const listProofs = db.prepare(
    `SELECT device, kept, other FROM forks JOIN logs ON logs.id = log
     WHERE quarantined = 1 AND kept IS NOT NULL GROUP BY log`,
  )
  const list = db.prepare('SELECT seq, kept, other FROM forks WHERE log = ? ORDER BY rowid')
  return {
    addFork({ id }, { seq, kept, other, atMs }) {
      if (has.get(id, other.hash) !== undefined) return 'known'
      if ((count.get(id) as { n: number }).n >= MAX_FORKS) return 'enough'
      add.run(id, seq, other.hash, kept ?? null, other.bytes, atMs)
      return 'new'
    },
    proofs() {
      const rows = listProofs.all() as Record<'device' | 'kept' | 'other', Uint8Array>[]
      return rows.map(({ device, kept, other }) => ({ device, packs: [kept, other] }))
    },
    forks({ id }) {
      const rows = list.all(id) as { seq: number; kept: Uint8Array | null; other: Uint8Array }[]
      return rows.map(({ seq, kept, other }) => ({ seq, other, ...(kept ? { kept } : {}) }))
    },
  }
}

/**
 * Keep a proof that came from elsewhere, and the device's packs apart from now on. Inside a
 * transaction. `bytesAt` gives a kept pack: the proof's other pack is what contradicts it.
 */
export function keepProof(
  logs: LogTable,
  [first, second]: ForkProof,
  atMs: number,
  bytesAt: (log: Log, seq: number) => Uint8Array | undefined,
): 'new' | 'known' | 'enough' {
  const log = logs.ensure(first.device)
  const mine = bytesAt(log, second.seq)
  const holdsSecond = mine !== undefined && equalBytes(mine, second.bytes)
  const [kept, other] = holdsSecond ? [second, first] : [first, second]
  const status = logs.addFork(log, { seq: kept.seq, kept: kept.bytes, other, atMs })
  if (status !== 'known') logs.setState(log, { ...log.state, quarantined: true })
  return status
}

function segmentOf(row: Record<string, unknown>): Segment {
  return {
    from: row['from_seq'] as number,
    to: row['to_seq'] as number,
    prev: row['prev'] as Uint8Array,
    hash: row['hash'] as Uint8Array,
    fromMs: row['from_ms'] as number,
    toMs: row['to_ms'] as number,
  }
}
