/** The holder's side of one wake: takes receipts, gives what waits. */
import { equalBytes, toHex } from '../wire/index.ts'
import { waits, type MailRow } from './mail.ts'
import type { Mail, Wake } from './messages.ts'
import { batchOf, inOrder, type Post } from './post.ts'

export interface HeardWake {
  /** Answer one frame of the sleeper. */
  answer(wake: Wake, facts: HolderFacts): Mail
}

export interface HolderFacts {
  /** Highest number that we have of the sleeper's log. */
  readonly logHead: number
  readonly isConnected: (device: Uint8Array) => boolean
}

/** One exchange with `sleeper`. @throws what the timetable throws for a damaged schedule */
export function hearWake(post: Post, sleeper: Uint8Array): HeardWake {
  const { now, self, timetable } = post.deps
  /** Given in this exchange, and in the last frame of it. */
  const sent = new Set<string>()
  let last: readonly MailRow[] = []

  function isNew(row: MailRow): boolean {
    return !sent.has(toHex(row.id))
  }

  /** A frame that follows says that the one before has come. */
  function confirm(): void {
    const fresh = last
      .flatMap(({ id }) => post.find(id) ?? [])
      .filter((row) => waits(row) && !row.given)
    if (fresh.length > 0) post.change(fresh.map((row) => ({ ...row, given: true })))
    last = []
  }

  function take({ acks, receipts, schedule }: Wake): Uint8Array[] {
    if (schedule !== undefined) timetable.hear(schedule, 0, sleeper)
    for (const id of acks) post.noted(id, sleeper)
    return receipts.flatMap((receipt) => post.takeReceipt(receipt, sleeper) ?? [])
  }

  return {
    answer(wake, { logHead, isConnected }) {
      confirm()
      const acks = take(wake)
      const due = post.rows
        .filter((row) => waits(row) && equalBytes(row.to, sleeper) && isNew(row))
        .toSorted(inOrder)
      const back = post.rows.filter(
        (row) =>
          row.receipt.length > 0 && !row.acked && equalBytes(row.caller, sleeper) && isNew(row),
      )
      const calls = batchOf(due, ({ bytes }) => bytes.length)
      const receipts = calls.length > 0 ? [] : batchOf(back, ({ receipt }) => receipt.length)
      for (const { id } of [...calls, ...receipts]) sent.add(toHex(id))
      last = calls
      // Once it is sent it may be there, whatever becomes of the frame.
      const fresh = calls.filter(({ handed }) => !handed)
      if (fresh.length > 0) post.change(fresh.map((row) => ({ ...row, handed: true })))
      const others = timetable.parentsOf(sleeper).filter((key) => !equalBytes(key, self))
      return {
        calls: calls.map(({ bytes }) => bytes),
        receipts: receipts.map(({ receipt }) => receipt),
        acks,
        logHead,
        now: Math.max(0, now().wallMs),
        more: due.length + back.length > calls.length + receipts.length,
        apart: others.some((key) => !isConnected(key)),
      }
    },
  }
}
