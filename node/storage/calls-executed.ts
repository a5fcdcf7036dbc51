/**
 * What this device was asked to change. A call has a row here, on disk, before it acts, so that none
 * acts twice, whatever ends this process; its receipt joins it afterwards. Rows stay while their call
 * could come again, and as the history of what was done and why. Where rows go, a horizon per caller
 * stays: calls that were due before it are refused, even if a clock has gone back since.
 */
import type { DatabaseSync } from 'node:sqlite'

import { transaction } from './db.ts'
import type { LateSync } from './late-sync.ts'

export const EXECUTED_TABLES = `
  CREATE TABLE calls_executed (
    no INTEGER PRIMARY KEY,
    caller BLOB NOT NULL,
    nonce BLOB NOT NULL,
    id BLOB NOT NULL,
    verb TEXT NOT NULL,
    name TEXT NOT NULL,
    issued_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    acted INTEGER NOT NULL,
    call BLOB NOT NULL,
    receipt BLOB,
    UNIQUE (caller, nonce)
  ) STRICT;
  CREATE TABLE call_horizons (
    caller BLOB PRIMARY KEY,
    due_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE call_counts (
    caller BLOB NOT NULL,
    counted TEXT NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (caller, counted)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE call_cancels (
    id BLOB NOT NULL,
    caller BLOB NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (id, caller)
  ) STRICT, WITHOUT ROWID;`

export interface CallToKeep {
  /** Public key, 32 bytes. */
  readonly caller: Uint8Array
  readonly nonce: Uint8Array
  /** 32 bytes. */
  readonly id: Uint8Array
  readonly verb: string
  readonly name: string
  readonly issuedMs: number
  readonly ttlMs: number
  readonly bytes: Uint8Array
}

export interface KnownCall {
  readonly no: number
  readonly id: Uint8Array
  /** Undefined while it acts, or where the process ended meanwhile. */
  readonly receipt: Uint8Array | undefined
}

export interface KeptCall {
  readonly verb: string
  readonly name: string
  readonly call: Uint8Array
  readonly receipt: Uint8Array
}

export interface ExecutedCalls {
  find(caller: Uint8Array, nonce: Uint8Array): KnownCall | undefined
  /** Calls of `caller` that were due before this were forgotten, UTC milliseconds; 0 for none. */
  horizonMs(caller: Uint8Array): number
  /**
   * Put a call that is about to act on disk, and count it under `counted`. Returns its number.
   *
   * @throws the error of SQLite where the disk is full
   */
  begin(call: CallToKeep, counted: string | undefined): number
  /** It was none after all. */
  undo(no: number): void
  finish(no: number, receipt: Uint8Array): void
  /** Keep a call that is not to act, with its receipt; on disk when this returns. */
  keep(call: CallToKeep, receipt: Uint8Array): void
  /** Whether this call of `caller` acts, or has acted. A look at every call of that caller. */
  hasBegun(id: Uint8Array, caller: Uint8Array): boolean
  /** Calls that began and did not end, oldest first. */
  unfinished(): { readonly no: number; readonly call: Uint8Array }[]
  /** How many calls of `caller` were counted under this name. */
  used(caller: Uint8Array, counted: string): number
  /** Rows of `caller`, and of all, whose call could come again. */
  live(caller: Uint8Array, nowMs: number): { readonly own: number; readonly all: number }
  /** Time of issue of the newest call of `caller` that acted; undefined for none. */
  newestIssueMs(caller: Uint8Array, verb: string, name: string): number | undefined
  /** What acted, newest first, with its receipt; of all affordances where `names` is undefined. */
  history(names: readonly string[] | undefined): Iterable<KeptCall>
  /** Do not execute this call, should it come; on disk when this returns. */
  cancel(id: Uint8Array, caller: Uint8Array, untilMs: number): void
  isCancelled(id: Uint8Array, caller: Uint8Array): boolean
  /** Cancelled calls of `caller` that did not come. */
  cancels(caller: Uint8Array): number
  /** Remove what is neither needed nor within the bounds of the history. */
  prune(nowMs: number, bounds: HistoryBounds): void
}

