import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import process from 'node:process'
import { afterEach, beforeEach, describe, it } from 'node:test'

import pino from 'pino'

import { systemClock } from '../../node/env.ts'
import type { StreamSource } from '../../node/services/sensors/index.ts'
import { createSampler } from '../../node/services/telemetry/sampler.ts'
import { makeCertificates, startBroker } from '../helpers/mosquitto.ts'
import { listenTo, sourcesOf, streamOf, tree, type Tree } from '../helpers/sensors.ts'
import { findProgram, needs } from '../helpers/tools.ts'

let files: Tree
beforeEach(() => {
  files = tree()
})
afterEach(() => files[Symbol.dispose]())

function toml(port: number, topic: string, more = '', name = 'a'): string {
  return `[sensor.${name}]\ntype = "mqtt"\nbroker = "mqtt://[::1]:${port}"\ntopic = "${topic}"\n${more}\n`
}

const ZIGBEE = {
  battery: 97,
  humidity: 51.02,
  linkquality: 134,
  temperature: 21.37,
  contact: false,
  state: 'ON',
}
const TASMOTA = {
  Time: '2027-01-15T08:00:00',
  ENERGY: { Total: 12.345, Power: 42, Voltage: 231 },
  'ANALOG/1': { A0: 7 },
}

describe('a broker', needs('mosquitto'), () => {
  it('brings what Zigbee2MQTT, Tasmota and plain topics say', async () => {
    await using broker = await startBroker(files)
    const topics: readonly (readonly [string, string, string | object, unknown])[] = [
      ['zigbee2mqtt/Living room', 'pointer = "/temperature"', ZIGBEE, 21.37],
      ['zigbee2mqtt/door', 'pointer = "/contact"', ZIGBEE, 0],
      ['zigbee2mqtt/plug', 'pointer = "/state"\nmap = { ON = 1, OFF = 0 }', ZIGBEE, 1],
      ['tele/plug/SENSOR', 'pointer = "/ENERGY/Power"', TASMOTA, 42],
      ['tele/probe/SENSOR', 'pointer = "/ANALOG~11/A0"\nversion = 4', TASMOTA, 7],
      ['house/outside', '', ' 3.5\n', 3.5],
      ['stat/plug/POWER', 'map = { ON = 1, OFF = 0 }', 'OFF', 0],
    ]
    const client = await broker.client()
    for (const [topic, more, payload, value] of topics) {
      await using heard = listenTo(streamOf(toml(broker.port, topic, more)))
      assert.equal(await heard.next(), 'ready')
      const body = typeof payload === 'string' ? payload : JSON.stringify(payload)
      await client.publishAsync(topic, body, { qos: 1 })
      assert.equal(await heard.next(), value, topic)
    }
    await client.endAsync()
  })

  it('is connected to once for all sensors with the same settings', async () => {
    await using broker = await startBroker(files)
    const client = await broker.client()
    await client.subscribeAsync('$SYS/broker/clients/connected')
    const topic = 'zigbee2mqtt/porch'
    const [warm, damp] = sourcesOf(
      toml(broker.port, topic, 'pointer = "/temperature"', 'warm') +
        toml(broker.port, topic, 'pointer = "/humidity"', 'damp'),
    ) as StreamSource[]
    assert.ok(warm !== undefined && damp !== undefined)
    const first = listenTo(warm)
    await using second = listenTo(damp)
    assert.deepEqual([await first.next(), await second.next()], ['ready', 'ready'])
    await client.publishAsync(topic, JSON.stringify(ZIGBEE))
    assert.deepEqual([await first.next(), await second.next()], [21.37, 51.02])
    // One goes, the other stays.
    await first[Symbol.asyncDispose]()
    await client.publishAsync(topic, JSON.stringify(ZIGBEE))
    assert.equal(await second.next(), 51.02)
    assert.deepEqual(first.values, [21.37])
    await client.endAsync()
  })

  it('does not make old values new: what it kept is a reading only where that is asked for', async () => {
    await using broker = await startBroker(files)
    const client = await broker.client()
    await client.publishAsync('old', '1', { retain: true, qos: 1 })
    await using heard = listenTo(streamOf(toml(broker.port, 'old')))
    await using asking = listenTo(streamOf(toml(broker.port, 'old', 'retained = true')))
    assert.equal(await heard.next(), 'ready')
    const said = [await asking.next(), await asking.next()]
    assert.deepEqual(new Set(said), new Set(['ready', 1]))
    await client.publishAsync('old', '2', { retain: true, qos: 1 })
    assert.deepEqual([await heard.next(), await asking.next()], [2, 2])
    await client.endAsync()
  })

  it('brings nothing out of hostile messages, and the next good one after them', async () => {
    await using broker = await startBroker(files)
    const client = await broker.client()
    await using heard = listenTo(streamOf(toml(broker.port, 't', 'pointer = "/v"')))
    assert.equal(await heard.next(), 'ready')
    const bad: readonly (readonly [string | Buffer, RegExp])[] = [
      ['', /not JSON/],
      ['{"v":NaN}', /not JSON/],
      ['{"v":1e999}', /can be kept/],
      ['['.repeat(100_000), /not JSON/],
      [`${'{"v":'.repeat(40_000)}1${'}'.repeat(40_000)}`, /list or a table/],
      [Buffer.from([0xff, 0xfe, 0x00]), /not JSON/],
      ['{"v":{"__proto__":1}}', /list or a table/],
    ]
    for (const [payload, why] of bad) {
      await client.publishAsync('t', payload, { qos: 1 })
      assert.match(String(await heard.next()), why)
    }
    // Too large for us: the broker was told, and keeps it. Of other devices' keys we hear nothing.
    await client.publishAsync('t', `{"v":1,"x":"${'y'.repeat(300_000)}"}`, { qos: 1 })
    await client.publishAsync('t', '{"w":1}', { qos: 1 })
    await client.publishAsync('t', '{"v":5}', { qos: 1 })
    assert.equal(await heard.next(), 5)
    assert.deepEqual(heard.values, [5])
    await client.endAsync()
  })

  it('is listened to again after it was killed, and says why meanwhile', async () => {
    await using broker = await startBroker(files)
    const got: unknown[] = []
    const problems: string[] = []
    const warned = Promise.withResolvers<void>()
    const write = (line: string): void => {
      problems.push(line)
      warned.resolve()
    }
    const log = pino({ level: 'warn' }, { write })
    const sources = sourcesOf(toml(broker.port, 't', 'interval = "10ms"'))
    const deps = { sources, enabled: [], intervalMs: 1000, clock: systemClock, log }
    const sampler = createSampler(deps, (readings) => {
      got.push(...readings.map(({ value }) => value))
    })
    const stop = new AbortController()
    const running = sampler.run(stop.signal).catch(() => undefined)
    try {
      await publishUntil(broker, '1', () => got.includes(1))
      await broker.kill()
      await warned.promise
      assert.match(sampler.sensors()[0]?.problem ?? '', /is lost$/)
      await broker.restart()
      await publishUntil(broker, '2', () => got.includes(2))
      assert.equal(sampler.sensors()[0]?.problem, undefined)
      assert.equal(problems.length, 1)
    } finally {
      stop.abort(new Error('stop'))
      await running
    }
  })

  it('is believed by its certificate, and believes us by a password file', async () => {
    const { ca, cert, key } = makeCertificates(files)
    const passwords = files.write('passwords', 'kith:S3cret\n')
    const { status } = spawnSync(findProgram('mosquitto_passwd') ?? 'mosquitto_passwd', [
      '-U',
      passwords,
    ])
    assert.equal(status, 0)
    await using broker = await startBroker(files, {
      tls: true,
      lines: [
        'allow_anonymous false',
        `password_file ${passwords}`,
        `cafile ${ca}`,
        `certfile ${cert}`,
        `keyfile ${key}`,
      ],
      client: () => ({ ca: readFileSync(ca), username: 'kith', password: 'S3cret' }),
    })
    const password = files.write('password', 'S3cret\n')
    const table = (more: string): StreamSource =>
      streamOf(toml(broker.port, 't', more).replace('mqtt://', 'mqtts://'))
    const login = `user = "kith"\npassword_file = "${password}"\n`
    await using heard = listenTo(table(`${login}ca_file = "${ca}"`))
    assert.equal(await heard.next(), 'ready')
    const client = await broker.client()
    await client.publishAsync('t', '4')
    assert.equal(await heard.next(), 4)
    await client.endAsync()

    const refused = async (more: string): Promise<string> => {
      const why = await listenTo(table(more)).ended
      assert.ok(!why.includes('S3cret'))
      return why
    }
    assert.match(await refused(login), /cannot be reached \((SELF_SIGNED|UNABLE|DEPTH)/)
    assert.match(await refused(`ca_file = "${ca}"`), /Not authorized/)
    files.write('password', 'wrong\n')
    assert.match(await refused(`${login}ca_file = "${ca}"`), /Not authorized/)
    files.write('password', 'S3cret\n', 0o644)
    assert.match(await refused(`${login}ca_file = "${ca}"`), /read by everybody/)
  })
})

describe('what is no broker', () => {
  async function impostor(talk: (socket: Socket) => void) {
    const server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => talk(socket))
    }).listen(0, '::1')
    await once(server, 'listening')
    return {
      port: (server.address() as AddressInfo).port,
      async [Symbol.asyncDispose]() {
        server.close()
        await once(server, 'close')
      },
    }
  }

  it('is left: one that babbles, one that hangs up, one that announces too much', async () => {
    const cases: readonly (readonly [(socket: Socket) => void, RegExp])[] = [
      [(socket) => void socket.write(Buffer.from([0x2f, 2, 0, 0])), /^\[::1\]:\d+: /],
      [(socket) => void socket.end(), /is lost$/],
      [
        (socket) => void socket.write(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f, 0, 0])),
        /larger than 256 KiB/,
      ],
    ]
    for (const [talk, why] of cases) {
      await using server = await impostor(talk)
      assert.match(await listenTo(streamOf(toml(server.port, 't'))).ended, why)
    }
  })

  it('is told from nobody', async () => {
    const { port, ...gone } = await impostor(() => undefined)
    await gone[Symbol.asyncDispose]()
    assert.match(
      await listenTo(streamOf(toml(port, 't'))).ended,
      /cannot be reached \(ECONNREFUSED\)/,
    )
  })
})

describe('the MQTT library', () => {
  it('is not loaded where nobody asks for a broker', () => {
    const index = new URL('../../node/services/sensors/index.ts', import.meta.url)
    const script = `
      const { registerHooks } = await import('node:module')
      const seen = []
      registerHooks({ resolve: (name, context, next) => (seen.push(name), next(name, context)) })
      await import(${JSON.stringify(index.href)})
      const before = seen.includes('mqtt')
      await import('mqtt')
      process.stdout.write(JSON.stringify([before, seen.includes('mqtt')]))`
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    })
    assert.deepEqual(JSON.parse(stdout), [false, true])
  })
})

/** Say it again and again until it was heard: a subscription has no echo here. */
async function publishUntil(
  broker: Awaited<ReturnType<typeof startBroker>>,
  payload: string,
  heard: () => boolean,
): Promise<void> {
  const client = await broker.client()
  while (!heard()) await client.publishAsync('t', payload, { qos: 1 })
  await client.endAsync()
}
