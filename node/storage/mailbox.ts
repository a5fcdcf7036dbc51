/** Calls and receipts that wait here for others, and the newest schedule of each device. */
import type { DatabaseSync } from 'node:sqlite'

import type {
  MailRow,
  MailStore,
  ScheduleRow,
  ScheduleStore,
  Stamp,
} from '../../protocols/mailbox/index.ts'
import { transaction, type Migration } from './db.ts'

export const migration: Migration = {
  version: 10,
  sql: `CREATE TABLE mail (
    id BLOB PRIMARY KEY CHECK (length(id) = 32),
    caller BLOB NOT NULL,
    device BLOB NOT NULL,
    issued_ms INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL,
    cancels INTEGER NOT NULL,
    key TEXT NOT NULL,
    call BLOB NOT NULL,
    receipt BLOB NOT NULL,
    age_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    mono_ms INTEGER NOT NULL,
    boot BLOB NOT NULL,
    synced INTEGER NOT NULL,
    handed INTEGER NOT NULL,
    given INTEGER NOT NULL,
    acked INTEGER NOT NULL,
    holders BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE schedules (
    device BLOB PRIMARY KEY CHECK (length(device) = 32),
    bytes BLOB NOT NULL,
    age_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    mono_ms INTEGER NOT NULL,
    boot BLOB NOT NULL,
    synced INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE parents_missed (
    device BLOB PRIMARY KEY CHECK (length(device) = 32),
    times INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`,
}

/** How often in a row a parent of ours did not answer. */
export interface MissedStore {
  get(device: Uint8Array): number
  set(device: Uint8Array, times: number): void
}

interface StampColumns {
  readonly wall_ms: number
  readonly mono_ms: number
  readonly boot: Uint8Array
  readonly synced: number
}

interface MailColumns extends StampColumns {
  readonly id: Uint8Array
  readonly caller: Uint8Array
  readonly device: Uint8Array
  readonly issued_ms: number
  readonly ttl_ms: number
  readonly cancels: number
  readonly key: string
  readonly call: Uint8Array
  readonly receipt: Uint8Array
  readonly age_ms: number
  readonly handed: number
  readonly given: number
  readonly acked: number
  readonly holders: Uint8Array
}

const KEY_BYTES = 32

export function openMailStore(db: DatabaseSync): MailStore {
  const all = db.prepare('SELECT * FROM mail')
  const upsert = db.prepare(
    `INSERT OR REPLACE INTO mail VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  )
  const remove = db.prepare('DELETE FROM mail WHERE id = ?')

  function write(row: MailRow): void {
    upsert.run(
      row.id,
      row.caller,
      row.to,
      row.issuedMs,
      row.ttlMs,
      Number(row.cancels),
      row.key,
      row.bytes,
      row.receipt,
      Math.round(row.ageMs),
      ...stampColumns(row.stored),
      Number(row.handed),
      Number(row.given),
      Number(row.acked),
      Buffer.concat(row.holders),
    )
  }

  return {
    load: () => (all.all() as unknown as MailColumns[]).map(rowOf),
    change(put, gone) {
      transaction(db, () => {
        for (const row of put) write(row)
        for (const id of gone) remove.run(id)
      })
    },
  }
}

export function openScheduleStore(db: DatabaseSync): ScheduleStore {
  const all = db.prepare('SELECT * FROM schedules')
  const upsert = db.prepare('INSERT OR REPLACE INTO schedules VALUES (?, ?, ?, ?, ?, ?, ?)')
  return {
    load() {
      const rows = all.all() as unknown as (StampColumns & {
        device: Uint8Array
        bytes: Uint8Array
        age_ms: number
      })[]
      return rows.map((row) => ({
        device: row.device,
        bytes: row.bytes,
        ageMs: row.age_ms,
        heard: stampOf(row),
      }))
    },
    put({ device, bytes, ageMs, heard }: ScheduleRow) {
      upsert.run(device, bytes, Math.round(ageMs), ...stampColumns(heard))
    },
  }
}

export function openMissedStore(db: DatabaseSync): MissedStore {
  const select = db.prepare('SELECT times FROM parents_missed WHERE device = ?')
  const upsert = db.prepare('INSERT OR REPLACE INTO parents_missed VALUES (?, ?)')
  const get = (device: Uint8Array): number =>
    (select.get(device) as { times: number } | undefined)?.times ?? 0
  return {
    get,
    set(device, times) {
      if (get(device) !== times) upsert.run(device, times)
    },
  }
}

function stampColumns({ wallMs, monoMs, boot, synced }: Stamp): (number | Uint8Array)[] {
  return [Math.round(wallMs), Math.round(monoMs), boot, Number(synced)]
}

function stampOf(row: StampColumns): Stamp {
  return {
    wallMs: row.wall_ms,
    monoMs: row.mono_ms,
    boot: row.boot,
    synced: row.synced !== 0,
  }
}

function rowOf(row: MailColumns): MailRow {
  const holders: Uint8Array[] = []
  for (let at = 0; at < row.holders.length; at += KEY_BYTES) {
    holders.push(row.holders.slice(at, at + KEY_BYTES))
  }
  return {
    id: row.id,
    caller: row.caller,
    to: row.device,
    issuedMs: row.issued_ms,
    ttlMs: row.ttl_ms,
    cancels: row.cancels !== 0,
    key: row.key,
    bytes: row.call,
    receipt: row.receipt,
    ageMs: row.age_ms,
    stored: stampOf(row),
    handed: row.handed !== 0,
    given: row.given !== 0,
    acked: row.acked !== 0,
    holders,
  }
}
