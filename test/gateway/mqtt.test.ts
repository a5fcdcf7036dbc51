import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { inspect } from 'node:util'

import type { MqttClient } from 'mqtt'
import { pino } from 'pino'

import { openOutbox } from '../../gateway/outbox/outbox.ts'
import { startMqttSink } from '../../gateway/sinks/mqtt.ts'
import type { MqttSettings } from '../../gateway/sinks/mqtt-connection.ts'
import { requestsIn } from '../../gateway/sinks/mqtt-requests.ts'
import { topicNames } from '../../gateway/sinks/mqtt-topics.ts'
import { SinkDown, type Outcome, type OutItem, type Sink } from '../../gateway/sinks/sink.ts'
import { virtualClock } from '../helpers/clock.ts'
import { makeCertificates, startBroker, type Broker } from '../helpers/mosquitto.ts'
import { outItem, packOf } from '../helpers/outbox.ts'
import { tree, type Tree } from '../helpers/sensors.ts'
import { sinkDeps, sinkDevice } from '../helpers/sinks.ts'
import { needs } from '../helpers/tools.ts'

const never = new AbortController().signal

function settingsOf(broker: string, more: Partial<MqttSettings> = {}): MqttSettings {
  const common = { name: 'home', prefix: 'kith', qos: 1, retain: true, version: 5 } as const
  return { ...common, max_age: 1000, broker, ...more }
}

/** Once the connection stands. */
async function sendWhenThere(sink: Sink, items: readonly OutItem[]): Promise<readonly Outcome[]> {
  for (;;) {
    try {
      return await sink.send(items, never)
    } catch (error) {
      if (!(error instanceof SinkDown)) throw error
      await error.back
    }
  }
}

interface Seen {
  readonly topic: string
  readonly payload: Buffer
  readonly contentType: string | undefined
  readonly userProperties: unknown
}

async function listen(client: MqttClient, until: (seen: readonly Seen[]) => boolean) {
  const seen: Seen[] = []
  const done = Promise.withResolvers<void>()
  client.on('message', (topic, payload, { properties }) => {
    seen.push({
      topic,
      payload,
      contentType: properties?.contentType,
      userProperties: properties?.userProperties,
    })
    if (until(seen)) done.resolve()
  })
  await client.subscribeAsync('#', { qos: 1 })
  return { seen, done: done.promise }
}

describe('names of devices in topics', () => {
  const hostile = [
    'a/b',
    '+',
    '#',
    'a\0b',
    '$SYS',
    '',
    'bridge',
    'x'.repeat(10_000),
    '\ud800',
    'a~b',
  ]

  it('are safe and stay distinct', () => {
    const devices = [...hostile, 'Lamp', 'Lamp', 'plain one'].map((name, i) =>
      sinkDevice(name, { id: `12D3KooW-number-${String(i).padStart(12, '0')}` }),
    )
    const names = topicNames(devices)
    const made = devices.map((device) => names.nameOf(device))
    assert.equal(new Set(made).size, made.length)
    for (const name of made) {
      assert.ok(/^[^/+#$\0]+$/.test(name) && name.isWellFormed(), name)
      assert.ok(Buffer.byteLength(name) <= 128)
    }
    assert.equal(made.at(-1), 'plain one')
    for (const device of devices) assert.equal(names.deviceOf(names.nameOf(device)), device)
  })
})

describe('what others ask over MQTT', () => {
  const names = topicNames([sinkDevice('Lamp')])
  const ask = (topic: string, payload: string | Uint8Array) =>
    requestsIn(topic, Buffer.from(payload), 'kith', names)
  const device = 'id-of-Lamp'

  it('becomes writes and invocations', () => {
    assert.deepEqual(ask('kith/Lamp/set', '{"on":true,"level":3}'), [
      { device, verb: 'write', name: 'on', input: true },
      { device, verb: 'write', name: 'level', input: 3 },
    ])
    assert.deepEqual(ask('kith/Lamp/set/on', 'ON'), [
      { device, verb: 'write', name: 'on', input: 'ON' },
    ])
    assert.deepEqual(ask('kith/Lamp/invoke/blink', ''), [{ device, verb: 'invoke', name: 'blink' }])
  })

  it('is not taken where it is hostile', () => {
    const hostile: [string, string | Uint8Array][] = [
      ['kith/Oak/set', '{}'],
      ['kith/+/set', '{"on":true}'],
      ['kith/Lamp/set/a/b', '1'],
      ['kith/Lamp/set/__proto__', '1'],
      ['kith/Lamp/set/a b', '1'],
      ['kith/Lamp/reset', ''],
      ['other/Lamp/set', '{}'],
      ['kith/Lamp/set', '[1]'],
      ['kith/Lamp/set', 'ON'],
      ['kith/Lamp/set', '{"a b":1}'],
      ['kith/Lamp/set/on', '{"x":'],
      ['kith/Lamp/set/on', Uint8Array.of(0xff, 0xfe)],
      ['kith/Lamp/set/on', 'x'.repeat(17_000)],
      ['kith/Lamp/invoke/x', '['.repeat(5000) + ']'.repeat(5000)],
      [
        'kith/Lamp/set',
        JSON.stringify(Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`p${i}`, 1]))),
      ],
    ]
    for (const [topic, payload] of hostile)
      assert.equal(typeof ask(topic, payload), 'string', topic)
  })
})

