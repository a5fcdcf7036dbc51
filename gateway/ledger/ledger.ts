/**
 * What left the home, counted where it leaves: the bytes written to each sink's sockets, below TLS, and
 * of those the bytes that told of a reading, by device, sensor and UTC day. The rest is overhead of
 * the sink's protocol and of TLS. What the kernel adds, TCP and IPv6 headers, is estimated and said to
 * be so. Each day, each start and each stop makes a row that is signed and holds the hash of the row
 * before it, so that none can be changed or left out unseen.
 *
 * What was counted is on disk within a second. After a kill the next start says so in its row: up to a
 * second of counting is missing before it.
 */
import type { DatabaseSync } from 'node:sqlite'

import { openDatabase, transaction, type Clock } from '../../node/index.ts'
import { sha256 } from '../../protocols/identity/index.ts'
import { encodeCbor } from '../../protocols/wire/index.ts'
import type { Meter } from '../sinks/sink.ts'
import { createTally, type Tally } from './tally.ts'

export interface LedgerDeps {
  readonly clock: Clock
  /** An envelope of this gateway. */
  readonly sign: (kind: string, payload: Uint8Array) => Uint8Array
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
  /** Device id. */
  readonly device: string
  /** Empty for signed packs. */
  readonly sensor: string
  readonly bytes: number
  readonly times: number
}

export type RowKind = 'start' | 'start-after-kill' | 'day' | 'stop'

export interface Ledger extends AsyncDisposable {
  /** For the sink of this name, for as long as it runs. */
  meter(sink: string): Meter
  /** By day and sink, from `day` on. */
  egress(sinceDay?: string): readonly EgressDay[]
  /** The signed rows, oldest first: envelopes around a CBOR list. */
  rows(): readonly Uint8Array[]
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
    this.#row(clean ? 'start' : 'start-after-kill', this.#day)
    this.#set('running', 'yes')
    this.#tick()
  }

  #today(): string {
    return new Date(this.#deps.clock.now()).toISOString().slice(0, 10)
  }

  meter(sink: string): Meter {
    const tally = this.#tallies.get(sink) ?? createTally()
    this.#tallies.set(sink, tally)
    return tally.meter
  }

  #tick(): void {
    try {
      this.#flush()
      const today = this.#today()
      if (today !== this.#day) {
        this.#row('day', this.#day)
        this.#day = today
        this.#set('day', today)
      }
    } catch {
      // A full disk: what was counted stays counted here, and is written when there is room.
    }
    this.#cancel = this.#deps.clock.timer(FLUSH_MS, () => this.#tick())
  }

  /** To the day that it began with. */
  #flush(): void {
    const parts = [...this.#tallies].map(([sink, tally]) => ({ sink, tally, part: tally.part() }))
    const fresh = parts.filter(
      ({ part }) => part.bytes > 0 || part.headers > 0 || part.fields.length > 0,
    )
    if (fresh.length === 0) return
    const total = `INSERT INTO total VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
      bytes = bytes + excluded.bytes, headers = headers + excluded.headers`
    const field = `INSERT INTO field VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
      bytes = bytes + excluded.bytes, times = times + excluded.times`
    transaction(this.#db, () => {
      for (const { sink, part } of fresh) {
        this.#db.prepare(total).run(sink, this.#day, part.bytes, part.headers)
        const add = this.#db.prepare(field)
        for (const { device, sensor, bytes, times } of part.fields) {
          add.run(sink, this.#day, device, sensor, bytes, times)
        }
      }
    })
    for (const { tally } of fresh) tally.written()
  }

  #row(kind: RowKind, day: string): void {
    const last = this.#db.prepare('SELECT n, signed FROM row ORDER BY n DESC LIMIT 1').get()
    const n = Number(last?.['n'] ?? 0) + 1
    const before = last === undefined ? new Uint8Array(32) : sha256(last['signed'] as Uint8Array)
    const sinks = this.#days('WHERE day = ?', day).map(({ sink, bytes, headerBytes, fields }) => [
      sink,
      bytes,
      headerBytes,
      fields.map(({ device, sensor, bytes: told, times }) => [device, sensor, told, times]),
    ])
    const payload = encodeCbor(['egress', n, before, kind, this.#deps.clock.now(), day, sinks])
    const signed = this.#deps.sign('gateway-record', payload)
    this.#db.prepare('INSERT INTO row VALUES (?, ?)').run(n, signed)
  }

  egress(sinceDay = ''): readonly EgressDay[] {
    this.#flush()
    return this.#days('WHERE day >= ?', sinceDay)
  }

  #days(where: string, day: string): EgressDay[] {
    const totals = this.#db.prepare(`SELECT * FROM total ${where} ORDER BY day, sink`).all(day)
    const fields = this.#db.prepare(`SELECT * FROM field ${where} ORDER BY device, sensor`).all(day)
    return totals.map((total) => {
      const own = fields
        .filter((field) => field['sink'] === total['sink'] && field['day'] === total['day'])
        .map((field) => ({
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

  #get(name: string): string | undefined {
    const row = this.#db.prepare('SELECT value FROM state WHERE name = ?').get(name)
    return row === undefined ? undefined : String(row['value'])
  }

  #set(name: string, value: string): void {
    this.#db.prepare('INSERT OR REPLACE INTO state VALUES (?, ?)').run(name, value)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancel()
    try {
      this.#flush()
      this.#set('day', this.#day)
      this.#row('stop', this.#day)
      this.#set('running', 'no')
    } finally {
      this.#db.close()
    }
    await Promise.resolve()
  }
}
