/**
 * What is sent to whom: peers in turn, a chunk each; what one asked for, or, on credit, what nobody
 * has yet. SPEC.md "Swarm".
 */
import { BOUNDS } from '../protocol.ts'
import { hasBit } from '../runs.ts'
import type { SwarmEvent } from './types.ts'
import type { NumberList } from './numbers.ts'
import type { Out, Peer, SwarmState } from './model.ts'
import { isHere, noteQueue } from './state.ts'

type CreditEvent = Extract<SwarmEvent, { type: 'credit' }>

/** Between two searches for chunks that may be handed out again. */
const SEARCH_EVERY_MS = 50
/** Chunks that are compared before the rarest of them is taken. */
const MAX_COMPARED = 256
/** A frame for each chunk would cost more than it brings. */
const LEAST_GOSSIP_MS = 10
/** What was sent and not heard of for this long did not get there. */
const UNHEARD_MS = 5_000
/** Of so many uploads one goes to those who asked by number, in turn, whoever waits for what else. */
const TURN_OF_QUEUES = 8

interface Next {
  readonly peer: Peer
  readonly n: number
}

type Way = (state: SwarmState, peer: Peer, nowMs: number) => number | undefined

/** Start as many uploads as may run. */
export function serve(state: SwarmState, nowMs: number, out: Out): void {
  if (state.waiting.size === 0) return
  for (let running = runningUploads(state, nowMs); running < state.tuning.uploads; running++) {
    const next = nextUpload(state, nowMs)
    if (next === undefined) return
    const { peer, n } = next
    state.uploads++
    state.fresh.remove(n)
    state.handedMs[n] = nowMs
    peer.sending.set(n, nowMs)
    peer.handed.add(n)
    // To the end of those who wait.
    state.waiting.delete(peer)
    noteQueue(state, peer)
    out.push({ type: 'upload', peer: peer.name, n })
  }
}

function runningUploads({ served, tuning }: SwarmState, nowMs: number): number {
  let running = 0
  for (const { sending } of served) {
    for (const sinceMs of sending.values()) if (nowMs - sinceMs < tuning.stuckMs) running++
  }
  return running
}

/** Nobody else can give what is left to us: that goes first, but not always. */
function nextUpload(state: SwarmState, nowMs: number): Next | undefined {
  if (state.uploads % TURN_OF_QUEUES === 0) {
    const next = nextBy(queued, state, nowMs)
    if (next !== undefined) return next
  }
  return nextBy(choose, state, nowMs) ?? toPoorest(state) ?? nextBy(onceMore, state, nowMs)
}

function nextBy(way: Way, state: SwarmState, nowMs: number): Next | undefined {
  for (const peer of state.waiting) {
    const n = mayGet(state, peer) ? way(state, peer, nowMs) : undefined
    if (n !== undefined) return { peer, n }
  }
  return undefined
}

/** By number, to the one that has least: else those with few neighbours are last by far. */
function toPoorest(state: SwarmState): Next | undefined {
  let poorest: Peer | undefined
  for (const peer of state.waiting) {
    if (peer.queue.size === 0 || !mayGet(state, peer)) continue
    if (poorest === undefined || peer.count < poorest.count) poorest = peer
  }
  const n = poorest && queued(state, poorest)
  return poorest === undefined || n === undefined ? undefined : { peer: poorest, n }
}

function mayGet({ tuning }: SwarmState, { sending }: Peer): boolean {
  return sending.size < tuning.uploadsPerPeer
}

/** What it asked for, in its order. */
function queued(_: SwarmState, { queue, sending }: Peer): number | undefined {
  for (const n of queue) {
    queue.delete(n)
    if (!sending.has(n)) return n
  }
  return undefined
}

/** On credit: what nobody has, else what was never given so. */
function choose(state: SwarmState, peer: Peer): number | undefined {
  if (peer.owed === 0) return undefined
  const n = rarest(state, state.fresh, peer) ?? rarest(state, state.ungiven, peer)
  if (n === undefined) return undefined
  state.givenOutMs = Infinity
  state.ungiven.remove(n)
  peer.owed--
  return n
}

