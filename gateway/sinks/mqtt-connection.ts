/**
 * One connection to a broker, made again for as long as the sink runs: TLS 1.3 with the authority that
 * the settings pin, our certificate where they name one, and the bytes counted below TLS. A broker
 * that does not answer, or stops to, is left; what was on its way is told to be lost, and is sent again
 * by the outbox. Nothing is kept by the library or by the broker's session.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'

import type { IClientOptions, MqttClient } from 'mqtt'

import { asError, readSecret, readSmallFile, Secret } from '../../node/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import type { SettingsOf } from '../config-sinks.ts'
import type { MqttMessage } from './mqtt-messages.ts'
import { SinkDown, type Outcome, type SinkDeps } from './sink.ts'

export type MqttSettings = Omit<SettingsOf<'mqtt'>, 'type'>

export interface Hooks {
  /** Left by the broker when this connection ends without a word. */
  readonly will: { readonly topic: string; readonly payload: string }
  readonly topics: readonly string[]
  /** Connected, and the topics agreed. */
  readonly onReady: () => void
  readonly onMessage: (topic: string, payload: Uint8Array, retained: boolean) => void
}

export interface Connection extends AsyncDisposable {
  /** All that the broker took are `sent`. @throws SinkDown where the connection is not there or breaks */
  publish(messages: readonly MqttMessage[], signal: AbortSignal): Promise<Outcome[]>
}

const CONNECT_MS = 10_000
/** For what the broker was given and has not taken. */
const STALL_MS = 15_000
const KEEPALIVE_S = 30
const WINDOW = 100
const MAX_PACKET_BYTES = 64 * 1024
const FIRST_PAUSE_MS = 250
const MAX_PAUSE_MS = 30_000
/** Of MQTT 5: this message will never be taken. */
const NEVER = new Set([0x90, 0x95, 0x99])

interface Files {
  readonly password: Secret<string> | undefined
  readonly tls: ConnectionOptions
}

interface Live {
  readonly client: MqttClient
  readonly socket: Socket
  readonly gone: Promise<Error>
  /** How many may be on their way. */
  readonly window: number
}

/** @throws Error for people, where a file cannot be used; without its content */
export async function openConnection(
  settings: MqttSettings,
  hooks: Hooks,
  deps: SinkDeps,
): Promise<Connection> {
  await readFiles(settings)
  const connection = new KeptConnection(settings, hooks, deps)
  connection.start()
  return connection
}

async function readFiles(settings: MqttSettings): Promise<Files> {
  const { password_file: password, ca_file: ca, cert_file: cert, key_file: key } = settings
  return {
    password: password === undefined ? undefined : new Secret(await readSecret(password)),
    tls: {
      ...(ca === undefined ? {} : { ca: await readSmallFile(ca) }),
      ...(cert === undefined ? {} : { cert: await readSmallFile(cert) }),
      ...(key === undefined ? {} : { key: await readSmallFile(key) }),
    },
  }
}

class KeptConnection implements Connection {
  readonly #settings: MqttSettings
  readonly #hooks: Hooks
  readonly #deps: SinkDeps
  readonly #stop = new AbortController()
  #running: Promise<void> | undefined
  #live: Live | undefined
  #why = 'not connected yet'
  #back = Promise.withResolvers<void>()

  constructor(settings: MqttSettings, hooks: Hooks, deps: SinkDeps) {
    this.#settings = settings
    this.#hooks = hooks
    this.#deps = deps
  }

