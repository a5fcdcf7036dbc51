/** What a sink never got, each a signed row: how many readings of a device, from when to when, and why. */
import type { DatabaseSync } from 'node:sqlite'

import { encodeCbor } from '../../protocols/wire/index.ts'

export type Sign = (kind: string, payload: Uint8Array) => Uint8Array

/** Rows of one sink and device; after that many the last of them takes in what follows. */
const GAPS_MAX = 100
/** `age`, `room`: older than may be, or more than fits. `policy`: may not leave any more. */
export type DropReason = 'age' | 'room' | 'policy' | 'sink-removed'

/** Readings of one device that one sink never got. */
export interface GapRow {
  readonly sink: string
  /** Device id. */
  readonly device: string
  readonly why: DropReason
  /** Numbers of the first and last pack concerned. */
  readonly fromSeq: number
  readonly toSeq: number
  readonly items: number
  readonly bytes: number
  /** When the first and the last of them were measured. */
  readonly fromMs: number
  readonly toMs: number
}

export interface SignedGap extends GapRow {
  /** An envelope of this gateway around the CBOR of the row. */
  readonly signed: Uint8Array
}

export interface GapTable {
  put(gap: GapRow): void
  all(): SignedGap[]
}

export const GAP_TABLE = `
      CREATE TABLE gap (
        n INTEGER PRIMARY KEY,
        sink TEXT NOT NULL,
        device TEXT NOT NULL,
        why TEXT NOT NULL,
        from_seq INTEGER NOT NULL,
        to_seq INTEGER NOT NULL,
        items INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        from_ms INTEGER NOT NULL,
        to_ms INTEGER NOT NULL,
        signed BLOB NOT NULL
      );
      CREATE INDEX gap_last ON gap (sink, device, n);`

interface Dropped {
  readonly device: string
  readonly seq: number
  readonly bytes: number
  readonly item: { readonly atMs: number }
}

type Row = Record<string, unknown>

/** Works in the transaction that the caller is in. */
export function createGapTable(db: DatabaseSync, sign: Sign): GapTable {
  return new SqliteGaps(db, sign)
}

class SqliteGaps implements GapTable {
  readonly #db: DatabaseSync
  readonly #sign: Sign

  constructor(db: DatabaseSync, sign: Sign) {
    this.#db = db
    this.#sign = sign
  }

  /** One that goes on where the last one of this sink and device ended is made longer. */
  put(gap: GapRow): void {
    const last = this.#db
      .prepare('SELECT * FROM gap WHERE sink = ? AND device = ? ORDER BY n DESC LIMIT 1')
      .get(gap.sink, gap.device) as Row | undefined
    const before = last === undefined ? undefined : gapOf(last)
    const goesOn =
      before?.why === gap.why &&
      gap.fromSeq >= before.toSeq &&
      (gap.fromSeq <= before.toSeq + 1 || this.#gapsOf(gap) >= GAPS_MAX)
    const whole = goesOn && before !== undefined ? joined(before, gap) : gap
    if (goesOn) this.#db.prepare('DELETE FROM gap WHERE n = ?').run(Number(last?.['n']))
    const signed = this.#sign('gateway-record', encodeGap(whole))
    this.#db
      .prepare(
        `INSERT INTO gap (sink, device, why, from_seq, to_seq, items, bytes, from_ms, to_ms, signed)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        whole.sink,
        whole.device,
        whole.why,
        whole.fromSeq,
        whole.toSeq,
        whole.items,
        whole.bytes,
        whole.fromMs,
        whole.toMs,
        signed,
      )
  }

  #gapsOf({ sink, device }: GapRow): number {
    const row = this.#db
      .prepare('SELECT count(*) AS count FROM gap WHERE sink = ? AND device = ?')
      .get(sink, device)
    return Number(row?.['count'])
  }

  all(): SignedGap[] {
    const rows = this.#db.prepare('SELECT * FROM gap ORDER BY n').all()
    return rows.map((row) => ({ ...gapOf(row), signed: row['signed'] as Uint8Array }))
  }
}

function gapOf(row: Row): GapRow {
  return {
    sink: String(row['sink']),
    device: String(row['device']),
    why: String(row['why']) as DropReason,
    fromSeq: Number(row['from_seq']),
    toSeq: Number(row['to_seq']),
    items: Number(row['items']),
    bytes: Number(row['bytes']),
    fromMs: Number(row['from_ms']),
    toMs: Number(row['to_ms']),
  }
}

/** One for each device, in the order of their first rows. */
export function gapsOf(sink: string, rows: readonly Dropped[], why: DropReason): GapRow[] {
  const gaps = new Map<string, GapRow>()
  for (const { device, seq, bytes, item } of rows) {
    const at = { fromMs: item.atMs, toMs: item.atMs }
    const one = { sink, device, why, fromSeq: seq, toSeq: seq, items: 1, bytes, ...at }
    const before = gaps.get(device)
    gaps.set(device, before === undefined ? one : joined(before, one))
  }
  return [...gaps.values()]
}

function joined(a: GapRow, b: GapRow): GapRow {
  return {
    ...a,
    fromSeq: Math.min(a.fromSeq, b.fromSeq),
    toSeq: Math.max(a.toSeq, b.toSeq),
    items: a.items + b.items,
    bytes: a.bytes + b.bytes,
    fromMs: Math.min(a.fromMs, b.fromMs),
    toMs: Math.max(a.toMs, b.toMs),
  }
}

/** What is signed: a CBOR list, `["gap", sink, device, why, …numbers]`. */
function encodeGap(gap: GapRow): Uint8Array {
  const { sink, device, why, fromSeq, toSeq, items, bytes, fromMs, toMs } = gap
  return encodeCbor(['gap', sink, device, why, fromSeq, toSeq, items, bytes, fromMs, toMs])
}
