/**
 * @libp2p/tcp with what link-local IPv6 needs. The stock transport drops the zone of an address that
 * it dials, fails on one that it accepts, and leaves link-local addresses out of what it listens on.
 * Here all three carry the zone. It also writes each message with one system call, remembers the
 * local address of every connection, and asks `admit` before a socket costs anything.
 */
import { networkInterfaces } from 'node:os'
import type { AddressInfo, Server, Socket } from 'node:net'

import type {
  Connection,
  CreateListenerOptions,
  Listener,
  MultiaddrConnection,
  Transport,
  Upgrader,
} from '@libp2p/interface'
import { tcp, type TCPComponents } from '@libp2p/tcp'
import { getNetConfig, ipPortToMultiaddr } from '@libp2p/utils'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import type { Uint8ArrayList } from 'uint8arraylist'

/** What the socket under a connection tells. */
export interface SocketFacts {
  /** Our end, without zone. */
  readonly localHost: string
  readonly bytesRead: number
  readonly bytesWritten: number
}

export interface ZonedTcp {
  readonly create: (components: TCPComponents) => Transport
  /** The socket of an open connection. */
  facts(connection: Connection): SocketFacts | undefined
}

/** Called for every accepted socket; undefined refuses it, else it is called when the handshake ended. */
export type Admit = (remote: Multiaddr) => (() => void) | undefined

/** libp2p's connection to a socket, as @libp2p/tcp makes it. */
interface SocketConnection extends MultiaddrConnection {
  readonly socket: Socket
  sendData(data: Uint8ArrayList): { sentBytes: number; canSendMore: boolean }
}

/** Up to here the copy into one buffer is cheaper than a second system call. */
const COPY_BELOW_BYTES = 16 * 1024
/** Dead peers are found by probes; this is the kernel's last resort. */
const IDLE_SOCKET_MS = 120_000
const KEEP_ALIVE_DELAY_MS = 30_000

export function zonedTcp(admit: Admit): ZonedTcp {
  // A connection and the socket beneath it share their timeline object, and nothing else public.
  const sockets = new WeakMap<object, Socket>()
  const create = tcp({
    inboundSocketInactivityTimeout: IDLE_SOCKET_MS,
    outboundSocketInactivityTimeout: IDLE_SOCKET_MS,
    dialOpts: { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS },
    listenOpts: { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS },
  })
  const prepare = (connection: SocketConnection): void => {
    sockets.set(connection.timeline, connection.socket)
    connection.sendData = sendAtOnce
  }
  return {
    create: (components) => withZones(create(components), prepare, admit),
    facts(connection) {
      const socket = sockets.get(connection.timeline)
      if (socket === undefined) return undefined
      const [localHost = ''] = (socket.localAddress ?? '').split('%')
      return { localHost, bytesRead: socket.bytesRead, bytesWritten: socket.bytesWritten }
    },
  }
}

function withZones(
  stock: Transport,
  prepare: (connection: SocketConnection) => void,
  admit: Admit,
): Transport {
  const dial = stock.dial.bind(stock)
  const createListener = stock.createListener.bind(stock)
  return Object.assign(stock, {
    dial(address: Multiaddr, options: Parameters<Transport['dial']>[1]): Promise<Connection> {
      const config = getNetConfig(address)
      const upgrader = intercept(options.upgrader, 'upgradeOutbound', (connection, upgrade) => {
        prepare(connection)
        return upgrade()
      })
      const zoned = config.type === 'ip6' && config.zone !== undefined
      // The stock transport spreads its options over the address that it parsed.
      const host = zoned ? { host: `${config.host}%${config.zone}` } : {}
      return dial(address, { ...options, ...host, upgrader })
    },
    createListener(options: CreateListenerOptions): Listener {
      const accepted = new WeakMap<Socket, Accepted>()
      const upgrader = intercept(
        options.upgrader,
        'upgradeInbound',
        async (connection, upgrade) => {
          const { remote, release } = accepted.get(connection.socket) ?? {}
          if (remote !== undefined) connection.remoteAddr = remote
          prepare(connection)
          try {
            return await upgrade()
          } finally {
            release?.()
          }
        },
      )
      return zonedListener(createListener({ ...options, upgrader }), (socket) => {
        const admitted = accept(socket, admit)
        if (admitted !== undefined) accepted.set(socket, admitted)
        return admitted !== undefined
      })
    },
  })
}

