/**
 * What left the home, counted where it leaves: the bytes written to each sink's sockets, below TLS, and
 * of those the bytes that told of a reading, by device, sensor and UTC day. The rest is overhead of
 * the sink's protocol and of TLS. What the kernel adds, TCP and IPv6 headers, is estimated and said to
 * be so. Each day, each start and each stop makes a row that is signed and holds the hash of the row
 * before it, so that none can be changed or left out unseen (chain.ts).
 *
 * What was counted is on disk within a second. After a kill the next start says so in its row: up to a
 * second of counting is missing before it. The newest 400 days and 10,000 rows are kept.
 */
import type { DatabaseSync } from 'node:sqlite'

import { openDatabase, transaction, type Clock } from '../../node/index.ts'
import type { Meter } from '../sinks/sink.ts'
import { encodeRow, hashOfRow, verifyRows, type RowKind, type Verified } from './chain.ts'
import { createTally, FIELDS_MAX, OTHERS, type Part, type Tally } from './tally.ts'

export interface LedgerDeps {
  readonly clock: Clock
  /** An envelope of this gateway. */
  readonly sign: (kind: string, payload: Uint8Array) => Uint8Array
  /** The payload of what `sign` made. @throws where it is of another */
  readonly opened: (kind: string, bytes: Uint8Array) => Uint8Array
}

/** Of one sink and UTC day. */
export interface EgressDay {
  readonly sink: string
  /** Like `2026-11-23`. */
  readonly day: string
  /** Written to sockets. */
  readonly bytes: number
  /** Of `bytes`, what told of readings; the rest is overhead. */
  readonly toldBytes: number
  /** About what TCP, IPv6 and Ethernet added; not in `bytes`. */
  readonly headerBytes: number
  readonly fields: readonly EgressField[]
}

export interface EgressField {
  /** Device id; empty, as the sensor, for what was beyond 10,000 of a sink and day. */
  readonly device: string
  /** Empty for signed packs. */
  readonly sensor: string
  readonly bytes: number
  readonly times: number
}

export interface Ledger extends AsyncDisposable {
  /** For the sink of this name, for as long as it runs. */
  meter(sink: string): Meter
  /** By day and sink, from `day` on. */
  egress(sinceDay?: string): readonly EgressDay[]
  /** The signed rows, oldest first: envelopes around a CBOR list. */
  rows(): readonly Uint8Array[]
  /** Whether each row is signed and holds the one before it, and the days are as the rows say. */
  verify(): Verified
}

const MIGRATIONS = [
  {
    version: 1,
    sql: `
      CREATE TABLE total (
        sink TEXT, day TEXT, bytes REAL NOT NULL, headers REAL NOT NULL,
        PRIMARY KEY (day, sink)
      ) WITHOUT ROWID;
      CREATE TABLE field (
        sink TEXT, day TEXT, device TEXT, sensor TEXT, bytes REAL NOT NULL, times INTEGER NOT NULL,
        PRIMARY KEY (day, sink, device, sensor)
      ) WITHOUT ROWID;
      CREATE TABLE row (n INTEGER PRIMARY KEY, signed BLOB NOT NULL);
      CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;`,
  },
]

const FLUSH_MS = 1000
/** By number, not by age: a clock that is wrong takes nothing away. */
const DAYS_MAX = 400
const ROWS_MAX = 10_000

/** @throws NodeError NODE_DATABASE */
export function openLedger(path: string, deps: LedgerDeps): Ledger {
  const ledger = new DiskLedger(openDatabase(path, MIGRATIONS), deps)
  ledger.begin()
  return ledger
}

class DiskLedger implements Ledger {
  readonly #db: DatabaseSync
  readonly #deps: LedgerDeps
  readonly #tallies = new Map<string, Tally>()
  #day: string
  #cancel: () => void = () => undefined

  constructor(db: DatabaseSync, deps: LedgerDeps) {
    this.#db = db
    this.#deps = deps
    this.#day = this.#get('day') ?? this.#today()
  }

