import { streamPair } from '@libp2p/utils'

import { createEmitter } from '../../node/events.ts'
import type { Mesh, MeshEvents, MeshHandler, MeshPeer, MeshStream } from '../../node/mesh/mesh.ts'
import type { Clock } from '../../protocols/env.ts'
import { openChannel, toHex, type Protocol } from '../../protocols/wire/index.ts'

export type MemoryMesh = Pick<Mesh, 'key' | 'events' | 'serve' | 'open' | 'peers' | 'cut'>

interface Open {
  readonly ends: readonly [string, string]
  readonly abort: (error: Error) => void
}

/** Devices that are connected when the test says so; streams are in memory. */
export class MemoryNetwork {
  readonly #clock: Clock
  readonly #nodes = new Map<string, { mesh: MemoryMesh; handlers: Map<string, MeshHandler> }>()
  readonly #links = new Set<string>()
  readonly #streams = new Set<Open>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  join(key: Uint8Array): MemoryMesh {
    const handlers = new Map<string, MeshHandler>()
    const events = createEmitter<MeshEvents>((error) => {
      throw error
    })
    const mesh: MemoryMesh = {
      key,
      events,
      serve: (protocol, handle) => {
        handlers.set(protocol.id, handle)
        return Promise.resolve()
      },
      open: (peer, protocol, signal) => this.#open([key, peer], protocol, signal),
      peers: () =>
        [...this.#nodes.values()].flatMap(({ mesh: other }): MeshPeer[] =>
          this.#links.has(linkOf(key, other.key))
            ? [{ key: other.key, address: '', direction: 'outbound', sinceMs: 0 }]
            : [],
        ),
      cut: (peer) => this.disconnect(key, peer),
    }
    this.#nodes.set(toHex(key), { mesh, handlers })
    return mesh
  }

  connect(a: Uint8Array, b: Uint8Array): void {
    this.#links.add(linkOf(a, b))
    this.#emit('connect', a, b)
  }

  disconnect(a: Uint8Array, b: Uint8Array): void {
    this.#links.delete(linkOf(a, b))
    this.breakStreams(a, b)
    this.#emit('disconnect', a, b)
  }

  /** Reset the streams between two devices that stay connected. */
  breakStreams(a: Uint8Array, b: Uint8Array): void {
    for (const { ends, abort } of this.#streams) {
      if (ends.includes(toHex(a)) && ends.includes(toHex(b))) abort(new Error('broken'))
    }
  }

  /** Streams that are open between any two devices. */
  get streams(): number {
    return this.#streams.size
  }

  #emit(name: 'connect' | 'disconnect', a: Uint8Array, b: Uint8Array): void {
    this.#nodes.get(toHex(a))?.mesh.events.emit(name, { key: b })
    this.#nodes.get(toHex(b))?.mesh.events.emit(name, { key: a })
  }

  async #open(
    [from, to]: readonly [Uint8Array, Uint8Array],
    protocol: Protocol,
    signal: AbortSignal,
  ): Promise<MeshStream> {
    signal.throwIfAborted()
    const handle = this.#nodes.get(toHex(to))?.handlers.get(protocol.id)
    if (handle === undefined || !this.#links.has(linkOf(from, to))) throw new Error('unreachable')
    const [near, far] = await streamPair({ protocol: protocol.id })
    const gone = new AbortController()
    const abort = (error: Error): void => {
      this.#streams.delete(entry)
      near.abort(error)
      far.abort(error)
      gone.abort(error)
    }
    const entry: Open = { ends: [toHex(from), toHex(to)], abort }
    this.#streams.add(entry)
    handle(openChannel(far, protocol, this.#clock, gone.signal), from, gone.signal).then(
      () => far.close(),
      (error: unknown) => abort(error as Error),
    )
    return {
      channel: openChannel(near, protocol, this.#clock, gone.signal),
      signal: gone.signal,
      abort,
      [Symbol.asyncDispose]: async () => {
        this.#streams.delete(entry)
        if (near.status === 'open') await near.close()
      },
    }
  }
}

function linkOf(a: Uint8Array, b: Uint8Array): string {
  return [toHex(a), toHex(b)].toSorted((x, y) => (x < y ? -1 : 1)).join('/')
}
