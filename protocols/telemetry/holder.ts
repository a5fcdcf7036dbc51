/**
 * The holder's side of a follow stream: sends each log that the reader named, its history and then
 * what is new, in order. Between logs: one pack of each log that is up to date and has news, then
 * one pack of one log that is being caught up, in turn. So news never waits behind history, and
 * history is never starved. One pack is in memory at a time; the next is read when the reader took
 * the last. Where packs come from is the caller's `PackSource`.
 */
import { pipe } from 'it-pipe'

import { toHex, type Channel } from '../wire/index.ts'
import {
  Follow,
  PackFrame,
  type FollowMessage,
  type LogEntry,
  type PackFrameMessage,
} from './messages.ts'
import { BOUNDS, TELEMETRY_ERRORS, TelemetryError } from './protocol.ts'

export interface HeldPack {
  readonly seq: number
  readonly bytes: Uint8Array
}

/** Two packs of one device that contradict each other. */
export interface HeldProof {
  readonly device: Uint8Array
  readonly packs: readonly [Uint8Array, Uint8Array]
}

/** The kept packs of all logs, own and followed. */
export interface PackSource {
  /** Lowest and highest number kept; undefined where nothing is. */
  bounds(device: Uint8Array): { readonly first: number; readonly head: number } | undefined
  /** Up to `limit` packs with numbers from `fromSeq`, ascending; missing ones are left out. */
  read(device: Uint8Array, fromSeq: number, limit: number): readonly HeldPack[]
  /** Call `listener` after a pack of `device` is safely kept. Returns the function that stops it. */
  onNew(listener: (device: Uint8Array) => void): () => void
}

/** What is known of devices that signed two histories. */
export interface ProofSource {
  /** One proof for each device that signed two histories and is not trusted again. */
  proofs(): readonly HeldProof[]
  /** Call `listener` after there is another proof. Returns the function that stops it. */
  onProof(listener: () => void): () => void
}

export interface HolderDeps {
  readonly source: PackSource
  /** The reader's first wish, where it was taken from the channel already. */
  readonly first?: FollowMessage | undefined
  /** Passed on to the reader, of every device whose log it may have. */
  readonly proofs?: ProofSource
  /** Whether the reader may have this log; asked again before every frame. */
  mayRead(device: Uint8Array): boolean
}

/**
 * Serve one reader until it closes its side.
 *
 * @throws TelemetryError TELEMETRY_TOO_MANY_LOGS; WireError; the signal's reason
 */
export async function serveLogs(
  channel: Channel,
  deps: HolderDeps,
  signal: AbortSignal,
): Promise<void> {
  const outbox = new Outbox(deps)
  const stopListening = deps.source.onNew((device) => outbox.wake(device))
  const stopProofs = deps.proofs?.onProof(() => outbox.alarm())
  const aborted = (): void => outbox.end(signal.reason as Error)
  signal.addEventListener('abort', aborted, { once: true })
  const takeWishes = async (): Promise<void> => {
    try {
      if (deps.first !== undefined) outbox.follow(deps.first.logs)
      for await (const { logs } of channel.messages(Follow)) outbox.follow(logs)
      outbox.end()
    } catch (error) {
      outbox.end(error as Error)
      throw error
    }
  }
  try {
    signal.throwIfAborted()
    await Promise.all([takeWishes(), pipe(outbox.frames(), channel.sink(PackFrame))])
  } finally {
    stopListening()
    stopProofs?.()
    signal.removeEventListener('abort', aborted)
  }
}

/** One entry of the reader's wishes, and how far it got. */
interface Cursor {
  readonly device: Uint8Array
  next: number
  readonly to: number | undefined
  /** Everything there was has been sent; only news remains. */
  live: boolean
  /** A frame about this log was sent, so the reader knows where it stands. */
  announced: boolean
}

/** What is still to be sent on one stream, in which order. */
class Outbox {
  readonly #deps: HolderDeps
  readonly #cursors = new Map<string, Cursor>()
  /** Up to date but for what is new. */
  readonly #news = new Set<Cursor>()
  /** Being caught up; the next in turn stands first. */
  readonly #history = new Set<Cursor>()
  /** Devices whose proof was sent. */
  readonly #proven = new Set<string>()
  /** There may be proofs to send. */
  #alarmed = true
  #ended = false
  #failure: Error | undefined
  #awake = (): void => undefined

  constructor(deps: HolderDeps) {
    this.#deps = deps
  }

