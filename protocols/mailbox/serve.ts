/** A holder's side of one stream: a put, news, or a wake. */
import type { Channel } from '../wire/index.ts'
import {
  Note,
  Reply,
  type Mail,
  type NoteMessage,
  type ReplyMessage,
  type Wake,
} from './messages.ts'
import type { Post } from './post.ts'
import { BOUNDS, MAILBOX_ERRORS, MailboxError } from './protocol.ts'
import { hearWake } from './wake-holder.ts'

export interface ServeDeps {
  readonly post: Post
  /** Who opened the stream. */
  readonly peer: Uint8Array
  readonly isConnected: (device: Uint8Array) => boolean
  /** Highest number that we have of the peer's log. */
  readonly logHead: () => number
  /** Resolves once we have the peer's log up to `head`, or after `ms`. */
  readonly logReaches: (head: number, ms: number) => Promise<void>
  /** The peer woke. */
  readonly woke: (reason: string | undefined) => void
}

/** @throws MailboxError MAILBOX_BAD_DOCUMENT, MAILBOX_FORBIDDEN; IdentityError; WireError */
export async function serveMail(channel: Channel, deps: ServeDeps): Promise<void> {
  const { peer, post } = deps
  const { news, put, wake } = only(await channel.receive(Note))
  if (put !== undefined) return channel.send(Reply, { held: post.put(put, peer) })
  if (news !== undefined) return channel.send(Reply, { noted: post.hear(news, peer) })
  if (wake === undefined) return
  if (!post.deps.powered || !post.deps.mayHold(post.deps.self)) {
    return channel.send(Reply, { status: MAILBOX_ERRORS.MAILBOX_FORBIDDEN.status })
  }
  await serveWake(channel, deps, wake)
}

async function serveWake(channel: Channel, deps: ServeDeps, first: Wake): Promise<void> {
  const { isConnected, peer, post, woke } = deps
  const session = hearWake(post, peer)
  let told = false
  for (let wake: Wake | undefined = first; wake !== undefined;) {
    const answer = session.answer(wake, { logHead: deps.logHead(), isConnected })
    if (!told) woke(wake.reason)
    told = true
    const logHead = await logOf(deps, wake, answer)
    await channel.send(Reply, { mail: { ...answer, logHead } })
    const note: NoteMessage | undefined = await channel.next(Note)
    if (note === undefined) return
    ;({ wake } = only(note))
    if (wake === undefined) throw new MailboxError('MAILBOX_BAD_DOCUMENT', 'not a wake')
  }
}

/** What we have of the peer's log; waits for it where nothing else is left to do. */
async function logOf(deps: ServeDeps, wake: Wake, answer: Mail): Promise<number> {
  const busy = answer.more || wake.more || answer.calls.length + answer.receipts.length > 0
  if (busy || answer.logHead >= wake.logHead) return answer.logHead
  await deps.logReaches(wake.logHead, BOUNDS.logWaitMs)
  return deps.logHead()
}

function only(note: NoteMessage): NoteMessage {
  const parts = [note.put, note.news, note.wake].filter((part) => part !== undefined)
  if (parts.length !== 1) throw new MailboxError('MAILBOX_BAD_DOCUMENT', 'not one note')
  return note
}

/** Tell a peer one note of an outbox. @throws WireError */
export async function tell(channel: Channel, note: NoteMessage): Promise<ReplyMessage> {
  await channel.send(Note, note)
  return channel.receive(Reply)
}
