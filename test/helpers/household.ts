import pino from 'pino'

import { createJournal, type Journal } from '../../node/journal.ts'
import type { MeshHandler } from '../../node/mesh/mesh.ts'
import {
  startMembers,
  type Members,
  type MembersDeps,
  type MembersMesh,
} from '../../node/services/members/members.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { migration, openOpStore, type OpStore } from '../../node/storage/ops.ts'
import type { Clock } from '../../protocols/env.ts'
import { HELLO } from '../../protocols/hello/index.ts'
import { MEMBERS, type HomeState, type Op } from '../../protocols/members/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import { channelPair } from './channels.ts'
import { keyNamed, setOf, signerNamed } from './members.ts'
import { MemoryNetwork } from './memory-mesh.ts'

/** One device of the household: its service, what it has on disk, and what its mesh was told. */
export interface Housemate {
  readonly name: string
  readonly key: Uint8Array
  readonly members: Members
  readonly store: OpStore
  readonly journal: Journal
  readonly mesh: HouseMesh
  /** Number of ops on disk. */
  readonly onDisk: number
  /** `name role` of every live device, in its own eyes. */
  roles(): readonly string[]
  /** Resolves once `holds` is true of what it knows. */
  knows(holds: (state: HomeState) => boolean): Promise<void>
  /** Resolves when a connection of it ends. */
  disconnected(): Promise<void>
  /** Types of the events in its journal. */
  happened(): Promise<string[]>
}

export interface HouseMesh extends MembersMesh {
  /** Names (hexadecimal keys) that may connect. */
  readonly allowed: ReadonlySet<string>
  /** Streams opened so far, by protocol. */
  opened(protocol: string): number
}

export interface Moving {
  /** Ops that it has on disk besides genesis. */
  readonly ops?: readonly Op[]
  readonly deps?: Partial<MembersDeps>
  /** Instead of the service's own handler, for a device that misbehaves. */
  readonly handler?: MeshHandler
}

/**
 * Devices of one home over a network in memory: `meet` greets and connects two of them as the mesh
 * does, and whoever is no longer allowed is cut. Streams keep to the limits of their protocol.
 */
export class Household {
  readonly #network: MemoryNetwork
  readonly #mates = new Map<string, Housemate>()
  readonly #genesis: Op
  readonly #clock: Clock

  constructor(genesis: Op, clock: Clock) {
    this.#genesis = genesis
    this.#clock = clock
    this.#network = new MemoryNetwork(clock)
  }