  begin(): void {
    const clean = this.#get('running') !== 'yes'
    transaction(this.#db, () => {
      this.#endDay()
      this.#row(clean ? 'start' : 'start-after-kill')
      this.#set('running', 'yes')
    })
    this.#again()
  }

  #today(): string {
    return new Date(this.#deps.clock.now()).toISOString().slice(0, 10)
  }

  meter(sink: string): Meter {
    const tally = this.#tallies.get(sink) ?? createTally(this.#deps.clock)
    this.#tallies.set(sink, tally)
    return tally.meter
  }

  #again(): void {
    this.#cancel = this.#deps.clock.timer(FLUSH_MS, () => this.#tick())
  }

  #tick(): void {
    try {
      this.#write(() => this.#endDay())
    } catch {
      // A full disk: what was counted stays counted here, and is written when there is room.
    }
    this.#again()
  }

  /** What was counted, to the day that it began with, and what `then` does: all of it or nothing. */
  #write(then: () => void): void {
    const parts = [...this.#tallies].map(([sink, tally]) => ({ sink, tally, part: tally.part() }))
    const fresh = parts.filter(
      ({ part }) => part.bytes > 0 || part.headers > 0 || part.fields.length > 0,
    )
    if (fresh.length === 0 && this.#today() === this.#day) return
    const day = this.#day
    try {
      transaction(this.#db, () => {
        for (const { sink, part } of fresh) this.#add(sink, part)
        then()
      })
    } catch (error) {
      this.#day = day
      throw error
    }
    for (const { tally } of fresh) tally.written()
  }

  #add(sink: string, { bytes, headers, fields }: Part): void {
    const day = this.#day
    const total = `INSERT INTO total VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
      bytes = bytes + excluded.bytes, headers = headers + excluded.headers`
    this.#db.prepare(total).run(sink, day, bytes, headers)
    const count = 'SELECT count(*) AS count FROM field WHERE day = ? AND sink = ?'
    let room = FIELDS_MAX - Number(this.#db.prepare(count).get(day, sink)?.['count'])
    const more = this.#db.prepare(
      `UPDATE field SET bytes = bytes + ?, times = times + ?
       WHERE day = ? AND sink = ? AND device = ? AND sensor = ?`,
    )
    const first = this.#db.prepare(
      `INSERT INTO field (bytes, times, day, sink, device, sensor) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, times = times + excluded.times`,
    )
    for (const field of fields) {
      const { device, sensor } = field
      const numbers = [field.bytes, field.times, day, sink] as const
      if (more.run(...numbers, device, sensor).changes > 0) continue
      if (room-- > 0) first.run(...numbers, device, sensor)
      else first.run(...numbers, OTHERS, OTHERS)
    }
  }

  /** The row of the day that is over, where one is. */
  #endDay(): void {
    const today = this.#today()
    if (today !== this.#day) this.#row('day')
    this.#day = today
    this.#set('day', today)
    const old = 'SELECT DISTINCT day FROM total ORDER BY day DESC LIMIT -1 OFFSET ?'
    for (const table of ['field', 'total']) {
      this.#db.prepare(`DELETE FROM ${table} WHERE day IN (${old})`).run(DAYS_MAX)
    }
  }

  /** In a transaction of the caller. */
  #row(kind: RowKind): void {
    const last = this.#db.prepare('SELECT n, signed FROM row ORDER BY n DESC LIMIT 1').get()
    const n = Number(last?.['n'] ?? 0) + 1
    const oldest = Math.max(1, n - ROWS_MAX + 1)
    const before = hashOfRow(last?.['signed'] as Uint8Array | undefined)
    const atMs = this.#deps.clock.now()
    const days = this.#days('WHERE day = ?', this.#day)
    const payload = encodeRow({ n, before, kind, atMs, day: this.#day, oldest }, days)
    this.#db.prepare('DELETE FROM row WHERE n < ?').run(oldest)
    const signed = this.#deps.sign('gateway-record', payload)
    this.#db.prepare('INSERT INTO row VALUES (?, ?)').run(n, signed)
  }

  egress(sinceDay = ''): readonly EgressDay[] {
    this.#write(() => this.#endDay())
    return this.#days('WHERE day >= ?', sinceDay)
  }

  #days(where: string, day: string): EgressDay[] {
    const totals = this.#db.prepare(`SELECT * FROM total ${where} ORDER BY day, sink`).all(day)
    const fields = this.#db.prepare(
      'SELECT * FROM field WHERE day = ? AND sink = ? ORDER BY device, sensor',
    )
    return totals.map((total) => {
      const own = fields.all(String(total['day']), String(total['sink'])).map((field) => ({
        device: String(field['device']),
        sensor: String(field['sensor']),
        bytes: Math.round(Number(field['bytes'])),
        times: Number(field['times']),
      }))
      return {
        sink: String(total['sink']),
        day: String(total['day']),
        bytes: Number(total['bytes']),
        toldBytes: own.reduce((sum, { bytes }) => sum + bytes, 0),
        headerBytes: Math.round(Number(total['headers'])),
        fields: own,
      }
    })
  }

  rows(): readonly Uint8Array[] {
    const rows = this.#db.prepare('SELECT signed FROM row ORDER BY n').all()
    return rows.map(({ signed }) => signed as Uint8Array)
  }

  verify(): Verified {
    const days = this.egress()
    const opened = (bytes: Uint8Array): Uint8Array => this.#deps.opened('gateway-record', bytes)
    return verifyRows(this.rows(), { opened, days, today: this.#day })
  }

  #get(name: string): string | undefined {
    const row = this.#db.prepare('SELECT value FROM state WHERE name = ?').get(name)
    return row === undefined ? undefined : String(row['value'])
  }

  #set(name: string, value: string): void {
    this.#db.prepare('INSERT OR REPLACE INTO state VALUES (?, ?)').run(name, value)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancel()
    for (const tally of this.#tallies.values()) tally.stop()
    try {
      this.#write(() => this.#endDay())
      transaction(this.#db, () => {
        this.#row('stop')
        this.#set('running', 'no')
      })
    } finally {
      this.#db.close()
    }
    await Promise.resolve()
  }
}
