/** What each window of a sleepy device cost: the newest thousand are kept. */
import type { Migration } from './db.ts'

export const migration: Migration = {
  version: 11,
  sql: `CREATE TABLE wakes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('open', 'done', 'cut', 'alone', 'failed')),
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

/** `alone`: no parent answered. `cut`: the window was over before its work. `open`: it never ended. */
export type WakeOutcome = 'open' | 'done' | 'cut' | 'alone' | 'failed'

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
