/**
 * Whom to dial when, which of two connections to keep, and when to doubt one. No sockets and no
 * clock: `step` takes what happened and the monotonic time, and returns what to do; the same events
 * give the same actions. dialing.ts carries them out.
 *
 * Of two members the one with the lower peer id dials at once and the other waits, so they rarely
 * meet half-way. Where they do, both keep the connection that the lower one dialled. A connection
 * that turns up well after another one replaces it: the peer would not have dialled had it still
 * believed in the old one.
 */

import type {
  ConnectionState,
  DialerAction,
  DialerEvent,
  DialerState,
  DialerStep,
  PeerState,
} from './dialer-state.ts'

/** The higher id waits this long for the lower one to dial. */
export const YIELD_MS = 700
export const BACKOFF_FIRST_MS = 50
export const BACKOFF_LAST_MS = 5000
/** On demand nobody backs off: the window is short. */
export const DEMAND_RETRY_MS = 100
/** Two connections opened within this time were dialled towards each other. */
export const CROSSING_MS = 2000
/** A forged announcement costs at most four dials and one ping a second. */
const DIAL_GAP_MS = 250
const PROBE_GAP_MS = 1000
const MAX_ADDRESSES = 16
const MAX_PROVEN = 4
/** Dials beside another one, on demand: forged announcements cost no more of a window than these. */
const MAX_FOUND = 4

export function startDialer(self: string, seed: number, onDemand = false): DialerState {
  return { self, seed, onDemand, peers: new Map() }
}

/** The time of the next `tick`, or undefined. */
export function nextDialMs(state: DialerState): number | undefined {
  let next: number | undefined
  for (const peer of state.peers.values()) {
    if (peer.dueMs !== undefined) next = Math.min(next ?? Infinity, peer.dueMs)
  }
  return next
}

export function step(state: DialerState, event: DialerEvent, now: number): DialerStep {
  const turn = new Turn(state, now)
  turn.take(event)
  return turn.result()
}

const NEW_PEER: PeerState = {
  announced: [],
  proven: [],
  direct: [],
  instance: undefined,
  connections: new Map(),
  dialing: false,
  failures: 0,
  lastDialMs: -Infinity,
  dueMs: undefined,
  lostMs: undefined,
  sleeper: false,
  wanted: false,
  found: 0,
}

/** One step: a copy of the state under change, and the actions so far. */
class Turn {
  readonly #self: string
  readonly #onDemand: boolean
  readonly #now: number
  readonly #peers: Map<string, PeerState>
  readonly #actions: DialerAction[] = []
  #seed: number

  constructor(state: DialerState, now: number) {
    this.#self = state.self
    this.#onDemand = state.onDemand
    this.#seed = state.seed
    this.#now = now
    this.#peers = new Map(state.peers)
  }

