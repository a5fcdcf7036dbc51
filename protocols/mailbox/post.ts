/**
 * The mail of one device, as a caller and as a holder: what waits for whom, who has it, what came
 * back. Nothing here sends, waits or reads a clock, and every change is on disk before a function
 * returns. What others should be told is in outbox.ts, the exchange of a wake in wake-holder.ts.
 */
import { compareBytes, equalBytes, toHex } from '../wire/index.ts'
import {
  ageOf,
  NONE,
  waits,
  type CallFacts,
  type MailRow,
  type MailStore,
  type ReceiptFacts,
} from './mail.ts'
import type { Held, News, PutItem } from './messages.ts'
import { BOUNDS, MAILBOX_ERRORS, MailboxError, type MailboxErrorCode } from './protocol.ts'
import { roomFor } from './room.ts'
import type { Stamp } from './stamp.ts'
import type { Timetable } from './timetable.ts'

/** A call that was taken back by a later one, or whose time is over, without a receipt. */
export type Ending = 'superseded' | 'expired' | 'unknown'

export interface PostDeps {
  /** Our public key, 32 bytes. */
  readonly self: Uint8Array
  /** This device is always on, so what it has counts as held. */
  readonly powered: boolean
  readonly store: MailStore
  readonly timetable: Timetable
  readonly now: () => Stamp
  /** Check and read a call or a receipt. @throws any coded error */
  readonly read: (bytes: Uint8Array) => CallFacts
  readonly readReceipt: (bytes: Uint8Array) => ReceiptFacts
  /** `caller` may ask `to` for something at all. */
  readonly mayCall: (caller: Uint8Array, to: Uint8Array) => boolean
  /** The device is always on and may keep mail of others. */
  readonly mayHold: (device: Uint8Array) => boolean
  /** A receipt for a call of ours; it is on disk when this returns. */
  readonly settled: (receipt: Uint8Array, facts: ReceiptFacts) => void
  /** The state of a call of ours is another. */
  readonly moved: (id: Uint8Array, ending?: Ending) => void
}

/** A receipt whose caller is away is kept longer than its call. */
const RECEIPT_KEPT_MS = 7 * 86_400_000

export class Post {
  readonly #deps: PostDeps
  readonly #rows = new Map<string, MailRow>()

  constructor(deps: PostDeps) {
    this.#deps = deps
    for (const row of deps.store.load()) this.#rows.set(toHex(row.id), row)
  }

