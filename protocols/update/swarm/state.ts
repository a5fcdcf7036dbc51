/**
 * Changes to what a device knows of one release: the functions here keep counts and lists together.
 * What to do next is decided in `ask.ts` and `serve.ts`.
 */
import { countBits, hasBit, setBit } from '../runs.ts'
import { NumberList, RankedNumbers } from './numbers.ts'
import type { Peer, SwarmState } from './model.ts'
import { TUNING, type SwarmConfig } from './types.ts'

const NEVER = -Infinity

export function createSwarm(config: SwarmConfig): SwarmState {
  const { count, sizeOf, random } = config
  const bytes = Math.ceil(count / 8)
  const state: SwarmState = {
    count,
    tuning: { ...TUNING, ...config.tuning },
    sizeOf,
    repeats: config.repeats ?? new Uint8Array(bytes),
    have: config.have.slice(),
    hereCount: countBits(config.have, count),
    need: new Uint8Array(bytes),
    missing: 0,
    avail: new Uint16Array(count),
    holders: new Int32Array(count),
    ids: new Map(),
    nextId: 1,
    soles: 0,
    span: [0, 0],
    solid: false,
    free: new RankedNumbers(count),
    fresh: new NumberList(count),
    ungiven: new NumberList(count),
    givenOutMs: Infinity,
    checking: new Set(),
    asked: new Map(),
    tookMs: 0,
    rate: 0,
    ratedMs: 0,
    rated: 0,
    handedMs: new Float64Array(count).fill(NEVER),
    peers: new Map(),
    ring: [],
    waiting: new Set(),
    served: new Set(),
    uploads: 0,
    cut: new Set(),
    news: [],
    gossipAtMs: 0,
    below: dice(random.bytes(4)),
  }
  for (let n = 0; n < count; n++) if (isHere(state, n)) offerFresh(state, n)
  setNeed(state, config.need ?? state.need)
  return state
}

/** Whether there is anything that only time can move on. */
export function isBusy(state: SwarmState): boolean {
  if (state.missing > 0 || state.news.length > 0) return true
  return state.waiting.size + state.served.size > 0
}

export function isHere({ have }: SwarmState, n: number): boolean {
  return hasBit(have, n)
}

export function isMissing(state: SwarmState, n: number): boolean {
  return hasBit(state.need, n) && !hasBit(state.have, n)
}

export function setNeed(state: SwarmState, bits: Uint8Array): void {
  state.need = new Uint8Array(Math.ceil(state.count / 8))
  state.missing = 0
  state.soles = 0
  for (const peer of state.ring) peer.sole = peer.useful = 0
  state.free.clear()
  for (let n = 0; n < state.count; n++) {
    if (!hasBit(bits, n) || hasBit(state.repeats, n)) continue
    setBit(state.need, n)
    if (hasBit(state.have, n)) continue
    state.missing++
    countSole(state, n, 1)
    release(state, n)
  }
  measureNeed(state)
}

function measureNeed(state: SwarmState): void {
  let [from, to, absent] = [state.count, 0, 0]
  const before: number[] = []
  for (let n = 0; n < state.count; n++) {
    before.push(absent)
    if (isMissing(state, n)) {
      from = Math.min(from, n)
      to = n + 1
    }
    if (!isHere(state, n) && !hasBit(state.repeats, n)) absent++
  }
  before.push(absent)
  state.span = [from, to]
  state.solid = to > from && (before[to] ?? 0) - (before[from] ?? 0) === state.missing
}

/** Nobody is asked for it now: anybody may be. */
export function release(state: SwarmState, n: number): void {
  if (state.free.has(n) || !isMissing(state, n)) return
  if (state.checking.has(n) || state.asked.has(n)) return
  state.free.add(n, state.avail[n] ?? 0)
  countUseful(state, n, 1)
}

/** Somebody is asked for it, or it is needed no more. */
export function take(state: SwarmState, n: number): void {
  if (!state.free.has(n)) return
  state.free.remove(n, state.avail[n] ?? 0)
  countUseful(state, n, -1)
}

function countUseful({ ring, avail }: SwarmState, n: number, by: 1 | -1): void {
  if (avail[n] === 0) return
  for (const peer of ring) if (hasBit(peer.bits, n)) peer.useful += by
}

/** @returns whether it was missing from here */
export function setHere(state: SwarmState, n: number): boolean {
  if (isHere(state, n)) return false
  const needed = isMissing(state, n)
  setBit(state.have, n)
  state.hereCount++
  take(state, n)
  if (needed) {
    state.missing--
    countSole(state, n, -1)
  }
  offerFresh(state, n)
  state.news.push(n)
  return needed
}

export function setGone(state: SwarmState, n: number): void {
  if (!isHere(state, n)) return
  clearBit(state.have, n)
  state.hereCount--
  state.fresh.remove(n)
  state.ungiven.remove(n)
  if (!hasBit(state.need, n)) return
  state.missing++
  countSole(state, n, 1)
  release(state, n)
}

