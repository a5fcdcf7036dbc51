/** A sleeper's side of one wake with one holder. */
import type { Channel } from '../wire/index.ts'
import { Note, Reply } from './messages.ts'
import type { Post } from './post.ts'
import { MailboxError } from './protocol.ts'
import { beginWake, type WakeStart } from './wake-sleeper.ts'

export interface VisitDeps {
  readonly post: Post
  readonly holder: Uint8Array
  readonly start: WakeStart
  /** Highest number of our own log. */
  readonly logHead: () => number
  /** Do what the calls ask; receipts of them all, on disk. */
  readonly deliver: (calls: readonly Uint8Array[]) => Promise<readonly Uint8Array[]>
}

export interface Visit {
  readonly calls: number
  readonly receipts: number
  /** The holder has our whole log. */
  readonly logTaken: boolean
  /** The holder cannot answer for the other parents. */
  readonly apart: boolean
  /** The holder's clock, UTC milliseconds. */
  readonly nowMs: number
}

/** Ends when nothing is left to be said. @throws MailboxError MAILBOX_FORBIDDEN; WireError */
export async function visitHolder(channel: Channel, deps: VisitDeps): Promise<Visit> {
  const { deliver, holder, logHead, post, start } = deps
  const own = beginWake(post, holder, start)
  const work = async (): Promise<void> => {
    const calls = own.waiting()
    if (calls.length > 0) own.did(await deliver(calls))
  }
  // What was cut off the last time.
  await work()
  for (;;) {
    const head = logHead()
    await channel.send(Note, { wake: own.next(head) })
    const { mail } = await channel.receive(Reply)
    if (mail === undefined) throw new MailboxError('MAILBOX_FORBIDDEN', 'not a holder')
    own.take(mail)
    await work()
    if (!own.done) continue
    const { calls, receipts } = own
    const logTaken = mail.logHead >= logHead()
    return { calls, receipts, logTaken, apart: mail.apart, nowMs: mail.now }
  }
}
