/**
 * The logs of packs on disk: this device's own, which only grows by `appendOwn`, and those of others,
 * which grow by `insert` after `openPack` has checked each pack. A pack that this store announces, or
 * returns as accepted, is on disk. What was received is remembered by number even after retention
 * took the bytes, so a pack is never taken twice and this device never uses a number twice.
 *
 * Not here: signatures, who may publish, and when to prune.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'

import { sha256 } from '../../protocols/identity/index.ts'
import {
  EMPTY_LOG,
  FLAGS,
  gapsOf,
  headOf,
  judge,
  NO_PREV,
  type ForkProof,
  type HeldPack,
  type HeldProof,
  type Pack,
  type PackSource,
  type ProofSource,
  type SeqRange,
} from '../../protocols/telemetry/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import type { Ballast } from './ballast.ts'
import type { Migration } from './db.ts'
import { BOOT_TABLES } from './boots.ts'
import { gapRows, timeOf, type GapRow } from './gap-rows.ts'
import { keepProof, LOG_TABLES, logTable, type Fork, type Log, type LogTable } from './pack-logs.ts'
import { newestPacks } from './newest.ts'
import { tellOnce, type Accepted, type Incoming, type Outcome } from './outcome.ts'
import { placing, UNPLACED_INDEX, type Placing, type Unplaced } from './placing.ts'
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
    ${ROLLUP_TABLES}`,
}

export type { Incoming, Outcome } from './outcome.ts'
export type { GapRow } from './gap-rows.ts'

export interface PackStore extends PackSource, ProofSource {
  /**
   * Make the next pack of this device's own log and put it on disk.
   * @throws NodeError NODE_DATABASE where the disk stays full; what `make` throws
   */
  appendOwn(device: Uint8Array, make: (seq: number, prev: Uint8Array) => Pack, nowMs: number): Pack
  /**
   * Judge and keep packs of other devices, in order, all in one transaction. `onAccepted` is called
   * for each that is accepted before it is written: should the disk refuse it then, it comes again.
   * It must not use the database.
   * @throws NodeError NODE_DATABASE where the disk stays full
   */
  insert(batch: readonly Incoming[], onAccepted?: (outcome: Accepted) => void): Outcome[]
  /** Highest number known of a log, kept or not; 0 for none. */
  head(device: Uint8Array): number
  heads(): { readonly device: Uint8Array; readonly seq: number }[]
  gaps(device: Uint8Array): SeqRange[]
  /** When the machine of `device` started, as its packs of that boot tell; UTC milliseconds. */
  bornMs(device: Uint8Array, bootId: Uint8Array): number | undefined
  /** Packs that wait for their time to be known; undefined for none. */
  unplaced(device: Uint8Array): Unplaced | undefined
  /** Newest time of this log's packs that were made by a clock in step; undefined for none. */
  newestSyncedMs(device: Uint8Array): number | undefined
  /** When the newest pack of all was received; undefined for none. */
  newestReceivedMs(): number | undefined
  history(device: Uint8Array, query: HistoryQuery): (ReadingRow | BucketRow | GapRow)[]
  forks(device: Uint8Array): Fork[]
  /**
   * Keep a proof that came from elsewhere: the device's packs count no more until `release`. False
   * where it is known already.
   */
  addProof(proof: ForkProof, nowMs: number): boolean
  /** Whether the device signed two histories and is not trusted again. */
  isQuarantined(device: Uint8Array): boolean
  /** An owner looked at the forks and trusts the device again, and what came from it since. */
  release(device: Uint8Array): void
  /**
   * Remove up to a few dozen of the oldest packs, by arrival, while they were received before
   * `receivedBeforeMs` or the database holds more than `maxBytes`; then summaries that are too old,
   * or for room the oldest of them. The newest pack of each log stays. Returns how many rows went;
   * 0 means done.
   */
  prune(limits: Limits): number
  /**
   * Call `listener` with true when the disk is found full, or at once where it is, and with false
   * once there is room again.
   * Returns the function that stops it.
   */
  onFull(listener: (full: boolean) => void): () => void
}

/** `ballast` is what to give up first where the disk is full. */
export function openPackStore(db: DatabaseSync, ballast?: Ballast): PackStore {
  return new SqlitePacks(db, ballast)
}

class SqlitePacks implements PackStore {
  readonly #db: DatabaseSync
  readonly #readings: ReadingTable
  readonly #logs: LogTable
  readonly #placing: Placing
  readonly #room: Room
  readonly #newest = newestPacks()
  readonly #listeners = new Set<(device: Uint8Array) => void>()
  readonly #proofListeners = new Set<() => void>()
  readonly #sql: Record<'bytes' | 'range' | 'first' | 'addPack', StatementSync>