export function gain(state: SwarmState, peer: Peer, n: number): void {
  peer.handed.delete(n)
  if (hasBit(peer.bits, n)) return
  setBit(peer.bits, n)
  peer.count++
  changeHolders(state, peer, n, 1)
  state.fresh.remove(n)
}

export function lose(state: SwarmState, peer: Peer, n: number): void {
  if (!hasBit(peer.bits, n)) return
  clearBit(peer.bits, n)
  peer.count--
  changeHolders(state, peer, n, -1)
  freshen(state, n)
}

/** One more has it, or one less. */
function changeHolders(state: SwarmState, peer: Peer, n: number, by: 1 | -1): void {
  const missing = isMissing(state, n)
  const free = state.free.has(n)
  const before = state.avail[n] ?? 0
  if (missing) countSole(state, n, -1)
  if (free) state.free.remove(n, before)
  state.avail[n] = before + by
  state.holders[n] = (state.holders[n] ?? 0) ^ peer.id
  if (missing) countSole(state, n, 1)
  if (!free) return
  state.free.add(n, before + by)
  peer.useful += by
}

/** `n` begins or ends to be needed from the one peer that has it, if it is one. */
function countSole(state: SwarmState, n: number, by: 1 | -1): void {
  if (state.avail[n] !== 1) return
  const holder = state.ids.get(state.holders[n] ?? 0)
  if (holder === undefined) return
  holder.sole += by
  state.soles += by
}

function offerFresh(state: SwarmState, n: number): void {
  freshen(state, n)
  if (!hasBit(state.repeats, n)) state.ungiven.add(n)
}

function freshen(state: SwarmState, n: number): void {
  const lone = state.avail[n] === 0 && state.handedMs[n] === NEVER
  if (lone && isHere(state, n) && !hasBit(state.repeats, n)) state.fresh.add(n)
}

/** `n` is asked of `peer` no more. @returns whether it was */
export function unask(state: SwarmState, peer: Peer, n: number): boolean {
  if (!peer.open.delete(n)) return false
  const holders = state.asked.get(n) ?? []
  const rest = holders.filter((other) => other !== peer)
  if (rest.length > 0) state.asked.set(n, rest)
  else state.asked.delete(n)
  return true
}

export function addPeer(state: SwarmState, name: string, nowMs: number): Peer {
  const peer: Peer = {
    name,
    id: state.nextId++,
    bits: new Uint8Array(Math.ceil(state.count / 8)),
    count: 0,
    sole: 0,
    useful: 0,
    open: new Map(),
    withdrawn: new Set(),
    credit: 0,
    window: state.tuning.firstWindow,
    leastTookMs: Infinity,
    tookMs: Math.max(1, state.tookMs / 2),
    tookAtMs: nowMs,
    lastMs: nowMs,
    sampledMs: nowMs,
    sampledBytes: 0,
    sampled: 0,
    rate: 0,
    triedFrom: undefined,
    tryAgainMs: 0,
    benchedUntilMs: 0,
    benchMs: state.tuning.firstBenchMs,
    byNumberUntilMs: 0,
    losses: 0,
    queue: new Set(),
    owed: 0,
    searchAtMs: 0,
    owedSpan: [0, 0],
    sending: new Map(),
    handed: new Set(),
  }
  state.peers.set(name, peer)
  state.ids.set(peer.id, peer)
  state.ring.push(peer)
  return peer
}

export function dropPeer(state: SwarmState, peer: Peer): void {
  state.peers.delete(peer.name)
  for (const n of peer.open.keys()) {
    unask(state, peer, n)
    release(state, n)
  }
  // What it took with it unheard of may be handed out again at once.
  for (const n of [...peer.handed, ...peer.sending.keys()]) state.handedMs[n] = NEVER
  for (let n = 0; n < state.count; n++) {
    lose(state, peer, n)
    if (!peer.handed.has(n) || !isHere(state, n)) continue
    freshen(state, n)
    if (state.avail[n] === 0) state.ungiven.add(n)
  }
  state.ring.splice(state.ring.indexOf(peer), 1)
  state.ids.delete(peer.id)
  state.waiting.delete(peer)
  state.served.delete(peer)
}

/** What it is to get, or what is on its way to it, has changed. */
export function noteQueue({ waiting, served }: SwarmState, peer: Peer): void {
  if (peer.queue.size + peer.owed > 0) waiting.add(peer)
  else waiting.delete(peer)
  if (peer.sending.size > 0) served.add(peer)
  else served.delete(peer)
}

export function isComplete(state: SwarmState, peer: Peer): boolean {
  return peer.count === state.count
}

function clearBit(bits: Uint8Array, n: number): void {
  bits[n >> 3] = (bits[n >> 3] ?? 0) & ~(1 << (n & 7))
}

/** Numbers that nobody must be able to foresee are not among these: xorshift32. */
function dice(seed: Uint8Array): (count: number) => number {
  const view = new DataView(seed.buffer, seed.byteOffset, 4)
  let x = view.getUint32(0) || 1
  return (limit) => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) % limit
  }
}
