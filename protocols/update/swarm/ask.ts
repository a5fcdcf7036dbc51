/**
 * What is asked of whom: rarest first, as many as the way to a peer holds, chunks of its choice from
 * the one that has all while others have nothing to give, and the last ones from two. SPEC.md "Swarm".
 */
import { hasBit } from '../runs.ts'
import { isComplete, release, unask, type Out, type Peer, type SwarmState } from './state.ts'

/** Chunks that are compared before the rarest of them is taken. */
const MAX_COMPARED = 512
/** A sample of a peer's rate takes this long at the least. */
const SAMPLE_MS = 100
/** More at once is worth it where the rate grows by this. */
const GROWTH = 1.15
/** Between two tries that brought nothing. */
const TRY_EVERY_MS = 5_000
/** More than this many losses in a row, and a peer is asked no more for a while. */
const MAX_LOSSES = 16
/** Second requests for one chunk. */
const MAX_HOLDERS = 2

export function askAll(state: SwarmState, nowMs: number, out: Out): void {
  if (state.missing === 0) return
  for (const peer of state.ring) ask(state, peer, nowMs, out)
}

/** Ask `peer` for what it can give, up to its window. */
export function ask(state: SwarmState, peer: Peer, nowMs: number, out: Out): void {
  if (state.missing === 0 || nowMs < peer.benchedUntilMs) return
  if (peer.open.size + peer.credit === 0) peer.lastMs = nowMs
  const chooses = mayChoose(state, peer, nowMs)
  if (chooses) giveCredit(state, peer, out)
  if (chooses && isComplete(state, peer)) return
  askByNumber(state, peer, { nowMs, out, least: chooses ? 2 : 1 })
}

/** Only what so many have at the least. */
function askByNumber(
  state: SwarmState,
  peer: Peer,
  { least, nowMs, out }: { readonly least: number; readonly nowMs: number; readonly out: Out },
): void {
  const chunks: number[] = []
  if (2 * peer.open.size > peer.window) return
  while (peer.open.size < peer.window) {
    const n = pick(state, peer, least) ?? second(state, peer, nowMs)
    if (n === undefined) break
    state.free.remove(n)
    state.asked.set(n, [...(state.asked.get(n) ?? []), peer])
    peer.open.set(n, nowMs)
    chunks.push(n)
  }
  if (chunks.length > 0) out.push({ type: 'want', peer: peer.name, chunks })
}

/** It has what nobody else has, and knows best which of it to hand out next. */
function mayChoose({ solid }: SwarmState, { byNumberUntilMs, sole }: Peer, nowMs: number): boolean {
  return solid && sole > 0 && nowMs >= byNumberUntilMs
}

function giveCredit(state: SwarmState, peer: Peer, out: Out): void {
  const most = isComplete(state, peer) ? state.missing : peer.sole
  const count = Math.min(peer.window, most) - peer.open.size - peer.credit
  // Half a window at a time: a frame for each chunk would cost more than it brings.
  if (count <= 0 || (peer.credit > 0 && 2 * count < peer.window)) return
  peer.credit += count
  const [from, to] = state.span
  out.push({ type: 'credit', peer: peer.name, count, from, to })
}

/** The rarest that it has and that so many have at the least; among equals any. */
function pick(
  { avail, below, free }: SwarmState,
  { bits }: Peer,
  least: number,
): number | undefined {
  const { size } = free
  if (size === 0) return undefined
  const start = below(size)
  let best: number | undefined
  let bestAvail = Infinity
  for (let i = 0; i < size; i++) {
    if (best !== undefined && i >= MAX_COMPARED) break
    const n = free.at((start + i) % size) ?? 0
    const rarity = avail[n] ?? 0
    if (rarity >= bestAvail || rarity < least || !hasBit(bits, n)) continue
    best = n
    bestAvail = rarity
    if (rarity === least) break
  }
  return best
}

