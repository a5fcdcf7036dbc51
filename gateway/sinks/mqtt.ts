/**
 * The MQTT sink, 3.1.1 and 5, laid out as users of Zigbee2MQTT know it: `kith/DEVICE` has the newest
 * values as JSON, `/availability` says online or offline, `/set` takes wishes, `kith/bridge/state`
 * says whether the gateway itself is there. What waited while the broker was away goes to
 * `kith/DEVICE/late`, so that no state ever steps back.
 */
import { asError } from '../../node/index.ts'
import { openConnection, type Connection, type MqttSettings } from './mqtt-connection.ts'
import {
  availabilityOf,
  bridgeTopic,
  messagesOf,
  type MqttMessage,
  type Values,
} from './mqtt-messages.ts'
import { requestsIn, requestTopics } from './mqtt-requests.ts'
import { topicNames, type TopicNames } from './mqtt-topics.ts'
import type { OutItem, Outcome, Sample, Sampled, Sink } from './sink.ts'
import type { SinkDeps, SinkDevice, SinkRequest } from './sink.ts'

/** What is built on top of this sink. */
export interface Extension {
  /** More topics to read. */
  readonly topics: readonly string[]
  /** Retained, beside the availability of each device. */
  messages(devices: readonly SinkDevice[], names: TopicNames): readonly MqttMessage[]
  /**
   * A message on one of `topics`. `again`: all is to be told anew. `retained`: it is of this gateway,
   * from before, and is taken back where it is of no device any more.
   */
  onMessage(topic: string, payload: Uint8Array): 'again' | 'retained' | 'nothing'
}

/** Wishes on their way at one time. */
const ASKED_MAX = 16
/** More than the devices of any home have. */
const RETAINED_MAX = 10_000

export async function startMqttSink(
  settings: MqttSettings,
  deps: SinkDeps,
  signal: AbortSignal,
): Promise<Sink> {
  return await startExtended(settings, deps, signal)
}

export async function startExtended(
  settings: MqttSettings,
  deps: SinkDeps,
  signal: AbortSignal,
  extension?: Extension,
): Promise<Sink> {
  signal.throwIfAborted()
  const sink = new MqttSink(settings, deps, extension)
  await sink.open()
  return sink
}

class MqttSink implements Sink {
  readonly name: string
  readonly keepsTime = true
  readonly newFirst = true
  readonly #settings: MqttSettings
  readonly #deps: SinkDeps
  readonly #extension: Extension | undefined
  readonly #values: Values = new Map()
  readonly #stop = new AbortController()
  #connection: Connection | undefined
  #devices: readonly SinkDevice[] = []
  #names: TopicNames = topicNames([])
  /** Before, no device is gone. */
  #devicesKnown = false
  /** Retained topics of devices, that go when the device does. */
  #retained = new Map<string, string | Uint8Array>()
  #telling: Promise<void> = Promise.resolve()
  #asked = 0

  constructor(settings: MqttSettings, deps: SinkDeps, extension: Extension | undefined) {
    this.name = settings.name
    this.#settings = settings
    this.#deps = deps
    this.#extension = extension
  }

