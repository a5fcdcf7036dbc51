/**
 * What of a device's database goes into a backup, as frames: home, logs and choices, at one moment,
 * a few rows at a time. Not the key, which is not in the database; not addresses, calls, mail and
 * what else belongs to one device or passes. Rows of readings are in the packs already.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite'

import { toHex } from '../../protocols/wire/index.ts'
import {
  jsonFrame,
  KINDS,
  MAX_ROWS,
  PACK_HEAD_BYTES,
  type Frame,
  type Head,
  type LogHead,
  type Row,
  type Table,
} from './backup-format.ts'

/** Packs read at a time. */
const PAGE = 64

interface BackupFacts {
  /** Path of the database. All that is to be in the backup is in its tables. */
  readonly database: string
  readonly head: Omit<Head, 'format' | 'home' | 'packs'>
  /** What does not come from the database: between the head and the logs. */
  readonly files: readonly Frame[]
}

/** Everything as it is when the first frame is asked for, whatever is written meanwhile. */
export function* backupFrames({ database, head, files }: BackupFacts): Generator<Frame> {
  // A reader of its own: SQLite shows it one moment for as long as its transaction lasts.
  const db = new DatabaseSync(database, { readOnly: true, timeout: 5000, limits: { attach: 0 } })
  try {
    db.exec('BEGIN')
    const { n: packs } = db.prepare('SELECT count(*) AS n FROM packs').get() as { n: number }
    const home = db.prepare('SELECT id FROM home').get() as { id: Uint8Array } | undefined
    const of = home === undefined ? {} : { home: toHex(home.id) }
    yield jsonFrame(KINDS.head, { format: 1, ...of, ...head, packs } satisfies Head)
    yield* files
    for (const { bytes } of each<{ bytes: Uint8Array }>(
      db.prepare('SELECT bytes FROM member_ops ORDER BY position'),
    )) {
      yield { kind: KINDS.op, content: bytes }
    }
    const places = new Map<number, number>()
    for (const { id, ...log } of logsOf(db)) {
      places.set(id, places.size)
      yield jsonFrame(KINDS.log, log)
    }
    yield* packFrames(db, places)
    yield* tableFrames(db, places)
  } finally {
    db.close()
  }
}

function each<T>(statement: StatementSync): Iterable<T> {
  return statement.iterate() as Iterable<T>
}

function* logsOf(db: DatabaseSync): Generator<LogHead & { readonly id: number }> {
  const logs = db.prepare('SELECT * FROM logs ORDER BY id').all() as {
    id: number
    device: Uint8Array
    floor: number
    quarantined: number
  }[]
  const segments = db.prepare('SELECT * FROM segments WHERE log = ? ORDER BY from_seq')
  const boots = db.prepare('SELECT boot, born_ms FROM boots WHERE log = ? ORDER BY id')
  for (const { id, device, floor, quarantined } of logs) {
    yield {
      id,
      device: toHex(device),
      floor,
      quarantined: quarantined === 1,
      segments: (segments.all(id) as unknown as SegmentRow[]).map((row) => [
        row.from_seq,
        row.to_seq,
        toHex(row.prev),
        toHex(row.hash),
        row.from_ms,
        row.to_ms,
      ]),
      boots: (boots.all(id) as { boot: Uint8Array; born_ms: number | null }[]).map(
        ({ boot, born_ms: born }) => [toHex(boot), born],
      ),
    }
  }
}

interface SegmentRow {
  readonly from_seq: number
  readonly to_seq: number
  readonly prev: Uint8Array
  readonly hash: Uint8Array
  readonly from_ms: number
  readonly to_ms: number
}

/** In order of arrival, which is the order in which room is made. */
function* packFrames(db: DatabaseSync, places: ReadonlyMap<number, number>): Generator<Frame> {
  const page = db.prepare(
    `SELECT id, log, received_at, flags, bytes FROM packs WHERE id > ? ORDER BY id LIMIT ${PAGE}`,
  )
  for (let last = 0; ;) {
    const rows = page.all(last) as {
      id: number
      log: number
      received_at: number
      flags: number
      bytes: Uint8Array
    }[]
    for (const { log, received_at: receivedAtMs, flags, bytes } of rows) {
      const content = new Uint8Array(PACK_HEAD_BYTES + bytes.length)
      const view = new DataView(content.buffer)
      view.setUint32(0, places.get(log) ?? 0)
      view.setFloat64(4, receivedAtMs)
      view.setUint32(12, flags)
      content.set(bytes, PACK_HEAD_BYTES)
      yield { kind: KINDS.pack, content }
    }
    last = rows.at(-1)?.id ?? last
    if (rows.length < PAGE) return
  }
}

function* tableFrames(db: DatabaseSync, places: ReadonlyMap<number, number>): Generator<Frame> {
  const place = (log: unknown): number => places.get(log as number) ?? 0
  const base64 = (bytes: unknown): string => Buffer.from(bytes as Uint8Array).toString('base64')
  yield* rowFrames(db, 'choices', 'SELECT name, is_on FROM sensor_choice', (row) => [
    row['name'] as string,
    row['is_on'] === 1,
  ])
  yield* rowFrames(db, 'distrusted', 'SELECT device, grant_id FROM distrusted', (row) => [
    toHex(row['device'] as Uint8Array),
    toHex(row['grant_id'] as Uint8Array),
  ])
  const floor = (row: SqlRow) => [row['level'] as 0 | 5 | 60, row['from_ms'] as number] as const
  yield* rowFrames(db, 'spanFloors', 'SELECT * FROM history_floors WHERE log = 0', (row) => [
    ...floor(row),
  ])
  yield* rowFrames(db, 'logFloors', 'SELECT * FROM history_floors WHERE log <> 0', (row) => [
    place(row['log']),
    ...floor(row),
  ])
  const forks = 'SELECT * FROM forks ORDER BY rowid'
  yield* rowFrames(db, 'forks', forks, (row) => [
    place(row['log']),
    row['seq'] as number,
    row['kept'] === null ? null : base64(row['kept']),
    base64(row['other']),
    row['found_at'] as number,
  ])
  const rollups = `SELECT s.log, s.name, s.unit, s.kind, r.* FROM rollups r
    JOIN sensors s ON s.id = r.sensor WHERE s.kind <> 'string'`
  yield* rowFrames(db, 'rollups', rollups, (row) => [
    place(row['log']),
    ...(['name', 'unit', 'kind'].map((key) => row[key]) as [string, string, 'number']),
    ...(['level', 't_ms', 'min', 'max', 'sum', 'count', 'last', 'last_ms', 'last_seq'].map(
      (key) => row[key],
    ) as [5, number, number, number, number, number, number, number, number]),
    row['last_i'] as number,
  ])
}

type SqlRow = Readonly<Record<string, unknown>>

/** Large rows go alone. */
function* rowFrames<T extends Table>(
  db: DatabaseSync,
  table: T,
  sql: string,
  toRow: (row: SqlRow) => Row<T>,
): Generator<Frame> {
  const most = table === 'forks' ? 1 : MAX_ROWS
  let rows: Row<T>[] = []
  for (const row of each<SqlRow>(db.prepare(sql))) {
    rows.push(toRow(row))
    if (rows.length < most) continue
    yield jsonFrame(KINDS.rows, { table, rows })
    rows = []
  }
  if (rows.length > 0) yield jsonFrame(KINDS.rows, { table, rows })
}
