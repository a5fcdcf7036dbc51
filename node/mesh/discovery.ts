/**
 * Says who we are on every link and hears who else is there: the schedule of announcements, answers
 * and queries, and the budget that bounds what strangers' packets can cost. The bytes are made in
 * protocols/discovery; what to do with what was heard is decided by the callers.
 */
import type { Logger } from 'pino'

import {
  buildQuery,
  DISCOVERY,
  parsePacket,
  type Sighting,
} from '../../protocols/discovery/index.ts'
import type { Clock, Random } from '../env.ts'
import { createBudget, type Budget } from './budget.ts'
import { readLinks, watchLinks, type Link, type LinkChange, type LinkWatch } from './links.ts'
import { openMulticast, type Multicast } from './multicast.ts'

export interface DiscoveryOptions {
  readonly service: 'mesh' | 'candidates'
  /** Without it nothing is sent or heard; links are watched all the same. */
  readonly multicast: boolean
  readonly interfaces?: readonly string[] | undefined
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** The packets that announce us on `link`; none where there is nothing to say. */
  readonly announce: (link: Link, ttlSeconds: number) => readonly Uint8Array[]
  /** Packets that pass this have a budget of their own, which a flood of others cannot use up. */
  readonly isPreferred?: (packet: Uint8Array) => boolean
  readonly onSighting: (sighting: Sighting, link: string) => void
  readonly onLinks?: (change: LinkChange) => void
}

export interface Discovery extends AsyncDisposable {
  readonly links: readonly Link[]
  /** Some link is a member of the multicast group. */
  readonly works: boolean
  /** Compare the links now. */
  checkLinks(): void
  /** Ask once a second, for as long as someone is missed. */
  setHunting(hunting: boolean): void
  /** Ask now, and start again with short intervals. */
  query(): void
}

/** After a link came up or changed. Sends that fail are repeated until the address is usable. */
const ANNOUNCE_AT_MS = [0, 1000, 3000] as const
const RESEND_EVERY_MS = 200
const RESENDS = 20
/**
 * RFC 6762 section 6: answers wait 20 to 120 ms. A record goes out at most every 250 ms, the gap that
 * the RFC allows for answers that someone waits for; a second would delay every reconnection.
 */
const ANSWER_MIN_MS = 20
const ANSWER_SPREAD_MS = 100
const ANNOUNCE_GAP_MS = 250
const QUERY_FACTOR = 3
const QUERY_FIRST_MS = 1000
const QUERY_LAST_MS = 60_000
/** Parsing a packet costs about 0.1 ms: at most 2 % of one core for each link. */
const PACKETS_PER_SECOND = 100
const PACKET_BURST = 200

export async function startDiscovery(options: DiscoveryOptions): Promise<Discovery> {
  const discovery = new LinkDiscovery(options)
  await discovery.start()
  return discovery
}

/** Made for links that we joined, so their number is bounded by the machine. */
interface LinkState {
  readonly preferred: Budget
  readonly others: Budget
  lastAnnouncedMs: number
  answering: boolean
}

class LinkDiscovery implements Discovery {
  readonly #options: DiscoveryOptions
  readonly #watch: LinkWatch
  readonly #states = new Map<string, LinkState>()
  readonly #timers = new Set<() => void>()
  #socket: Multicast | undefined
  #queryDelayMs = QUERY_FIRST_MS
  #cancelQuery = (): void => {}
  #hunting = false
  #stopped = false

