/**
 * Joins host, discovery, dialer, gater and connections into one Mesh. What each does is written in
 * its own file; here is only who tells whom.
 */
import type { Connection } from '@libp2p/interface'

import { keyOfPeerId, peerIdOf, signerFromSeed } from '../../protocols/identity/index.ts'
import { toHex, type Protocol } from '../../protocols/wire/index.ts'
import { createEmitter, type Emitter } from '../events.ts'
import { openDatastore, type StoredDatastore } from '../storage/datastore.ts'
import { hostOf, withoutPeer, zoneOf } from './addresses.ts'
import { bindProtocol, bindStream } from './bind.ts'
import { createConnections, type Connections, type Live } from './connections.ts'
import { startDialing, type Dialing } from './dialing.ts'
import { startDiscovery, type Discovery } from './discovery.ts'
import { createGater, type Gater, type Refusal } from './gater.ts'
import type { DualStack } from './dual-stack.ts'
import { startGreeter, type Greeter } from './greeting.ts'
import { portOf, startHost, startHostOn, type Host } from './host.ts'
import { linkWith, type LinkChange } from './links.ts'
import type {
  Mesh,
  MeshEvents,
  MeshHandler,
  MeshOptions,
  MeshPeer,
  MeshStream,
  Traffic,
} from './mesh.ts'
import { createNeighbours, type Neighbours } from './neighbours.ts'
import { loadReached, saveReached, type Reached } from './reached.ts'
import { createReaching, type Reaching } from './reaching.ts'
import { countTraffic, type TrafficCount } from './traffic.ts'
import { zonedTcp, type ZonedTcp } from './transport.ts'

const INSTANCE_BYTES = 16

export async function joinMesh(options: MeshOptions, signal: AbortSignal): Promise<Mesh> {
  signal.throwIfAborted()
  const mesh = new MeshNode(options)
  try {
    await mesh.start()
    signal.throwIfAborted()
  } catch (error) {
    await mesh[Symbol.asyncDispose]()
    throw error
  }
  signal.addEventListener('abort', () => void mesh[Symbol.asyncDispose](), { once: true })
  return mesh
}

class MeshNode implements Mesh {
  readonly key: Uint8Array
  readonly events: Emitter<MeshEvents>
  readonly #options: MeshOptions
  readonly #self: string
  readonly #gater: Gater
  readonly #transport: ZonedTcp
  #dualStack: DualStack | undefined
  readonly #connections: Connections
  readonly #neighbours: Neighbours
  readonly #traffic: TrafficCount
  readonly #brief: boolean
  readonly #localHosts = new WeakMap<Live, string>()
  readonly #reaching: Reaching
  readonly #stopped = new AbortController()
  #stopping: Promise<void> | undefined
  #members: ReadonlySet<string> = new Set()
  #sleepers: readonly string[] = []
  #reached: Reached = new Map()
  #store: StoredDatastore | undefined
  #host: Host | undefined
  #greeter: Greeter | undefined
  #dialing: Dialing | undefined
  #discovery: Discovery | undefined

