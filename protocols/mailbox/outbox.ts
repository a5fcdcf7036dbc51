/** What connected peers should be told: calls that they should hold, receipts, schedules. */
import { equalBytes, toHex } from '../wire/index.ts'
import { ageOf, sizeOf, waits, type MailRow } from './mail.ts'
import type { News, NoteMessage, PutItem, ReplyMessage } from './messages.ts'
import { batchOf, inOrder, type Post } from './post.ts'
import { BOUNDS } from './protocol.ts'
import type { Stamp } from './stamp.ts'

/** What one peer was told in this connection. */
interface Told {
  /** Numbers of schedules by device. */
  readonly schedules: Map<string, number>
  readonly given: Set<string>
  /** Calls whose receipts it has. */
  readonly receipts: Set<string>
  /** Calls and receipts that it would not take, and when that was, monotonic. */
  readonly refused: Map<string, number>
}

/** What was not taken is offered again after this. */
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
  const about = new WeakMap<NoteMessage, readonly MailRow[]>()

  function toldOf(peer: Uint8Array): Told {
    const name = toHex(peer)
    const told = toldTo.get(name) ?? {
      schedules: new Map(),
      given: new Set(),
      receipts: new Set(),
      refused: new Map(),
    }
    toldTo.set(name, told)
    return told
  }

  return {
    notes(peer) {
      // One that sleeps asks itself, so that its window is its own.
      if (post.deps.timetable.sleeps(peer)) return []
      const put = putFor(post, toldOf(peer), peer)
      const receipts = receiptsFor(post, toldOf(peer), peer)
      const news = newsFor(post, toldOf(peer), { peer, receipts })
      const notes: NoteMessage[] = []
      if (put.length > 0) {
        const note = { put: put.map((row) => itemOf(row, post.deps.now())) }
        about.set(note, put)
        notes.push(note)
      }
      if (news.schedules.length + receipts.length + news.given.length > 0) {
        const note = { news }
        about.set(note, receipts)
        notes.push(note)
      }
      return notes
    },
    answered(peer, note, { held, noted }) {
      const taken = new Set([...(held?.ids ?? []), ...(noted ?? [])].map(toHex))
      for (const row of about.get(note) ?? []) {
        const name = toHex(row.id)
        if (!taken.has(name)) toldOf(peer).refused.set(name, post.deps.now().monoMs)
        else if (note.put !== undefined) heldBy(post, peer, row)
        else {
          toldOf(peer).receipts.add(name)
          post.noted(row.id, peer)
        }
      }
      for (const receipt of held?.receipts ?? []) post.takeReceipt(receipt, peer)
      if (note.news !== undefined) wasTold(post, toldOf(peer), note.news)
    },
    left: (peer) => void toldTo.delete(toHex(peer)),
  }
}

function putFor(post: Post, { refused }: Told, peer: Uint8Array): MailRow[] {
  const { mayHold, now } = post.deps
  if (!mayHold(peer)) return []
  const at = now()
  const due = post.rows
    .filter((row) => waits(row) && ageOf(row, at) <= row.ttlMs && shouldHold(post, peer, row))
    .filter(({ id }) => mayTry(refused, id, at))
    .toSorted(inOrder)
  const batch = batchOf(due, ({ bytes }) => bytes.length)
  const fresh = batch.filter(({ handed }) => !handed)
  // Once it is sent it may be there, whatever becomes of the answer.
  if (fresh.length > 0) post.change(fresh.map((row) => ({ ...row, handed: true })))
  return batch
}

function itemOf(row: MailRow, at: Stamp): PutItem {
  const age = Math.min(BOUNDS.maxAgeMs, Math.floor(ageOf(row, at)))
  return { call: row.bytes, age, ...(row.key === '' ? {} : { key: row.key }) }
}

function mayTry(refused: Told['refused'], id: Uint8Array, { monoMs }: Stamp): boolean {
  return monoMs - (refused.get(toHex(id)) ?? -Infinity) >= RETRY_MS
}

function shouldHold(post: Post, peer: Uint8Array, row: MailRow): boolean {
  if ([row.to, row.caller, ...row.holders].some((key) => equalBytes(key, peer))) return false
  if (post.holdersOf(row).length < BOUNDS.holders) return true
  return post.deps.timetable.parentsOf(row.to).some((key) => equalBytes(key, peer))
}

function receiptsFor(post: Post, told: Told, peer: Uint8Array): MailRow[] {
  const at = post.deps.now()
  const due = post.rows.filter(
    (row) =>
      wantsReceipt(post, peer, row) &&
      !told.receipts.has(toHex(row.id)) &&
      mayTry(told.refused, row.id, at),
  )
  return batchOf(due, sizeOf)
}

function newsFor(
  post: Post,
  told: Told,
  { peer, receipts }: { readonly peer: Uint8Array; readonly receipts: readonly MailRow[] },
): News {
  const given = post.rows.filter(
    (row) =>
      row.given && waits(row) && equalBytes(row.caller, peer) && !told.given.has(toHex(row.id)),
  )
  return {
    schedules: post.deps.timetable.news(peer, told.schedules),
    receipts: receipts.map(({ receipt }) => receipt),
    given: given.slice(0, BOUNDS.maxDocuments).map(({ id }) => id),
  }
}

function wantsReceipt(post: Post, peer: Uint8Array, row: MailRow): boolean {
  if (row.receipt.length === 0) return false
  const others = post.keepsFor(peer, row.caller) || post.keepsFor(peer, row.to)
  if (!row.acked && (equalBytes(row.caller, peer) || others)) return true
  return row.holders.some((key) => equalBytes(key, peer))
}

function wasTold(post: Post, told: Told, { given, schedules }: News): void {
  for (const { schedule } of schedules) {
    const { device, seq } = post.deps.timetable.read(schedule)
    told.schedules.set(toHex(device), seq)
  }
  for (const id of given) told.given.add(toHex(id))
}

/** The row may have changed while the answer was on its way. */
function heldBy(post: Post, peer: Uint8Array, { id }: MailRow): void {
  const row = post.find(id)
  if (row !== undefined) post.heldBy(row, [peer])
}
