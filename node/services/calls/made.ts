/**
 * The calls that this device made, in memory while something may still become of them and on disk.
 * What became of one is written a moment after it is known, many at a time; a call that waits for a
 * sleeper is on disk before anyone else has it.
 */
import { setImmediate } from 'node:timers'

import {
  reopenCall,
  reopenReceipt,
  type Call,
  type Receipt,
} from '../../../protocols/calls/index.ts'
import { isUnderway, type CallState } from '../../call-state.ts'
import { asError, NodeError } from '../../errors.ts'
import type { MadeCall } from '../../storage/calls-made.ts'
import type { CallRecord, CallsDeps } from './calls.ts'
import { keyed } from './keyed.ts'

/** A call that has not come to its end. */
export interface Open {
  readonly call: Call
  /** The bytes may be with the callee. */
  sent: boolean
  state: CallState
  deliversByMs?: number | undefined
  holders: readonly Uint8Array[]
  receipt?: Receipt
  /** Resolves when it has come to its end. */
  readonly ended: Promise<CallRecord>
}

export interface Progress {
  readonly state: CallState
  readonly deliversByMs?: number | undefined
  readonly holders?: readonly Uint8Array[]
  readonly receipt?: Receipt
}

export interface Made {
  /** @throws NodeError NODE_CONFLICT where too many are open */
  add(call: Call, state: CallState): Open
  /** Those that are open, oldest first; with them those from before this start. */
  open(): Open[]
  get(id: Uint8Array): Open | undefined
  /** Open or not; undefined where it is not known. */
  record(id: Uint8Array): CallRecord | undefined
  /** On disk when this returns. */
  keep(open: Open): void
  /** It came further; told, and written soon. Does nothing once it has come to its end. */
  move(open: Open, progress: Progress): void
  /**
   * Whoever waits or looks has it now; `move` follows, which writes it and tells it on. Until then
   * it counts as before after a restart.
   */
  answer(open: Open, progress: Progress): void
  /** As `move`, for one that came to its end without a receipt. */
  late(id: Uint8Array, receipt: (record: CallRecord) => Receipt): void
  /** It was never sent: forget it. */
  drop(open: Open, error: unknown): void
  list(): CallRecord[]
  /** @throws NodeError NODE_NOT_FOUND, NODE_AMBIGUOUS */
  find(idPrefix: string): CallRecord
  /** Write what waits. */
  flush(): void
}

const MAX_OPEN = 4096
/** What became of calls that are on disk is written after this, together. */
const LATE_MS = 100
const MAX_LISTED = 256
/** Ended calls that are kept, and how often the others are removed. */
const KEPT = 1000
const TRIM_EVERY = 100

/** What a receipt makes of a call. */
export function stateBy({ status }: Pick<Receipt, 'status'>): CallState {
  return status === 'expired' || status === 'cancelled' ? status : 'executed'
}

interface Entry extends Open {
  readonly settle: (record: CallRecord) => void
  readonly fail: (error: Error) => void
  /** On disk, in one state or another. */
  kept: boolean
  answered?: Progress
}

type Deps = Pick<CallsDeps, 'clock' | 'home' | 'log' | 'store'>

export function madeBy(deps: Deps, tell: (record: CallRecord) => void): Made {
  return new Book(deps, tell)
}

class Book implements Made {
  readonly #deps: Deps
  readonly #tell: (record: CallRecord) => void
  readonly #entries = new Map<string, Entry>()
  readonly #unwritten = new Set<Entry>()
  #soon = false
  #cancelLate: (() => void) | undefined
  #ended = 0

  constructor(deps: Deps, tell: (record: CallRecord) => void) {
    this.#deps = deps
    this.#tell = tell
    for (const row of deps.store.made.open()) {
      const { state, deliversByMs, holders } = recordOf(row, deps.home)
      const call = reopenCall(row.call, deps.home)
      const entry = this.#enter(call, { state, holders, sent: true })
      Object.assign(entry, { kept: true, deliversByMs })
    }
  }

  add(call: Call, state: CallState): Open {
    if (this.#entries.size >= MAX_OPEN) {
      throw new NodeError('NODE_CONFLICT', 'Too many calls of this device wait.', {
        hint: 'Cancel some, or wait until devices have answered: kith calls.',
      })
    }
    return this.#enter(call, { state, sent: false, holders: [] })
  }

