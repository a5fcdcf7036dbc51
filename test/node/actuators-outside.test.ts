import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { machineOf } from '../helpers/actuators.ts'
import { startBroker, type Broker } from '../helpers/mosquitto.ts'
import { tree, type Tree } from '../helpers/sensors.ts'
import { needs } from '../helpers/tools.ts'

let files: Tree
beforeEach(() => {
  files = tree()
})
afterEach(() => files[Symbol.dispose]())

interface Asked {
  readonly method: string
  readonly url: string
  readonly type: string
  readonly body: string
  readonly authorization: string
}

interface Site extends AsyncDisposable {
  readonly url: string
  readonly asked: Asked[]
  /** What it answers: status and body. Nothing at all where undefined. */
  answer: readonly [status: number, body: string] | undefined
}

async function site(): Promise<Site> {
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      const { method = '', url = '', headers } = request
      const { 'content-type': type = '', authorization = '' } = headers
      started.asked.push({ method, url, type, body, authorization })
      const { answer } = started
      if (answer !== undefined) response.writeHead(answer[0], { location: '/x' }).end(answer[1])
    })
  }).listen(0, '::1')
  await once(server, 'listening')
  const started: Site = {
    url: `http://[::1]:${(server.address() as AddressInfo).port}`,
    asked: [],
    answer: [200, ''],
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return started
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

const NASTY = '"};&x=1#/../?%00\n$(id) \u{1F4A1}'

describe('an HTTP server', () => {
  it('is asked for a property and told what it is to be', async () => {
    await using server = await site()
    const token = files.write('token', 'secret\n')
    await using machine = machineOf(
      `[property.on]\ntype = "http"\nvalue = "boolean"\nurl = "${server.url}/rpc/Switch.Set?id=0&on={value}"\nmethod = "GET"\nstate_url = "${server.url}/state"\npointer = "/output"\ntoken_file = "${token}"\n`,
      files,
    )
    await machine.write('on', true)
    assert.equal(await machine.next(), 'on=true')
    server.answer = [200, '{"output": false}']
    assert.equal(await machine.read('on'), false)
    assert.deepEqual(
      server.asked.map(({ method, url, authorization }) => [method, url, authorization]),
      [
        ['GET', '/rpc/Switch.Set?id=0&on=true', 'Bearer secret'],
        ['GET', '/state', 'Bearer secret'],
      ],
    )
  })

  it('gets each value as one value, in the address and in what is sent', async () => {
    await using server = await site()
    const args = 'args = { text = { type = "string" }, n = { type = "number" } }'
    const action = (name: string, more: string): string =>
      `[action.${name}]\ntype = "http"\nurl = "${server.url}/a/{text}?q={text}&n={n}"\n${args}\n${more}\n`
    await using machine = machineOf(
      [
        action('json', `method = "PUT"\nbody = '{"t": {text}, "n": {n}}'`),
        action(
          'form',
          'content_type = "application/x-www-form-urlencoded"\nbody = "t={text}&n={n}"',
        ),
        action('text', 'content_type = "text/plain"\nbody = "{text}"'),
      ].join(''),
      files,
    )
    for (const text of [NASTY, '../..', '...', '%2e%2e', '']) {
      server.asked.length = 0
      for (const name of ['json', 'form', 'text']) await machine.invoke(name, { text, n: -1.5 })
      const [json, form, plain] = server.asked
      for (const { url } of server.asked) {
        const [, path = '', query = ''] = /^\/a\/([^/?]*)\?(.*)$/.exec(url) ?? []
        assert.equal(decodeURIComponent(path), text)
        assert.deepEqual(
          [...new URLSearchParams(query)],
          [
            ['q', text],
            ['n', '-1.5'],
          ],
        )
      }
      assert.deepEqual(JSON.parse(json?.body ?? ''), { t: text, n: -1.5 })
      assert.equal(json?.method, 'PUT')
      assert.equal(json.type, 'application/json')
      assert.equal(new URLSearchParams(form?.body).get('t'), text)
      assert.equal(plain?.body, text)
      assert.equal(plain.method, 'POST')
    }
  })

  it('is not asked elsewhere by a value of dots', async () => {
    await using server = await site()
    await using machine = machineOf(
      `[action.open]\ntype = "http"\nurl = "${server.url}/door/{a}{b}"\nargs = { a = { type = "string" }, b = { type = "string" } }\n`,
      files,
    )
    for (const [a, b] of [
      ['..', ''],
      ['.', '.'],
      ['', '.'],
    ] as const) {
      await assert.rejects(machine.invoke('open', { a, b }), { code: 'ACTUATOR_INVALID' })
    }
    assert.deepEqual(server.asked, [])
  })

  it('answers with the result of an action', async () => {
    await using server = await site()
    await using machine = machineOf(
      `[action.ask]\ntype = "http"\nurl = "${server.url}/"\noutput = "json"\npointer = "/a"\n`,
      files,
    )
    server.answer = [201, '{"a": {"b": [1]}}']
    assert.deepEqual(await machine.invoke('ask'), { b: [1] })
  })

  it('that refuses, sends elsewhere or says nothing has not done it', async () => {
    await using server = await site()
    await using machine = machineOf(
      `[property.on]\ntype = "http"\nvalue = "boolean"\nurl = "${server.url}/{value}"\ntimeout = "300ms"\n`,
      files,
    )
    server.answer = [403, 'secret']
    await assert.rejects(machine.write('on', true), { message: /answers with status 403$/ })
    server.answer = [302, '']
    await assert.rejects(machine.write('on', true), { message: /answers with status 302$/ })
    server.answer = undefined
    await assert.rejects(machine.write('on', true), {
      message: /within 0\.3 s$|longer than 0\.3 s$/,
    })
    assert.equal(server.asked.length, 3)
    await server[Symbol.asyncDispose]()
    await assert.rejects(machine.write('on', true), {
      message: /cannot be reached \(ECONNREFUSED\)$/,
    })
  })
})

const lamp = ({ port }: Pick<Broker, 'port'>): string =>
  [
    '[property.on]',
    'type = "mqtt"',
    'value = "boolean"',
    `broker = "mqtt://[::1]:${port}"`,
    'topic = "zigbee2mqtt/lamp/set"',
    'payload = \'{"state": {value}}\'',
    'state_topic = "zigbee2mqtt/lamp"',
    'pointer = "/state"',
    'on = "ON"',
    'off = "OFF"',
    '[action.toggle]',
    'type = "toggle"',
    'property = "on"',
    '',
  ].join('\n')

/** A lamp as Zigbee2MQTT shows it. */
async function zigbeeLamp(broker: Broker): Promise<AsyncDisposable> {
  const client = await broker.client()
  const say = (state: unknown): Promise<unknown> =>
    client.publishAsync('zigbee2mqtt/lamp', JSON.stringify({ linkquality: 134, state }), {
      qos: 1,
      retain: true,
    })
  client.on('message', (_topic, payload) => {
    const { state } = JSON.parse(payload.toString('utf8')) as { state: unknown }
    void say(state)
  })
  await client.subscribeAsync('zigbee2mqtt/lamp/set', { qos: 1 })
  await say('OFF')
  return { [Symbol.asyncDispose]: () => client.endAsync(true) }
}

describe('a lamp behind a broker', needs('mosquitto'), () => {
  it('is switched, and tells what it is, whoever switched it', async () => {
    await using broker = await startBroker(files)
    await using _lamp = await zigbeeLamp(broker)
    await using machine = machineOf(lamp(broker), files)
    assert.equal(await machine.next(), 'on=false')
    await machine.write('on', true)
    assert.equal(await machine.next(), 'on=true')
    assert.equal(await machine.read('on'), true)
    assert.equal(await machine.invoke('toggle'), false)
    assert.equal(await machine.next(), 'on=false')
    const other = await broker.client()
    await other.publishAsync('zigbee2mqtt/lamp/set', '{"state":"ON"}', { qos: 1 })
    assert.equal(await machine.next(), 'on=true')
    await other.endAsync(true)
  })

  it('says that its broker is gone, and that it is back', async () => {
    const broker = await startBroker(files)
    await using machine = machineOf(lamp(broker), files)
    const problem = (): string => machine.actuators.problems().get('property.on') ?? ''
    const client = await broker.client()
    await client.publishAsync('zigbee2mqtt/lamp', '{"state":"ON"}', { qos: 1, retain: true })
    await client.endAsync(true)
    assert.equal(await machine.next(), 'on=true')
    await broker.kill()
    await machine.until(() => /is lost$|cannot be reached/.test(problem()))
    await assert.rejects(machine.read('on'), /nothing was heard of it/)
    await assert.rejects(machine.write('on', false), /cannot be reached \(ECONNREFUSED\)$/)
    await broker.restart()
    await machine.until(() => problem() === '')
    await machine.write('on', false)
    await broker.kill()
  })

  it('says what of its words is of no use', async () => {
    await using broker = await startBroker(files)
    await using machine = machineOf(lamp(broker), files)
    const client = await broker.client()
    const words: readonly (readonly [string, RegExp])[] = [
      ['{"state":"DIM"}', /no number|neither true nor false/],
      ['no json', /is not JSON$/],
      ['{"state":{"__proto__":1}}', /list or a table/],
    ]
    for (const [said, why] of words) {
      await client.publishAsync('zigbee2mqtt/lamp', said, { qos: 1, retain: true })
      await machine.until(() => why.test(machine.actuators.problems().get('property.on') ?? ''))
    }
    await client.publishAsync('zigbee2mqtt/lamp', '{"state":"ON"}', { qos: 1 })
    assert.equal(await machine.next(), 'on=true')
    assert.equal(machine.actuators.problems().size, 0)
    await client.endAsync(true)
  })

  it('gets each value as one value', async () => {
    await using broker = await startBroker(files)
    const client = await broker.client()
    const got: string[] = []
    let wake = Promise.withResolvers<void>()
    client.on('message', (_topic, payload) => {
      got.push(payload.toString('utf8'))
      wake.resolve()
      wake = Promise.withResolvers()
    })
    await client.subscribeAsync('show/#', { qos: 1 })
    const action = (name: string, payload: string): string =>
      `[action.${name}]\ntype = "mqtt"\nbroker = "mqtt://[::1]:${broker.port}"\ntopic = "show/${name}"\npayload = '${payload}'\ninput = { type = "string" }\n`
    await using machine = machineOf(
      action('plain', '{value}') + action('json', '{"t": {value}}'),
      files,
    )
    await machine.invoke('plain', NASTY)
    await machine.invoke('json', NASTY)
    while (got.length < 2) await wake.promise
    assert.equal(got[0], NASTY)
    assert.deepEqual(JSON.parse(got[1] ?? ''), { t: NASTY })
    await client.endAsync(true)
  })

  it('may be one that Kith is not let to', async () => {
    await using broker = await startBroker(files, { lines: ['allow_anonymous false'] })
    await using machine = machineOf(lamp(broker), files)
    await assert.rejects(machine.write('on', true), {
      code: 'ACTUATOR_FAILED',
      message: /Not authorized/,
    })
  })
})
