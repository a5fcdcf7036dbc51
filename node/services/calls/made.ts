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
import { asError, NodeError } from '../../errors.ts'
import type { MadeCall } from '../../storage/calls-made.ts'
import type { CallRecord, CallsDeps, CallState } from './calls.ts'
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
const MAX_LISTED = 256
/** Ended calls that are kept, and how often the others are removed. */
const KEPT = 1000
const TRIM_EVERY = 100

const UNDERWAY: ReadonlySet<CallState> = new Set(['sent', 'queued', 'held', 'delivered'])

export function isUnderway({ state }: Pick<CallRecord, 'state'>): boolean {
  return UNDERWAY.has(state)
}

/** What a receipt makes of a call. */
export function stateBy({ status }: Pick<Receipt, 'status'>): CallState {
  return status === 'expired' || status === 'cancelled' ? status : 'executed'
}

interface Entry extends Open {
  readonly settle: (record: CallRecord) => void
  readonly fail: (error: Error) => void
  /** On disk, in one state or another. */
  kept: boolean
}

export function madeBy(
  { home, log, store: { made } }: Pick<CallsDeps, 'home' | 'log' | 'store'>,
  tell: (record: CallRecord) => void,
): Made {
  const entries = new Map<string, Entry>()
  const unwritten = new Set<Entry>()
  let [scheduled, ended] = [false, 0]

  function enter(call: Call, rest: Pick<Open, 'holders' | 'sent' | 'state'>): Entry {
    const { promise, resolve, reject } = Promise.withResolvers<CallRecord>()
    promise.catch(() => undefined)
    const entry = { call, ...rest, ended: promise, settle: resolve, fail: reject, kept: false }
    entries.set(keyed(call.id), entry)
    return entry
  }

  for (const row of made.open()) {
    const { state, deliversByMs, holders } = recordOf(row, home)
    const entry = enter(reopenCall(row.call, home), { state, holders, sent: true })
    Object.assign(entry, { kept: true, deliversByMs })
  }

  function flush(): void {
    scheduled = false
    if (unwritten.size === 0) return
    try {
      made.put(Array.from(unwritten, rowOf))
      for (const entry of unwritten) entry.kept = true
      if (ended >= TRIM_EVERY) {
        ended = 0
        made.trim(KEPT)
      }
    } catch (err) {
      log.error({ err }, 'what became of calls cannot be kept')
    }
    unwritten.clear()
  }

  /** A read that nobody holds leaves nothing behind. */
  function write(entry: Entry): void {
    if (entry.call.verb === 'read' && !entry.kept) return
    unwritten.add(entry)
    if (scheduled) return
    scheduled = true
    setImmediate(flush)
  }

  function move(open: Open, progress: Progress): void {
    const entry = entries.get(keyed(open.call.id))
    if (entry === undefined) return
    Object.assign(entry, progress)
    write(entry)
    const record = recordNow(entry)
    if (!isUnderway(record)) {
      entries.delete(keyed(entry.call.id))
      ended++
      entry.settle(record)
    }
    tell(record)
  }

  function stored(id: Uint8Array): MadeCall | undefined {
    flush()
    return made.get(id)
  }

  return {
    add(call, state) {
      if (entries.size >= MAX_OPEN) {
        throw new NodeError('NODE_CONFLICT', 'Too many calls of this device wait.', {
          hint: 'Cancel some, or wait until devices have answered: kith calls.',
        })
      }
      const entry = enter(call, { state, sent: false, holders: [] })
      return entry
    },
    open: () => Array.from(entries.values()),
    get: (id) => entries.get(keyed(id)),
    record(id) {
      const entry = entries.get(keyed(id))
      if (entry !== undefined) return recordNow(entry)
      const row = stored(id)
      return row === undefined ? undefined : recordOf(row, home)
    },
    keep(open) {
      const entry = entries.get(keyed(open.call.id))
      if (entry === undefined) return
      made.put([rowOf(entry)], true)
      entry.kept = true
      tell(recordNow(entry))
    },
    move,
    late(id, receipt) {
      const row = stored(id)
      if (row === undefined || row.receipt !== undefined) return
      const record = recordOf(row, home)
      const found = receipt(record)
      const state = stateBy(found)
      made.put([{ ...row, state, ended: true, receipt: found.bytes }])
      tell({ ...record, state, receipt: found })
    },
    drop(open, error) {
      const entry = entries.get(keyed(open.call.id))
      if (entry === undefined) return
      entries.delete(keyed(open.call.id))
      unwritten.delete(entry)
      if (entry.kept) made.remove(open.call.id)
      entry.fail(asError(error))
    },
    list() {
      flush()
      return made.list(MAX_LISTED).map((row) => recordOf(row, home))
    },
    find(idPrefix) {
      flush()
      if (!/^[0-9a-f]{1,64}$/.test(idPrefix)) throw notFound()
      const [row, other] = made.find(idPrefix)
      if (row === undefined) throw notFound()
      if (other !== undefined) {
        throw new NodeError('NODE_AMBIGUOUS', 'More than one call begins so.', {
          hint: 'Write more of its id, as kith calls shows it.',
        })
      }
      return recordOf(row, home)
    },
    flush,
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