  constructor(options: MeshOptions) {
    const { clock, log, random } = options
    this.#options = options
    this.#brief = options.brief === true
    this.key = signerFromSeed(options.seed).key
    this.#self = peerIdOf(this.key)
    this.events = createEmitter((error) => log.error({ err: error }, 'mesh listener failed'))
    this.#gater = createGater(clock, (refusal) => this.#refused(refusal))
    this.#neighbours = createNeighbours({
      key: this.key,
      instance: toHex(random.bytes(INSTANCE_BYTES)),
      directPeers: options.directPeers ?? [],
      port: () => portOf(this.#running().components),
      tell: (event) => this.#dialing?.tell(event),
      onMemberSeen: (peer, addresses) =>
        this.events.emit('seen', { key: keyOfPeerId(peer), addresses }),
    })
    this.#transport = zonedTcp((remote) => this.#gater.admit(remote))
    this.#traffic = countTraffic(clock, ({ connection }) => this.#transport.facts(connection))
    this.#connections = createConnections({
      clock,
      log,
      isMember: (peer) => this.#gater.isMember(peer),
      greet: async (connection, until) => this.#greeter?.greet(connection, until),
      onOpened: (live) => this.#opened(live),
      onGreeted: (live, first) => this.#greeted(live, first),
      onClosed: (live, last) => this.#closed(live, last),
    })
    this.#reaching = createReaching({
      clock,
      connections: this.#connections,
      isMember: (peer) => this.#members.has(peer),
      sleeps: (peer) => this.#sleepers.includes(peer),
      want: (peer) => this.#dialing?.tell({ type: 'wanted', peer }),
      stopped: this.#stopped.signal,
    })
  }

  async start(): Promise<void> {
    const { clock, log, random, greet, datastoreDb } = this.#options
    if (datastoreDb !== undefined) {
      this.#store = openDatastore(datastoreDb, clock)
      this.#reached = await loadReached(this.#store)
    }
    if (!this.#brief) this.#dualStack = await this.#withIp4()
    this.#host = await this.#startHost()
    const { node, components } = this.#host
    await this.#dualStack?.follow(components)
    this.#greeter = await startGreeter(node, greet, clock)
    node.addEventListener('connection:open', (event) => this.#connections.add(event.detail))
    const [seed = 0] = new Uint32Array(random.bytes(4).slice().buffer)
    this.#dialing = startDialing({
      self: this.#self,
      seed,
      onDemand: this.#brief,
      clock,
      log,
      components,
      connections: this.#connections,
      facts: (connection) => this.#transport.facts(connection),
      onMissing: (missing) => this.#discovery?.setHunting(missing),
    })
    if (!this.#brief || this.#options.multicast) this.#discovery = await this.#discover()
  }

  /** Loaded where it is used: a device that is awake for a moment pays for every module. */
  async #withIp4(): Promise<DualStack> {
    const { createDualStack } = await import('./dual-stack.ts')
    return createDualStack({
      ...this.#options,
      isMember: (peer) => this.#gater.isMember(peer),
      onHeard: (peer, addresses) =>
        this.#neighbours.heard(peer, { addresses, instance: undefined, link: '' }),
    })
  }

  #discover(): Promise<Discovery> {
    const { clock, interfaces, log, multicast, random } = this.#options
    return startDiscovery({
      service: 'mesh',
      multicast,
      interfaces,
      clock,
      random,
      log,
      announce: (link, ttlSeconds) =>
        this.#brief ? [] : this.#neighbours.announcement(link, ttlSeconds),
      isPreferred: (packet) => this.#neighbours.mentionsMember(packet),
      onSighting: (sighting, link) => this.#neighbours.sighted(sighting, link),
      onLinks: (change) => this.#linksChanged(change),
    })
  }

  get multicast(): boolean {
    return this.#discovery?.works ?? false
  }

  get refusedCount(): number {
    return this.#gater.refusedCount
  }

  async serve(protocol: Protocol, handle: MeshHandler): Promise<void> {
    const admit = async (connection: Connection): Promise<AbortSignal> => {
      const live = this.#connections.get(connection.id)
      if (live === undefined) throw new Error('the connection is gone')
      await live.greeting
      return live.signal
    }
    const { clock } = this.#options
    await bindProtocol(this.#running().node, protocol, { clock, admit }, (bound, peer) =>
      handle(bound.channel, peer, bound.signal),
    )
  }

  async open(peer: Uint8Array, protocol: Protocol, signal: AbortSignal): Promise<MeshStream> {
    const live = await this.#reaching.reach(peerIdOf(peer), signal)
    const until = AbortSignal.any([live.signal, signal])
    const stream = await live.connection.newStream(protocol.id, {
      signal: until,
      maxOutboundStreams: protocol.maxOutboundStreams,
    })
    return bindStream(stream, protocol, this.#options.clock, until)
  }

  peers(): readonly MeshPeer[] {
    const peers = new Map<string, MeshPeer>()
    for (const { peer, connection, greetedMs } of this.#connections.all()) {
      if (greetedMs === undefined || connection.status !== 'open' || peers.has(peer)) continue
      peers.set(peer, {
        key: keyOfPeerId(peer),
        address: withoutPeer(connection.remoteAddr),
        direction: connection.direction,
        sinceMs: greetedMs,
      })
    }
    return [...peers.values()]
  }

  addresses(): readonly string[] {
    const all = this.#host?.components.transportManager.getAddrs() ?? []
    return [...new Set(all.map((address) => `${address.toString()}/p2p/${this.#self}`))]
  }

  setMembers(keys: readonly Uint8Array[]): void {
    const before = this.#members
    const members = new Set(keys.map(peerIdOf))
    members.delete(this.#self)
    this.#members = members
    this.#gater.setMembers(members)
    this.#neighbours.setMembers(members)
    for (const { peer } of this.#connections.all()) {
      if (!members.has(peer)) this.#connections.cut(peer, 'no longer a member')
    }
    this.#dialing?.tell({ type: 'members', peers: [...members] })
    this.#dialing?.tell({ type: 'sleepers', peers: this.#sleepers })
    const added = [...members].filter((peer) => !before.has(peer))
    for (const peer of added) {
      const reached = this.#reached.get(peer) ?? []
      for (const address of reached) this.#gater.trustHost(hostOf(address))
      this.#neighbours.introduce(peer, reached)
    }
    if (added.length > 0) this.#discovery?.query()
  }

  cut(key: Uint8Array): void {
    this.#connections.cut(peerIdOf(key), 'cut')
  }

  setSleepers(keys: readonly Uint8Array[]): void {
    this.#sleepers = keys.map(peerIdOf)
    this.#dialing?.tell({ type: 'sleepers', peers: this.#sleepers })
  }

  want(key: Uint8Array): void {
    this.#dialing?.tell({ type: 'wanted', peer: peerIdOf(key) })
  }

  traffic(): Traffic {
    return this.#traffic.total()
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#stopped.abort(new Error('the mesh is stopping'))
    this.#dialing?.[Symbol.dispose]()
    await this.#discovery?.[Symbol.asyncDispose]()
    await this.#host?.node.stop()
    this.#store?.[Symbol.dispose]()
  }

  async #startHost(): Promise<Host> {
    const { seed, port, log } = this.#options
    const parts = { seed, log, transport: this.#transport, gater: this.#gater.gater }
    // What libp2p itself would keep of its peers is of no use to who stays for a second.
    if (this.#brief) return startHost({ ...parts, brief: true, listen: [] })
    const allowHosts = [...this.#reached.values()].flat().map(hostOf)
    const discovery = this.#dualStack?.discovery
    return startHostOn(port, { ...parts, allowHosts, datastore: this.#store, discovery })
  }

  #running(): Host {
    if (this.#host === undefined) throw new Error('the mesh has not started')
    return this.#host
  }

  #linksChanged({ links }: LinkChange): void {
    const hosts = new Set(links.flatMap((link) => [...link.ip6, ...link.ip4]))
    for (const live of this.#connections.all()) {
      const host = this.#localHosts.get(live)
      if (host === undefined || host === '::1' || host.startsWith('127.') || hosts.has(host))
        continue
      this.#connections.cutOne(live.id, 'our address is gone')
    }
    this.#dialing?.tell({ type: 'links' })
    void this.#dualStack?.follow(this.#running().components)
  }

  #opened(live: Live): void {
    const { connection, id, peer } = live
    this.#traffic.opened(live)
    const localHost = this.#transport.facts(connection)?.localHost
    if (localHost !== undefined) this.#localHosts.set(live, localHost)
    const link = zoneOf(connection.remoteAddr) ?? linkWith(this.#discovery?.links, localHost)
    const { direction } = connection
    const remoteHost = hostOf(connection.remoteAddr)
    this.#dialing?.tell({ type: 'opened', peer, connection: id, direction, link, remoteHost })
  }

  #greeted(live: Live, first: boolean): void {
    const { connection, id, peer } = live
    this.#gater.trustHost(hostOf(connection.remoteAddr))
    const address =
      connection.direction === 'outbound' ? withoutPeer(connection.remoteAddr) : undefined
    this.#dialing?.tell({ type: 'greeted', peer, connection: id, address })
    if (address !== undefined && this.#store !== undefined) {
      void saveReached(this.#store, peer, this.#dialing?.proven(peer) ?? [])
    }
    if (first) this.events.emit('connect', { key: keyOfPeerId(peer) })
    this.#reaching.greeted()
  }

  #closed(live: Live, last: boolean): void {
    this.#traffic.closed(live)
    this.#dialing?.tell({ type: 'closed', peer: live.peer, connection: live.id })
    if (last) this.events.emit('disconnect', { key: keyOfPeerId(live.peer) })
    if (!this.#stopped.signal.aborted) this.#discovery?.checkLinks()
  }

  #refused(refusal: Refusal): void {
    this.#options.log.debug({ address: refusal.address, why: refusal.why }, 'refused')
    this.events.emit('refused', refusal)
  }
}
