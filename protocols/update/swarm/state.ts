/**
 * What a device knows of one release in the swarm: which chunks are where, what was asked of whom,
 * and who asked for what. The functions here keep the counts and lists together; what to do next is
 * decided in `ask.ts` and `serve.ts`.
 */
import { countBits, hasBit, setBit } from '../runs.ts'
import { TUNING, type SwarmAction, type SwarmConfig, type Tuning } from './types.ts'

export interface Peer {
  readonly name: string
  readonly bits: Uint8Array
  /** How many of `bits` are set. */
  count: number
  /** Chunks that are needed, not here, and at no other peer. */
  sole: number
  /** Asked of it by number, and since when. */
  readonly open: Map<number, number>
  /** Asked of it and withdrawn: may still come. */
  readonly withdrawn: Set<number>
  /** Chunks of its choice that it may still send. */
  credit: number
  /** Chunks that it may owe at once. */
  window: number
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
  /** First and past the last number that is needed and not here, as `need` was set. */
  span: readonly [from: number, to: number]
  /** Whether all between them that is not here is needed, so that others may choose. */
  solid: boolean
  /** Needed, not here, asked of nobody, not being checked: in no order, with the place of each. */
  readonly free: NumberList
  /** Here, and at nobody else as far as is known: to be handed out first. */
  readonly fresh: NumberList
  readonly checking: Set<number>
  /** Whom chunk n was asked of, by number. */
  readonly asked: Map<number, Peer[]>
  /** Here, and never handed to anyone who left the choice to us. */
  readonly ungiven: NumberList
  /** Since when there has been nothing of that for those who leave it to us. */
  givenOutMs: number
  /** When chunk n was last handed out. */
  readonly handedMs: Float64Array
  readonly peers: Map<string, Peer>
  /** The order in which peers are served, and who is next. */
  readonly ring: Peer[]
  turn: number
  readonly cut: Set<string>
  /** Here, and not told of yet. */
  news: number[]
  gossipAtMs: number
  readonly below: (count: number) => number
}

export type Out = SwarmAction[]

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
    span: [0, 0],
    solid: false,
    free: new NumberList(count),
    fresh: new NumberList(count),
    ungiven: new NumberList(count),
    givenOutMs: Infinity,
    checking: new Set(),
    asked: new Map(),
    handedMs: new Float64Array(count).fill(NEVER),
    peers: new Map(),
    ring: [],
    turn: 0,
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
  return state.ring.some(({ sending, owed, queue }) => sending.size + owed + queue.size > 0)
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
  for (const peer of state.ring) peer.sole = 0
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
  if (isMissing(state, n) && !state.checking.has(n) && !state.asked.has(n)) state.free.add(n)
}

/** @returns whether it was missing from here */
export function setHere(state: SwarmState, n: number): boolean {
  if (isHere(state, n)) return false
  const needed = isMissing(state, n)
  setBit(state.have, n)
  state.hereCount++
  state.free.remove(n)
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
  const missing = isMissing(state, n)
  if (missing) countSole(state, n, -1)
  setBit(peer.bits, n)
  peer.count++
  state.avail[n] = (state.avail[n] ?? 0) + 1
  if (missing && state.avail[n] === 1) peer.sole++
  state.fresh.remove(n)
}

export function lose(state: SwarmState, peer: Peer, n: number): void {
  if (!hasBit(peer.bits, n)) return
  const missing = isMissing(state, n)
  if (missing) countSole(state, n, -1)
  clearBit(peer.bits, n)
  peer.count--
  state.avail[n] = (state.avail[n] ?? 1) - 1
  if (missing) countSole(state, n, 1)
  freshen(state, n)
}

/** `n` begins or ends to be needed from the one peer that has it, if it is one. */
function countSole(state: SwarmState, n: number, by: 1 | -1): void {
  if (state.avail[n] !== 1) return
  const holder = state.ring.find(({ bits }) => hasBit(bits, n))
  if (holder !== undefined) holder.sole += by
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
    bits: new Uint8Array(Math.ceil(state.count / 8)),
    count: 0,
    sole: 0,
    open: new Map(),
    withdrawn: new Set(),
    credit: 0,
    window: state.tuning.firstWindow,
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
}

export function isComplete(state: SwarmState, peer: Peer): boolean {
  return peer.count === state.count
}

function clearBit(bits: Uint8Array, n: number): void {
  bits[n >> 3] = (bits[n >> 3] ?? 0) & ~(1 << (n & 7))
}

/** A set of numbers below a bound, of which the i-th can be had. */
export class NumberList {
  readonly #items: number[] = []
  readonly #places: Int32Array

  constructor(bound: number) {
    this.#places = new Int32Array(bound).fill(-1)
  }

  get size(): number {
    return this.#items.length
  }

  at(i: number): number | undefined {
    return this.#items[i]
  }

  add(n: number): void {
    if (this.#places[n] !== -1) return
    this.#places[n] = this.#items.length
    this.#items.push(n)
  }

  remove(n: number): void {
    const place = this.#places[n] ?? -1
    if (place === -1) return
    this.#places[n] = -1
    const last = this.#items.pop()
    if (last === undefined || last === n) return
    this.#items[place] = last
    this.#places[last] = place
  }

  clear(): void {
    this.#items.length = 0
    this.#places.fill(-1)
  }
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