export interface HistoryBounds {
  readonly perName: number
  readonly all: number
}

/** Rows read at a time. */
const PAGE = 100
/** Horizons remembered. */
const MAX_HORIZONS = 256

type Row = Record<string, number | string | Uint8Array | null>

/** Every page that a commit touches is synced, so there is one index and no more. */
export function executedCalls(db: DatabaseSync, late: LateSync): ExecutedCalls {
  const horizons = horizonsIn(db)
  return {
    ...knownCalls(db),
    horizonMs: (caller) => horizons.of(caller),
    ...actingCalls(db, late),
    ...pastCalls(db),
    ...cancelledCalls(db),
    prune(nowMs, bounds) {
      horizons.forget()
      prune(db, late, nowMs, bounds)
    },
  }
}

/** Asked for every call, and changed by `prune` alone. */
function horizonsIn(db: DatabaseSync): {
  of: (caller: Uint8Array) => number
  forget: () => void
} {
  const find = db.prepare('SELECT due_ms FROM call_horizons WHERE caller = ?')
  const known = new Map<string, number>()
  return {
    of(caller) {
      const key = Buffer.from(caller.buffer, caller.byteOffset, caller.length).toString('latin1')
      const before = known.get(key)
      if (before !== undefined) return before
      const found = (find.get(caller)?.['due_ms'] ?? 0) as number
      if (known.size >= MAX_HORIZONS) known.clear()
      known.set(key, found)
      return found
    },
    forget: () => known.clear(),
  }
}

function knownCalls(db: DatabaseSync): Pick<ExecutedCalls, 'find' | 'hasBegun' | 'live' | 'used'> {
  const find = db.prepare(
    'SELECT no, id, receipt FROM calls_executed WHERE caller = ? AND nonce = ?',
  )
  const begun = db.prepare('SELECT 1 FROM calls_executed WHERE caller = ? AND id = ?')
  const used = db.prepare('SELECT used FROM call_counts WHERE caller = ? AND counted = ?')
  const live = db.prepare(
    `SELECT count(*) AS all_of, coalesce(sum(caller = ?), 0) AS own
     FROM calls_executed WHERE due_ms >= ? OR receipt IS NULL`,
  )
  return {
    find(caller, nonce) {
      const row = find.get(caller, nonce) as Row | undefined
      if (row === undefined) return undefined
      const receipt = (row['receipt'] ?? undefined) as Uint8Array | undefined
      return { no: row['no'] as number, id: row['id'] as Uint8Array, receipt }
    },
    hasBegun: (id, caller) => begun.get(caller, id) !== undefined,
    used: (caller, counted) => (used.get(caller, counted)?.['used'] ?? 0) as number,
    live(caller, nowMs) {
      const row = live.get(caller, nowMs) as Row
      return { own: row['own'] as number, all: row['all_of'] as number }
    },
  }
}

