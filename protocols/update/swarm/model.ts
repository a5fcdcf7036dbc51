/**
 * What a device knows of one release in the swarm: which chunks are where, what was asked of whom,
 * and who asked for what.
 */
import type { NumberList, RankedNumbers } from './numbers.ts'
import type { SwarmAction, Tuning } from './types.ts'

export interface Peer {
  readonly name: string
  /** No other peer of this swarm has or had it. */
  readonly id: number
  readonly bits: Uint8Array
  /** How many of `bits` are set. */
  count: number
  /** Chunks that are needed, not here, and at no other peer. */
  sole: number
  /** Chunks that are needed, asked of nobody, and at it. */
  useful: number
  /** Asked of it by number, and since when. */
  readonly open: Map<number, number>
  /** Asked of it and withdrawn: may still come. */
  readonly withdrawn: Set<number>
  /** Chunks of its choice that it may still send. */
  credit: number
  /** Chunks that it may owe at once; the part after the point only grows into one. */
  window: number
  /** How long what was asked by number took: the least, and the last with its time. */
  leastTookMs: number
  tookMs: number
  tookAtMs: number
  /** When a chunk last came from it, or it first owed one. */
  lastMs: number
  /** Since `sampledMs`, to see whether a larger window helps. */
  sampledMs: number
  sampledBytes: number
  sampled: number
  /** Bytes in a millisecond, the last sample. */
  rate: number
  /** The window before it was made larger to see what comes of it, and when to try that again. */
  triedFrom: number | undefined
  tryAgainMs: number
  /** It is asked nothing before this. */
  benchedUntilMs: number
  benchMs: number
  /** It is asked by number, not by credit, before this. */
  byNumberUntilMs: number
  /** Chunks that it said it lost since the last that came. */
  losses: number
  /** What it asked for, in its order, and chunks of our choice that it may get. */
  readonly queue: Set<number>
  owed: number
  /** A search for what it may be given again found nothing before this. */
  searchAtMs: number
  /** Numbers that they are to be of. */
  owedSpan: readonly [from: number, to: number]
  /** On their way to it, and since when. */
  readonly sending: Map<number, number>
  /** Handed to it, and not heard of since. */
  readonly handed: Set<number>
}

export interface SwarmState {
  readonly count: number
  readonly tuning: Tuning
  readonly sizeOf: (n: number) => number
  readonly repeats: Uint8Array
  readonly have: Uint8Array
  /** How many bits of `have` are set. */
  hereCount: number
  need: Uint8Array
  /** Chunks that are needed and not here. */
  missing: number
  /** How many peers have chunk n. */
  readonly avail: Uint16Array
  /** The ids of the peers that have chunk n, by exclusive or: of one, that one. */
  readonly holders: Int32Array
  readonly ids: Map<number, Peer>
  nextId: number
  /** The sum of all `sole`. */
  soles: number
  /** First and past the last number that is needed and not here, as `need` was set. */
  span: readonly [from: number, to: number]
  /** Whether all between them that is not here is needed, so that others may choose. */
  solid: boolean
  /** Needed, not here, asked of nobody, not being checked; by `avail`. */
  readonly free: RankedNumbers
  /** Here, and at nobody else as far as is known: to be handed out first. */
  readonly fresh: NumberList
  readonly checking: Set<number>
  /** Whom chunk n was asked of, by number. */
  readonly asked: Map<number, Peer[]>
  /** How long a chunk that is asked for by number takes, about. */
  tookMs: number
  /** Chunks that come in a millisecond, about, and those since `ratedMs`. */
  rate: number
  ratedMs: number
  rated: number
  /** Here, and never handed to anyone who left the choice to us. */
  readonly ungiven: NumberList
  /** Since when there has been nothing of that for those who leave it to us. */
  givenOutMs: number
  /** When chunk n was last handed out. */
  readonly handedMs: Float64Array
  readonly peers: Map<string, Peer>
  readonly ring: Peer[]
  /** Those of them that are to get something, the next first, and to whom something is on its way. */
  readonly waiting: Set<Peer>
  readonly served: Set<Peer>
  uploads: number
  readonly cut: Set<string>
  /** Here, and not told of yet. */
  news: number[]
  gossipAtMs: number
  readonly below: (count: number) => number
}

export type Out = SwarmAction[]
