/**
 * What is asked of whom: rarest first, as many as the way to a peer holds, chunks of its choice from
 * the one that has all while others have nothing to give, and what takes long from another. SPEC.md "Swarm".
 */
import { hasBit } from '../runs.ts'
import type { Out, Peer, SwarmState } from './model.ts'
import { isComplete, release, take, unask } from './state.ts'

/** A sample of a peer's rate takes this long at the least. */
const SAMPLE_MS = 100
/** More at once is worth it where the rate grows by this. */
const GROWTH = 1.15
/** Between two tries that brought nothing. */
const TRY_EVERY_MS = 5_000
/** More than this many losses in a row, and a peer is asked no more for a while. */
const MAX_LOSSES = 16
/** A request has taken long when it took so many times what they take. */
const LONG = 2
/** How long a peer took counts half after this. */
const FORGET_MS = 500

/** Ask for as many chunks as may be on their way, of those who are likely to send soonest. */
export function askAll(state: SwarmState, nowMs: number, out: Out): void {
  askSome(state, state.ring, nowMs, out)
}

/** The same, where nothing changed but what `peer` has. */
export function ask(state: SwarmState, peer: Peer, nowMs: number, out: Out): void {
  askSome(state, [peer], nowMs, out)
}

function askSome(state: SwarmState, peers: readonly Peer[], nowMs: number, out: Out): void {
  const room = state.free.size > 0 && state.asked.size < budget(state)
  if (state.missing === 0 || (!room && state.soles === 0)) return
  const able: Peer[] = []
  for (const peer of peers) {
    if (peer.useful + peer.sole === 0 || nowMs < peer.benchedUntilMs) continue
    const chooses = mayChoose(state, peer, nowMs)
    if (chooses) giveCredit(state, peer, nowMs, out)
    if (room && isAble(state, peer, chooses)) able.push(peer)
  }
  if (able.length > 0) askThese(state, able, nowMs, out)
}

/** Whether anything may be asked of it by number. */
function isAble(state: SwarmState, peer: Peer, chooses: boolean): boolean {
  return peer.useful > 0 && hasRoom(peer) && !(chooses && isComplete(state, peer))
}

function askThese(state: SwarmState, able: Peer[], nowMs: number, out: Out): void {
  const most = budget(state)
  const wants = new Map<Peer, number[]>()
  while (state.asked.size < most && able.length > 0) {
    const at = soonest(state, able, nowMs)
    const peer = able[at]
    const n = peer && pick(state, peer, nowMs)
    if (peer === undefined || n === undefined) {
      able.splice(at, 1)
      continue
    }
    askFor(state, peer, n, nowMs)
    const chunks = wants.get(peer)
    if (chunks === undefined) wants.set(peer, [n])
    else chunks.push(n)
    if (!hasRoom(peer)) able.splice(at, 1)
  }
  for (const [peer, chunks] of wants) out.push({ type: 'want', peer: peer.name, chunks })
}

function askFor(state: SwarmState, peer: Peer, n: number, nowMs: number): void {
  take(state, n)
  noteDue(peer, nowMs)
  state.asked.set(n, [...(state.asked.get(n) ?? []), peer])
  peer.open.set(n, nowMs)
}

/** From now on it owes something. */
function noteDue(peer: Peer, nowMs: number): void {
  if (peer.open.size + peer.credit === 0) peer.lastMs = nowMs
}

function hasRoom({ open, window }: Peer): boolean {
  return open.size < Math.floor(window)
}

/** Chunks that may be asked for at once: what comes meanwhile, so that little waits anywhere. */
function budget({ rate, tuning }: SwarmState): number {
  return Math.max(tuning.leastOpen, rate * tuning.aheadMs)
}

/** Where in `peers` the one is that is likely to send soonest; among equals any. */
function soonest({ below }: SwarmState, peers: readonly Peer[], nowMs: number): number {
  const start = below(peers.length)
  let best = start
  let bestMs = Infinity
  for (let i = 0; i < peers.length; i++) {
    const at = (start + i) % peers.length
    const peer = peers[at]
    const ms = peer === undefined ? Infinity : likelyMs(peer, nowMs)
    if (ms >= bestMs) continue
    best = at
    bestMs = ms
  }
  return best
}

/** By what it took last, which counts less the longer ago it was. */
function likelyMs({ open, tookMs, tookAtMs }: Peer, nowMs: number): number {
  return (1 + open.size) * tookMs * 2 ** ((tookAtMs - nowMs) / FORGET_MS)
}

/** It has what nobody else has, and knows best which of it to hand out next. */
function mayChoose(state: SwarmState, peer: Peer, nowMs: number): boolean {
  const { sole, byNumberUntilMs } = peer
  if (!state.solid || sole === 0 || nowMs < byNumberUntilMs) return false
  // Two who choose, and do not know of each other, would choose the same.
  return isComplete(state, peer) || sole === state.soles
}