  get rows(): readonly MailRow[] {
    return [...this.#rows.values()]
  }

  get deps(): PostDeps {
    return this.#deps
  }

  find(id: Uint8Array): MailRow | undefined {
    return this.#rows.get(toHex(id))
  }

  /** Devices that are known to have it, this one among them where it is always on. */
  holdersOf({ holders }: MailRow): readonly Uint8Array[] {
    return this.#deps.powered ? [this.#deps.self, ...holders] : holders
  }

  /** A call of our own. @throws MailboxError MAILBOX_BUSY, MAILBOX_SUPERSEDED, MAILBOX_FORBIDDEN */
  hold(bytes: Uint8Array, key = ''): MailRow {
    const row = this.#newRow({ call: bytes, age: 0, ...(key === '' ? {} : { key }) })
    const known = this.find(row.id)
    if (known !== undefined) return known
    const refused = this.#refusal(row)
    if (refused !== undefined) throw new MailboxError(refused)
    this.#store(row)
    return row
  }

  /** Calls that `from` leaves here. */
  put(items: readonly PutItem[], from: Uint8Array): Held {
    const held: { ids: Uint8Array[]; refused: Held['refused'][number][]; receipts: Uint8Array[] } =
      { ids: [], refused: [], receipts: [] }
    const { mayHold } = this.#deps
    const holders = mayHold(from) ? [from] : []
    for (const item of items) {
      const row = this.#readable(item)
      if (row === undefined) continue
      const { id } = row
      const known = this.find(id)
      const code = this.#foreignRefusal(row, from) ?? this.#refusal(row, known)
      if (code !== undefined) {
        held.refused.push({ id, status: MAILBOX_ERRORS[code].status })
        continue
      }
      if (known === undefined) this.#store({ ...row, holders, handed: true })
      else if (known.receipt.length > 0) held.receipts.push(known.receipt)
      else this.heldBy(known, holders)
      held.ids.push(id)
    }
    return held
  }

  /** What `from` tells. Returns ids of calls whose receipts need not be told again. */
  hear({ schedules, receipts, given }: News, from: Uint8Array): Uint8Array[] {
    for (const { schedule, age } of schedules) this.#hearSchedule(schedule, age, from)
    for (const id of given) {
      const row = this.find(id)
      if (row !== undefined && !row.given && this.#deps.mayHold(from)) {
        this.change([{ ...row, given: true, handed: true }])
        this.#moved(row)
      }
    }
    return receipts.flatMap((receipt) => this.takeReceipt(receipt, from) ?? [])
  }

  /**
   * Keep a receipt, which anyone may bring. Returns the call's id, undefined where there is no room
   * for it or it is damaged.
   */
  takeReceipt(bytes: Uint8Array, from: Uint8Array): Uint8Array | undefined {
    const facts = this.#receiptIn(bytes)
    if (facts === undefined) return undefined
    const known = this.find(facts.call)
    const ours = equalBytes(facts.caller, this.#deps.self)
    const fits = known === undefined || answers(facts, known)
    if (!fits || (known?.receipt.length ?? 0) > 0) return facts.call
    if (ours) this.#deps.settled(bytes, facts)
    if (known !== undefined) {
      const { holders } = known
      const others = holders.filter((key) => !equalBytes(key, from))
      const rest = { handed: true, given: true, acked: ours, holders: others }
      this.change([{ ...known, ...rest, bytes: NONE, receipt: bytes }])
      return facts.call
    }
    const wanted = !ours && this.#wantsAlone(facts, from)
    return wanted ? this.#keepAlone(bytes, facts) : facts.call
  }

  /** `peer` has the receipt of a call, so it is not told again. */
  noted(id: Uint8Array, peer: Uint8Array): void {
    const row = this.find(id)
    if (row === undefined || row.receipt.length === 0) return
    if (equalBytes(row.to, this.#deps.self)) return this.change([], [id])
    const holders = row.holders.filter((key) => !equalBytes(key, peer))
    this.change([{ ...row, holders, acked: row.acked || equalBytes(peer, row.caller) }])
  }

  /** Others have it on disk. */
  heldBy(row: MailRow, keys: readonly Uint8Array[]): void {
    const fresh = keys.filter((key) => !row.holders.some((known) => equalBytes(known, key)))
    if (fresh.length === 0) return
    this.change([{ ...row, holders: [...row.holders, ...fresh], handed: true }])
    this.#moved(row)
  }

  /** `peer` keeps the mail of `sleeper`. */
  keepsFor(peer: Uint8Array, sleeper: Uint8Array): boolean {
    const { timetable } = this.#deps
    const parents = timetable.sleeps(sleeper) ? timetable.parentsOf(sleeper) : []
    return parents.some((key) => equalBytes(key, peer))
  }

  /** A call of ours that nobody else ever had goes without a trace. */
  forget(id: Uint8Array): boolean {
    const row = this.find(id)
    if (row === undefined || row.handed || !equalBytes(row.caller, this.#deps.self)) return false
    this.change([], [id])
    return true
  }

  /** Drop what nobody needs any more. */
  tick(): void {
    const now = this.#deps.now()
    for (const row of this.rows) {
      const ageMs = ageOf(row, now)
      const own = equalBytes(row.caller, this.#deps.self)
      if (own && !row.handed && ageMs > row.ttlMs) this.#end(row, 'expired')
      else if (ageMs > this.#keptMs(row)) this.#end(row, 'unknown')
    }
  }

  /** Write rows as they are now, and drop others. */
  change(put: readonly MailRow[], remove: readonly Uint8Array[] = []): void {
    this.#deps.store.change(put, remove)
    for (const row of put) this.#rows.set(toHex(row.id), row)
    for (const id of remove) this.#rows.delete(toHex(id))
  }

  #end(row: MailRow, ending: Ending): void {
    this.change([], [row.id])
    if (equalBytes(row.caller, this.#deps.self) && waits(row)) this.#deps.moved(row.id, ending)
  }

  #keptMs(row: MailRow): number {
    // What we were called for ourselves may be done already, in a window that was cut off.
    const owed = equalBytes(row.to, this.#deps.self) || (row.receipt.length > 0 && !row.acked)
    const longer = owed ? RECEIPT_KEPT_MS : 0
    return row.ttlMs + this.#deps.timetable.graceMs(row.to) + longer
  }

  #newRow({ call, age, key = '' }: PutItem): MailRow {
    const facts = this.#deps.read(call)
    const stored = this.#deps.now()
    const state = { handed: false, given: false, acked: false, holders: [] }
    return { ...facts, ...state, key, bytes: call, receipt: NONE, ageMs: age, stored }
  }

  /** Undefined where it is no call at all: there is no id to refuse. */
  #readable(item: PutItem): MailRow | undefined {
    try {
      return this.#newRow(item)
    } catch {
      return undefined
    }
  }

  #receiptIn(bytes: Uint8Array): ReceiptFacts | undefined {
    try {
      return this.#deps.readReceipt(bytes)
    } catch {
      return undefined
    }
  }

  #hearSchedule(bytes: Uint8Array, age: number, from: Uint8Array): void {
    try {
      this.#deps.timetable.hear(bytes, age, from)
    } catch {
      // Damaged, or of another home: whoever passed it on may not know better.
    }
  }

  #foreignRefusal({ caller, to }: MailRow, from: Uint8Array): MailboxErrorCode | undefined {
    const { mayCall, mayHold, powered, self } = this.#deps
    const passedOn = equalBytes(caller, from) || equalBytes(caller, self) || mayHold(from)
    const allowed = powered && passedOn && mayCall(caller, to) && !equalBytes(to, self)
    return allowed ? undefined : 'MAILBOX_FORBIDDEN'
  }

  #refusal(row: MailRow, known?: MailRow): MailboxErrorCode | undefined {
    if (known !== undefined) {
      const over = known.bytes.length === 0 && known.receipt.length === 0
      return over ? 'MAILBOX_SUPERSEDED' : undefined
    }
    if (row.ageMs > row.ttlMs) return 'MAILBOX_ENDED'
    if (this.#sameKey(row).some((other) => isLater(other, row))) return 'MAILBOX_SUPERSEDED'
    return roomFor(row, this.#rows.values()) ? undefined : 'MAILBOX_BUSY'
  }

  /** Calls that this one takes the place of, or the other way round. */
  #sameKey({ caller, key, to }: MailRow): MailRow[] {
    if (key === '') return []
    return this.rows.filter(
      (row) => row.key === key && equalBytes(row.caller, caller) && equalBytes(row.to, to),
    )
  }

  /** Put a new row on disk, in the place of those that it supersedes. */
  #store(row: MailRow): void {
    const before = this.#sameKey(row).filter(waits)
    this.change([row, ...before.map((old) => ({ ...old, bytes: NONE }))])
    for (const { id, caller } of before) {
      if (equalBytes(caller, this.#deps.self)) this.#deps.moved(id, 'superseded')
    }
  }

  #moved({ caller, id }: MailRow): void {
    if (equalBytes(caller, this.#deps.self)) this.#deps.moved(id)
  }

  /** A receipt of a call that is not known here: its device gives it, or we keep mail for one of both. */
  #wantsAlone({ callee, caller }: ReceiptFacts, from: Uint8Array): boolean {
    const { mayHold, self } = this.#deps
    const ours = this.keepsFor(self, caller) || this.keepsFor(self, callee)
    return equalBytes(from, callee) || (mayHold(from) && ours)
  }

  /** Room for it is that of the receipts of its device; the oldest that was delivered makes it. */
  #keepAlone(receipt: Uint8Array, { call, caller, callee }: ReceiptFacts): Uint8Array | undefined {
    if (!this.#deps.powered) return undefined
    const theirs = this.rows.filter((row) => row.receipt.length > 0 && equalBytes(row.to, callee))
    const spare = theirs.find(({ acked }) => acked)
    if (theirs.length >= BOUNDS.maxReceipts && spare === undefined) return undefined
    const state = { handed: true, given: true, acked: false, holders: [], cancels: false, key: '' }
    const facts = { id: call, caller, to: callee, issuedMs: 0, ttlMs: 0 }
    const age = { ageMs: 0, stored: this.#deps.now() }
    const remove = theirs.length >= BOUNDS.maxReceipts && spare !== undefined ? [spare.id] : []
    this.change([{ ...facts, ...state, ...age, bytes: NONE, receipt }], remove)
    return call
  }
}

/** The first of `rows` that go into one frame; always one. */
export function batchOf<T>(rows: readonly T[], size: (row: T) => number): T[] {
  let total = 0
  const last = rows.findIndex((row, at) => {
    const over = at > 0 && total + size(row) > BOUNDS.batchBytes
    total += size(row)
    return over || at >= BOUNDS.maxDocuments
  })
  return last === -1 ? [...rows] : rows.slice(0, last)
}

/** Calls that take others back first, then as they were issued. */
export function inOrder(a: MailRow, b: MailRow): number {
  if (a.cancels !== b.cancels) return a.cancels ? -1 : 1
  return a.issuedMs - b.issuedMs || compareBytes(a.id, b.id)
}

function isLater(a: MailRow, b: MailRow): boolean {
  return a.issuedMs > b.issuedMs || (a.issuedMs === b.issuedMs && compareBytes(a.id, b.id) > 0)
}

function answers({ callee, caller }: ReceiptFacts, row: MailRow): boolean {
  return equalBytes(callee, row.to) && equalBytes(caller, row.caller)
}
