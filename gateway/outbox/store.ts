/**
 * The outbox's tables: what waits for each sink, how far each device was taken from the mesh, what was
 * dropped, and what was set aside. A file of its own, so that a backlog never touches the device's
 * database. Every method is one transaction, on disk when it returns (SQLite in WAL with
 * FULL), but for what was sent: where the power fails before that is on disk, it is sent once more.
 *
 * It knows nothing of sinks, time or order of tries; outbox.ts does.
 */
import type { DatabaseSync } from 'node:sqlite'

import { openDatabase, transaction } from '../../node/index.ts'
import type { OutItem } from '../sinks/sink.ts'
import {
  createGapTable,
  gapsOf,
  type DropReason,
  type GapTable,
  type Sign,
  type SignedGap,
} from './gaps.ts'
import { MIGRATIONS } from './tables.ts'

/** What a row takes besides its text. */
const ROW_BYTES = 64
/** Set-aside messages are for people to look at: the newest of each sink. */
const ASIDE_MAX = 1000

export interface Queued {
  readonly n: number
  readonly device: string
  readonly seq: number
  readonly queuedMs: number
  readonly bytes: number
  readonly tries: number
  readonly item: OutItem
}

export interface Counts {
  readonly items: number
  readonly bytes: number
  readonly sent: number
  readonly dropped: number
  readonly aside: number
}

/** One pack's items, each for one sink. */
export interface Taken {
  readonly deviceId: string
  readonly seq: number
  readonly items: readonly { readonly sink: string; readonly item: OutItem }[]
  /** Its pack was taken before; these waited for the end of their time. */
  readonly held?: true
}

export interface Batch {
  readonly sink: string
  readonly fromN: number
  readonly untilN: number
  /** Devices to leave out. */
  readonly without: readonly string[]
  readonly maxItems: number
  readonly maxBytes: number
}

export interface Oldest {
  readonly sink: string
  readonly maxItems: number
  readonly maxBytes: number
  /** Numbers of rows. */
  readonly except: ReadonlySet<number>
}

/** What became of items that were tried. */
export interface Settled {
  readonly sink: string
  readonly sent: readonly Queued[]
  readonly tried: readonly Queued[]
  readonly poison: readonly { readonly row: Queued; readonly why: string }[]
  readonly atMs: number
}

export interface Store extends Disposable {
  /** Device id to the number of the last pack that is here for good. */
  taken(): Map<string, number>
  put(packs: readonly Taken[], atMs: number): void
  batch(batch: Batch): Queued[]
  settle(settled: Settled): void
  /** Take away with a signed gap. Rows of one sink. */
  drop(sink: string, rows: readonly Queued[], why: DropReason): void
  /** The oldest rows but for some, at most so many and, but for the first, so many bytes. */
  oldest(oldest: Oldest): Queued[]
  /** When the oldest row was put. */
  oldestMs(sink: string): number | undefined
  /** The clock was wrong by so much. */
  shift(ms: number): void
  /** Device id to the lowest number that waits. */
  lowest(sink: string): Map<string, number>
  /** Take away what waits up to these numbers, by device id: it needs not be sent from here. */
  forget(sink: string, upTo: ReadonlyMap<string, number>): void
  counts(): ReadonlyMap<string, Counts>
  gaps(): SignedGap[]
  asides(sink: string): { readonly atMs: number; readonly why: string; readonly item: OutItem }[]
  /** The number after the last that was given. */
  nextN(): number
}

type Row = Record<string, unknown>

/** @throws NodeError NODE_DATABASE */
export function openStore(path: string, sign: Sign): Store {
  return new SqliteStore(openDatabase(path, MIGRATIONS), sign)
}

class SqliteStore implements Store {
  readonly #db: DatabaseSync
  readonly #gaps: GapTable
  /** Kept beside the tables, which would have to be read through for them. */
  readonly #counts = new Map<string, { -readonly [K in keyof Counts]: Counts[K] }>()

  constructor(db: DatabaseSync, sign: Sign) {
    this.#db = db
    this.#gaps = createGapTable(db, sign)
    for (const row of db.prepare('SELECT * FROM counter').all()) {
      Object.assign(this.#of(String(row['sink'])), {
        sent: row['sent'],
        dropped: row['dropped'],
        aside: row['aside'],
      })
    }
    const sums = 'SELECT sink, count(*) AS items, sum(bytes) AS bytes FROM item GROUP BY sink'
    for (const { sink, items, bytes } of db.prepare(sums).all()) {
      Object.assign(this.#of(String(sink)), { items, bytes })
    }
  }