  constructor(options: DiscoveryOptions) {
    this.#options = options
    this.#watch = watchLinks(
      { clock: options.clock, read: () => readLinks(options.interfaces) },
      (change) => this.#linksChanged(change),
    )
  }

  async start(): Promise<void> {
    if (!this.#options.multicast) return
    const { clock, log } = this.#options
    this.#socket = await openMulticast({ clock, log, onPacket: (...heard) => this.#hear(...heard) })
    this.#socket.join(this.links)
    this.#introduce(this.links)
    this.query()
  }

  get links(): readonly Link[] {
    return this.#watch.links
  }

  get works(): boolean {
    return (this.#socket?.joined.size ?? 0) > 0
  }

  checkLinks(): void {
    this.#watch.check()
  }

  setHunting(hunting: boolean): void {
    if (hunting === this.#hunting) return
    this.#hunting = hunting
    this.query()
  }

  query(): void {
    this.#queryDelayMs = QUERY_FIRST_MS
    this.#ask()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#watch[Symbol.dispose]()
    this.#cancelQuery()
    for (const cancel of this.#timers) cancel()
    await Promise.all(this.links.map((link) => this.#announce(link.name, 0)))
    await this.#socket?.[Symbol.asyncDispose]()
  }

  #linksChanged(change: LinkChange): void {
    const links = change.links.map((link) => link.name)
    this.#options.log.debug({ links }, 'links changed')
    this.#socket?.join(change.links)
    this.#options.onLinks?.(change)
    this.#introduce([...change.gained, ...change.changed])
    if (change.gained.length > 0) this.query()
  }

  #introduce(links: readonly Link[]): void {
    for (const { name } of links) {
      for (const ms of ANNOUNCE_AT_MS) this.#after(ms, () => this.#announceUntilSent(name, RESENDS))
    }
  }

  /** A new address is tentative for a second or two (RFC 4862) and cannot send yet. */
  #announceUntilSent(name: string, left: number): void {
    void this.#announce(name).then(async (sent) => {
      if (sent) {
        await this.#socket?.send(name, buildQuery(this.#options.service))
      } else if (left > 0 && this.#linkNamed(name) !== undefined) {
        this.#after(RESEND_EVERY_MS, () => this.#announceUntilSent(name, left - 1))
      }
      return undefined
    })
  }

  async #announce(name: string, ttlSeconds: number = DISCOVERY.ttlSeconds): Promise<boolean> {
    const link = this.#linkNamed(name)
    const socket = this.#socket
    if (link === undefined || socket === undefined) return false
    const packets = this.#options.announce(link, ttlSeconds)
    if (packets.length === 0) return true
    this.#state(name).lastAnnouncedMs = this.#options.clock.monotonic()
    const sent = await Promise.all(packets.map((packet) => socket.send(name, packet)))
    return sent.every(Boolean)
  }

  #answer(name: string): void {
    const state = this.#state(name)
    if (state.answering) return
    state.answering = true
    const { clock, random } = this.#options
    const [byte = 0] = random.bytes(1)
    const wait = ANSWER_MIN_MS + (byte / 255) * ANSWER_SPREAD_MS
    const quietMs = state.lastAnnouncedMs + ANNOUNCE_GAP_MS - clock.monotonic()
    this.#after(Math.max(wait, quietMs), () => {
      state.answering = false
      void this.#announce(name)
    })
  }

  #ask(): void {
    this.#cancelQuery()
    const socket = this.#socket
    if (this.#stopped || socket === undefined) return
    const packet = buildQuery(this.#options.service)
    for (const name of socket.joined) void socket.send(name, packet)
    const wait = this.#hunting ? QUERY_FIRST_MS : this.#queryDelayMs
    this.#queryDelayMs = Math.min(this.#queryDelayMs * QUERY_FACTOR, QUERY_LAST_MS)
    this.#cancelQuery = this.#options.clock.timer(wait, () => this.#ask())
  }

  #hear(packet: Uint8Array, name: string): void {
    const { isPreferred, log, onSighting, service } = this.#options
    const state = this.#state(name)
    const budget = isPreferred?.(packet) === true ? state.preferred : state.others
    if (this.#stopped || !budget.take()) return
    let sighting: Sighting
    try {
      sighting = parsePacket(packet)
    } catch (error) {
      log.trace({ err: error, link: name }, 'discovery packet dropped')
      return
    }
    if (service === 'mesh' ? sighting.asksMesh : sighting.asksCandidates) this.#answer(name)
    if (sighting.peers.length + sighting.candidates.length > 0) onSighting(sighting, name)
  }

  #state(name: string): LinkState {
    const known = this.#states.get(name)
    if (known !== undefined) return known
    const { clock } = this.#options
    const state: LinkState = {
      preferred: createBudget(clock, PACKETS_PER_SECOND, PACKET_BURST),
      others: createBudget(clock, PACKETS_PER_SECOND, PACKET_BURST),
      lastAnnouncedMs: -Infinity,
      answering: false,
    }
    this.#states.set(name, state)
    return state
  }

  #linkNamed(name: string): Link | undefined {
    return this.links.find((link) => link.name === name)
  }

  #after(ms: number, then: () => void): void {
    const cancel = this.#options.clock.timer(ms, () => {
      this.#timers.delete(cancel)
      then()
    })
    this.#timers.add(cancel)
  }
}
