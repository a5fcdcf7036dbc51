/** One event at a time in, what to do about it out. SPEC.md "Swarm". */
import type { UpdateErrorCode } from '../protocol.ts'
import { hasBit } from '../runs.ts'
import { ask, askAll, noteLosses, react, sample, settle, watch, withdraw } from './ask.ts'
import { creditFor, gossip, queueFor, serve } from './serve.ts'
import type { Out, Peer, SwarmState } from './model.ts'
import {
  addPeer,
  dropPeer,
  gain,
  lose,
  noteQueue,
  release,
  setGone,
  setHere,
  setNeed,
  take,
  unask,
} from './state.ts'
import type { SwarmAction, SwarmEvent } from './types.ts'

/** Withdrawn requests that are remembered, of one peer. */
const MAX_WITHDRAWN = 4_096

/** Changes `state`. `nowMs` never goes back. */
export function step(state: SwarmState, event: SwarmEvent, nowMs: number): SwarmAction[] {
  const out: Out = []
  const missing = state.missing
  if ('peer' in event) ofPeer(state, event, nowMs, out)
  else ofSelf(state, event, nowMs, out)
  gossip(state, nowMs, out)
  serve(state, nowMs, out)
  if (missing > 0 && state.missing === 0) finish(state, out)
  return out
}

function ofSelf(
  state: SwarmState,
  event: Exclude<SwarmEvent, { peer: string }>,
  nowMs: number,
  out: Out,
): void {
  if (event.type === 'tick') {
    watch(state, nowMs, out)
  } else if (event.type === 'need') {
    for (const peer of state.ring) cancelAll(state, peer, out)
    setNeed(state, event.bits)
  } else {
    for (const n of event.chunks) {
      if (event.type === 'gone') setGone(state, n)
      else if (setHere(state, n)) settle(state, n, out)
    }
  }
  askAll(state, nowMs, out)
}

function ofPeer(
  state: SwarmState,
  event: Extract<SwarmEvent, { peer: string }>,
  nowMs: number,
  out: Out,
): void {
  const name = event.peer
  if (state.cut.has(name) && event.type === 'join') return
  const known = state.peers.get(name)
  if (event.type === 'leave') {
    if (known !== undefined) part(state, known, nowMs, out)
    return
  }
  if (isChecked(event)) {
    checked(state, event, nowMs, out)
    return
  }
  if (event.type === 'join') out.push({ type: 'have', peer: name })
  const peer = known ?? (event.type === 'join' ? addPeer(state, name, nowMs) : undefined)
  if (peer === undefined) return
  const fault = said(state, peer, event, { nowMs, out })
  if (fault !== undefined) cutOff(state, peer, fault, { nowMs, out })
}

function isChecked(event: SwarmEvent): event is Checked {
  return event.type === 'verified' || event.type === 'wrong' || event.type === 'unkept'
}

interface Now {
  readonly nowMs: number
  readonly out: Out
}

type Checked = Extract<SwarmEvent, { type: 'verified' | 'wrong' | 'unkept' }>
type Said = Exclude<Extract<SwarmEvent, { peer: string }>, Checked | { type: 'leave' }>
type SaidHandlers = {
  readonly [K in Said['type']]: (
    state: SwarmState,
    peer: Peer,
    event: Extract<Said, { readonly type: K }>,
    now: Now,
  ) => UpdateErrorCode | undefined
}

