/**
 * What to ask one holder for, and when: where each log stands, then what is new, and beside it the
 * history that is missing, in pieces. Only little history is under way at a time, so that news does
 * not wait behind it on a slow link. Decides only; the stream and the disk are the follower's.
 */
import {
  BOUNDS,
  type LogEntry,
  type LogEvent,
  type SeqRange,
} from '../../../protocols/telemetry/index.ts'
import { toHex } from '../../../protocols/wire/index.ts'

export interface Backfill {
  /** Entries that ask for a log of which packs up to `head` are known, but for `gaps`. */
  start(device: Uint8Array, head: number, gaps: readonly SeqRange[]): readonly LogEntry[]
  /** Entries that end all that was asked about a log. */
  stop(device: Uint8Array): readonly LogEntry[]
  /** What to ask for after this event, where anything. */
  on(event: LogEvent): readonly LogEntry[]
  /** History of this log is still to come. */
  busy(device: Uint8Array): boolean
}

/** A log that misses no more than this is followed in order, without pieces. */
export const NEAR_PACKS = 8
/** History under way: about as many bytes, in at most two pieces. */
const PIECE_BYTES = 32 * 1024
const MAX_PIECE_PACKS = 64
const MAX_PIECES = 2
/** Where the holder itself has nothing for long, pieces grow up to so many times. */
const MAX_STRIDE = 64
/** Before any pack was seen. */
const FIRST_GUESS_BYTES = 2048

interface Span extends SeqRange {
  readonly device: Uint8Array
}

/** A log whose first answer is awaited. */
interface Probe {
  /** Highest number known. */
  readonly head: number
  readonly gaps: readonly SeqRange[]
}

export function createBackfill(): Backfill {
  return new PieceByPiece()
}

class PieceByPiece implements Backfill {
  readonly #probes = new Map<string, Probe>()
  /** Still to be asked for; the next in turn stands first. */
  #waiting: Span[] = []
  #underWay: Span[] = []
  #packBytes = FIRST_GUESS_BYTES
  #stride = 1

  start(device: Uint8Array, head: number, gaps: readonly SeqRange[]): readonly LogEntry[] {
    this.#probes.set(toHex(device), { head, gaps })
    return [{ device, from: head + 1, to: head + 1 }]
  }

  stop(device: Uint8Array): readonly LogEntry[] {
    const key = toHex(device)
    const probe = this.#probes.get(key)
    this.#probes.delete(key)
    const isOther = (span: Span): boolean => toHex(span.device) !== key
    const ends = this.#underWay.filter((span) => !isOther(span))
    this.#waiting = this.#waiting.filter(isOther)
    this.#underWay = this.#underWay.filter(isOther)
    const asked =
      probe === undefined ? { device, from: 0 } : { device, from: 0, to: probe.head + 1 }
    return [asked, ...ends.map(({ to }) => ({ device, from: 0, to }))]
  }

  on(event: LogEvent): readonly LogEntry[] {
    const { device, pack, ended } = event
    if (pack !== undefined) this.#packBytes += (pack.bytes.length - this.#packBytes) / 8
    if (ended === undefined) return []
    const key = toHex(device)
    const probe = this.#probes.get(key)
    if (probe === undefined || ended !== probe.head + 1) {
      this.#stride = pack === undefined ? Math.min(2 * this.#stride, MAX_STRIDE) : 1
      const isOther = (span: Span): boolean => span.to !== ended || toHex(span.device) !== key
      this.#underWay = this.#underWay.filter(isOther)
      return this.#pieces()
    }
    this.#probes.delete(key)
    return [...this.#answered(event, probe), ...this.#pieces()]
  }

  busy(device: Uint8Array): boolean {
    const key = toHex(device)
    return [...this.#waiting, ...this.#underWay].some((span) => toHex(span.device) === key)
  }

  /** Where the log stands is known now: follow what is new, and plan for the rest. */
  #answered({ device, first, pack, ...stand }: LogEvent, known: Probe): LogEntry[] {
    const head = Math.min(stand.head, known.head + BOUNDS.maxSeqJump)
    const next = (pack?.seq ?? known.head) + 1
    const near = head - known.head <= NEAR_PACKS
    const spans = near ? known.gaps : [...known.gaps, { from: next, to: head }]
    for (const { from, to } of spans) {
      const span = { device, from: Math.max(from, first), to: Math.min(to, head) }
      if (span.from <= span.to) this.#waiting.push(span)
    }
    return [{ device, from: near ? next : head + 1 }]
  }

  /** The next pieces, the logs in turn. */
  #pieces(): LogEntry[] {
    const fitting = Math.floor(PIECE_BYTES / this.#packBytes)
    const count = this.#stride * Math.min(Math.max(1, fitting), MAX_PIECE_PACKS)
    const entries: LogEntry[] = []
    while (this.#underWay.length < MAX_PIECES) {
      const span = this.#waiting.shift()
      if (span === undefined) break
      const to = Math.min(span.to, span.from + count - 1)
      if (to < span.to) this.#waiting.push({ ...span, from: to + 1 })
      const piece = { ...span, to }
      this.#underWay.push(piece)
      entries.push(piece)
    }
    return entries
  }
}