  #of(sink: string): { -readonly [K in keyof Counts]: Counts[K] } {
    let counts = this.#counts.get(sink)
    if (counts === undefined) {
      counts = { items: 0, bytes: 0, sent: 0, dropped: 0, aside: 0 }
      this.#counts.set(sink, counts)
    }
    return counts
  }

  taken(): Map<string, number> {
    const rows = this.#db.prepare('SELECT device, seq FROM taken').all()
    return new Map(rows.map(({ device, seq }) => [String(device), Number(seq)]))
  }

  put(packs: readonly Taken[], atMs: number): void {
    const added: { sink: string; bytes: number }[] = []
    transaction(this.#db, () => {
      const insert = this.#db.prepare(
        'INSERT INTO item (sink, device, seq, queued_ms, bytes, body, pack) VALUES (?, ?, ?, ?, ?, ?, ?)',
      )
      const last = this.#db.prepare(
        'INSERT INTO taken VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)',
      )
      for (const { deviceId, seq, items } of packs) {
        for (const { sink, item } of items) {
          const { pack, ...rest } = item
          const body = JSON.stringify(rest)
          const bytes = Buffer.byteLength(body) + (pack?.length ?? 0) + ROW_BYTES
          insert.run(sink, deviceId, seq, atMs, bytes, body, pack ?? null)
          added.push({ sink, bytes })
        }
        last.run(deviceId, seq)
      }
    })
    for (const { sink, bytes } of added) this.#add(sink, 1, bytes)
  }

  #add(sink: string, items: number, bytes: number): void {
    const counts = this.#of(sink)
    counts.items += items
    counts.bytes += bytes
  }

  batch({ sink, fromN, untilN, without, maxItems, maxBytes }: Batch): Queued[] {
    const rows = this.#db
      .prepare(
        `SELECT * FROM item WHERE sink = ? AND n >= ? AND n < ?
         AND device NOT IN (SELECT value FROM json_each(?)) ORDER BY n LIMIT ?`,
      )
      .iterate(sink, fromN, untilN, JSON.stringify(without), maxItems)
    return upTo(rows, maxBytes)
  }

  oldest({ sink, maxItems, maxBytes, except }: Oldest): Queued[] {
    const rows = this.#db
      .prepare(
        `SELECT * FROM item WHERE sink = ? AND n NOT IN (SELECT value FROM json_each(?))
         ORDER BY n LIMIT ?`,
      )
      .iterate(sink, JSON.stringify([...except]), maxItems)
    return upTo(rows, maxBytes)
  }

  oldestMs(sink: string): number | undefined {
    const sql = 'SELECT queued_ms AS ms FROM item WHERE sink = ? ORDER BY n LIMIT 1'
    const row = this.#db.prepare(sql).get(sink)
    return row === undefined ? undefined : Number(row['ms'])
  }

  shift(ms: number): void {
    transaction(this.#db, () => {
      this.#db.prepare('UPDATE item SET queued_ms = queued_ms + ?').run(ms)
    })
  }

  settle(settled: Settled): void {
    // Set aside is for good.
    if (settled.poison.length > 0) return this.#settle(settled)
    this.#db.exec('PRAGMA synchronous = NORMAL')
    try {
      this.#settle(settled)
    } finally {
      this.#db.exec('PRAGMA synchronous = FULL')
    }
  }

  #settle({ sink, sent, tried, poison, atMs }: Settled): void {
    transaction(this.#db, () => {
      this.#remove(sent)
      this.#remove(poison.map(({ row }) => row))
      const again = this.#db.prepare('UPDATE item SET tries = tries + 1 WHERE n = ?')
      for (const { n } of tried) again.run(n)
      const aside = this.#db.prepare(
        'INSERT INTO aside (sink, at_ms, why, body, pack) VALUES (?, ?, ?, ?, ?)',
      )
      for (const { row, why } of poison) {
        const { pack, ...rest } = row.item
        aside.run(sink, atMs, why.slice(0, 500), JSON.stringify(rest), pack ?? null)
      }
      if (poison.length > 0) {
        const old = 'SELECT n FROM aside WHERE sink = ? ORDER BY n DESC LIMIT -1 OFFSET ?'
        this.#db.prepare(`DELETE FROM aside WHERE n IN (${old})`).run(sink, ASIDE_MAX)
      }
      this.#count(sink, { sent: sent.length, dropped: 0, aside: poison.length })
    })
    this.#left(sink, [...sent, ...poison.map(({ row }) => row)])
    const counts = this.#of(sink)
    counts.sent += sent.length
    counts.aside += poison.length
  }

  drop(sink: string, rows: readonly Queued[], why: DropReason): void {
    if (rows.length === 0) return
    transaction(this.#db, () => {
      this.#remove(rows)
      for (const gap of gapsOf(sink, rows, why)) this.#gaps.put(gap)
      this.#count(sink, { sent: 0, dropped: rows.length, aside: 0 })
    })
    this.#left(sink, rows)
    this.#of(sink).dropped += rows.length
  }

  #remove(rows: readonly Pick<Queued, 'n'>[]): void {
    const remove = this.#db.prepare('DELETE FROM item WHERE n = ?')
    for (const { n } of rows) remove.run(n)
  }

  #left(sink: string, rows: readonly Pick<Queued, 'bytes'>[]): void {
    this.#add(sink, -rows.length, -rows.reduce((sum, { bytes }) => sum + bytes, 0))
  }

  #count(sink: string, more: Pick<Counts, 'sent' | 'dropped' | 'aside'>): void {
    this.#db
      .prepare(
        `INSERT INTO counter VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET sent = sent + excluded.sent,
         dropped = dropped + excluded.dropped, aside = aside + excluded.aside`,
      )
      .run(sink, more.sent, more.dropped, more.aside)
  }

  lowest(sink: string): Map<string, number> {
    const sql = 'SELECT device, min(seq) AS seq FROM item WHERE sink = ? GROUP BY device'
    const rows = this.#db.prepare(sql).all(sink)
    return new Map(rows.map(({ device, seq }) => [String(device), Number(seq)]))
  }

  forget(sink: string, through: ReadonlyMap<string, number>): void {
    const rows = this.#db
      .prepare('SELECT n, device, seq, bytes FROM item WHERE sink = ?')
      .all(sink)
      .map((row) => ({ n: Number(row['n']), bytes: Number(row['bytes']), ...placeOf(row) }))
      .filter(({ device, seq }) => seq <= (through.get(device) ?? -1))
    if (rows.length === 0) return
    transaction(this.#db, () => this.#remove(rows))
    this.#left(sink, rows)
  }

  counts(): ReadonlyMap<string, Counts> {
    return this.#counts
  }

  gaps(): SignedGap[] {
    return this.#gaps.all()
  }

  asides(sink: string): { atMs: number; why: string; item: OutItem }[] {
    const rows = this.#db.prepare('SELECT * FROM aside WHERE sink = ? ORDER BY n').all(sink)
    return rows.map((row) => ({
      atMs: Number(row['at_ms']),
      why: String(row['why']),
      item: itemOf(row),
    }))
  }

  nextN(): number {
    const row = this.#db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'item'").get()
    return Number(row?.['seq'] ?? 0) + 1
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }
}

function upTo(rows: Iterable<Row>, maxBytes: number): Queued[] {
  const found: Queued[] = []
  let bytes = 0
  for (const row of rows) {
    const queued = queuedOf(row)
    bytes += queued.bytes
    if (bytes > maxBytes && found.length > 0) break
    found.push(queued)
  }
  return found
}

function placeOf(row: Row): Pick<Queued, 'device' | 'seq'> {
  return { device: String(row['device']), seq: Number(row['seq']) }
}

function queuedOf(row: Row): Queued {
  return {
    n: Number(row['n']),
    ...placeOf(row),
    queuedMs: Number(row['queued_ms']),
    bytes: Number(row['bytes']),
    tries: Number(row['tries']),
    item: itemOf(row),
  }
}

function itemOf(row: Row): OutItem {
  const item = JSON.parse(String(row['body'])) as OutItem
  return row['pack'] === null ? item : { ...item, pack: row['pack'] as Uint8Array }
}
