/** The sleeper's side of one wake: gives receipts, takes what waits and has it done. */
import { equalBytes, toHex } from '../wire/index.ts'
import { NONE, type MailRow } from './mail.ts'
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
  /** Take a holder's answer; `receipts` are those of the calls in it, already on disk. */
  take(mail: Mail, receipts: readonly Uint8Array[]): void
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
    take(mail, done) {
      for (const id of mail.acks) {
        if (sent.has(toHex(id))) {
          receipts++
          post.noted(id, holder)
        }
      }
      calls += mail.calls.length
      keepOwn(post, done)
      acks = mail.receipts.flatMap((receipt) => post.takeReceipt(receipt, holder) ?? [])
      ;({ more } = mail)
    },
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

/** Receipts of what was done here stay until a holder has them. */
export function keepOwn(post: Post, receipts: readonly Uint8Array[]): void {
  const { now, readReceipt } = post.deps
  const stored = now()
  const rows = receipts.map((receipt): MailRow => {
    const { call: id, caller, callee: to } = readReceipt(receipt)
    const state = { handed: true, given: true, acked: false, holders: [], cancels: false, key: '' }
    const age = { issuedMs: 0, ttlMs: 0, ageMs: 0, stored }
    return { id, caller, to, ...state, ...age, bytes: NONE, receipt }
  })
  if (rows.length > 0) post.change(rows)
}