function giveCredit(state: SwarmState, peer: Peer, nowMs: number, out: Out): void {
  const most = isComplete(state, peer) ? state.missing : peer.sole
  const window = Math.floor(peer.window)
  const count = Math.min(window, most) - peer.open.size - peer.credit
  // Half a window at a time: a frame for each chunk would cost more than it brings.
  if (count <= 0 || (peer.credit > 0 && 2 * count < window)) return
  noteDue(peer, nowMs)
  peer.credit += count
  const [from, to] = state.span
  out.push({ type: 'credit', peer: peer.name, count, from, to })
}

/** The rarest that it has, and that it does not choose itself; among equals any. */
function pick(state: SwarmState, peer: Peer, nowMs: number): number | undefined {
  if (peer.useful === 0) return undefined
  const { below, free } = state
  for (let rank = mayChoose(state, peer, nowMs) ? 2 : 1; rank < free.ranks; rank++) {
    const chunks = free.ranked(rank)
    const start = chunks.length === 0 ? 0 : below(chunks.length)
    for (let i = 0; i < chunks.length; i++) {
      const n = chunks[(start + i) % chunks.length] ?? 0
      if (hasBit(peer.bits, n)) return n
    }
  }
  return undefined
}

/** What has taken long is asked of another in place of the first, where one is likely to be faster. */
function hurry(state: SwarmState, nowMs: number, out: Out): void {
  // Where our own link is what is slow, asking again would only fill it.
  const usualMs = state.rate === 0 ? 0 : state.asked.size / state.rate
  const longMs = Math.max(state.tuning.secondMs, LONG * usualMs)
  for (const [n, [from, also]] of state.asked) {
    if (from === undefined || also !== undefined) continue
    const tookMs = nowMs - (from.open.get(n) ?? nowMs)
    if (tookMs < longMs) continue
    const able = state.ring.filter(
      (peer) => peer !== from && hasBit(peer.bits, n) && mayAsk(state, peer, nowMs),
    )
    const to = able[soonest(state, able, nowMs)]
    if (to === undefined || likelyMs(to, nowMs) > tookMs) continue
    giveUp(state, from, n, out)
    from.tookMs = tookMs
    from.tookAtMs = nowMs
    askFor(state, to, n, nowMs)
    out.push({ type: 'want', peer: to.name, chunks: [n] })
  }
}

function giveUp(state: SwarmState, peer: Peer, n: number, out: Out): void {
  unask(state, peer, n)
  peer.withdrawn.add(n)
  out.push({ type: 'cancel', peer: peer.name, chunks: [n] })
}

function mayAsk(state: SwarmState, peer: Peer, nowMs: number): boolean {
  return hasRoom(peer) && nowMs >= peer.benchedUntilMs && !mayChoose(state, peer, nowMs)
}

/** What was asked for by number came: the longer it waited, the less is asked of that peer at once. */
export function react(state: SwarmState, peer: Peer, tookMs: number, nowMs: number): void {
  state.tookMs += (tookMs - state.tookMs) / 8
  peer.tookMs = tookMs
  peer.tookAtMs = nowMs
  peer.leastTookMs = Math.min(peer.leastTookMs, tookMs)
  const { queueMs, maxWindow } = state.tuning
  const off = Math.max(-1, 1 - (tookMs - peer.leastTookMs) / queueMs)
  const change = off < 0 ? off / 2 : off / peer.window
  peer.window = Math.min(maxWindow, Math.max(1, peer.window + change))
}

/** A chunk came from `peer`: see whether it can be asked for more at once. */
export function sample(state: SwarmState, peer: Peer, n: number, nowMs: number): void {
  peer.lastMs = nowMs
  peer.losses = 0
  peer.benchMs = state.tuning.firstBenchMs
  peer.sampled++
  peer.sampledBytes += state.sizeOf(n)
  rateAll(state, nowMs)
  const tookMs = nowMs - peer.sampledMs
  // Where it chooses, nobody knows what took how long: the rate has to tell.
  if (peer.credit === 0 || tookMs < SAMPLE_MS || peer.sampled < peer.window) return
  tune(state, peer, peer.sampledBytes / tookMs, nowMs)
  peer.sampledMs = nowMs
  peer.sampledBytes = 0
  peer.sampled = 0
}

/** How fast chunks come, from all together. */
function rateAll(state: SwarmState, nowMs: number): void {
  state.rated++
  const tookMs = nowMs - state.ratedMs
  if (tookMs < SAMPLE_MS) return
  state.rate += (state.rated / tookMs - state.rate) / 2
  state.ratedMs = nowMs
  state.rated = 0
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
  hurry(state, nowMs, out)
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