function actingCalls(
  db: DatabaseSync,
  late: LateSync,
): Pick<ExecutedCalls, 'begin' | 'finish' | 'keep' | 'undo' | 'unfinished'> {
  const add = db.prepare(
    `INSERT INTO calls_executed
       (caller, nonce, id, verb, name, issued_ms, due_ms, acted, call, receipt)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  )
  const count = db.prepare(
    `INSERT INTO call_counts VALUES (?, ?, 1)
     ON CONFLICT (caller, counted) DO UPDATE SET used = used + 1`,
  )
  const finish = db.prepare('UPDATE calls_executed SET receipt = ? WHERE no = ?')
  const undo = db.prepare('DELETE FROM calls_executed WHERE no = ? AND receipt IS NULL')
  const unfinished = db.prepare(
    'SELECT no, call FROM calls_executed WHERE receipt IS NULL ORDER BY no',
  )

  function insert(call: CallToKeep, acted: boolean, receipt: Uint8Array | null): number {
    const { caller, nonce, id, verb, name, issuedMs, ttlMs, bytes } = call
    const due = issuedMs + ttlMs
    const values = [caller, nonce, id, verb, name, issuedMs, due, acted ? 1 : 0, bytes, receipt]
    return Number(add.run(...values).lastInsertRowid)
  }

  return {
    begin(call, counted) {
      if (counted === undefined) return insert(call, true, null)
      return transaction(db, () => {
        count.run(call.caller, counted)
        return insert(call, true, null)
      })
    },
    undo: (no) => void late.commit(() => undo.run(no)),
    finish: (no, receipt) => void late.commit(() => finish.run(receipt, no)),
    keep: (call, receipt) => void insert(call, false, receipt),
    unfinished: () => unfinished.all() as { no: number; call: Uint8Array }[],
  }
}

function pastCalls(db: DatabaseSync): Pick<ExecutedCalls, 'history' | 'newestIssueMs'> {
  const newest = db.prepare(
    `SELECT max(issued_ms) AS newest FROM calls_executed
     WHERE acted = 1 AND caller = ? AND verb = ? AND name = ?`,
  )
  const page = db.prepare(
    `SELECT no, verb, name, call, receipt FROM calls_executed
     WHERE no < :before AND acted = 1 AND receipt IS NOT NULL AND (:names IS NULL OR name IN (SELECT value FROM json_each(:names)))
     ORDER BY no DESC LIMIT ${PAGE}`,
  )
  return {
    newestIssueMs: (caller, verb, name) =>
      (newest.get(caller, verb, name)?.['newest'] ?? undefined) as number | undefined,
    *history(names) {
      const list = names === undefined ? null : JSON.stringify(names)
      for (let before = Number.MAX_SAFE_INTEGER; ;) {
        const rows = page.all({ before, names: list }) as Row[]
        yield* rows as unknown as KeptCall[]
        if (rows.length < PAGE) return
        before = rows.at(-1)?.['no'] as number
      }
    },
  }
}

function cancelledCalls(
  db: DatabaseSync,
): Pick<ExecutedCalls, 'cancel' | 'isCancelled' | 'cancels'> {
  const add = db.prepare('INSERT OR IGNORE INTO call_cancels VALUES (?, ?, ?)')
  const has = db.prepare('SELECT 1 FROM call_cancels WHERE id = ? AND caller = ?')
  const of = db.prepare('SELECT count(*) AS cancels FROM call_cancels WHERE caller = ?')
  return {
    cancel: (id, caller, untilMs) => void add.run(id, caller, untilMs),
    isCancelled: (id, caller) => has.get(id, caller) !== undefined,
    cancels: (caller) => of.get(caller)?.['cancels'] as number,
  }
}

function prune(
  db: DatabaseSync,
  late: LateSync,
  nowMs: number,
  { all, perName }: HistoryBounds,
): void {
  const gone = `
    SELECT no FROM (
      SELECT no, due_ms, receipt, acted,
        row_number() OVER (ORDER BY no DESC) AS place,
        row_number() OVER (PARTITION BY verb, name ORDER BY no DESC) AS place_of_name
      FROM calls_executed
    ) WHERE due_ms < :now AND receipt IS NOT NULL
      AND (acted = 0 OR place > :all OR place_of_name > :perName)`
  const bounds = { now: nowMs, all, perName }
  late.commit(() => {
    db.prepare(
      `INSERT INTO call_horizons
         SELECT caller, max(due_ms) FROM calls_executed WHERE no IN (${gone}) GROUP BY caller
       ON CONFLICT (caller) DO UPDATE SET due_ms = max(due_ms, excluded.due_ms)`,
    ).run(bounds)
    db.prepare(`DELETE FROM calls_executed WHERE no IN (${gone})`).run(bounds)
    db.prepare('DELETE FROM call_cancels WHERE until_ms < ?').run(nowMs)
  }, true)
}
