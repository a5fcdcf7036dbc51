/**
 * Readings and packs as CloudEvents to NATS, on `<prefix>.readings.<device id>.<sensor>` and
 * `<prefix>.packs.<device id>`. At least once needs somebody who keeps them: each waits for the
 * acknowledgement of a JetStream stream, which also drops what comes twice by `Nats-Msg-Id`. A server
 * without a stream for these subjects is a far side that is not there. The client library is a package
 * of its own, `@nats-io/transport-node`, for those who have NATS.
 */
import type { Duplex } from 'node:stream'

import type * as Nats from '@nats-io/transport-node'
import type { NatsConnection, ConnectionOptions } from '@nats-io/transport-node'

import { asError } from '../../node/index.ts'
import type { SettingsOf } from '../config-sinks.ts'
import { secretOf, tlsOf, wrongSink } from './http-settings.ts'
import { said } from './http-pieces.ts'
import { loadPeer } from './kafka-peer.ts'
import { SinkDown, type OutItem, type Outcome, type Sampler } from './sink.ts'
import type { Sink, SinkDeps } from './sink.ts'
import { EVENT_TYPE, eventOf } from './webhook-event.ts'

type Library = typeof Nats

const TIMEOUT_MS = 10_000
/** JetStream: the message is larger than its stream takes. */
const TOO_LARGE = 10_054
const NO_EVENT = { poison: 'there is no such event' } satisfies Outcome

interface Message {
  readonly item: OutItem
  readonly subject: string
  readonly payload: Uint8Array
}

export async function startNatsSink(
  settings: SettingsOf<'nats'>,
  deps: SinkDeps,
  _signal: AbortSignal,
): Promise<Sink> {
  const library = await loadPeer(
    settings,
    () => import('@nats-io/transport-node'),
    '@nats-io/transport-node@3',
  )
  const { prefix } = settings
  if (subjectOf(prefix) !== prefix) {
    throw wrongSink(settings, 'a prefix has letters, digits, _, - and dots')
  }
  const options = await optionsOf(settings, deps.gateway.name)
  let open: NatsConnection | undefined

  async function connection(): Promise<NatsConnection> {
    if (open !== undefined && !open.isClosed()) return open
    try {
      open = await library.connect(await options())
    } catch (error) {
      throw new SinkDown(`NATS cannot be reached (${asError(error).name})`)
    }
    deps.meter.watch(socketOf(open))
    return open
  }

  return {
    name: settings.name,
    keepsTime: true,
    async send(items, signal) {
      signal.throwIfAborted()
      const nats = await connection()
      const most = nats.info?.max_payload ?? Infinity
      const sent = items.map(async (item): Promise<Outcome | SinkDown> => {
        const message = messageOf(item, prefix)
        if (message === undefined) return NO_EVENT
        if (message.payload.length > most) return { poison: 'it is larger than NATS takes' }
        deps.meter.told(item, message.payload.length + message.subject.length)
        return await publish(library, nats, message)
      })
      return inOrder(items, await Promise.all(sent))
    },
    async [Symbol.asyncDispose]() {
      await open?.close()
    },
  }
}

export const sampleNats: Sampler<SettingsOf<'nats'>> = ({ prefix }, { items }) =>
  items.flatMap((item) => {
    const message = messageOf(item, prefix)
    if (message === undefined) return []
    const headers = headersOf(item)
    return [{ to: message.subject, body: Buffer.from(message.payload).toString(), headers }]
  })

async function publish(
  library: Library,
  nats: NatsConnection,
  { item, subject, payload }: Message,
): Promise<Outcome | SinkDown> {
  const headers = library.headers()
  for (const [key, value] of Object.entries(headersOf(item))) headers.set(key, value)
  try {
    const reply = await nats.request(subject, payload, { timeout: TIMEOUT_MS, headers })
    return acknowledged(reply.string())
  } catch (error) {
    if (isNoResponders(library, error)) {
      return new SinkDown(`no JetStream stream takes ${subject.split('.')[0]}.>`)
    }
    return new SinkDown(`NATS did not take it (${asError(error).name})`)
  }
}

