/**
 * What one more pack means for what is known of its log. Pure: the state goes in and comes out, so a
 * store can judge, write, and only then take over the new state. Signatures and form were checked
 * before (`openPack`); which devices may publish is the caller's business.
 *
 * The state is the list of unbroken runs ("segments") of a log, with the hash at the upper end and
 * the link at the lower end of each: enough to check a late pack against both its neighbours.
 */
import { equalBytes } from '../wire/index.ts'
import type { Pack } from './pack.ts'
import { BOUNDS, FLAGS, type TelemetryErrorCode } from './protocol.ts'
import { trustedTimes, type Receipt } from './times.ts'

export interface Segment {
  readonly from: number
  readonly to: number
  /** `prev` of the pack `from`, 32 bytes. */
  readonly prev: Uint8Array
  /** Hash of the pack `to`, 32 bytes. */
  readonly hash: Uint8Array
  /** Trusted time of the first and last reading, UTC milliseconds: tells when a gap was. */
  readonly fromMs: number
  readonly toMs: number
}

export interface LogState {
  /** Sorted, never touching. */
  readonly segments: readonly Segment[]
  /** Packs up to here are no longer accepted. */
  readonly floor: number
  /** The device signed two histories; what follows is kept apart until an owner decides. */
  readonly quarantined: boolean
}

export const EMPTY_LOG: LogState = { segments: [], floor: 0, quarantined: false }

/** Missing packs, both ends included. */
export interface SeqRange {
  readonly from: number
  readonly to: number
}

export interface JudgeContext extends Receipt {
  /** For a removed device: the last pack that stays accepted. */
  readonly lastSeq?: number | undefined
  /** Hash of a pack that is kept; undefined where it is not, or no longer. */
  readonly hashAt: (seq: number) => Uint8Array | undefined
}

export type Judgement =
  | {
      readonly verdict: 'accept'
      readonly state: LogState
      readonly flags: number
      /** The time to file each reading under, UTC milliseconds; a guess where flagged `unplaced`. */
      readonly times: readonly number[]
      /** Newly known to be missing. */
      readonly gap?: SeqRange
    }
  /** Already there, or too old to matter. */
  | { readonly verdict: 'known' }
  /** Proof that the device signed two histories: this pack, and the kept one with number `against`. */
  | { readonly verdict: 'fork'; readonly state: LogState; readonly against: number }
  | { readonly verdict: 'refuse'; readonly code: TelemetryErrorCode }

/** The highest number known of a log; 0 for none. */
export function headOf(state: LogState): number {
  return state.segments.at(-1)?.to ?? 0
}

/** What is missing below the head, oldest first. */
export function gapsOf(state: LogState): SeqRange[] {
  let next = state.floor + 1
  const gaps: SeqRange[] = []
  for (const { from, to } of state.segments) {
    if (from > next) gaps.push({ from: next, to: from - 1 })
    next = to + 1
  }
  return gaps
}

/** Judge `pack` by what is known of its log. Changes nothing. */
export function judge(state: LogState, pack: Pack, context: JudgeContext): Judgement {
  const { seq } = pack
  if (context.lastSeq !== undefined && seq > context.lastSeq) {
    return { verdict: 'refuse', code: 'TELEMETRY_AFTER_REMOVAL' }
  }
  if (seq > headOf(state) + BOUNDS.maxSeqJump) {
    return { verdict: 'refuse', code: 'TELEMETRY_SEQ_JUMP' }
  }
  if (seq <= state.floor) return { verdict: 'known' }
  if (state.segments.some(({ from, to }) => seq >= from && seq <= to)) {
    const kept = context.hashAt(seq)
    if (kept === undefined || equalBytes(kept, pack.hash)) return { verdict: 'known' }
    return fork(state, seq)
  }
  const against = brokenLink(state, pack)
  return against === undefined ? accept(state, pack, context) : fork(state, against)
}

/** The neighbour whose link to `pack`, or from it, does not hold. */
function brokenLink({ segments }: LogState, { seq, prev, hash }: Pack): number | undefined {
  const left = segments.find(({ to }) => to === seq - 1)
  if (left !== undefined && !equalBytes(left.hash, prev)) return seq - 1
  const right = segments.find(({ from }) => from === seq + 1)
  if (right !== undefined && !equalBytes(right.prev, hash)) return seq + 1
  return undefined
}

function fork(state: LogState, against: number): Judgement {
  return { verdict: 'fork', state: { ...state, quarantined: true }, against }
}

function accept(state: LogState, pack: Pack, receipt: Receipt): Judgement {
  const { seq } = pack
  const head = headOf(state)
  const { times, flags: timeFlags } = trustedTimes(pack, receipt)
  const flags =
    timeFlags |
    (pack.clock === 'synced' ? 0 : FLAGS.clockUnsynced) |
    (seq < head ? FLAGS.late : 0) |
    (state.quarantined ? FLAGS.quarantined : 0)
  const added = { ...state, ...insert(state, segmentOf(pack, times)) }
  const missing =
    seq > head + 1 ? { from: Math.max(head, state.floor) + 1, to: seq - 1 } : undefined
  const gap = missing !== undefined && missing.from <= missing.to ? { gap: missing } : {}
  return { verdict: 'accept', state: added, flags, times, ...gap }
}

function segmentOf(pack: Pack, times: readonly number[]): Segment {
  const { seq, prev, hash } = pack
  return { from: seq, to: seq, prev, hash, fromMs: times[0] ?? 0, toMs: times.at(-1) ?? 0 }
}

/** Put one pack's segment in its place and join it with those it touches. */
function insert(state: LogState, added: Segment): Pick<LogState, 'segments' | 'floor'> {
  const at = state.segments.findLastIndex(({ to }) => to < added.from) + 1
  const before = state.segments.slice(0, at)
  const after = state.segments.slice(at)
  let joined = added
  const left = before.at(-1)
  if (left?.to === added.from - 1) {
    before.pop()
    joined = { ...joined, from: left.from, prev: left.prev, fromMs: left.fromMs }
  }
  const right = after[0]
  if (right?.from === added.to + 1) {
    after.shift()
    joined = { ...joined, to: right.to, hash: right.hash, toMs: right.toMs }
  }
  const segments = [...before, joined, ...after]
  // A log in shreds must not cost more and more: the oldest run leaves the account, for good.
  const dropped = segments.length > BOUNDS.maxSegments ? segments.shift() : undefined
  return { segments, floor: dropped === undefined ? state.floor : (segments[0]?.from ?? 1) - 1 }
}
