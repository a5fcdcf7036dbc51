/** What connected peers should be told: calls that they should hold, receipts, schedules. */
import { equalBytes, toHex } from '../wire/index.ts'
import { ageOf, sizeOf, waits, type MailRow } from './mail.ts'
import type { Held, News, NoteMessage, PutItem, ReplyMessage } from './messages.ts'
import { batchOf, inOrder, type Post } from './post.ts'
import { BOUNDS } from './protocol.ts'

/** What one peer was told in this connection. */
interface Told {
  /** Numbers of schedules by device. */
  readonly schedules: Map<string, number>
  readonly given: Set<string>
  /** Calls that it would not take, and when that was, monotonic. */
  readonly refused: Map<string, number>
}

/** A call that was refused is offered again after this. */
const RETRY_MS = 60_000

export interface Outbox {
  /** What `peer` should be told now: at most one put and one piece of news. */
  notes(peer: Uint8Array): NoteMessage[]
  /** What `peer` answered to one of `notes`. */
  answered(peer: Uint8Array, note: NoteMessage, reply: ReplyMessage): void
  /** The connection ended: what was told to it may be forgotten there. */
  left(peer: Uint8Array): void
}

export function createOutbox(post: Post): Outbox {
  const toldTo = new Map<string, Told>()

  function toldOf(peer: Uint8Array): Told {
    const name = toHex(peer)
    const told = toldTo.get(name) ?? { schedules: new Map(), given: new Set(), refused: new Map() }
    toldTo.set(name, told)
    return told
  }

  return {
    notes(peer) {
      // One that sleeps asks itself, so that its window is its own.
      if (post.deps.timetable.sleeps(peer)) return []
      const put = putFor(post, toldOf(peer), peer)
      const news = newsFor(post, toldOf(peer), peer)
      const empty = news.schedules.length + news.receipts.length + news.given.length === 0
      return [...(put.length > 0 ? [{ put }] : []), ...(empty ? [] : [{ news }])]
    },
    answered(peer, { news, put }, { held, noted }) {
      if (put !== undefined && held !== undefined) {
        wasHeld(post, peer, put, held)
        const { monoMs } = post.deps.now()
        for (const { id } of held.refused) toldOf(peer).refused.set(toHex(id), monoMs)
      }
      if (news === undefined || noted === undefined) return
      const { given, schedules } = toldOf(peer)
      for (const { schedule } of news.schedules) {
        const { device, seq } = post.deps.timetable.read(schedule)
        schedules.set(toHex(device), seq)
      }
      for (const id of news.given) given.add(toHex(id))
      for (const id of noted) post.noted(id, peer)
    },
    left: (peer) => void toldTo.delete(toHex(peer)),
  }
}

function putFor(post: Post, { refused }: Told, peer: Uint8Array): PutItem[] {
  const { mayHold, now } = post.deps
  if (!mayHold(peer)) return []
  const at = now()
  const due = post.rows
    .filter((row) => waits(row) && ageOf(row, at) <= row.ttlMs && shouldHold(post, peer, row))
    .filter(({ id }) => at.monoMs - (refused.get(toHex(id)) ?? -Infinity) >= RETRY_MS)
    .toSorted(inOrder)
  const batch = batchOf(due, ({ bytes }) => bytes.length)
  const fresh = batch.filter(({ handed }) => !handed)
  // Once it is sent it may be there, whatever becomes of the answer.
  if (fresh.length > 0) post.change(fresh.map((row) => ({ ...row, handed: true })))
  return batch.map((row) => ({
    call: row.bytes,
    age: Math.min(BOUNDS.maxAgeMs, Math.floor(ageOf(row, at))),
    ...(row.key === '' ? {} : { key: row.key }),
  }))
}

function shouldHold(post: Post, peer: Uint8Array, row: MailRow): boolean {
  if ([row.to, row.caller, ...row.holders].some((key) => equalBytes(key, peer))) return false
  if (post.holdersOf(row).length < BOUNDS.holders) return true
  return post.deps.timetable.parentsOf(row.to).some((key) => equalBytes(key, peer))
}

function newsFor(post: Post, told: Told, peer: Uint8Array): News {
  const receipts = post.rows.filter((row) => wantsReceipt(peer, row))
  const given = post.rows.filter(
    (row) =>
      row.given && waits(row) && equalBytes(row.caller, peer) && !told.given.has(toHex(row.id)),
  )
  return {
    schedules: post.deps.timetable.news(peer, told.schedules),
    receipts: batchOf(receipts, sizeOf).map(({ receipt }) => receipt),
    given: given.slice(0, BOUNDS.maxDocuments).map(({ id }) => id),
  }
}

function wantsReceipt(peer: Uint8Array, row: MailRow): boolean {
  if (row.receipt.length === 0) return false
  if (equalBytes(row.caller, peer)) return !row.acked
  return row.holders.some((key) => equalBytes(key, peer))
}

function wasHeld(post: Post, peer: Uint8Array, put: readonly PutItem[], held: Held): void {
  for (const id of held.ids) {
    const row = post.find(id)
    if (row !== undefined && put.some(({ call }) => equalBytes(call, row.bytes))) {
      post.heldBy(row, [peer])
    }
  }
  for (const receipt of held.receipts) post.takeReceipt(receipt, peer)
}