function isNoResponders(library: Library, error: unknown): boolean {
  return error instanceof library.errors.RequestError
    ? error.isNoResponders()
    : error instanceof library.errors.NoRespondersError
}

/** What JetStream answers: its stream and the number there, or what is wrong. */
function acknowledged(text: string): Outcome | SinkDown {
  let answer: { stream?: unknown; error?: { err_code?: unknown; description?: unknown } } | null
  try {
    answer = JSON.parse(text) as typeof answer
  } catch {
    answer = null
  }
  // A refusal names the stream as well.
  const error = answer?.error
  if (error === undefined) {
    if (typeof answer?.stream === 'string') return 'sent'
    return new SinkDown('somebody answers who is no JetStream stream')
  }
  if (error.err_code === TOO_LARGE) return { poison: 'it is larger than the stream takes' }
  return new SinkDown(`JetStream did not keep it: ${said(String(error.description))}`)
}

/** After one that is not there, the rest of its device waits. @throws SinkDown where nothing is there */
function inOrder(
  items: readonly OutItem[],
  results: readonly (Outcome | SinkDown)[],
): readonly Outcome[] {
  const down = results.find((result) => result instanceof SinkDown)
  const settled = results.some((result) => !(result instanceof SinkDown))
  if (down !== undefined && !settled) throw down
  const waiting = new Set<string>()
  return items.map(({ deviceId }, index) => {
    const result = results[index]
    if (result === undefined || result instanceof SinkDown) waiting.add(deviceId)
    return waiting.has(deviceId) || result === undefined || result instanceof SinkDown
      ? 'retry'
      : result
  })
}

function messageOf(item: OutItem, prefix: string): Message | undefined {
  const event = eventOf(item)
  if (event === undefined) return undefined
  const place =
    item.pack === undefined
      ? `readings.${subjectOf(item.deviceId)}.${subjectOf(item.sensor)}`
      : `packs.${subjectOf(item.deviceId)}`
  return { item, subject: `${prefix}.${place}`, payload: Buffer.from(JSON.stringify(event)) }
}

/** Tokens without wildcards, spaces and emptiness. */
function subjectOf(text: string): string {
  return text
    .split('.')
    .map((token) => token.replaceAll(/[^A-Za-z0-9_-]/g, '_').slice(0, 128) || '_')
    .slice(0, 16)
    .join('.')
}

function headersOf(item: OutItem): Record<string, string> {
  // Whoever can choose a sensor's name must not write headers.
  return {
    'Nats-Msg-Id': item.id.replaceAll(/[^\x21-\x7e]/g, '_'),
    'content-type': EVENT_TYPE,
  }
}

/** Secrets are read again for each connection. */
async function optionsOf(
  settings: SettingsOf<'nats'>,
  gateway: string,
): Promise<() => Promise<ConnectionOptions>> {
  const tls = await tlsOf(settings)
  const secure =
    Object.keys(tls).length > 0 || settings.servers.some((one) => one.startsWith('tls:'))
  const token = await secretOf(settings, settings.token_file)
  const password = await secretOf(settings, settings.password_file)
  const user = settings.user
  return async () => {
    const pass = await password?.()
    const secret = await token?.()
    return {
      servers: settings.servers.map((server) => new URL(server).host),
      name: `kith ${said(gateway)}`,
      timeout: TIMEOUT_MS,
      reconnect: false,
      ...(secure ? { tls } : {}),
      ...(secret === undefined ? {} : { token: secret }),
      ...(user === undefined ? {} : { user }),
      ...(pass === undefined ? {} : { pass }),
    }
  }
}

interface Inside {
  readonly protocol?: { readonly transport?: { readonly socket?: Countable } }
}

type Countable = Duplex & { readonly bytesWritten: number; readonly _parent?: Countable | null }

/** The TCP socket, which the library keeps to itself. What cannot be counted must not leave. */
function socketOf(nats: NatsConnection): Countable {
  const socket = (nats as unknown as Inside).protocol?.transport?.socket
  if (socket !== undefined) return socket._parent ?? socket
  void nats.close()
  throw new SinkDown('this version of the NATS library does not let its bytes be counted')
}
