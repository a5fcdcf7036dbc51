/**
 * One UDP socket on [::]:5353, shared with avahi and other devices on this machine, and a group
 * membership for each interface. Which interface a packet came in by is read from the sender's zone,
 * or, where an interface has no link-local address, from the prefix that it shares with the sender.
 * What comes from elsewhere is dropped (RFC 6762 section 11).
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'

import type { Logger } from 'pino'

import type { Clock } from '../env.ts'
import { linkOfPrefix, type Link } from './links.ts'

export interface Multicast extends AsyncDisposable {
  /** Interfaces that are members of the group. */
  readonly joined: ReadonlySet<string>
  /** Join on these interfaces, leave on all others. */
  join(links: readonly Link[]): void
  /** False where the packet could not be sent: the interface has no usable address (yet). */
  send(link: string, packet: Uint8Array): Promise<boolean>
}

export interface MulticastDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly onPacket: (packet: Uint8Array, link: string) => void
}

const GROUP = 'ff02::fb'
const PORT = 5353
/** Required by RFC 6762 section 11. */
const HOP_LIMIT = 255
const REOPEN_AFTER_MS = 1000

/** Where the port cannot be opened, tries again every second and joins nothing until then. */
export async function openMulticast(deps: MulticastDeps): Promise<Multicast> {
  const multicast = new GroupSocket(deps)
  await multicast.open()
  return multicast
}

class GroupSocket implements Multicast {
  readonly #deps: MulticastDeps
  /** Name to kernel index. */
  readonly #joined = new Map<string, number>()
  #links: readonly Link[] = []
  #socket: Socket | undefined
  #stopped = false
  #cancelReopen = (): void => {}

  constructor(deps: MulticastDeps) {
    this.#deps = deps
  }

  get joined(): ReadonlySet<string> {
    return new Set(this.#joined.keys())
  }

  async open(): Promise<void> {
    try {
      const socket = await openSocket((packet, from) => this.#receive(packet, from))
      if (this.#stopped) return void socket.close()
      socket.on('error', (error) => {
        if (socket !== this.#socket) return
        socket.close()
        this.#reopenLater(error)
      })
      this.#socket = socket
      this.#joinAll()
    } catch (error) {
      this.#reopenLater(error)
    }
  }

  join(links: readonly Link[]): void {
    this.#links = links.filter((link) => link.ip6.length > 0)
    this.#joinAll()
  }

  send(link: string, packet: Uint8Array): Promise<boolean> {
    const socket = this.#socket
    if (socket === undefined || !this.#joined.has(link)) return Promise.resolve(false)
    return new Promise((resolve) => {
      socket.send(packet, PORT, `${GROUP}%${link}`, (error) => resolve(error === null))
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    this.#cancelReopen()
    const socket = this.#socket
    this.#socket = undefined
    if (socket !== undefined) await new Promise<void>((resolve) => socket.close(resolve))
  }

  #reopenLater(error: unknown): void {
    this.#deps.log.debug({ err: error }, 'multicast socket failed')
    this.#socket = undefined
    this.#joined.clear()
    if (this.#stopped) return
    this.#cancelReopen = this.#deps.clock.timer(REOPEN_AFTER_MS, () => void this.open())
  }

  #receive(packet: Buffer, from: RemoteInfo): void {
    const [host = '', zone] = from.address.split('%')
    const link = zone ?? linkOfPrefix(this.#links, host)
    if (link === undefined || !this.#joined.has(link)) return
    const bytes = new Uint8Array(packet.buffer, packet.byteOffset, packet.byteLength)
    this.#deps.onPacket(bytes, link)
  }

  #joinAll(): void {
    const socket = this.#socket
    if (socket === undefined) return
    for (const [name, index] of this.#joined) {
      if (this.#links.some((link) => link.name === name && link.index === index)) continue
      this.#joined.delete(name)
      attempt(() => socket.dropMembership(GROUP, `::%${name}`))
    }
    for (const { name, index } of this.#links) {
      if (this.#joined.has(name)) continue
      // Leaving first: the kernel may have kept a membership across a pulled cable.
      attempt(() => socket.dropMembership(GROUP, `::%${name}`))
      if (attempt(() => socket.addMembership(GROUP, `::%${name}`))) this.#joined.set(name, index)
    }
  }
}

function attempt(act: () => void): boolean {
  try {
    act()
    return true
  } catch {
    return false
  }
}

async function openSocket(onMessage: (packet: Buffer, from: RemoteInfo) => void): Promise<Socket> {
  const socket = createSocket({ type: 'udp6', reuseAddr: true, ipv6Only: true })
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(PORT, '::', () => {
      socket.off('error', reject)
      resolve()
    })
  })
  socket.setMulticastTTL(HOP_LIMIT)
  // Several devices may share one machine.
  socket.setMulticastLoopback(true)
  socket.on('message', onMessage)
  return socket
}
