/**
 * The logs of packs on disk: this device's own, which only grows by `appendOwn`, and those of others,
 * which grow by `insert` after `openPack` has checked each pack. A pack that this store announces, or
 * returns as accepted, is on disk. What was received is remembered by number even after retention
 * took the bytes, so a pack is never taken twice and this device never uses a number twice.
 *
 * Not here: signatures, who may publish, and when to prune.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'

import {
  EMPTY_LOG,
  FLAGS,
  gapsOf,
  headOf,
  NO_PREV,
  type ForkProof,
  type HeldPack,
  type HeldProof,
  type Pack,
  type SeqRange,
} from '../../protocols/telemetry/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import type { Ballast } from './ballast.ts'
import type { Migration } from './db.ts'
import { BOOT_TABLES } from './boots.ts'
import { FILING_TABLES } from './filing.ts'
import { gapRows, timeOf, type GapRow } from './gap-rows.ts'
import { keepProof, LOG_TABLES, logTable, type Fork, type LogTable } from './pack-logs.ts'
import { newestPacks } from './newest.ts'
import type { PackStore } from './pack-store.ts'
import { tellOnce, type Accepted, type Incoming, type Outcome } from './outcome.ts'
import { PackWriter } from './pack-writer.ts'
import { UNPLACED_INDEX, type Unplaced } from './placing.ts'
import {
  READING_TABLES,
  readingTable,
  type ReadingTable,
  type BucketRow,
  type HistoryQuery,
  type ReadingRow,
} from './readings.ts'
import { ROLLUP_TABLES, rollupTable } from './rollups.ts'
import { roomFor, type Limits, type Room } from './room.ts'

export const migration: Migration = {
  version: 2,
  sql: `
    ${LOG_TABLES}
    CREATE TABLE packs (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      log INTEGER NOT NULL,
      seq INTEGER NOT NULL,
      received_at INTEGER NOT NULL,
      flags INTEGER NOT NULL,
      from_ms INTEGER NOT NULL,
      to_ms INTEGER NOT NULL,
      boot INTEGER,
      bytes BLOB NOT NULL,
      UNIQUE (log, seq)
    ) STRICT;
    ${BOOT_TABLES}
    ${UNPLACED_INDEX}
    CREATE INDEX quarantined_packs ON packs (log, id) WHERE (flags & 8) <> 0;
    ${READING_TABLES}
    ${FILING_TABLES}
    ${ROLLUP_TABLES}`,
}

export type { Incoming, Outcome } from './outcome.ts'
export type { GapRow } from './gap-rows.ts'
export type { PackStore } from './pack-store.ts'

/** `ballast` is what to give up first where the disk is full. */
export function openPackStore(db: DatabaseSync, ballast?: Ballast): PackStore {
  return new SqlitePacks(db, ballast)
}

class SqlitePacks implements PackStore {
  readonly #db: DatabaseSync
  readonly #readings: ReadingTable
  readonly #logs: LogTable
  readonly #writer: PackWriter
  readonly #room: Room
  readonly #newest = newestPacks()
  readonly #listeners = new Set<(device: Uint8Array) => void>()
  readonly #proofListeners = new Set<() => void>()
  readonly #range: StatementSync