  /** @throws TelemetryError TELEMETRY_TOO_MANY_LOGS */
  follow(logs: readonly LogEntry[]): void {
    for (const entry of logs) this.#add(entry)
    this.#awake()
  }

  /** There is news in the log of `device`. */
  wake(device: Uint8Array): void {
    const cursor = this.#cursors.get(keyOf(device, undefined))
    if (cursor === undefined || !cursor.live) return
    this.#news.add(cursor)
    this.#awake()
  }

  /** There is another proof of two histories. */
  alarm(): void {
    this.#alarmed = true
    this.#awake()
  }

  /** Stop after the frame in hand; with an error, by throwing it. */
  end(error?: Error): void {
    this.#ended = true
    this.#failure ??= error
    this.#awake()
  }

  async *frames(): AsyncGenerator<PackFrameMessage, void, undefined> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure
      if (this.#ended) return
      // Not before the reader has spoken: only a follower hears alarms.
      if (this.#alarmed && this.#cursors.size > 0) yield* this.#proofs()
      if (this.#news.size + this.#history.size > 0) {
        yield* this.#round()
        continue
      }
      await new Promise<void>((resolve) => {
        this.#awake = resolve
      })
    }
  }

  *#proofs(): Generator<PackFrameMessage, void, undefined> {
    this.#alarmed = false
    for (const { device, packs } of this.#deps.proofs?.proofs() ?? []) {
      const key = toHex(device)
      if (this.#proven.has(key) || this.#proven.size >= BOUNDS.maxEntries) continue
      if (!this.#deps.mayRead(device)) continue
      this.#proven.add(key)
      const [pack, against] = packs
      yield { device, first: 1, head: 0, pack, against }
    }
  }

  *#round(): Generator<PackFrameMessage, void, undefined> {
    // A copy: a log with news again while this round lasts waits for the next one.
    for (const cursor of Array.from(this.#news)) {
      const frame = this.#news.has(cursor) ? this.#advance(cursor) : undefined
      if (frame !== undefined) yield frame
    }
    const [cursor] = this.#history
    if (cursor === undefined) return
    this.#history.delete(cursor)
    this.#history.add(cursor)
    const frame = this.#advance(cursor)
    if (frame !== undefined) yield frame
  }

  #add({ device, from, to }: LogEntry): void {
    const key = keyOf(device, to)
    this.#drop(key)
    if (from === 0) return
    if (this.#cursors.size >= BOUNDS.maxEntries) throw new TelemetryError('TELEMETRY_TOO_MANY_LOGS')
    const cursor = { device, next: from, to, live: false, announced: false }
    this.#cursors.set(key, cursor)
    this.#history.add(cursor)
  }

  #drop(key: string): void {
    const cursor = this.#cursors.get(key)
    if (cursor === undefined) return
    this.#cursors.delete(key)
    this.#news.delete(cursor)
    this.#history.delete(cursor)
  }

  /** The next frame of one log; undefined where it has nothing to say now. */
  #advance(cursor: Cursor): PackFrameMessage | undefined {
    const { device, to = Infinity, to: ended } = cursor
    if (!this.#deps.mayRead(device)) {
      this.#drop(keyOf(device, cursor.to))
      return { device, first: 1, head: 0, status: TELEMETRY_ERRORS.TELEMETRY_FORBIDDEN.status }
    }
    const [pack] = this.#deps.source.read(device, cursor.next, 1)
    const { first, head } = this.#deps.source.bounds(device) ?? { first: 1, head: 0 }
    const told = cursor.announced
    cursor.announced = true
    if (pack === undefined || pack.seq > to) {
      this.#caughtUp(cursor)
      if (ended !== undefined) return { device, first, head, ended }
      return told ? undefined : { device, first, head }
    }
    cursor.next = pack.seq + 1
    const frame = { device, first, head, pack: pack.bytes }
    if (pack.seq < Math.min(head, to)) return frame
    this.#caughtUp(cursor)
    return ended === undefined ? frame : { ...frame, ended }
  }

  #caughtUp(cursor: Cursor): void {
    this.#news.delete(cursor)
    this.#history.delete(cursor)
    cursor.live = true
    if (cursor.to !== undefined) this.#drop(keyOf(cursor.device, cursor.to))
  }
}

function keyOf(device: Uint8Array, to: number | undefined): string {
  return `${toHex(device)}/${to ?? ''}`
}