type UpgradeMethod = 'upgradeInbound' | 'upgradeOutbound'

/** `upgrader` with `method` led through `around`. */
function intercept<T>(
  upgrader: Upgrader,
  method: UpgradeMethod,
  around: (connection: SocketConnection, upgrade: () => Promise<T>) => Promise<T>,
): Upgrader {
  return new Proxy(upgrader, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown
      if (typeof value !== 'function') return value
      const call = value.bind(target) as (...args: unknown[]) => Promise<T>
      if (name !== method) return call
      return (connection: SocketConnection, options: unknown) =>
        around(connection, () => call(connection, options))
    },
  })
}

/** A socket that may begin its handshake. */
interface Accepted {
  /** With our zone where it is link-local. */
  readonly remote: Multiaddr
  /** The handshake has ended. */
  readonly release: () => void
}

/** Undefined where the socket is refused. Takes the zone off it, which the stock listener cannot read. */
function accept(socket: Socket, admit: Admit): Accepted | undefined {
  const [host, zone] = (socket.remoteAddress ?? '').split('%')
  if (host === undefined || host === '' || socket.remotePort === undefined) return undefined
  const plain = ipPortToMultiaddr(host, socket.remotePort)
  const remote = zone === undefined ? plain : addZone(plain, zone)
  const release = admit(remote)
  if (release === undefined) return undefined
  if (zone !== undefined) Object.defineProperty(socket, 'remoteAddress', { value: host })
  let held = true
  const once = (): void => {
    if (held) release()
    held = false
  }
  socket.once('close', once)
  return { remote, release: once }
}

/**
 * Turn sockets away before libp2p makes anything for them, and put link-local addresses into the
 * listener's list.
 */
function zonedListener(listener: Listener, mayEnter: (socket: Socket) => boolean): Listener {
  const { server } = listener as Listener & { readonly server: Server }
  const stock = server.listeners('connection')
  server.removeAllListeners('connection')
  server.on('connection', (socket) => {
    if (!mayEnter(socket)) return void socket.resetAndDestroy()
    for (const enter of stock) Reflect.apply(enter, server, [socket])
  })
  const getAddrs = listener.getAddrs.bind(listener)
  return Object.assign(listener, {
    getAddrs(): Multiaddr[] {
      const bound = server.address() as AddressInfo | null
      if (bound?.address !== '::') return getAddrs()
      const isStock = (address: Multiaddr): boolean => !address.toString().startsWith('/ip6/fe80')
      return [...getAddrs().filter(isStock), ...linkLocalAddresses(bound.port)]
    },
  })
}

function linkLocalAddresses(port: number): Multiaddr[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? [])
      .filter(({ address, family }) => family === 'IPv6' && /^fe[89ab]/i.test(address))
      .map(({ address }) => addZone(multiaddr(`/ip6/${address}/tcp/${port}`), name)),
  )
}

function addZone(address: Multiaddr, zone: string): Multiaddr {
  return multiaddr(`/ip6zone/${zone}${address.toString()}`)
}

function sendAtOnce(
  this: SocketConnection,
  data: Uint8ArrayList,
): { sentBytes: number; canSendMore: boolean } {
  const { socket } = this
  const sentBytes = data.byteLength
  holdTogether(socket)
  if (sentBytes <= COPY_BELOW_BYTES)
    return { sentBytes, canSendMore: socket.write(data.subarray()) }
  let canSendMore = true
  for (const piece of data) canSendMore = socket.write(piece)
  return { sentBytes, canSendMore }
}

/** What is written in one turn of the event loop goes out together, in as few packets as hold it. */
function holdTogether(socket: Socket): void {
  if (socket.writableCorked > 0) return
  socket.cork()
  setImmediate(() => socket.uncork())
}