  constructor(db: DatabaseSync, ballast: Ballast | undefined) {
    this.#db = db
    const rollups = rollupTable(db)
    this.#readings = readingTable(db, rollups)
    this.#logs = logTable(db)
    this.#writer = new PackWriter({ db, logs: this.#logs, readings: this.#readings })
    this.#room = roomFor({
      db,
      readings: this.#readings,
      rollups,
      ballast,
      undone: () => {
        for (const table of [this.#logs, this.#readings, this.#writer]) table.forget()
      },
    })
    this.#range = db.prepare(
      'SELECT seq, bytes FROM packs WHERE log = ? AND seq >= ? ORDER BY seq LIMIT ?',
    )
  }

  appendOwn(
    device: Uint8Array,
    make: (seq: number, prev: Uint8Array) => Pack,
    nowMs: number,
  ): Pack {
    const pack = this.#room.run(() => {
      this.#writer.file()
      const { state } = this.#logs.ensure(device)
      const made = make(headOf(state) + 1, state.segments.at(-1)?.hash ?? NO_PREV)
      const clockUnset = made.clock === 'unset'
      const outcome = this.#writer.keep(
        { pack: made, receivedAtMs: nowMs, clockUnset },
        { own: true },
      )
      if (outcome.verdict !== 'accept') throw new Error(`own pack: ${outcome.verdict}`)
      return made
    })
    this.#note(pack)
    this.#announce(device)
    return pack
  }

  file(): void {
    if (!this.#writer.waits) return
    // Nothing is lost with these rows: the next start writes them again.
    this.#db.exec('PRAGMA synchronous = NORMAL')
    try {
      this.#room.run(() => this.#writer.file())
    } finally {
      this.#db.exec('PRAGMA synchronous = FULL')
    }
  }

  insert(batch: readonly Incoming[], onAccepted?: (outcome: Accepted) => void): Outcome[] {
    const accepted = onAccepted && tellOnce(onAccepted)
    if (accepted !== undefined) this.#writer.tellEarly(batch[0], accepted)
    const outcomes = this.#room.run(() => {
      this.#writer.file()
      return batch.map((incoming) => this.#writer.keep(incoming, { accepted }))
    })
    const grown = new Map<string, Uint8Array>()
    for (const { verdict, pack } of outcomes) {
      if (verdict !== 'accept') continue
      grown.set(toHex(pack.device), pack.device)
      this.#note(pack)
    }
    for (const device of grown.values()) this.#announce(device)
    if (outcomes.some((outcome) => outcome.verdict === 'fork' && outcome.fresh)) this.#alarm()
    return outcomes
  }

  bounds(device: Uint8Array): { readonly first: number; readonly head: number } | undefined {
    const log = this.#logs.find(device)
    if (log === undefined) return undefined
    const head = headOf(log.state)
    return { first: this.#writer.firstOf(log) ?? head + 1, head }
  }

  read(device: Uint8Array, fromSeq: number, limit: number): readonly HeldPack[] {
    const log = this.#logs.find(device)
    if (log === undefined) return []
    const newest = this.#newest.get(log.id, fromSeq)
    // The newest of each log is never removed.
    if (newest !== undefined) return [newest]
    return this.#range.all(log.id, fromSeq, limit) as unknown as HeldPack[]
  }

  onNew(listener: (device: Uint8Array) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  head(device: Uint8Array): number {
    const log = this.#logs.find(device)
    return log === undefined ? 0 : headOf(log.state)
  }

  heads(): { readonly device: Uint8Array; readonly seq: number }[] {
    return this.#logs.heads()
  }

  gaps(device: Uint8Array): SeqRange[] {
    return gapsOf(this.#logs.find(device)?.state ?? EMPTY_LOG)
  }

  bornMs(device: Uint8Array, bootId: Uint8Array): number | undefined {
    const log = this.#logs.find(device)
    return log === undefined ? undefined : this.#writer.placing.bornMs(log.id, bootId)
  }

  unplaced(device: Uint8Array): Unplaced | undefined {
    const log = this.#logs.find(device)
    return log === undefined ? undefined : this.#writer.placing.unplaced(log.id)
  }

  newestSyncedMs(device: Uint8Array): number | undefined {
    const doubtful = FLAGS.clockUnsynced | FLAGS.clockImplausible
    const row = this.#db
      .prepare(
        `SELECT to_ms FROM packs WHERE log = ? AND (flags & ${doubtful}) = 0
         ORDER BY seq DESC LIMIT 1`,
      )
      .get(this.#logs.find(device)?.id ?? 0)
    return row?.['to_ms'] as number | undefined
  }

  newestReceivedMs(): number | undefined {
    return this.#writer.newestReceivedMs()
  }

  history(device: Uint8Array, query: HistoryQuery): (ReadingRow | BucketRow | GapRow)[] {
    this.file()
    const log = this.#logs.find(device)
    if (log === undefined) return []
    const rows = [...this.#readings.query(log.id, query), ...gapRows(log.state, query)]
    return rows.toSorted((a, b) => timeOf(a) - timeOf(b))
  }

  forks(device: Uint8Array): Fork[] {
    const log = this.#logs.find(device)
    return log === undefined ? [] : this.#logs.forks(log)
  }

  proofs(): readonly HeldProof[] {
    return this.#logs.proofs()
  }

  onProof(listener: () => void): () => void {
    this.#proofListeners.add(listener)
    return () => void this.#proofListeners.delete(listener)
  }

  addProof(proof: ForkProof, nowMs: number): boolean {
    const added = this.#room.run(() =>
      keepProof(this.#logs, proof, nowMs, (log, seq) => this.#writer.bytesAt(log, seq)),
    )
    if (added === 'new') this.#alarm()
    return added === 'new'
  }

  isQuarantined(device: Uint8Array): boolean {
    return this.#logs.find(device)?.state.quarantined === true
  }

  release(device: Uint8Array): void {
    const log = this.#logs.find(device)
    if (log?.state.quarantined !== true) return
    this.file()
    this.#room.run(() => {
      this.#readings.release(log.id)
      this.#logs.setState(log, { ...log.state, quarantined: false })
    })
  }

  prune(limits: Limits): number {
    this.file()
    this.#writer.removed()
    return this.#room.prune(limits)
  }

  onFull(listener: (full: boolean) => void): () => void {
    return this.#room.onFull(listener)
  }

  #alarm(): void {
    for (const listener of this.#proofListeners) listener()
  }

  /** `pack` is on disk. */
  #note(pack: Pack): void {
    const log = this.#logs.find(pack.device)
    if (log !== undefined) this.#newest.note(log.id, pack)
  }

  #announce(device: Uint8Array): void {
    for (const listener of this.#listeners) listener(device)
  }
}
