/** What goes into a swarm and what comes out of it. SPEC.md "Swarm". */
import type { Random } from '../../env.ts'
import type { UpdateErrorCode } from '../protocol.ts'

export interface SwarmConfig {
  /** Chunks of the index. */
  readonly count: number
  /** Bytes of chunk n as it travels, about. */
  readonly sizeOf: (n: number) => number
  /** Chunks that are here. */
  readonly have: Uint8Array
  /** Chunks that are to be fetched; none by default. */
  readonly need?: Uint8Array
  /** Numbers whose content has an earlier number: they are never asked for by number. */
  readonly repeats?: Uint8Array
  readonly random: Random
  readonly tuning?: Partial<Tuning>
}

/** Numbers that decide how fast a swarm is, never whether it is right. */
export interface Tuning {
  /** Chunks asked of a peer before it has shown what it can do, and at the most. */
  readonly firstWindow: number
  readonly maxWindow: number
  /** Chunks asked for by number at once, of all peers: what comes in `aheadMs`, so many at the least. */
  readonly leastOpen: number
  readonly aheadMs: number
  /** Requests that wait longer than this at a peer make its window smaller. */
  readonly queueMs: number
  /** Chunks on their way out at once: in all, and to one peer. */
  readonly uploads: number
  readonly uploadsPerPeer: number
  /** An upload that takes longer does not keep others waiting. */
  readonly stuckMs: number
  /** A peer that owes chunks and sends none for this long is asked no more for a while. */
  readonly silentMs: number
  readonly firstBenchMs: number
  readonly maxBenchMs: number
  /** Nothing is handed out again, by choice, before there has been nothing new for so long. */
  readonly repeatMs: number
  /** A complete peer that leaves credit unused for this long is asked by number. */
  readonly creditMs: number
  /** A request this old, and old among requests, is made to another peer instead. */
  readonly secondMs: number
  /** Longest wait before a new chunk is told of. */
  readonly gossipMs: number
}

export const TUNING: Tuning = {
  firstWindow: 4,
  maxWindow: 32,
  leastOpen: 12,
  aheadMs: 150,
  queueMs: 60,
  uploads: 4,
  uploadsPerPeer: 2,
  stuckMs: 1_000,
  silentMs: 4_000,
  firstBenchMs: 5_000,
  maxBenchMs: 60_000,
  repeatMs: 300,
  creditMs: 10_000,
  secondMs: 500,
  gossipMs: 40,
}

export type SwarmEvent =
  /** A peer takes part: it is told what is here. */
  | { readonly type: 'join'; readonly peer: string }
  | { readonly type: 'leave'; readonly peer: string }
  | { readonly type: 'have'; readonly peer: string; readonly bits: Uint8Array }
  | PeerChunks<'have-more' | 'want' | 'cancel' | 'lost'>
  | Credit
  /** The bytes of a chunk came; a `check` action asks for what is in them. */
  | PeerChunk<'arrived'>
  /** How the check ended: it is kept, it is not what it should be, it could not be kept. */
  | PeerChunk<'verified' | 'wrong' | 'unkept'>
  /** How an upload ended: the stream takes more, or the chunk is not here any more. */
  | PeerChunk<'sent' | 'unsent'>
  /** Chunks that came from elsewhere, and chunks that are here no more. */
  | { readonly type: 'found' | 'gone'; readonly chunks: readonly number[] }
  /** What is to be fetched from now on. */
  | { readonly type: 'need'; readonly bits: Uint8Array }
  | { readonly type: 'tick' }

export type SwarmAction =
  /** Tell the peer all that is here. */
  | { readonly type: 'have'; readonly peer: string }
  | PeerChunks<'have-more' | 'want' | 'cancel' | 'lost'>
  | Credit
  | PeerChunk<'check' | 'upload'>
  /** No more of this peer in this release. */
  | { readonly type: 'cut'; readonly peer: string; readonly code: UpdateErrorCode }
  /** All that is needed is here. */
  | { readonly type: 'done' }

/** So many of the receiver's choice, of those with numbers `from` ≤ n < `to`. */
interface Credit {
  readonly type: 'credit'
  readonly peer: string
  readonly count: number
  readonly from: number
  readonly to: number
}

/** One kind for each name, so that each can be told from the others. */
type PeerChunks<T extends string> = T extends string
  ? { readonly type: T; readonly peer: string; readonly chunks: readonly number[] }
  : never

type PeerChunk<T extends string> = T extends string
  ? { readonly type: T; readonly peer: string; readonly n: number }
  : never