/** All is asked for: what has taken long already is asked of one more. */
function second(state: SwarmState, peer: Peer, nowMs: number): number | undefined {
  if (state.free.size > 0) return undefined
  for (const [n, holders] of state.asked) {
    if (holders.length >= MAX_HOLDERS || !hasBit(peer.bits, n) || peer.open.has(n)) continue
    const [first] = holders
    const sinceMs = first?.open.get(n) ?? nowMs
    if (nowMs - sinceMs >= state.tuning.secondMs) return n
  }
  return undefined
}

/** A chunk came from `peer`: see whether it can be asked for more at once. */
export function sample(state: SwarmState, peer: Peer, n: number, nowMs: number): void {
  peer.lastMs = nowMs
  peer.losses = 0
  peer.benchMs = state.tuning.firstBenchMs
  peer.sampled++
  peer.sampledBytes += state.sizeOf(n)
  const tookMs = nowMs - peer.sampledMs
  if (tookMs < SAMPLE_MS || peer.sampled < peer.window) return
  tune(state, peer, peer.sampledBytes / tookMs, nowMs)
  peer.sampledMs = nowMs
  peer.sampledBytes = 0
  peer.sampled = 0
}

/** Ask for half as much again; keep to it where more comes, else go back and try again later. */
function tune({ tuning }: SwarmState, peer: Peer, rate: number, nowMs: number): void {
  const grew = rate > peer.rate * GROWTH
  const { triedFrom } = peer
  peer.triedFrom = undefined
  if (triedFrom !== undefined && !grew) {
    peer.window = triedFrom
    peer.tryAgainMs = nowMs + TRY_EVERY_MS
  }
  if (triedFrom === undefined || grew) peer.rate = rate
  if (nowMs < peer.tryAgainMs || peer.window >= tuning.maxWindow) return
  peer.triedFrom = peer.window
  peer.window = Math.min(tuning.maxWindow, peer.window + Math.ceil(peer.window / 2))
}

/** Nothing more is due from `peer` for `n`: the others who were asked need not send it. */
export function settle(state: SwarmState, n: number, out: Out): void {
  for (const peer of state.asked.get(n) ?? []) {
    peer.open.delete(n)
    peer.withdrawn.add(n)
    out.push({ type: 'cancel', peer: peer.name, chunks: [n] })
  }
  state.asked.delete(n)
}

/** It said that it has these no more. */
export function noteLosses(state: SwarmState, peer: Peer, lost: number, nowMs: number): void {
  peer.losses += lost
  if (peer.losses <= MAX_LOSSES) return
  peer.losses = 0
  bench(state, peer, nowMs)
}

/** What time alone shows: peers that owe and do not send, credit that is not used. */
export function watch(state: SwarmState, nowMs: number, out: Out): void {
  if (state.missing === 0) return
  const { creditMs, silentMs } = state.tuning
  for (const peer of state.ring) {
    const quietMs = nowMs - peer.lastMs
    if (peer.open.size > 0 && quietMs >= silentMs) {
      const chunks = withdraw(state, peer)
      out.push({ type: 'cancel', peer: peer.name, chunks })
      bench(state, peer, nowMs)
    } else if (peer.credit > 0 && quietMs >= creditMs && nowMs >= peer.byNumberUntilMs) {
      peer.byNumberUntilMs = nowMs + state.tuning.maxBenchMs
      peer.lastMs = nowMs
    }
  }
}

/** All that was asked of `peer` may be asked of others. */
export function withdraw(state: SwarmState, peer: Peer): number[] {
  const chunks = [...peer.open.keys()]
  for (const n of chunks) {
    unask(state, peer, n)
    peer.withdrawn.add(n)
    release(state, n)
  }
  return chunks
}

function bench(state: SwarmState, peer: Peer, nowMs: number): void {
  peer.window = 1
  peer.rate = 0
  peer.triedFrom = undefined
  peer.benchedUntilMs = nowMs + peer.benchMs
  peer.benchMs = Math.min(2 * peer.benchMs, state.tuning.maxBenchMs)
}
