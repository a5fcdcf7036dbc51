/** What each window of a sleepy device cost: the newest thousand are kept. */
import type { DatabaseSync } from 'node:sqlite'

import type { Migration } from './db.ts'

export const migration: Migration = {
  version: 11,
  sql: `CREATE TABLE wakes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('done', 'cut', 'alone', 'failed')),
    parent BLOB CHECK (parent IS NULL OR length(parent) = 32),
    process_ms REAL NOT NULL,
    connected_ms REAL NOT NULL,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    packets_in INTEGER NOT NULL,
    packets_out INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    receipts INTEGER NOT NULL,
    packs INTEGER NOT NULL,
    start_ms REAL NOT NULL,
    connect_ms REAL NOT NULL,
    log_ms REAL NOT NULL,
    calls_ms REAL NOT NULL,
    close_ms REAL NOT NULL
  ) STRICT`,
}

/** `alone`: no parent answered. `cut`: the window was over before its work. */
export type WakeOutcome = 'done' | 'cut' | 'alone' | 'failed'

/** What a wake's time went to, in milliseconds. */
export interface WakeParts {
  /** From the process's start, or the window's, until the network was up. */
  readonly start: number
  /** Until a parent had greeted us. */
  readonly connect: number
  /** Until the parent had our log. */
  readonly log: number
  /** Until calls were taken and their receipts given. */
  readonly calls: number
  /** Until everything was closed. */
  readonly close: number
}

export interface Wake {
  /** UTC milliseconds by this device's own clock, which may be wrong. */
  readonly atMs: number
  readonly reason: string
  readonly outcome: WakeOutcome
  /** Who answered; 32 bytes. */
  readonly parent?: Uint8Array | undefined
  /** Time awake, whole process where a process is one window. */
  readonly processMs: number
  /** Time with an open connection. */
  readonly connectedMs: number
  /** At our own TCP sockets: without headers of TCP, IP and the link. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** From the counters of the network interfaces in use: other programs' packets are among them. */
  readonly packetsIn: number
  readonly packetsOut: number
  readonly calls: number
  readonly receipts: number
  readonly packs: number
  readonly parts: WakeParts
}

export interface WakeStore {
  /** Newest first. */
  list(limit: number): readonly Wake[]
  add(wake: Wake): void
  /** The newest; undefined before the first. */
  last(): Wake | undefined
}

const MAX_WAKES = 1000
const COLUMNS = `at_ms, reason, outcome, parent, process_ms, connected_ms, bytes_in, bytes_out,
  packets_in, packets_out, calls, receipts, packs, start_ms, connect_ms, log_ms, calls_ms, close_ms`

export function openWakeStore(db: DatabaseSync): WakeStore {
  const insert = db.prepare(
    `INSERT INTO wakes (${COLUMNS}) VALUES (${COLUMNS.split(',')
      .map(() => '?')
      .join()})`,
  )
  const trim = db.prepare('DELETE FROM wakes WHERE id <= ?')
  const select = db.prepare(`SELECT ${COLUMNS} FROM wakes ORDER BY id DESC LIMIT ?`)
  const list = (limit: number): Wake[] =>
    (select.all(limit) as unknown as Row[]).map((row) => wakeOf(row))
  return {
    list,
    last: () => list(1)[0],
    add(wake) {
      const { parts } = wake
      const { lastInsertRowid } = insert.run(
        wake.atMs,
        wake.reason,
        wake.outcome,
        wake.parent ?? null,
        wake.processMs,
        wake.connectedMs,
        wake.bytesIn,
        wake.bytesOut,
        wake.packetsIn,
        wake.packetsOut,
        wake.calls,
        wake.receipts,
        wake.packs,
        parts.start,
        parts.connect,
        parts.log,
        parts.calls,
        parts.close,
      )
      // Now and then: each write is a write to the flash.
      const id = Number(lastInsertRowid)
      if (id % 100 === 0) trim.run(id - MAX_WAKES)
    },
  }
}

interface Row {
  readonly at_ms: number
  readonly reason: string
  readonly outcome: WakeOutcome
  readonly parent: Uint8Array | null
  readonly process_ms: number
  readonly connected_ms: number
  readonly bytes_in: number
  readonly bytes_out: number
  readonly packets_in: number
  readonly packets_out: number
  readonly calls: number
  readonly receipts: number
  readonly packs: number
  readonly start_ms: number
  readonly connect_ms: number
  readonly log_ms: number
  readonly calls_ms: number
  readonly close_ms: number
}

function wakeOf(row: Row): Wake {
  return {
    atMs: row.at_ms,
    reason: row.reason,
    outcome: row.outcome,
    parent: row.parent ?? undefined,
    processMs: row.process_ms,
    connectedMs: row.connected_ms,
    bytesIn: row.bytes_in,
    bytesOut: row.bytes_out,
    packetsIn: row.packets_in,
    packetsOut: row.packets_out,
    calls: row.calls,
    receipts: row.receipts,
    packs: row.packs,
    parts: {
      start: row.start_ms,
      connect: row.connect_ms,
      log: row.log_ms,
      calls: row.calls_ms,
      close: row.close_ms,
    },
  }
}