  result(): DialerStep {
    this.#dialDue()
    const [self, onDemand, seed] = [this.#self, this.#onDemand, this.#seed]
    return { state: { self, onDemand, seed, peers: this.#peers }, actions: this.#actions }
  }

  take(event: DialerEvent): void {
    if (event.type === 'members') return this.#members(event.peers)
    if (event.type === 'sleepers') return this.#sleepers(event.peers)
    if (event.type === 'links') return this.#links()
    if (event.type === 'tick') return
    const peer = this.#peers.get(event.peer)
    // Not a member, or no longer: whatever came in late does not matter.
    if (peer === undefined) return
    if ('connection' in event) return this.#connection(event, peer)
    switch (event.type) {
      case 'known':
        return this.#known(event, peer)
      case 'seen':
        return this.#seen(event, peer)
      case 'wanted':
        return this.#want(event.peer, peer)
      case 'dialled':
        return this.#dialled(event, peer)
    }
  }

  #connection(event: Extract<DialerEvent, { readonly connection: string }>, peer: PeerState): void {
    switch (event.type) {
      case 'opened':
        return this.#opened(event, peer)
      case 'greeted':
        return this.#greeted(event, peer)
      case 'closed':
        return this.#closed(event, peer)
      case 'probed':
        return this.#change(event.peer, event.connection, { probing: false })
      case 'doubt':
        return this.#probe(event.peer, event.connection)
    }
  }

  #members(names: readonly string[]): void {
    const members = new Set(names)
    for (const name of this.#peers.keys()) if (!members.has(name)) this.#peers.delete(name)
    for (const name of names) {
      if (!this.#peers.has(name) && name !== this.#self) this.#peers.set(name, NEW_PEER)
    }
  }

  #sleepers(names: readonly string[]): void {
    for (const [name, peer] of this.#peers) {
      const sleeper = names.includes(name)
      if (sleeper === peer.sleeper) continue
      const settled = sleeper ? { dueMs: undefined, lostMs: undefined } : {}
      this.#peers.set(name, { ...peer, sleeper, ...settled })
    }
  }

  /** The world has changed under us: doubt every connection, try every missing member. */
  #links(): void {
    for (const [name, peer] of this.#peers) {
      for (const connection of peer.connections.keys()) this.#probe(name, connection)
      if (this.#isMissed(peer)) this.#hurry(name, peer)
    }
  }

  #known(event: Extract<DialerEvent, { type: 'known' }>, peer: PeerState): void {
    const next = { ...peer, [event.kind]: event.addresses.slice(0, MAX_ADDRESSES) }
    this.#peers.set(event.peer, next)
    if (this.#isMissed(next)) this.#hurry(event.peer, next)
  }

  #seen(event: Extract<DialerEvent, { type: 'seen' }>, peer: PeerState): void {
    const instance = event.instance ?? peer.instance
    const restarted = peer.instance !== undefined && peer.instance !== instance
    const moved = !event.addresses.every((address) => peer.announced.includes(address))
    const announced = event.addresses.slice(0, MAX_ADDRESSES)
    const next = { ...peer, announced, instance }
    this.#peers.set(event.peer, next)
    for (const [name, connection] of peer.connections) {
      if (restarted || isUnused(connection, event)) this.#probe(event.peer, name)
    }
    if (this.#onDemand) return this.#found(event.peer, next, peer)
    const fresh = restarted || moved || peer.instance === undefined
    if (fresh || this.#now - peer.lastDialMs >= PROBE_GAP_MS) this.#hurry(event.peer, next)
  }

  /** On demand there is no time to wait for a dial that may go to where the peer was once. */
  #found(name: string, peer: PeerState, before: PeerState): void {
    const news = peer.announced.filter((address) => !before.announced.includes(address))
    const unknown = news.filter((address) => !peer.proven.includes(address))
    if (!this.#isMissed(peer) || !peer.dialing)
      return peer.wanted ? this.#hurry(name, peer) : undefined
    if (unknown.length === 0 || peer.found >= MAX_FOUND) return
    this.#peers.set(name, { ...peer, found: peer.found + 1 })
    this.#actions.push({ type: 'dial', peer: name, addresses: unknown })
  }

  /** Whether there is a reason to dial it that nobody had to give. */
  #isMissed({ connections, sleeper, wanted }: PeerState): boolean {
    return connections.size === 0 && !sleeper && (wanted || !this.#onDemand)
  }

  #want(name: string, peer: PeerState): void {
    const next = { ...peer, wanted: true }
    this.#peers.set(name, next)
    this.#hurry(name, next)
  }

  /** Forget the back-off and dial soon. */
  #hurry(name: string, peer: PeerState): void {
    if (peer.connections.size > 0) return
    const yielded = this.#onDemand || this.#isLower(name) ? 0 : YIELD_MS
    const at = Math.max(this.#now + yielded, peer.lastDialMs + DIAL_GAP_MS)
    const dueMs = peer.dialing ? peer.dueMs : Math.min(peer.dueMs ?? Infinity, at)
    this.#peers.set(name, { ...peer, failures: 0, dueMs })
  }

  #dialDue(): void {
    for (const [name, peer] of this.#peers) {
      if (peer.dueMs === undefined || peer.dueMs > this.#now) continue
      const addresses = dialOrder(peer)
      const idle = peer.connections.size === 0 && !peer.dialing && addresses.length > 0
      this.#peers.set(name, {
        ...peer,
        dueMs: undefined,
        dialing: peer.dialing || idle,
        lastDialMs: idle ? this.#now : peer.lastDialMs,
      })
      if (idle) this.#actions.push({ type: 'dial', peer: name, addresses })
    }
  }