  async open(): Promise<void> {
    const { prefix } = this.#settings
    const will = { topic: bridgeTopic(prefix), payload: 'offline' }
    const topics = [...requestTopics(prefix), ...(this.#extension?.topics ?? [])]
    this.#connection = await openConnection(
      this.#settings,
      {
        will,
        topics,
        onReady: () => this.#tellAll(),
        onMessage: (topic, payload, retained) => this.#message(topic, payload, retained),
      },
      this.#deps,
    )
  }

  async send(items: readonly OutItem[], signal: AbortSignal): Promise<readonly Outcome[]> {
    const { prefix, retain } = this.#settings
    const messages = messagesOf(items, prefix, this.#names, { values: this.#values, retain })
    const outcomes = (await this.#connection?.publish(messages, signal)) ?? []
    const by = new Map<OutItem, Outcome>()
    const stopped = new Set<string>()
    for (const [i, message] of messages.entries()) {
      if (message.retain) this.#retained.set(message.topic, UNKNOWN)
      for (const item of message.items) {
        const outcome = stopped.has(item.deviceId) ? 'retry' : (outcomes[i] ?? 'retry')
        if (outcome === 'retry') stopped.add(item.deviceId)
        by.set(item, outcome)
      }
    }
    return items.map((item) => by.get(item) ?? 'retry')
  }

  async devices(devices: readonly SinkDevice[]): Promise<void> {
    this.#devices = devices
    this.#devicesKnown = true
    this.#names = topicNames(devices)
    const known = new Set(devices.map(({ id }) => id))
    for (const id of this.#values.keys()) if (!known.has(id)) this.#values.delete(id)
    await this.#tell(false)
  }

  /** After a new connection, or where somebody lost what was retained. */
  #tellAll(): void {
    void this.#tell(true)
  }

  /** One at a time, so that the last that is said is the newest. */
  async #tell(everything: boolean): Promise<void> {
    this.#telling = this.#telling.then(() => this.#tellOnce(everything))
    await this.#telling
  }

  async #tellOnce(everything: boolean): Promise<void> {
    if (everything) this.#retained = new Map([...this.#retained].map(([topic]) => [topic, UNKNOWN]))
    const wanted = this.#standing()
    const topics = new Set([...wanted.map(({ topic }) => topic), ...this.#stateTopics()])
    const gone = this.#devicesKnown
      ? [...this.#retained.keys()].filter((topic) => !topics.has(topic)).map(emptied)
      : []
    const messages = [
      ...gone,
      ...wanted.filter(({ topic, payload }) => this.#retained.get(topic) !== payload),
    ]
    try {
      await this.#connection?.publish(messages, this.#stop.signal)
      for (const { topic } of gone) this.#retained.delete(topic)
      for (const { topic, payload } of wanted) this.#retained.set(topic, payload)
    } catch (error) {
      // Said again with the next connection.
      const why = asError(error).message
      this.#deps.log.debug({ sink: this.name, why }, 'the broker was not told of devices')
      for (const { topic } of wanted)
        if (!this.#retained.has(topic)) this.#retained.set(topic, UNKNOWN)
    }
  }

  #standing(): readonly MqttMessage[] {
    const { prefix } = this.#settings
    const names = this.#names
    return [
      { topic: bridgeTopic(prefix), payload: 'online', retain: true, items: [] },
      ...this.#devices.map((device) => availabilityOf(prefix, names, device)),
      ...(this.#extension?.messages(this.#devices, names) ?? []),
    ]
  }

  #stateTopics(): string[] {
    return this.#devices.map((device) => `${this.#settings.prefix}/${this.#names.nameOf(device)}`)
  }

  #message(topic: string, payload: Uint8Array, retained: boolean): void {
    if (this.#extension?.topics.some((one) => matches(one, topic)) === true) {
      this.#extended(this.#extension.onMessage(topic, payload), topic)
      return
    }
    // A wish that the broker kept is nobody's wish now.
    if (retained) return
    const requests = requestsIn(topic, payload, this.#settings.prefix, this.#names)
    if (typeof requests === 'string') {
      this.#deps.log.debug({ sink: this.name, why: requests }, 'a wish was not taken')
      return
    }
    for (const request of requests) void this.#ask(request)
  }

  #extended(what: 'again' | 'retained' | 'nothing', topic: string): void {
    if (what === 'again') this.#tellAll()
    if (what !== 'retained' || this.#retained.has(topic) || this.#retained.size > RETAINED_MAX)
      return
    this.#retained.set(topic, UNKNOWN)
    if (this.#devicesKnown) void this.#tell(false)
  }

  async #ask(request: SinkRequest): Promise<void> {
    const busy = { status: 'refused', why: 'too many wishes at one time' } as const
    this.#asked++
    try {
      const answer = this.#asked > ASKED_MAX ? busy : await this.#deps.ask(request)
      const device = this.#devices.find(({ id }) => id === request.device)
      if (device === undefined) return
      const topic = `${this.#settings.prefix}/${this.#names.nameOf(device)}/response`
      const payload = JSON.stringify({ name: request.name, ...answer })
      const message = { topic, payload, retain: false, items: [] }
      await this.#connection?.publish([message], this.#stop.signal)
    } catch (error) {
      const why = asError(error).message
      this.#deps.log.debug({ sink: this.name, why }, 'an answer did not reach the broker')
    } finally {
      this.#asked--
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const offline = { topic: bridgeTopic(this.#settings.prefix), payload: 'offline', retain: true }
    await this.#connection
      ?.publish([{ ...offline, items: [] }], this.#stop.signal)
      .catch(() => undefined)
    this.#stop.abort(new Error('stopping'))
    await this.#connection?.[Symbol.asyncDispose]()
  }
}

const UNKNOWN = ''

function emptied(topic: string): MqttMessage {
  return { topic, payload: '', retain: true, items: [] }
}

function matches(filter: string, topic: string): boolean {
  const [want, have] = [filter.split('/'), topic.split('/')]
  return want.length === have.length && want.every((part, i) => part === '+' || part === have[i])
}

export function sampleMqtt(
  { prefix, retain }: Pick<MqttSettings, 'prefix' | 'retain'>,
  { items, devices }: Pick<Sampled, 'items' | 'devices'>,
  extension?: Extension,
): readonly Sample[] {
  const names = topicNames(devices)
  const messages = [
    ...(extension?.messages(devices, names) ?? []),
    ...devices.map((device) => availabilityOf(prefix, names, device)),
    ...messagesOf(items, prefix, names, { values: new Map(), retain }),
  ]
  return messages.map(({ topic, payload, contentType }) => ({
    to: topic,
    body: payload,
    ...(contentType === undefined ? {} : { headers: { 'content-type': contentType } }),
  }))
}