/** What a peer did, by kind. @returns what no honest device does */
const SAID: SaidHandlers = {
  join: () => undefined,
  have(state, peer, { bits }, { nowMs, out }) {
    for (let n = 0; n < state.count; n++) if (hasBit(bits, n)) gain(state, peer, n)
    askAll(state, nowMs, out)
    return undefined
  },
  'have-more'(state, peer, { chunks }, { nowMs, out }) {
    for (const n of chunks) gain(state, peer, n)
    ask(state, peer, nowMs, out)
    return undefined
  },
  want: (state, peer, { chunks }, { out }) =>
    queueFor(state, peer, chunks, out) ? undefined : 'UPDATE_TOO_MUCH',
  cancel(state, peer, { chunks }) {
    for (const n of chunks) peer.queue.delete(n)
    noteQueue(state, peer)
    return undefined
  },
  credit: (state, peer, event) => (creditFor(state, peer, event) ? undefined : 'UPDATE_TOO_MUCH'),
  lost(state, peer, { chunks }, { nowMs, out }) {
    noteLosses(state, peer, chunks.length, nowMs)
    for (const n of chunks) {
      lose(state, peer, n)
      if (unask(state, peer, n)) release(state, n)
    }
    askAll(state, nowMs, out)
    return undefined
  },
  arrived: (state, peer, { n }, now) => arrived(state, peer, n, now),
  sent(state, peer, { n }) {
    peer.sending.delete(n)
    noteQueue(state, peer)
    return undefined
  },
  unsent(state, peer, { n }, { out }) {
    peer.sending.delete(n)
    noteQueue(state, peer)
    setGone(state, n)
    out.push({ type: 'lost', peer: peer.name, chunks: [n] })
    return undefined
  },
}

type Handle = (state: SwarmState, peer: Peer, event: Said, now: Now) => UpdateErrorCode | undefined

function said(state: SwarmState, peer: Peer, event: Said, now: Now): UpdateErrorCode | undefined {
  if ('chunks' in event && event.chunks.some((n) => n >= state.count)) return 'UPDATE_BAD_NUMBER'
  return (SAID[event.type] as Handle)(state, peer, event, now)
}

function arrived(
  state: SwarmState,
  peer: Peer,
  n: number,
  { nowMs, out }: Now,
): UpdateErrorCode | undefined {
  if (n >= state.count) return 'UPDATE_BAD_NUMBER'
  const askedMs = peer.open.get(n)
  if (!unask(state, peer, n) && !peer.withdrawn.delete(n)) {
    if (peer.credit === 0) return 'UPDATE_UNASKED'
    peer.credit--
  }
  gain(state, peer, n)
  if (askedMs !== undefined) react(state, peer, nowMs - askedMs, nowMs)
  sample(state, peer, n, nowMs)
  if (!hasBit(state.have, n) && !state.checking.has(n)) {
    state.checking.add(n)
    take(state, n)
    settle(state, n, out)
    out.push({ type: 'check', peer: peer.name, n })
  }
  askAll(state, nowMs, out)
  return undefined
}

function checked(
  state: SwarmState,
  { type, n, peer: name }: Checked,
  nowMs: number,
  out: Out,
): void {
  state.checking.delete(n)
  if (type === 'verified') {
    setHere(state, n)
    askAll(state, nowMs, out)
    return
  }
  release(state, n)
  const peer = state.peers.get(name)
  if (type === 'wrong') {
    state.cut.add(name)
    if (peer === undefined) out.push({ type: 'cut', peer: name, code: 'UPDATE_WRONG_CHUNK' })
    else cutOff(state, peer, 'UPDATE_WRONG_CHUNK', { nowMs, out })
  }
  askAll(state, nowMs, out)
}

function cutOff(state: SwarmState, peer: Peer, code: UpdateErrorCode, { nowMs, out }: Now): void {
  state.cut.add(peer.name)
  out.push({ type: 'cut', peer: peer.name, code })
  part(state, peer, nowMs, out)
}

function part(state: SwarmState, peer: Peer, nowMs: number, out: Out): void {
  dropPeer(state, peer)
  askAll(state, nowMs, out)
}

function cancelAll(state: SwarmState, peer: Peer, out: Out): void {
  const chunks = withdraw(state, peer)
  if (peer.withdrawn.size > MAX_WITHDRAWN) peer.withdrawn.clear()
  if (chunks.length > 0) out.push({ type: 'cancel', peer: peer.name, chunks })
}

/** All is here: what was still asked for need not come. */
function finish(state: SwarmState, out: Out): void {
  for (const peer of state.ring) cancelAll(state, peer, out)
  // Told at once: some may wait for nothing else.
  state.gossipAtMs = 0
  gossip(state, 0, out)
  out.push({ type: 'done' })
}