  async move(name: string, { ops = [], deps = {}, handler }: Moving = {}): Promise<Housemate> {
    const store = openOpStore(openDatabase(':memory:', [migration]))
    store.append(this.#genesis.id, [this.#genesis, ...ops])
    const journal = createJournal(this.#clock)
    const members = startMembers(
      {
        ops: setOf(this.#genesis, ops),
        signer: signerNamed(name),
        store: (added) => store.append(this.#genesis.id, added),
        about: () => ({ logs: [], power: 'powered', version: '1.0.0', features: [] }),
        clock: this.#clock,
        log: pino({ level: 'silent' }),
        journal,
        ...deps,
      },
      new AbortController().signal,
    )
    const mesh = this.#meshOf(keyNamed(name))
    await members.attach(mesh)
    if (handler !== undefined) await mesh.serve(MEMBERS, handler)
    const mate: Housemate = {
      name,
      key: keyNamed(name),
      members,
      store,
      journal,
      mesh,
      get onDisk() {
        return store.loadAll().length
      },
      roles: () =>
        members
          .active()
          .map((device) => `${device.name} ${device.role}`)
          .toSorted(),
      knows: (holds) => until(members, holds),
      disconnected: () =>
        new Promise((resolve) => {
          const off = mesh.events.on('disconnect', () => (off(), resolve()))
        }),
      happened: () => typesIn(journal),
    }
    this.#mates.set(toHex(mate.key), mate)
    return mate
  }

  /** Greet both ways; connected only where both sides are content. Settles both. */
  async meet(a: Housemate, b: Housemate): Promise<PromiseSettledResult<void>[]> {
    const [near, far] = await channelPair(HELLO, this.#clock)
    const greet = async (one: Housemate, end: typeof near, peer: Uint8Array): Promise<void> => {
      try {
        await one.members.greeting.run(end.channel, peer)
      } catch (error) {
        end.stream.abort(error as Error)
        throw error
      }
    }
    const results = await Promise.allSettled([greet(a, near, b.key), greet(b, far, a.key)])
    if (results.every(({ status }) => status === 'fulfilled')) this.join(a, b)
    return results
  }

  /** Connect without a greeting. */
  join(a: Housemate, b: Housemate): void {
    this.#network.connect(a.key, b.key)
  }

  /** Reset the streams between two that stay connected. */
  breakStreams(a: Housemate, b: Housemate): void {
    this.#network.breakStreams(a.key, b.key)
  }

  areConnected(a: Housemate, b: Housemate): boolean {
    return a.mesh.peers().some(({ key }) => equalBytes(key, b.key))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { members } of this.#mates.values()) await members[Symbol.asyncDispose]()
  }

  #meshOf(key: Uint8Array): HouseMesh {
    const network = this.#network
    const mesh = network.join(key)
    const outbound = createCounter()
    const inbound = createCounter()
    const opened = new Map<string, number>()
    let allowed: ReadonlySet<string> = new Set()
    const house: HouseMesh = {
      events: mesh.events,
      peers: () => mesh.peers(),
      get allowed() {
        return allowed
      },
      opened: (protocol) => opened.get(protocol) ?? 0,
      setMembers(keys) {
        allowed = new Set(keys.map(toHex))
        for (const { key: peer } of mesh.peers()) {
          if (!allowed.has(toHex(peer))) network.disconnect(key, peer)
        }
      },
      serve: (protocol, handle) =>
        mesh.serve(protocol, async (channel, peer, signal) => {
          const done = inbound.take(`${protocol.id} ${toHex(peer)}`, protocol.maxInboundStreams)
          try {
            await handle(channel, peer, signal)
          } finally {
            done()
          }
        }),
      async open(peer, protocol, signal) {
        opened.set(protocol.id, (opened.get(protocol.id) ?? 0) + 1)
        const done = outbound.take(`${protocol.id} ${toHex(peer)}`, protocol.maxOutboundStreams)
        try {
          const stream = await mesh.open(peer, protocol, signal)
          stream.signal.addEventListener('abort', done, { once: true })
          signal.addEventListener('abort', () => stream.abort(signal.reason as Error), {
            once: true,
          })
          return {
            ...stream,
            async [Symbol.asyncDispose]() {
              await stream[Symbol.asyncDispose]()
              done()
            },
          }
        } catch (error) {
          done()
          throw error
        }
      },
    }
    return house
  }
}

function until({ events, state }: Members, holds: (state: HomeState) => boolean): Promise<void> {
  return new Promise((resolve) => {
    if (holds(state)) return resolve()
    const off = events.on('change', (next) => {
      if (!holds(next)) return
      off()
      resolve()
    })
  })
}

async function typesIn(journal: Journal): Promise<string[]> {
  const types: string[] = []
  if (journal.last === 0) return types
  for await (const { id, type } of journal.follow(0, new AbortController().signal)) {
    types.push(type)
    if (id === journal.last) break
  }
  return types
}

interface Counter {
  /** One more of `name`; returns the function that gives it back. @throws where there are `max` */
  take(name: string, max: number): () => void
}

function createCounter(): Counter {
  const counts = new Map<string, number>()
  return {
    take(name, max) {
      const count = counts.get(name) ?? 0
      if (count >= max) throw new Error(`too many streams: ${name}`)
      counts.set(name, count + 1)
      let given = false
      return () => {
        if (given) return
        given = true
        counts.set(name, (counts.get(name) ?? 1) - 1)
      }
    },
  }
}