/** On credit, when there has been nothing new for a while. */
function onceMore(state: SwarmState, peer: Peer, nowMs: number): number | undefined {
  if (peer.owed === 0 || peer.count === state.count) return undefined
  state.givenOutMs = Math.min(state.givenOutMs, nowMs)
  if (nowMs - state.givenOutMs < state.tuning.repeatMs) return undefined
  const n = again(state, peer, nowMs)
  if (n !== undefined) peer.owed--
  return n
}

function rarest({ avail, below }: SwarmState, list: NumberList, peer: Peer): number | undefined {
  const { size } = list
  const start = size === 0 ? 0 : below(size)
  let best: number | undefined
  for (let i = 0; i < Math.min(size, MAX_COMPARED); i++) {
    const n = list.at((start + i) % size) ?? 0
    if (!mayHave(peer, n)) continue
    if (best === undefined || (avail[n] ?? 0) < (avail[best] ?? 0)) best = n
    if (avail[best] === 0) break
  }
  return best
}

/** On its credit. */
function mayHave({ bits, owedSpan: [from, to], sending }: Peer, n: number): boolean {
  return n >= from && n < to && !hasBit(bits, n) && !sending.has(n)
}

/** What the fewest have, but for what this peer may have from us already. */
function again(state: SwarmState, peer: Peer, nowMs: number): number | undefined {
  if (nowMs < peer.searchAtMs) return undefined
  let best: number | undefined
  let bestAvail = Infinity
  for (let n = 0; n < state.count; n++) {
    const rarity = state.avail[n] ?? 0
    if (rarity >= bestAvail || !isHere(state, n) || !mayHave(peer, n)) continue
    const unheardMs = peer.handed.has(n) ? nowMs - (state.handedMs[n] ?? 0) : Infinity
    if (unheardMs < UNHEARD_MS || hasBit(state.repeats, n)) continue
    best = n
    bestAvail = rarity
  }
  if (best === undefined) peer.searchAtMs = nowMs + SEARCH_EVERY_MS
  return best
}

/** @returns false where it wants more at once than any device may */
export function queueFor(
  state: SwarmState,
  peer: Peer,
  chunks: readonly number[],
  out: Out,
): boolean {
  const lost: number[] = []
  for (const n of chunks) {
    if (isHere(state, n)) peer.queue.add(n)
    else lost.push(n)
  }
  if (lost.length > 0) out.push({ type: 'lost', peer: peer.name, chunks: lost })
  noteQueue(state, peer)
  return peer.queue.size <= BOUNDS.maxNumbers
}

/** @returns false where it has more credit than any device may */
export function creditFor(
  state: SwarmState,
  peer: Peer,
  { count, from, to }: CreditEvent,
): boolean {
  peer.owed += count
  peer.owedSpan = [from, to]
  noteQueue(state, peer)
  return peer.owed <= BOUNDS.maxNumbers
}

/** Tell of chunks that came, of many together where there are many to tell. */
export function gossip(state: SwarmState, nowMs: number, out: Out): void {
  if (state.news.length === 0 || nowMs < state.gossipAtMs) return
  const news = state.news
  state.news = []
  // With few peers nearly at once; with many, their number is what costs.
  state.gossipAtMs =
    nowMs + Math.min(state.tuning.gossipMs, Math.max(LEAST_GOSSIP_MS, 2 * state.ring.length))
  for (const peer of state.ring) {
    const knowsAll = peer.count === state.count
    const chunks = news.filter((n) => isHere(state, n) && (knowsAll || !hasBit(peer.bits, n)))
    for (let at = 0; at < chunks.length; at += BOUNDS.maxNumbers) {
      const some = chunks.slice(at, at + BOUNDS.maxNumbers)
      out.push({ type: 'have-more', peer: peer.name, chunks: some })
    }
  }
}
