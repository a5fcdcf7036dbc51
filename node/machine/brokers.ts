/**
 * Connections to MQTT brokers, one for all topics that are read with the same settings. A connection
 * lives as long as somebody listens and is never mended: where it breaks, all of its listeners hear
 * of it, and whoever listens next opens another. Sessions are clean: what was sent while nobody
 * listened would come with a wrong time. The MQTT library is loaded with the first connection.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

import type { IClientOptions, MqttClient } from 'mqtt'

import { toHex } from '../../protocols/wire/index.ts'
import type { Clock, Random } from '../env.ts'
import { asError } from '../errors.ts'
import { readSecret, readSmallFile } from './bounded.ts'

export interface BrokerSettings {
  /** mqtt:// or mqtts:// */
  readonly broker: string
  readonly user?: string | undefined
  readonly password_file?: string | undefined
  readonly ca_file?: string | undefined
  readonly client_id?: string | undefined
  /** Of MQTT; 4 is 3.1.1. */
  readonly version: 4 | 5
}

export interface Publication {
  readonly topic: string
  readonly payload: string
  readonly retain: boolean
}

export interface Message {
  readonly payload: Buffer
  readonly retained: boolean
}

export interface Listener {
  /** None where the connection alone is wanted. */
  readonly topic?: string | undefined
  readonly onMessage: (message: Message) => void
  /** The broker has agreed to send what comes. */
  readonly onReady: () => void
}

export interface Brokers {
  /** Until `signal` aborts. @throws Error for people, where the connection fails or breaks */
  listen(settings: BrokerSettings, listener: Listener, signal: AbortSignal): Promise<void>
  /**
   * Over the connection of those who listen, or one for this alone. Resolves when the broker has it.
   * @throws Error for people
   */
  publish(settings: BrokerSettings, what: Publication, signal: AbortSignal): Promise<void>
}

/** Larger packets are not sent by a broker that knows MQTT 5; one that does is left. */
const MAX_PACKET_BYTES = 256 * 1024
const CONNECT_MS = 10_000
const KEEPALIVE_S = 30

interface Link {
  readonly client: Promise<MqttClient>
  /** Rejects when the connection is gone. */
  readonly gone: Promise<never>
  readonly topics: Map<string, Set<(message: Message) => void>>
  readonly stop: AbortController
  users: number
}

export function createBrokers(deps: { readonly clock: Clock; readonly random: Random }): Brokers {
  const links = new Map<string, Link>()

  function linkFor(settings: BrokerSettings): Link {
    const { broker, user, password_file: file, ca_file: ca, client_id: id, version } = settings
    const key = JSON.stringify([broker, user, file, ca, id, version])
    const found = links.get(key)
    if (found !== undefined) return found
    const link = openLink(settings, deps)
    links.set(key, link)
    const forget = (): void => {
      if (links.get(key) === link) links.delete(key)
    }
    link.gone.catch(forget)
    link.stop.signal.addEventListener('abort', forget, { once: true })
    return link
  }

  async function using(
    settings: BrokerSettings,
    signal: AbortSignal,
    run: (link: Link) => Promise<void>,
  ): Promise<void> {
    signal.throwIfAborted()
    const link = linkFor(settings)
    link.users++
    try {
      await run(link)
    } finally {
      link.users--
      if (link.users === 0) link.stop.abort(new Error('nobody listens any more'))
    }
  }

  return {
    listen: (settings, { topic, onMessage, onReady }, signal) =>
      using(settings, signal, async (link) => {
        try {
          const agreed = topic === undefined ? link.client : subscribed(link, topic, onMessage)
          await Promise.race([agreed, link.gone, aborted(signal)])
          if (!signal.aborted) onReady()
          await Promise.race([link.gone, aborted(signal)])
        } finally {
          const last = link.users === 1
          if (topic !== undefined && !last) await unsubscribed(link, topic, onMessage)
        }
      }),
    publish: (settings, what, signal) =>
      using(settings, signal, async (link) => {
        // Where the connection breaks, the library says so of every message on its way.
        await untilAborted(
          link.client.then((client) => published(client, what)),
          signal,
        )
      }),
  }
}

async function subscribed(
  { client, topics }: Link,
  topic: string,
  onMessage: (message: Message) => void,
): Promise<void> {
  const listeners = topics.get(topic) ?? new Set()
  topics.set(topic, listeners.add(onMessage))
  try {
    await (await client).subscribeAsync(topic, { qos: 1 })
  } catch (error) {
    throw new Error('the broker does not let Kith read this topic', { cause: error })
  }
}

async function published(client: MqttClient, what: Publication): Promise<void> {
  const { topic, payload, retain } = what
  try {
    await client.publishAsync(topic, payload, { qos: 1, retain })
  } catch (error) {
    throw new Error('the broker did not take the message', { cause: error })
  }
}

async function unsubscribed(
  { client, topics }: Link,
  topic: string,
  onMessage: (message: Message) => void,
): Promise<void> {
  const listeners = topics.get(topic)
  listeners?.delete(onMessage)
  if (listeners === undefined || listeners.size > 0) return
  topics.delete(topic)
  // Where this fails the connection is broken, which its listeners hear.
  void (await client).unsubscribeAsync(topic).catch(() => undefined)
}

