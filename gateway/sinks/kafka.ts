/**
 * Readings and packs as CloudEvents to one Kafka topic, keyed by device, so that each device's are in
 * order in one partition, with the time of measuring as the record's. All replicas acknowledge. What
 * is sent again has the same `ce_id` header. The client library, `kafkajs`, is a package of its own,
 * for those who have Kafka.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

import type * as Kafkajs from 'kafkajs'
import type { ISocketFactoryArgs, KafkaConfig, Message, Producer } from 'kafkajs'

import { asError } from '../../node/index.ts'
import type { SettingsOf } from '../config-sinks.ts'
import { secretOf, tlsOf, wrongSink } from './http-settings.ts'
import { said, sendInPieces, type PieceAnswer } from './http-pieces.ts'
import { loadPeer } from './kafka-peer.ts'
import { SinkDown, type OutItem, type Outcome, type Sampler } from './sink.ts'
import type { Sink, SinkDeps } from './sink.ts'
import { EVENT_TYPE, eventOf } from './webhook-event.ts'

type Library = typeof Kafkajs

const MOST = 500
const TIMEOUT_MS = 10_000
/** Answers that are about the records. */
const OF_THE_RECORDS = [
  'MESSAGE_TOO_LARGE',
  'RECORD_LIST_TOO_LARGE',
  'INVALID_RECORD',
  'CORRUPT_MESSAGE',
  'INVALID_TIMESTAMP',
]
const NO_EVENT = { poison: 'there is no such event' } satisfies Outcome

export async function startKafkaSink(
  settings: SettingsOf<'kafka'>,
  deps: SinkDeps,
  _signal: AbortSignal,
): Promise<Sink> {
  const library = await loadPeer(settings, () => import('kafkajs'), 'kafkajs@2')
  const topic = topicOf(settings)
  const config = await configOf(settings, deps)
  let open: Promise<Producer> | undefined

  function producer(): Promise<Producer> {
    open ??= connectProducer(library, config)
    return open
  }

  async function close(): Promise<void> {
    const old = open
    open = undefined
    await (await old?.catch(() => undefined))?.disconnect().catch(() => undefined)
  }

  async function attempt(piece: readonly OutItem[], signal: AbortSignal): Promise<PieceAnswer> {
    const messages = piece.map((item) => messageOf(item))
    const outcomes = messages.map((message): Outcome => (message === undefined ? NO_EVENT : 'sent'))
    const there = messages.filter((message) => message !== undefined)
    if (there.length === 0) return { is: 'parts', outcomes }
    signal.throwIfAborted()
    try {
      await (await producer()).send({ topic, messages: there, acks: -1 })
    } catch (error) {
      const why = reasonOf(error)
      if (OF_THE_RECORDS.includes(why)) return { is: 'refused', why: `Kafka refused it: ${why}` }
      await close()
      throw new SinkDown(`Kafka did not take it (${why})`)
    }
    for (const [index, item] of piece.entries()) {
      const value = messages[index]?.value
      if (value !== undefined && value !== null) deps.meter.told(item, Buffer.byteLength(value))
    }
    return { is: 'parts', outcomes }
  }

  return {
    name: settings.name,
    keepsTime: true,
    send: (items, signal) => sendInPieces(items, (piece) => attempt(piece, signal), { most: MOST }),
    [Symbol.asyncDispose]: close,
  }
}

export const sampleKafka: Sampler<SettingsOf<'kafka'>> = (settings, { items }) =>
  items.flatMap((item) => {
    const message = messageOf(item)
    if (message === undefined) return []
    return [{ to: topicOf(settings), body: String(message.value), headers: headersOf(item) }]
  })

/** The broker's own word for it, else the library's; it may be wrapped. */
function reasonOf(error: unknown): string {
  const { type, cause, name } = error as { type?: unknown; cause?: unknown; name?: unknown }
  if (typeof type === 'string') return said(type)
  return cause instanceof Error ? reasonOf(cause) : said(String(name))
}

