/**
 * Writes packs into the tables, inside the transactions of packs.ts: judges each by what is known of
 * its log, and writes it and what follows from it. Rows of this device's own packs are put off, see
 * filing.ts.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'

import { sha256 } from '../../protocols/identity/index.ts'
import { FLAGS, judge, type Judgement } from '../../protocols/telemetry/index.ts'
import { filing, type Filing } from './filing.ts'
import type { Accepted, Incoming, Outcome } from './outcome.ts'
import type { Log, LogTable } from './pack-logs.ts'
import { placing, type Placing } from './placing.ts'
import type { ReadingTable } from './readings.ts'

export interface Keeping {
  /** Made here: its rows can wait. */
  readonly own?: boolean
  readonly accepted?: ((outcome: Accepted) => void) | undefined
}

export interface WriterDeps {
  readonly db: DatabaseSync
  readonly logs: LogTable
  readonly readings: ReadingTable
}

type ForkJudgement = Extract<Judgement, { verdict: 'fork' }>

export class PackWriter {
  readonly placing: Placing
  readonly #deps: WriterDeps
  readonly #filing: Filing
  /** Lowest number kept of a log, by its row, where it was asked for since it last changed. */
  readonly #firsts = new Map<number, number | undefined>()
  readonly #sql: Record<'bytes' | 'first' | 'add' | 'newest', StatementSync>

  constructor(deps: WriterDeps) {
    const { db, readings } = deps
    this.#deps = deps
    this.placing = placing(db, readings)
    this.#filing = filing({
      db,
      readings,
      bornMs: (log, bootId) => this.placing.bornMs(log, bootId),
    })
    this.#sql = {
      bytes: db.prepare('SELECT bytes FROM packs WHERE log = ? AND seq = ?'),
      first: db.prepare('SELECT min(seq) AS first FROM packs WHERE log = ?'),
      newest: db.prepare('SELECT received_at FROM packs ORDER BY id DESC LIMIT 1'),
      add: db.prepare(
        `INSERT INTO packs (log, seq, received_at, flags, from_ms, to_ms, boot, bytes)
         VALUES (:log, :seq, :receivedAt, :flags, :fromMs, :toMs, :boot, :bytes)`,
      ),
    }
  }

  /** Judge one pack and write what follows from it. Inside a transaction. */
  keep(incoming: Incoming, { own = false, accepted }: Keeping = {}): Outcome {
    const log = this.#deps.logs.ensure(incoming.pack.device)
    const judgement = this.#judge(log, incoming)
    if (judgement.verdict === 'fork') return this.#keepFork(log, incoming, judgement)
    if (judgement.verdict !== 'accept') return { ...incoming, ...judgement }
    const outcome = { ...incoming, ...judgement }
    accepted?.(outcome)
    this.#write(log, outcome, own)
    return outcome
  }

  #keepFork(log: Log, incoming: Incoming, { against, state }: ForkJudgement): Outcome {
    const kept = this.bytesAt(log, against)
    const proof = { seq: against, other: incoming.pack, atMs: incoming.receivedAtMs }
    const added = this.#deps.logs.addFork(log, kept === undefined ? proof : { ...proof, kept })
    // What an owner has looked at does not count twice.
    if (added !== 'known') this.#deps.logs.setState(log, state)
    return { ...incoming, verdict: 'fork', against, fresh: added === 'new' }
  }

  #write(log: Log, { pack, flags, times, state, ...incoming }: Accepted, own: boolean): void {
    const { receivedAtMs, clockUnset } = incoming
    if (pack.seq <= (this.#firsts.get(log.id) ?? Infinity)) this.#firsts.delete(log.id)
    const { lastInsertRowid: id } = this.#sql.add.run({
      log: log.id,
      seq: pack.seq,
      // A clock that is not set says nothing about the order of things.
      receivedAt: clockUnset === true ? this.#latest(receivedAtMs) : receivedAtMs,
      flags,
      fromMs: Math.min(...times),
      toMs: Math.max(...times),
      boot: this.placing.boot(log.id, pack),
      bytes: pack.bytes,
    })
    if ((flags & FLAGS.unplaced) === 0) {
      const kept = { pack, times, flags }
      if (own) this.#filing.later(log.id, Number(id), kept)
      else this.#deps.readings.insert(log.id, Number(id), kept)
    }
    if (!own) this.placing.placeSome()
    this.#deps.logs.setState(log, state)
  }

  #judge(log: Log, incoming: Incoming): Judgement {
    const bornMs = this.placing.bornMs(log.id, incoming.pack.bootId)
    const hashAt = (seq: number): Uint8Array | undefined => {
      const kept = this.bytesAt(log, seq)
      return kept === undefined ? undefined : sha256(kept)
    }
    return judge(log.state, incoming.pack, { ...incoming, bornMs, hashAt })
  }

  /** Tell of the first one before the disk is asked for anything: mostly it is the only one. */
  tellEarly(incoming: Incoming | undefined, tell: (outcome: Accepted) => void): void {
    const log = incoming && this.#deps.logs.find(incoming.pack.device)
    if (incoming === undefined || log === undefined) return
    const judgement = this.#judge(log, incoming)
    if (judgement.verdict === 'accept') tell({ ...incoming, ...judgement })
  }

  /** Asked for with every frame of a log. */
  firstOf({ id }: Log): number | undefined {
    if (!this.#firsts.has(id)) {
      const { first } = this.#sql.first.get(id) as { first: number | null }
      this.#firsts.set(id, first ?? undefined)
    }
    return this.#firsts.get(id)
  }

  /** Packs of this device wait for their rows. */
  get waits(): boolean {
    return this.#filing.waits
  }

  /** Write what waits, all of it: what is placed after that must not get its rows twice. */
  file(): void {
    if (!this.#filing.waits) return
    while (this.#filing.waits) this.#filing.write()
    this.placing.placeSome()
  }

  newestReceivedMs(): number | undefined {
    const row = this.#sql.newest.get()
    return row?.['received_at'] as number | undefined
  }

  /** Packs may have been removed. */
  removed(): void {
    this.#firsts.clear()
  }

  /** Forget what is remembered of the tables, after a transaction was undone. */
  forget(): void {
    this.#firsts.clear()
    this.placing.forget()
    this.#filing.forget()
  }

  #latest(receivedAtMs: number): number {
    return Math.max(receivedAtMs, this.newestReceivedMs() ?? receivedAtMs)
  }

  bytesAt(log: Log, seq: number): Uint8Array | undefined {
    return (this.#sql.bytes.get(log.id, seq) as { bytes: Uint8Array } | undefined)?.bytes
  }
}