describe('the MQTT sink with mosquitto', needs('mosquitto'), () => {
  let files: Tree
  let sink: Sink | undefined
  let broker: Broker | undefined
  beforeEach(() => {
    files = tree()
  })
  afterEach(async () => {
    await sink?.[Symbol.asyncDispose]()
    await broker?.[Symbol.asyncDispose]()
    sink = undefined
    broker = undefined
    files[Symbol.dispose]()
  })

  for (const version of [4, 5] as const) {
    it(`says state, packs and availability in MQTT ${version}, and hands wishes up`, async () => {
      broker = await startBroker(files, { client: () => ({ protocolVersion: version }) })
      const deps = sinkDeps()
      const client = await broker.client()
      const { seen, done } = await listen(client, (all) =>
        [
          'kith/the elm',
          'kith/the elm/pack',
          'kith/the elm/availability',
          'kith/bridge/state',
          'kith/the elm/response',
        ].every((topic) => all.some((one) => one.topic === topic)),
      )
      const settings = settingsOf(`mqtt://[::1]:${broker.port}`, { version })
      sink = await startMqttSink(settings, deps, never)
      const pack = Uint8Array.of(0, 255, 1, 254)
      const raw = { ...outItem('elm', 2, 0), id: 'elm/2', sensor: '', value: '', pack }
      const items = [outItem('elm', 1, 0), outItem('elm', 1, 1), raw]
      assert.deepEqual(await sendWhenThere(sink, items), ['sent', 'sent', 'sent'])
      await sink.devices?.([sinkDevice('the elm', { id: 'elm' })])
      await client.publishAsync('kith/the elm/set/on', 'true')
      await done
      const of = (topic: string): Seen | undefined => seen.find((one) => one.topic === topic)
      assert.deepEqual(JSON.parse(String(of('kith/the elm')?.payload)), {
        'temperature.0': 0.5,
        'temperature.1': 0.5,
        _id: 'elm/1',
        _i: [0, 1],
        _at: new Date(1_700_000_001_000).toISOString(),
      })
      assert.deepEqual(new Uint8Array(of('kith/the elm/pack')?.payload ?? []), pack)
      assert.equal(of('kith/the elm')?.contentType, version === 5 ? 'application/json' : undefined)
      const about = (topic: string): unknown => ({ ...(of(topic)?.userProperties as object) })
      assert.deepEqual(about('kith/the elm'), version === 5 ? { 'kith-id': 'elm/1' } : {})
      assert.deepEqual(about('kith/the elm/pack'), version === 5 ? { 'kith-id': 'elm/2' } : {})
      assert.deepEqual(deps.asked, [{ device: 'elm', verb: 'write', name: 'on', input: true }])
      await client.endAsync()
    })
  }

  it('speaks TLS 1.3 with a pinned authority, a certificate and a password, and to no other broker', async () => {
    const { ca, cert, key } = makeCertificates(files)
    const password = files.write('password', 'hush-hush\n')
    broker = await startBroker(files, {
      tls: true,
      lines: [
        'allow_anonymous true',
        `cafile ${ca}`,
        `certfile ${cert}`,
        `keyfile ${key}`,
        'tls_version tlsv1.3',
        'require_certificate true',
      ],
      client: () => ({ ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) }),
    })
    const lines: string[] = []
    const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) })
    const secrets = { user: 'kith', password_file: password, cert_file: cert, key_file: key }
    const settings = settingsOf(`mqtts://[::1]:${broker.port}`, { ...secrets, ca_file: ca })
    sink = await startMqttSink(settings, sinkDeps({ log }), never)
    assert.deepEqual(await sendWhenThere(sink, [outItem('elm', 1, 0)]), ['sent'])
    await sink[Symbol.asyncDispose]()
    const tried = Promise.withResolvers<void>()
    const watching = pino(
      { level: 'trace' },
      {
        write: (line: string) => {
          lines.push(line)
          tried.resolve()
        },
      },
    )
    sink = await startMqttSink({ ...settings, ca_file: cert }, sinkDeps({ log: watching }), never)
    await tried.promise
    await assert.rejects(sink.send([outItem('elm', 1, 0)], never), SinkDown)
    assert.match(lines.join(''), /cannot be reached/)
    assert.doesNotMatch(lines.join(''), /hush/)
  })

  it('is refused with a wrong password, tries again with the right one, and tells neither', async () => {
    const users = files.write('users', 'kith:the-right-one\n')
    const made = spawnSync('mosquitto_passwd', ['-U', users], { encoding: 'utf8' })
    assert.equal(made.status, 0, made.stderr)
    const password = files.write('password', 'the-wrong-one\n')
    broker = await startBroker(files, {
      lines: ['allow_anonymous false', `password_file ${users}`],
    })
    const lines: string[] = []
    const tried = Promise.withResolvers<void>()
    const log = pino(
      { level: 'trace' },
      {
        write: (line: string) => {
          lines.push(line)
          tried.resolve()
        },
      },
    )
    const settings = settingsOf(`mqtt://[::1]:${broker.port}`, {
      user: 'kith',
      password_file: password,
    })
    sink = await startMqttSink(settings, sinkDeps({ log }), never)
    await tried.promise
    const refused: unknown = await sink
      .send([outItem('elm', 1, 0)], never)
      .then(() => undefined)
      .catch((error: unknown) => error)
    assert.ok(refused instanceof SinkDown)
    assert.match(refused.message, /not authori[sz]ed/i)
    const told = inspect(refused, { depth: 10, showHidden: true }) + lines.join('')
    assert.doesNotMatch(told, /the-(wrong|right)-one/)
    files.write('password', 'the-right-one\n')
    assert.deepEqual(await sendWhenThere(sink, [outItem('elm', 1, 0)]), ['sent'])
    const running = [process.argv, process.execArgv, Object.values(process.env)]
    assert.doesNotMatch(JSON.stringify(running) + lines.join(''), /the-(wrong|right)-one/)
  })

  it('leaves a broker that takes nothing more', async () => {
    broker = await startBroker(files)
    const clock = virtualClock()
    sink = await startMqttSink(
      settingsOf(`mqtt://[::1]:${broker.port}`),
      sinkDeps({ clock }),
      never,
    )
    await sendWhenThere(sink, [outItem('elm', 1, 0)])
    broker.stall()
    const stuck = assert.rejects(sink.send([outItem('elm', 2, 0)], never), SinkDown)
    await clock.advance(15_000)
    await stuck
    broker.goOn()
  })

  it('leaves its will where it ends without a word', async () => {
    broker = await startBroker(files)
    const client = await broker.client()
    const { done } = await listen(client, (all) =>
      all.some(
        ({ topic, payload }) => topic === 'kith/bridge/state' && String(payload) === 'offline',
      ),
    )
    const sockets: { destroy(): void }[] = []
    const meter = {
      watch: (socket: { destroy(): void }) => void sockets.push(socket),
      told: () => undefined,
    }
    sink = await startMqttSink(
      settingsOf(`mqtt://[::1]:${broker.port}`),
      sinkDeps({ meter }),
      never,
    )
    await sendWhenThere(sink, [outItem('elm', 1, 0)])
    for (const socket of sockets) socket.destroy()
    await done
    await client.endAsync()
  })

  it('loses nothing while the broker is killed, restarted and stalled, counted at a subscriber', async (t) => {
    broker = await startBroker(files, {
      lines: ['allow_anonymous true', 'max_inflight_messages 0'],
    })
    const deps = sinkDeps()
    const TOTAL = 3000
    const got = new Set<string>()
    const all = Promise.withResolvers<void>()
    let copies = 0
    const subscribe = async (): Promise<MqttClient> => {
      const client = (await broker?.client()) as MqttClient
      client.on('error', () => undefined)
      client.on('message', (topic, payload) => {
        if (!/^kith\/the elm(\/late)?$/.test(topic)) return
        const { _id: id, _i: list } = JSON.parse(String(payload)) as { _id: string; _i: number[] }
        for (const i of list) got.add(`${id}/${i}`)
        copies += list.length
        if (got.size === TOTAL) all.resolve()
      })
      await client.subscribeAsync('kith/#', { qos: 1 })
      return client
    }
    let client = await subscribe()
    await using outbox = openOutbox(
      { path: `${files.root}/outbox.db`, maxBytes: 2 ** 30 },
      { ...deps, sign: (_, payload) => payload },
    )
    // With a subscriber again before the sink is: what nobody listens to, nobody counts.
    sink = await startMqttSink(settingsOf(`mqtt://[::1]:${broker.port}`), deps, never)
    outbox.attach(sink, { maxAgeMs: Infinity, mayLeave: () => true })
    for (let seq = 1; seq <= TOTAL; seq++) {
      await outbox.put([packOf('elm', seq, ['home'])], never)
      if (seq % 10 === 0) await new Promise(setImmediate)
      // So that it is killed with much on its way.
      if (seq === 500 || seq === 900 || seq === 1900) broker.stall()
      if (seq === 600) broker.goOn()
      if (seq !== 1000 && seq !== 2000) continue
      const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
      await broker.kill()
      await closed
      await broker.restart()
      client = await subscribe()
    }
    await all.promise
    t.diagnostic(`${copies - TOTAL} of ${TOTAL} twice`)
    await client.endAsync(true)
  })
})