  open(): Open[] {
    return Array.from(this.#entries.values())
  }

  get(id: Uint8Array): Open | undefined {
    return this.#entries.get(keyed(id))
  }

  record(id: Uint8Array): CallRecord | undefined {
    const entry = this.#entries.get(keyed(id))
    if (entry !== undefined) return recordNow({ ...entry, ...entry.answered })
    const row = this.#stored(id)
    return row === undefined ? undefined : recordOf(row, this.#deps.home)
  }

  keep(open: Open): void {
    const entry = this.#entries.get(keyed(open.call.id))
    if (entry === undefined) return
    this.#deps.store.made.put([rowOf(entry)], true)
    entry.kept = true
    this.#tell(recordNow(entry))
  }

  answer(open: Open, progress: Progress): void {
    const entry = this.#entries.get(keyed(open.call.id))
    if (entry === undefined) return
    entry.answered = progress
    entry.settle(recordNow({ ...entry, ...progress }))
  }

  move(open: Open, progress: Progress): void {
    const entry = this.#entries.get(keyed(open.call.id))
    if (entry === undefined) return
    Object.assign(entry, progress)
    this.#write(entry)
    const record = recordNow(entry)
    if (!isUnderway(record)) {
      this.#entries.delete(keyed(entry.call.id))
      this.#ended++
      entry.settle(record)
    }
    this.#tell(record)
  }

  late(id: Uint8Array, receipt: (record: CallRecord) => Receipt): void {
    const row = this.#stored(id)
    if (row === undefined || row.receipt !== undefined) return
    const record = recordOf(row, this.#deps.home)
    const found = receipt(record)
    const state = stateBy(found)
    this.#deps.store.made.put([{ ...row, state, ended: true, receipt: found.bytes }])
    this.#tell({ ...record, state, receipt: found })
  }

  drop(open: Open, error: unknown): void {
    const entry = this.#entries.get(keyed(open.call.id))
    if (entry === undefined) return
    this.#entries.delete(keyed(open.call.id))
    this.#unwritten.delete(entry)
    if (entry.kept) this.#deps.store.made.remove(open.call.id)
    entry.fail(asError(error))
  }

  list(): CallRecord[] {
    this.flush()
    return this.#deps.store.made.list(MAX_LISTED).map((row) => this.#recordOf(row))
  }

  find(idPrefix: string): CallRecord {
    this.flush()
    if (!/^[0-9a-f]{1,64}$/.test(idPrefix)) throw notFound()
    const [row, other] = this.#deps.store.made.find(idPrefix)
    if (row === undefined) throw notFound()
    if (other === undefined) return this.#recordOf(row)
    throw new NodeError('NODE_AMBIGUOUS', 'More than one call begins so.', {
      hint: 'Write more of its id, as kith calls shows it.',
    })
  }

  flush(): void {
    this.#cancelLate?.()
    this.#cancelLate = undefined
    this.#soon = false
    if (this.#unwritten.size === 0) return
    const { log, store } = this.#deps
    try {
      store.made.put(Array.from(this.#unwritten, rowOf))
      for (const entry of this.#unwritten) entry.kept = true
      if (this.#ended >= TRIM_EVERY) {
        this.#ended = 0
        store.made.trim(KEPT)
      }
    } catch (err) {
      log.error({ err }, 'what became of calls cannot be kept')
    }
    this.#unwritten.clear()
  }

  #enter(call: Call, rest: Pick<Open, 'holders' | 'sent' | 'state'>): Entry {
    const { promise, resolve, reject } = Promise.withResolvers<CallRecord>()
    promise.catch(() => undefined)
    const entry = { call, ...rest, ended: promise, settle: resolve, fail: reject, kept: false }
    this.#entries.set(keyed(call.id), entry)
    return entry
  }

  /** A read that nobody holds leaves nothing behind. */
  #write(entry: Entry): void {
    if (entry.call.verb === 'read' && !entry.kept) return
    this.#unwritten.add(entry)
    if (entry.receipt !== undefined && entry.kept) {
      // Until then it counts as sent: after a restart the same receipt is asked for again.
      this.#cancelLate ??= this.#deps.clock.timer(LATE_MS, () => this.flush())
    } else if (!this.#soon) {
      this.#soon = true
      setImmediate(() => this.flush())
    }
  }

  #recordOf(row: MadeCall): CallRecord {
    const entry = this.#entries.get(keyed(row.id))
    if (entry?.answered !== undefined) return recordNow({ ...entry, ...entry.answered })
    return recordOf(row, this.#deps.home)
  }

  #stored(id: Uint8Array): MadeCall | undefined {
    this.flush()
    return this.#deps.store.made.get(id)
  }
}

function notFound(): NodeError {
  return new NodeError('NODE_NOT_FOUND', 'This device made no such call.', {
    hint: 'See: kith calls.',
  })
}

type Known = Pick<Open, 'call' | 'deliversByMs' | 'holders' | 'receipt' | 'state'>

function recordNow({ call, deliversByMs, holders, receipt, state }: Known): CallRecord {
  const { args, cause, id, issuedMs, name, to, ttlMs, verb } = call
  return { id, to, verb, name, args, state, issuedMs, ttlMs, deliversByMs, holders, receipt, cause }
}

function rowOf({ call, deliversByMs, holders, receipt, state }: Open): MadeCall {
  const rest = { deliversByMs, holders, receipt: receipt?.bytes }
  return { id: call.id, call: call.bytes, state, ended: !isUnderway({ state }), ...rest }
}

function recordOf(row: MadeCall, home: Uint8Array): CallRecord {
  const { call, deliversByMs, holders, receipt, state } = row
  const known = { call: reopenCall(call, home), state: state as CallState, deliversByMs, holders }
  if (receipt === undefined) return recordNow(known)
  return recordNow({ ...known, receipt: reopenReceipt(receipt, home) })
}
