/** What this device asked of others, and what they last said that they offer. */
import type { DatabaseSync } from 'node:sqlite'

import { concatBytes, fromHex } from '../../protocols/wire/index.ts'
import type { LateSync } from './late-sync.ts'

export const MADE_TABLES = `
  CREATE TABLE calls_made (
    no INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    state TEXT NOT NULL,
    ended INTEGER NOT NULL,
    delivers_by_ms INTEGER,
    holders BLOB NOT NULL,
    call BLOB NOT NULL,
    receipt BLOB
  ) STRICT;
  CREATE TABLE descriptions (
    device BLOB PRIMARY KEY,
    text TEXT NOT NULL,
    at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;`

const KEY_BYTES = 32

export interface MadeCall {
  readonly id: Uint8Array
  readonly state: string
  /** Nothing more will become of it. */
  readonly ended: boolean
  readonly deliversByMs?: number | undefined
  /** Public keys, 32 bytes each. */
  readonly holders: readonly Uint8Array[]
  readonly call: Uint8Array
  readonly receipt?: Uint8Array | undefined
}

export interface SaidOfItself {
  readonly text: string
  readonly atMs: number
}

export interface MadeCalls {
  /** Add calls, or what became of them. With `safe` they are on disk when this returns. */
  put(calls: readonly MadeCall[], safe?: boolean): void
  remove(id: Uint8Array): void
  /** Newest first. */
  list(limit: number): MadeCall[]
  /** Those of which more may become, oldest first. */
  open(): MadeCall[]
  get(id: Uint8Array): MadeCall | undefined
  /** At most two whose id begins so: hexadecimal digits, in small letters. */
  find(prefix: string): MadeCall[]
  /** Remove the oldest of those that have ended, but for the newest `keep`. */
  trim(keep: number): void
  description(device: Uint8Array): SaidOfItself | undefined
  describe(device: Uint8Array, said: SaidOfItself): void
}

interface Row {
  readonly id: Uint8Array
  readonly state: string
  readonly ended: number
  readonly delivers_by_ms: number | null
  readonly holders: Uint8Array
  readonly call: Uint8Array
  readonly receipt: Uint8Array | null
}

const COLUMNS = 'id, state, ended, delivers_by_ms, holders, call, receipt'

export function madeCalls(db: DatabaseSync, late: LateSync): MadeCalls {
  const put = db.prepare(
    `INSERT INTO calls_made (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET state = excluded.state, ended = excluded.ended,
       delivers_by_ms = excluded.delivers_by_ms, holders = excluded.holders,
       receipt = excluded.receipt`,
  )
  const remove = db.prepare('DELETE FROM calls_made WHERE id = ?')
  const list = db.prepare(`SELECT ${COLUMNS} FROM calls_made ORDER BY no DESC LIMIT ?`)
  const open = db.prepare(`SELECT ${COLUMNS} FROM calls_made WHERE ended = 0 ORDER BY no`)
  const get = db.prepare(`SELECT ${COLUMNS} FROM calls_made WHERE id = ?`)
  const find = db.prepare(
    `SELECT ${COLUMNS} FROM calls_made
     WHERE id >= ? AND substr(lower(hex(id)), 1, ?) = ? ORDER BY id LIMIT 2`,
  )
  const trim = db.prepare(
    `DELETE FROM calls_made WHERE ended = 1 AND no <
       (SELECT no FROM calls_made WHERE ended = 1 ORDER BY no DESC LIMIT 1 OFFSET ?)`,
  )
  const said = db.prepare('SELECT text, at_ms FROM descriptions WHERE device = ?')
  const say = db.prepare(
    `INSERT INTO descriptions VALUES (?, ?, ?)
     ON CONFLICT (device) DO UPDATE SET text = excluded.text, at_ms = excluded.at_ms`,
  )

  function write({ id, state, ended, deliversByMs, holders, call, receipt }: MadeCall): void {
    const more = [deliversByMs ?? null, concatBytes(...holders), call, receipt ?? null]
    put.run(id, state, ended ? 1 : 0, ...more)
  }

  return {
    put(calls, safe = false) {
      const [only] = calls
      if (safe && calls.length === 1 && only !== undefined) write(only)
      else late.commit(() => calls.forEach(write), calls.length > 1)
    },
    remove: (id) => void late.commit(() => remove.run(id)),
    list: (limit) => (list.all(limit) as unknown as Row[]).map(fromRow),
    open: () => (open.all() as unknown as Row[]).map(fromRow),
    get(id) {
      const row = get.get(id) as unknown as Row | undefined
      return row === undefined ? undefined : fromRow(row)
    },
    find(prefix) {
      const from = fromHex(prefix.slice(0, prefix.length - (prefix.length % 2)))
      return (find.all(from, prefix.length, prefix) as unknown as Row[]).map(fromRow)
    },
    trim: (keep) => void late.commit(() => trim.run(keep - 1)),
    description(device) {
      const row = said.get(device)
      if (row === undefined) return undefined
      return { text: row['text'] as string, atMs: row['at_ms'] as number }
    },
    describe: (device, { text, atMs }) => void late.commit(() => say.run(device, text, atMs)),
  }
}

function fromRow(row: Row): MadeCall {
  const { id, state, ended, delivers_by_ms: deliversByMs, holders, call, receipt } = row
  const keys: Uint8Array[] = []
  for (let at = 0; at < holders.length; at += KEY_BYTES) {
    keys.push(holders.slice(at, at + KEY_BYTES))
  }
  const rest = { id, state, ended: ended === 1, holders: keys, call }
  return {
    ...rest,
    ...(deliversByMs === null ? {} : { deliversByMs }),
    ...(receipt === null ? {} : { receipt }),
  }
}