  start(): void {
    this.#running = this.#run()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    for (let tries = 0; !signal.aborted; tries++) {
      try {
        const live = await this.#connect()
        tries = 0
        this.#live = live
        this.#back.resolve()
        this.#hooks.onReady()
        this.#why = (await live.gone).message
      } catch (error) {
        this.#why = asError(error).message
      }
      if (this.#live !== undefined) this.#back = Promise.withResolvers()
      this.#live = undefined
      if (signal.aborted) return
      this.#deps.log.debug({ sink: this.#settings.name, why: this.#why }, 'broker is away')
      const [byte = 0] = this.#deps.random.bytes(1)
      const most = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(tries, 10))
      await this.#deps.clock.sleep((most * (256 + byte)) / 512, signal).catch(() => undefined)
    }
  }

  async #connect(): Promise<Live> {
    // Again each time: passwords and certificates are renewed in place.
    const files = await readFiles(this.#settings)
    const { MqttClient: Client } = await import('mqtt')
    const socket = await openSocket(this.#settings, files.tls, this.#deps, this.#stop.signal)
    const { host } = new URL(this.#settings.broker)
    const client = new Client(() => socket, this.#options(files))
    const gone = Promise.withResolvers<Error>()
    let why: Error | undefined
    client.on('error', (error) => {
      why ??= new Error(`${host}: ${error.message.slice(0, 100)}`)
      socket.destroy()
    })
    client.once('close', () => {
      client.end(true)
      gone.resolve(why ?? new Error(`the connection to ${host} is lost`))
    })
    client.on('message', (topic, payload, { retain }) =>
      this.#hooks.onMessage(topic, payload, retain),
    )
    const window = await Promise.race([this.#ready(client), gone.promise])
    if (window instanceof Error) throw window
    return { client, socket, gone: gone.promise, window }
  }

  async #ready(client: MqttClient): Promise<number> {
    const connected = Promise.withResolvers<number | undefined>()
    client.once('connect', ({ properties }) => connected.resolve(properties?.receiveMaximum))
    const window = Math.min(WINDOW, (await connected.promise) ?? WINDOW)
    if (this.#hooks.topics.length > 0) {
      // Without the right to read them, there is only nothing to be asked.
      await client.subscribeAsync([...this.#hooks.topics], { qos: 1 }).catch(() => undefined)
    }
    return window
  }

  #options({ password }: Files): IClientOptions {
    const { user, client_id: id, version } = this.#settings
    const { topic, payload } = this.#hooks.will
    return {
      clientId: id ?? `kith-${toHex(this.#deps.random.bytes(8))}`,
      protocolVersion: version,
      clean: true,
      reconnectPeriod: 0,
      connectTimeout: CONNECT_MS,
      keepalive: KEEPALIVE_S,
      resubscribe: false,
      will: { topic, payload: Buffer.from(payload), qos: 1, retain: true },
      ...(user === undefined ? {} : { username: user }),
      ...(password === undefined ? {} : { password: password.reveal() }),
      ...(version === 5 ? { properties: { maximumPacketSize: MAX_PACKET_BYTES } } : {}),
    }
  }

  async publish(messages: readonly MqttMessage[], signal: AbortSignal): Promise<Outcome[]> {
    const live = this.#live
    if (live === undefined) throw new SinkDown(this.#why, { back: this.#back.promise })
    const outcomes: Outcome[] = []
    const work = { next: 0 }
    const lane = async (): Promise<void> => {
      while (work.next < messages.length) {
        signal.throwIfAborted()
        const at = work.next++
        const message = messages[at]
        if (message !== undefined) outcomes[at] = await this.#one(live, message)
      }
    }
    const stalled = Promise.withResolvers<Error>()
    const cancel = this.#deps.clock.timer(STALL_MS, () => {
      stalled.resolve(new Error('the broker does not take what it is given'))
      live.socket.destroy()
    })
    try {
      const lanes = Promise.all(Array.from({ length: live.window }, lane))
      lanes.catch(() => undefined)
      const lost = await Promise.race([lanes, live.gone, stalled.promise])
      if (lost instanceof Error) throw new SinkDown(lost.message, { back: this.#back.promise })
      return outcomes
    } finally {
      cancel()
    }
  }

  async #one({ client, gone }: Live, message: MqttMessage): Promise<Outcome> {
    const { topic, payload, retain, items } = message
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : Buffer.from(payload)
    const { version, qos } = this.#settings
    const properties = version === 5 ? propertiesOf(message) : {}
    for (const item of items) this.#deps.meter.told(item, bytes.length / items.length)
    try {
      const sent = client.publishAsync(topic, bytes, { qos, retain, ...properties })
      sent.catch(() => undefined)
      const lost = await Promise.race([sent, gone])
      if (lost instanceof Error) throw new SinkDown(lost.message)
      return 'sent'
    } catch (error) {
      const { code } = error as { code?: unknown }
      if (typeof code !== 'number') throw new SinkDown(asError(error).message, { cause: error })
      return NEVER.has(code) ? { poison: `the broker refused it (${code})` } : 'retry'
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('stopping'))
    const { client, socket } = this.#live ?? {}
    // A word to the broker, which would else leave the will.
    await client?.endAsync(false).catch(() => undefined)
    socket?.destroy()
    await this.#running
  }
}

function propertiesOf({ contentType, userProperties }: MqttMessage): {
  properties?: { contentType?: string; userProperties?: Record<string, string> }
} {
  return {
    properties: {
      ...(contentType === undefined ? {} : { contentType }),
      ...(userProperties === undefined ? {} : { userProperties: { ...userProperties } }),
    },
  }
}

/** Connected, and the certificate checked: nothing is said to a broker before. */
async function openSocket(
  { broker }: MqttSettings,
  tls: ConnectionOptions,
  { clock, meter }: SinkDeps,
  signal: AbortSignal,
): Promise<Socket> {
  signal.throwIfAborted()
  const url = new URL(broker)
  const secure = url.protocol === 'mqtts:'
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = url.port === '' ? (secure ? 8883 : 1883) : Number(url.port)
  const below = connectTcp({ host, port, noDelay: true })
  meter.watch(below)
  const servername = isIP(host) === 0 ? { servername: host } : { host }
  const socket = secure
    ? connectTls({ socket: below, minVersion: 'TLSv1.3', ...servername, ...tls })
    : below
  const done = Promise.withResolvers<Socket>()
  const fail = (error: Error): void => {
    below.destroy()
    socket.destroy()
    done.reject(error)
  }
  const stop = (): void => fail(asError(signal.reason))
  const cancel = clock.timer(CONNECT_MS, () => fail(new Error(`${url.host} does not answer`)))
  signal.addEventListener('abort', stop, { once: true })
  const broken = (error: NodeJS.ErrnoException): void =>
    fail(new Error(`${url.host} cannot be reached (${error.code ?? error.message})`))
  below.on('error', broken)
  socket.on('error', broken)
  socket.once(secure ? 'secureConnect' : 'connect', () => done.resolve(socket))
  try {
    return await done.promise
  } finally {
    cancel()
    signal.removeEventListener('abort', stop)
  }
}