function messageOf(item: OutItem): Message | undefined {
  const event = eventOf(item)
  if (event === undefined) return undefined
  return {
    key: item.deviceId,
    value: JSON.stringify(event),
    timestamp: `${Math.max(0, Math.trunc(item.atMs))}`,
    headers: headersOf(item),
  }
}

function headersOf(item: OutItem): Record<string, string> {
  return { ce_id: item.id, 'content-type': EVENT_TYPE }
}

async function connectProducer(
  library: Library,
  config: () => Promise<KafkaConfig>,
): Promise<Producer> {
  const kafka = new library.Kafka({
    ...(await config()),
    // Its own log could hold anything that was sent.
    logLevel: library.logLevel.NOTHING,
  })
  const producer = kafka.producer({
    allowAutoTopicCreation: false,
    createPartitioner: library.Partitioners.DefaultPartitioner,
  })
  await producer.connect()
  return producer
}

/** Secrets are read again for each connection. */
async function configOf(
  settings: SettingsOf<'kafka'>,
  deps: SinkDeps,
): Promise<() => Promise<KafkaConfig>> {
  const seeds = seedsOf(settings)
  const tls = await tlsOf(settings)
  const secure = settings.tls || Object.keys(tls).length > 0
  const user = settings.user
  const password = await secretOf(settings, settings.password_file)
  if ((user === undefined) !== (password === undefined)) {
    throw wrongSink(settings, 'user and password_file need each other')
  }
  return async () => ({
    clientId: 'kith-gateway',
    brokers: [...seeds.keys()],
    connectionTimeout: TIMEOUT_MS,
    requestTimeout: TIMEOUT_MS,
    enforceRequestTimeout: true,
    // Trying again is the outbox's work.
    retry: { retries: 0 },
    ssl: secure ? tls : false,
    ...(user === undefined || password === undefined
      ? {}
      : { sasl: { mechanism: 'scram-sha-256', username: user, password: await password() } }),
    socketFactory: (target) => {
      const seed = seeds.get(`${target.host}:${target.port}`)
      return countedSocket({ ...target, ...seed }, deps.meter)
    },
  })
}

/** The library takes what is before the first colon as the host: it gets names that stand for them. */
function seedsOf(
  settings: SettingsOf<'kafka'>,
): ReadonlyMap<string, { readonly host: string; readonly port: number }> {
  return new Map(
    settings.brokers.map((broker, index) => {
      const [, host, port] = /^(.*[^:]|\[.+\]):(\d{1,5})$/.exec(broker) ?? []
      if (host === undefined) throw wrongSink(settings, `${said(broker)} is not like host:9092`)
      const bare = host.replace(/^\[(.*)\]$/, '$1')
      return [`seed-${index}:${index + 1}`, { host: bare, port: Number(port) }]
    }),
  )
}

/** The socket is counted below TLS. */
function countedSocket(
  { host, port, ssl, onConnect }: ISocketFactoryArgs,
  meter: SinkDeps['meter'],
): Socket {
  const socket = connectTcp({ host, port, noDelay: true })
  meter.watch(socket)
  // The library hands on what it was given, which is nothing without TLS.
  const wanted = ssl as ISocketFactoryArgs['ssl'] | false | undefined
  if (wanted === false || wanted === undefined) return socket.once('connect', onConnect)
  const names = isIP(host) === 0 ? { servername: host } : {}
  const secure = connectTls({ minVersion: 'TLSv1.2', ...wanted, ...names, socket, host }, onConnect)
  socket.once('error', (error) => secure.destroy(asError(error)))
  return secure
}

function topicOf(settings: SettingsOf<'kafka'>): string {
  const { topic } = settings
  if (/^[A-Za-z0-9._-]{1,249}$/.test(topic) && topic !== '.' && topic !== '..') return topic
  throw wrongSink(settings, 'a topic has letters, digits, ., _ and -')
}