  #dialled(event: Extract<DialerEvent, { type: 'dialled' }>, peer: PeerState): void {
    const next = { ...peer, dialing: false }
    this.#peers.set(event.peer, next)
    if (peer.connections.size > 0) return
    // A connection may be gone before anyone told us of it: then nothing else is planned.
    if (!event.ok || peer.dueMs === undefined) this.#retry(event.peer, next)
  }

  #retry(name: string, peer: PeerState): void {
    if (!this.#isMissed(peer)) return void this.#peers.set(name, { ...peer, dueMs: undefined })
    if (this.#onDemand) {
      return void this.#peers.set(name, { ...peer, dueMs: this.#now + DEMAND_RETRY_MS })
    }
    const full = Math.min(BACKOFF_FIRST_MS * 2 ** Math.min(peer.failures, 10), BACKOFF_LAST_MS)
    const dueMs = this.#now + full * (0.75 + this.#random() / 2)
    this.#peers.set(name, { ...peer, failures: peer.failures + 1, dueMs })
  }

  #opened(event: Extract<DialerEvent, { type: 'opened' }>, peer: PeerState): void {
    const connections = new Map(peer.connections)
    const { direction, link, remoteHost } = event
    const opened: ConnectionState = {
      direction,
      link,
      remoteHost,
      openedMs: this.#now,
      greeted: false,
      probing: false,
      lastProbeMs: -Infinity,
    }
    connections.set(event.connection, opened)
    this.#peers.set(event.peer, { ...peer, connections, dueMs: undefined })
    for (const [name, other] of peer.connections) {
      const loser = this.#loser(event.peer, [event.connection, opened], [name, other])
      this.#actions.push({ type: 'close', peer: event.peer, connection: loser })
      // The peer may have dialled because it knows the older one to be dead.
      if (loser === event.connection) this.#probe(event.peer, name)
    }
  }

  /** Which of two connections to one peer goes. Both ends come to the same answer. */
  #loser(
    peer: string,
    [young, newer]: readonly [string, ConnectionState],
    [old, older]: readonly [string, ConnectionState],
  ): string {
    const crossed = newer.openedMs - older.openedMs <= CROSSING_MS
    if (!crossed || newer.direction === older.direction) return old
    const dialledByLower = this.#isLower(peer) ? 'outbound' : 'inbound'
    return newer.direction === dialledByLower ? old : young
  }

  #greeted(event: Extract<DialerEvent, { type: 'greeted' }>, peer: PeerState): void {
    this.#change(event.peer, event.connection, { greeted: true })
    const now = this.#peers.get(event.peer) ?? peer
    const { address } = event
    const proven =
      address === undefined
        ? peer.proven
        : [address, ...peer.proven.filter((known) => known !== address)].slice(0, MAX_PROVEN)
    this.#peers.set(event.peer, { ...now, proven, failures: 0, lostMs: undefined })
  }

  #closed(event: Extract<DialerEvent, { type: 'closed' }>, peer: PeerState): void {
    const closed = peer.connections.get(event.connection)
    if (closed === undefined) return
    const connections = new Map(peer.connections)
    connections.delete(event.connection)
    const next = { ...peer, connections }
    this.#peers.set(event.peer, next)
    if (connections.size > 0) return
    const missed = closed.greeted && !peer.sleeper
    const lost = { ...next, lostMs: missed ? this.#now : peer.lostMs }
    this.#retry(event.peer, lost)
    // A connection that was in use broke: let the lower one dial first again.
    if (missed && !this.#onDemand && !this.#isLower(event.peer)) {
      this.#peers.set(event.peer, { ...lost, dueMs: this.#now + YIELD_MS })
    }
  }

  #probe(name: string, connection: string): void {
    const found = this.#peers.get(name)?.connections.get(connection)
    if (found === undefined || found.probing) return
    if (this.#now - found.lastProbeMs < PROBE_GAP_MS) return
    this.#change(name, connection, { probing: true, lastProbeMs: this.#now })
    this.#actions.push({ type: 'probe', peer: name, connection })
  }

  #change(name: string, connection: string, change: Partial<ConnectionState>): void {
    const peer = this.#peers.get(name)
    const found = peer?.connections.get(connection)
    if (peer === undefined || found === undefined) return
    const connections = new Map(peer.connections).set(connection, { ...found, ...change })
    this.#peers.set(name, { ...peer, connections })
  }

  #isLower(peer: string): boolean {
    return this.#self < peer
  }

  /** Uniform in [0, 1): a linear congruential step, good enough to spread retries. */
  #random(): number {
    this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0
    return this.#seed / 2 ** 32
  }
}

/** We dialled it at an address that the peer no longer announces on that link. */
function isUnused(
  { direction, link, remoteHost }: ConnectionState,
  seen: Extract<DialerEvent, { type: 'seen' }>,
): boolean {
  const announced = seen.addresses.slice(0, MAX_ADDRESSES)
  const known = announced.some((address) => address.includes(`/${remoteHost}/`))
  return direction === 'outbound' && link === seen.link && !known
}

/** IPv6 first; what was announced and what worked before, in turn: a forged announcement hides no good address. */
function dialOrder(peer: PeerState): string[] {
  const order = new Set<string>()
  const longest = Math.max(peer.announced.length, peer.proven.length, peer.direct.length)
  for (let i = 0; i < longest; i++) {
    for (const list of [peer.announced, peer.proven, peer.direct]) {
      const address = list[i]
      if (address !== undefined) order.add(address)
    }
  }
  const isIp4 = (address: string): boolean => address.startsWith('/ip4/')
  return [...order].toSorted((a, b) => Number(isIp4(a)) - Number(isIp4(b))).slice(0, MAX_ADDRESSES)
}