  constructor(db: DatabaseSync, ballast: Ballast | undefined) {
    this.#db = db
    const rollups = rollupTable(db)
    this.#readings = readingTable(db, rollups)
    this.#logs = logTable(db)
    this.#placing = placing(db, this.#readings)
    this.#room = roomFor({
      db,
      readings: this.#readings,
      rollups,
      ballast,
      undone: () => {
        for (const table of [this.#logs, this.#readings, this.#placing]) table.forget()
      },
    })
    this.#sql = {
      bytes: db.prepare('SELECT bytes FROM packs WHERE log = ? AND seq = ?'),
      range: db.prepare(
        'SELECT seq, bytes FROM packs WHERE log = ? AND seq >= ? ORDER BY seq LIMIT ?',
      ),
      first: db.prepare('SELECT min(seq) AS first FROM packs WHERE log = ?'),
      addPack: db.prepare(
        `INSERT INTO packs (log, seq, received_at, flags, from_ms, to_ms, boot, bytes)
         VALUES (:log, :seq, :receivedAt, :flags, :fromMs, :toMs, :boot, :bytes)`,
      ),
    }
  }

  appendOwn(
    device: Uint8Array,
    make: (seq: number, prev: Uint8Array) => Pack,
    nowMs: number,
  ): Pack {
    const pack = this.#room.run(() => {
      const { state } = this.#logs.ensure(device)
      const made = make(headOf(state) + 1, state.segments.at(-1)?.hash ?? NO_PREV)
      const clockUnset = made.clock === 'unset'
      const outcome = this.#keep({ pack: made, receivedAtMs: nowMs, clockUnset })
      if (outcome.verdict !== 'accept') throw new Error(`own pack: ${outcome.verdict}`)
      return made
    })
    this.#note(pack)
    this.#announce(device)
    return pack
  }

  insert(batch: readonly Incoming[], onAccepted?: (outcome: Accepted) => void): Outcome[] {
    const accepted = onAccepted && tellOnce(onAccepted)
    const outcomes = this.#room.run(() => batch.map((incoming) => this.#keep(incoming, accepted)))
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
    const { first } = this.#sql.first.get(log.id) as { first: number | null }
    return { first: first ?? head + 1, head }
  }

  read(device: Uint8Array, fromSeq: number, limit: number): readonly HeldPack[] {
    const log = this.#logs.find(device)
    if (log === undefined) return []
    const newest = this.#newest.get(log.id, fromSeq)
    // The newest of each log is never removed.
    if (newest !== undefined) return [newest]
    return this.#sql.range.all(log.id, fromSeq, limit) as unknown as HeldPack[]
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
    return log === undefined ? undefined : this.#placing.bornMs(log.id, bootId)
  }

  unplaced(device: Uint8Array): Unplaced | undefined {
    const log = this.#logs.find(device)
    return log === undefined ? undefined : this.#placing.unplaced(log.id)
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
    const row = this.#db.prepare('SELECT received_at FROM packs ORDER BY id DESC LIMIT 1').get()
    return row?.['received_at'] as number | undefined
  }

  history(device: Uint8Array, query: HistoryQuery): (ReadingRow | BucketRow | GapRow)[] {
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
      keepProof(this.#logs, proof, nowMs, (log, seq) => this.#bytesAt(log, seq)),
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
    this.#room.run(() => {
      this.#readings.release(log.id)
      this.#logs.setState(log, { ...log.state, quarantined: false })
    })
  }

  prune(limits: Limits): number {
    return this.#room.prune(limits)
  }

  onFull(listener: (full: boolean) => void): () => void {
    return this.#room.onFull(listener)
  }

  /** Judge one pack and write what follows from it. Inside a transaction. */
  #keep(incoming: Incoming, onAccepted?: (outcome: Accepted) => void): Outcome {
    const { pack, receivedAtMs } = incoming
    const log = this.#logs.ensure(pack.device)
    const bornMs = this.#placing.bornMs(log.id, pack.bootId)
    const hashAt = (seq: number): Uint8Array | undefined => {
      const kept = this.#bytesAt(log, seq)
      return kept === undefined ? undefined : sha256(kept)
    }
    const judgement = judge(log.state, pack, { ...incoming, bornMs, hashAt })
    if (judgement.verdict === 'fork') {
      const { against, state, verdict } = judgement
      const kept = this.#bytesAt(log, against)
      const proof = { seq: against, other: pack, atMs: receivedAtMs }
      const added = this.#logs.addFork(log, kept === undefined ? proof : { ...proof, kept })
      // What an owner has looked at does not count twice.
      if (added !== 'known') this.#logs.setState(log, state)
      return { ...incoming, verdict, against, fresh: added === 'new' }
    }
    if (judgement.verdict === 'accept') {
      const { flags, times, state } = judgement
      onAccepted?.({ ...incoming, ...judgement })
      const { lastInsertRowid: id } = this.#sql.addPack.run({
        log: log.id,
        seq: pack.seq,
        // A clock that is not set says nothing about the order of things.
        receivedAt: incoming.clockUnset === true ? this.#latest(receivedAtMs) : receivedAtMs,
        flags,
        fromMs: Math.min(...times),
        toMs: Math.max(...times),
        boot: this.#placing.boot(log.id, pack),
        bytes: pack.bytes,
      })
      if ((flags & FLAGS.unplaced) === 0) {
        this.#readings.insert(log.id, Number(id), { pack, times, flags })
      }
      this.#placing.placeSome()
      this.#logs.setState(log, state)
    }
    return { ...incoming, ...judgement }
  }

  #latest(receivedAtMs: number): number {
    return Math.max(receivedAtMs, this.newestReceivedMs() ?? receivedAtMs)
  }

  #bytesAt(log: Log, seq: number): Uint8Array | undefined {
    return (this.#sql.bytes.get(log.id, seq) as { bytes: Uint8Array } | undefined)?.bytes
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