function openLink(settings: BrokerSettings, deps: { clock: Clock; random: Random }): Link {
  const stop = new AbortController()
  const topics: Link['topics'] = new Map()
  const gone = Promise.withResolvers<never>()
  const client = connectClient(settings, { ...deps, signal: stop.signal, onGone: gone.reject })
  // Whoever listens sees it through `gone`; nobody may be left to.
  client.catch(gone.reject)
  gone.promise.catch(() => undefined)
  void client
    .then((mqtt) =>
      mqtt.on('message', (topic, payload, { retain }) => {
        for (const listener of topics.get(topic) ?? []) listener({ payload, retained: retain })
      }),
    )
    .catch(() => undefined)
  return { client, gone: gone.promise, topics, stop, users: 0 }
}

interface Connecting {
  readonly clock: Clock
  readonly random: Random
  readonly signal: AbortSignal
  readonly onGone: (error: Error) => void
}

async function connectClient(
  settings: BrokerSettings,
  { clock, random, signal, onGone }: Connecting,
): Promise<MqttClient> {
  const { broker, user, password_file: passwordFile, version } = settings
  const password = passwordFile === undefined ? undefined : await readSecret(passwordFile)
  const { MqttClient: Client } = await import('mqtt')
  const socket = await openSocket(settings, clock, signal)
  const { host } = new URL(broker)
  const options: IClientOptions = {
    clientId: settings.client_id ?? `kith-${toHex(random.bytes(8))}`,
    protocolVersion: version,
    clean: true,
    reconnectPeriod: 0,
    connectTimeout: CONNECT_MS,
    keepalive: KEEPALIVE_S,
    resubscribe: false,
    ...(user === undefined ? {} : { username: user }),
    ...(password === undefined ? {} : { password }),
    ...(version === 5 ? { properties: { maximumPacketSize: MAX_PACKET_BYTES } } : {}),
  }
  let why: Error | undefined
  const client = new Client(() => {
    const tooLarge = (): void => {
      why ??= new Error(`${host}: a packet is larger than 256 KiB`)
      socket.destroy()
    }
    socket.on('data', sizeGuard(MAX_PACKET_BYTES, tooLarge))
    return socket
  }, options)
  const end = (): void => void client.end(true)
  signal.addEventListener('abort', end, { once: true })
  return new Promise((resolve, reject) => {
    client.on('error', (error) => {
      why ??= new Error(`${host}: ${error.message.slice(0, 100)}`)
      // Whatever it was: this connection is not mended.
      socket.destroy()
    })
    client.once('connect', () => resolve(client))
    client.once('close', () => {
      signal.removeEventListener('abort', end)
      client.end(true)
      const error = why ?? new Error(`the connection to ${host} is lost`)
      reject(error)
      onGone(error)
    })
  })
}

/** Connected, and the certificate checked: nothing is said to a broker before. */
async function openSocket(
  { broker, ca_file: caFile }: BrokerSettings,
  clock: Clock,
  signal: AbortSignal,
): Promise<Socket> {
  const url = new URL(broker)
  const secure = url.protocol === 'mqtts:'
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = url.port === '' ? (secure ? 8883 : 1883) : Number(url.port)
  const ca = caFile === undefined ? undefined : await readSmallFile(caFile)
  signal.throwIfAborted()
  const socket = secure
    ? connectTls({
        host,
        port,
        ...(ca === undefined ? {} : { ca }),
        ...(isIP(host) === 0 ? { servername: host } : {}),
      })
    : connectTcp({ host, port })
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      cancel()
      signal.removeEventListener('abort', stop)
      socket.destroy()
      reject(error)
    }
    const stop = (): void => fail(asError(signal.reason))
    const cancel = clock.timer(CONNECT_MS, () =>
      fail(new Error(`${url.host} does not answer within ${CONNECT_MS / 1000} s`)),
    )
    signal.addEventListener('abort', stop, { once: true })
    socket.once('error', (error: NodeJS.ErrnoException) =>
      fail(new Error(`${url.host} cannot be reached (${error.code ?? error.message})`)),
    )
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      cancel()
      signal.removeEventListener('abort', stop)
      resolve(socket)
    })
  })
}

/** Watches the lengths that MQTT packets announce (MQTT 5.0 section 2.1). */
export function sizeGuard(maxBytes: number, onTooLarge: () => void): (chunk: Uint8Array) => void {
  /** Bytes of the packet still to come; undefined while its header is read. */
  let left: number | undefined
  let headerBytes = 0
  let length = 0
  return (chunk) => {
    for (let at = 0; at < chunk.length;) {
      if (left !== undefined) {
        const skipped = Math.min(left, chunk.length - at)
        left -= skipped
        at += skipped
      } else {
        const byte = chunk[at++] ?? 0
        if (headerBytes > 0) length += (byte & 0x7f) * 128 ** (headerBytes - 1)
        const last = headerBytes > 0 && (byte & 0x80) === 0
        headerBytes++
        if (length > maxBytes || headerBytes > 5) {
          onTooLarge()
          return
        }
        if (last) left = length
      }
      if (left === 0) [left, headerBytes, length] = [undefined, 0, 0]
    }
  }
}

function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(asError(signal.reason))
    signal.addEventListener('abort', stop, { once: true })
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
