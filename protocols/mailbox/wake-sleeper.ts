/** The sleeper's side of one wake: gives receipts, takes what waits and has it done. */
import { equalBytes, toHex } from '../wire/index.ts'
import { NONE, waits, type MailRow } from './mail.ts'
import type { Mail, Wake } from './messages.ts'
import { batchOf, type Post } from './post.ts'

export interface WakeStart {
  /** Our own schedule, signed. */
  readonly schedule: Uint8Array
  readonly reason?: string | undefined
}

export interface OwnWake {
  /** The next frame for the holder. */
  next(logHead: number): Wake
  /** Take a holder's answer. The calls in it are on disk when it returns. */
  take(mail: Mail): void
  /** Calls that are here and were not done yet, in this wake or in one that was cut off. */
  waiting(): Uint8Array[]
  /** All that waited was done or looked at; `receipts`, which are on disk, say what became of it. */
  did(receipts: readonly Uint8Array[]): void
  /** Nothing is left to be said, but for the log. */
  readonly done: boolean
  readonly calls: number
  readonly receipts: number
}

export function beginWake(post: Post, holder: Uint8Array, start: WakeStart): OwnWake {
  const { self } = post.deps
  const sent = new Set<string>()
  let first = true
  let acks: Uint8Array[] = []
  let more = true
  let [calls, receipts] = [0, 0]

  function unsent(): MailRow[] {
    return post.rows.filter(
      (row) => row.receipt.length > 0 && equalBytes(row.to, self) && !sent.has(toHex(row.id)),
    )
  }

  return {
    next(logHead) {
      const due = unsent()
      const batch = batchOf(due, ({ receipt }) => receipt.length)
      for (const { id } of batch) sent.add(toHex(id))
      const told = acks
      acks = []
      const opening = first ? { schedule: start.schedule } : {}
      const reason = first && start.reason !== undefined ? { reason: start.reason } : {}
      first = false
      const rest = { logHead, more: due.length > batch.length }
      return {
        ...opening,
        ...reason,
        receipts: batch.map(({ receipt }) => receipt),
        acks: told,
        ...rest,
      }
    },
    take(mail) {
      for (const id of mail.acks) {
        if (sent.has(toHex(id))) {
          receipts++
          isKept(post, id, mail.apart ? holder : undefined)
        }
      }
      calls += mail.calls.length
      keepCalls(post, mail.calls)
      acks = mail.receipts.flatMap((receipt) => post.takeReceipt(receipt, holder) ?? [])
      ;({ more } = mail)
    },
    waiting: () => inboxOf(post).map(({ bytes }) => bytes),
    did: (done) => keepReceipts(post, done),
    get done() {
      return !more && acks.length === 0 && unsent().length === 0
    },
    get calls() {
      return calls
    },
    get receipts() {
      return receipts
    },
  }
}

const AT_HOME = { handed: true, given: true, acked: false, holders: [], key: '' } as const

/** What was given to this device and has no receipt yet. */
function inboxOf(post: Post): MailRow[] {
  return post.rows.filter((row) => waits(row) && equalBytes(row.to, post.deps.self))
}

/** Whatever is damaged or not for us is left out: whoever gave it knows no better. */
function keepCalls(post: Post, calls: readonly Uint8Array[]): void {
  const { now, read, self } = post.deps
  const rows = calls.flatMap((bytes): MailRow[] => {
    try {
      const facts = read(bytes)
      const fresh = equalBytes(facts.to, self) && post.find(facts.id) === undefined
      const rest = { ...AT_HOME, bytes, receipt: NONE, ageMs: 0, stored: now() }
      return fresh ? [{ ...facts, ...rest }] : []
    } catch {
      return []
    }
  })
  if (rows.length > 0) post.change(rows)
}

/**
 * A holder has a receipt of ours. One that is not connected to the other parents (`alone`) could
 * take it along when it dies, so its word is not enough.
 */
function isKept(post: Post, id: Uint8Array, alone: Uint8Array | undefined): void {
  const row = post.find(id)
  if (row === undefined) return
  const others = row.holders.filter((key) => alone === undefined || !equalBytes(key, alone))
  if (alone === undefined || others.length > 0) post.change([], [id])
  else if (row.holders.length === 0) post.change([{ ...row, holders: [alone] }])
}

/** Receipts stay until a holder has them; a call without one is nothing to wait for. */
function keepReceipts(post: Post, receipts: readonly Uint8Array[]): void {
  const { now, readReceipt } = post.deps
  const rows = receipts.map((receipt): MailRow => {
    const { call: id, caller, callee: to } = readReceipt(receipt)
    const age = { issuedMs: 0, ttlMs: 0, ageMs: 0, stored: now(), cancels: false }
    return { id, caller, to, ...AT_HOME, ...age, bytes: NONE, receipt }
  })
  const named = new Set(rows.map(({ id }) => toHex(id)))
  const without = inboxOf(post).filter(({ id }) => !named.has(toHex(id)))
  post.change(
    rows,
    without.map(({ id }) => id),
  )
}
