/**
 * Puts the checked items of a backup into a fresh database. What repeats the packs, rows and
 * summaries of readings, is made from them again; summaries reach further back, and follow.
 */
import type { DatabaseSync } from 'node:sqlite'

import { sha256 } from '../../protocols/identity/index.ts'
import { FLAGS, trustedTimes } from '../../protocols/telemetry/index.ts'
import { fromHex } from '../../protocols/wire/index.ts'
import type { BackupItem } from './backup-check.ts'
import type { LogHead, Row } from './backup-format.ts'
import { bootTable, type BootTable } from './boots.ts'
import { changeOrExplain } from './db.ts'
import { openDistrustStore } from './distrust.ts'
import { openOpStore } from './ops.ts'
import { readingTable, type ReadingTable } from './readings.ts'
import { rollupTable } from './rollups.ts'
import { openSensorChoices } from './sensor-choices.ts'
import { sensorTable, type SensorTable } from './sensor-rows.ts'

/** Items that are written in one transaction. */
const BATCH = 256

type PackItem = Extract<BackupItem, { part: 'pack' }>
type RowsItem = Extract<BackupItem, { part: 'rows' }>

/** `db` is fresh, and its own device has no home. @throws NodeError NODE_DATABASE where the disk is full */
export async function restoreRows(
  db: DatabaseSync,
  items: AsyncIterable<BackupItem>,
): Promise<void> {
  const restoring = new Restoring(db)
  let batch: BackupItem[] = []
  const write = (): void => {
    const now = batch
    batch = []
    changeOrExplain(db, () => {
      for (const item of now) restoring.put(item)
    })
  }
  for await (const item of items) {
    // In a transaction of its own.
    if (item.part === 'home') {
      openOpStore(db).append(
        item.ops.home,
        item.ops.entries.map(({ op }) => op),
      )
      continue
    }
    batch.push(item)
    if (batch.length >= BATCH) write()
  }
  write()
}

class Restoring {
  readonly #db: DatabaseSync
  readonly #boots: BootTable
  readonly #sensors: SensorTable
  readonly #readings: ReadingTable
  /** Rows of `logs`, by their places in the backup. */
  readonly #logs: number[] = []

  constructor(db: DatabaseSync) {
    this.#db = db
    this.#boots = bootTable(db)
    this.#sensors = sensorTable(db)
    this.#readings = readingTable(db, rollupTable(db))
  }

  put(item: BackupItem): void {
    if (item.part === 'log') this.#log(item.log)
    else if (item.part === 'pack') this.#pack(item)
    else if (item.part === 'rows') this.#rows(item)
  }

  #log({ device, floor, quarantined, segments, boots }: LogHead): void {
    const { lastInsertRowid } = this.#db
      .prepare('INSERT INTO logs (device, floor, quarantined) VALUES (?, ?, ?)')
      .run(fromHex(device), floor, quarantined ? 1 : 0)
    const log = Number(lastInsertRowid)
    this.#logs.push(log)
    const segment = this.#db.prepare('INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)')
    for (const [from, to, prev, hash, fromMs, toMs] of segments) {
      segment.run(log, from, to, fromHex(prev), fromHex(hash), fromMs, toMs)
    }
    for (const [boot, bornMs] of boots) this.#boots.note(log, fromHex(boot), bornMs ?? undefined)
  }

  #pack({ log: at, pack, receivedAtMs, flags: before }: PackItem): void {
    const log = this.#logs[at] ?? 0
    const boot = this.#boots.note(log, pack.bootId, pack.born)
    // Where the receiver judged no times, because its own clock was not set, nobody judges them now.
    const clockUnset = (before & FLAGS.clockImplausible) === 0
    const told = trustedTimes(pack, { receivedAtMs, clockUnset, bornMs: boot.bornMs })
    const kept = FLAGS.clockUnsynced | FLAGS.late | FLAGS.quarantined
    const flags = (before & kept) | told.flags
    const { lastInsertRowid } = this.#db
      .prepare(
        `INSERT INTO packs (log, seq, received_at, flags, from_ms, to_ms, boot, bytes)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        ...([log, pack.seq, receivedAtMs, flags] as const),
        ...([Math.min(...told.times), Math.max(...told.times)] as const),
        ...([boot.bornMs === undefined || pack.clock === 'unset' ? boot.id : null] as const),
        pack.bytes,
      )
    if ((flags & FLAGS.unplaced) !== 0) return
    this.#readings.insert(log, Number(lastInsertRowid), { pack, times: told.times, flags })
  }

  #rows(found: RowsItem): void {
    if (found.table === 'choices') {
      for (const [name, on] of found.rows) openSensorChoices(this.#db).set(name, on)
    } else if (found.table === 'distrusted') {
      for (const row of found.rows) {
        openDistrustStore(this.#db).put(fromHex(row[0]), fromHex(row[1]))
      }
    } else if (found.table === 'spanFloors') {
      for (const [level, fromMs] of found.rows) this.#floor(0, level, fromMs)
    } else if (found.table === 'logFloors') {
      for (const [log, level, fromMs] of found.rows) this.#floor(this.#logs[log], level, fromMs)
    } else if (found.table === 'forks') {
      for (const row of found.rows) this.#fork(row)
    } else {
      for (const row of found.rows) this.#rollup(row)
    }
  }

  #floor(log: number | undefined, level: number, fromMs: number): void {
    this.#db
      .prepare('INSERT OR REPLACE INTO history_floors VALUES (?, ?, ?)')
      .run(log ?? 0, level, fromMs)
  }

  #fork([log, seq, kept, other, foundAt]: Row<'forks'>): void {
    const bytes = Buffer.from(other, 'base64')
    const first = kept === null ? null : Buffer.from(kept, 'base64')
    this.#db
      .prepare('INSERT OR REPLACE INTO forks VALUES (?, ?, ?, ?, ?, ?)')
      .run(this.#logs[log] ?? 0, seq, sha256(bytes), first, bytes, foundAt)
  }

  /** Also of readings whose packs are there: then it says the same, or more. */
  #rollup([log, name, unit, kind, ...numbers]: Row<'rollups'>): void {
    const value = kind === 'boolean' ? false : 0
    const sensor = this.#sensors.idOf(this.#logs[log] ?? 0, { sensor: name, unit, value, atMs: 0 })
    if (sensor === undefined) return
    this.#db
      .prepare('INSERT OR REPLACE INTO rollups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
      .run(sensor, ...numbers)
  }
}
