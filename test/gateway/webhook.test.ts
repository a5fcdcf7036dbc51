import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { describe, it } from 'node:test'

import type { OutItem } from '../../gateway/sinks/sink.ts'
import { startWebhookSink } from '../../gateway/sinks/webhook.ts'
import { virtualClock } from '../helpers/clock.ts'
import {
  farSide,
  NOW_MS,
  reading,
  sinkDeps,
  sinkSettings,
  type FarSide,
  type Reply,
} from '../helpers/far-side.ts'
import { makeCertificates } from '../helpers/mosquitto.ts'
import { tree } from '../helpers/sensors.ts'
import { needs } from '../helpers/tools.ts'

const signal = new AbortController().signal
const OK = { status: 204 }

async function sinkTo(far: FarSide, lines: readonly string[] = [], folder?: string) {
  const deps = sinkDeps(folder === undefined ? {} : { folder })
  const settings = sinkSettings('webhook', `url = "${far.url}/hook?x=1"`, ...lines)
  return { deps, sink: await startWebhookSink(settings, deps, signal) }
}

const numbered = (count: number): OutItem[] =>
  Array.from({ length: count }, (_, value) => reading({ id: `dev1/${value}/0`, value }))

const valuesOf = (body: Buffer): unknown[] =>
  (JSON.parse(body.toString()) as { data: { value: unknown } }[]).map(({ data }) => data.value)

describe('webhooks', () => {
  it('are CloudEvents 1.0 in batches, with the time of measuring', async () => {
    await using far = await farSide(() => OK)
    const { sink } = await sinkTo(far)
    await using _ = sink
    const pack = new Uint8Array([1, 2, 255])
    const items = [reading(), reading({ id: 'dev1/9', sensor: '', value: '', pack })]
    assert.deepEqual(await sink.send(items, signal), ['sent', 'sent'])
    const [heard] = far.heard
    assert.equal(heard?.path, '/hook?x=1')
    assert.match(String(heard?.headers['content-type']), /^application\/cloudevents-batch\+json/)
    const time = new Date(NOW_MS).toISOString()
    const common = { specversion: '1.0', source: 'urn:kith:dev1', time }
    assert.deepEqual(JSON.parse(heard?.body.toString() ?? ''), [
      {
        ...common,
        id: `dev1/${NOW_MS}/temperature`,
        type: 'kith.reading.v1',
        subject: 'temperature',
        datacontenttype: 'application/json',
        data: { device: 'porch', sensor: 'temperature', value: 21.5, unit: 'Cel' },
      },
      {
        ...common,
        id: 'dev1/9',
        type: 'kith.pack.v1',
        subject: 'porch',
        datacontenttype: 'application/cbor',
        data_base64: 'AQL/',
      },
    ])
  })

  it('are signed with the key in the file, which is nowhere else', async () => {
    using files = tree()
    const key = Buffer.from('a key of the receiver')
    const secret = `whsec_${key.toString('base64')}`
    const file = files.write('secret', `${secret}\n`)
    await using far = await farSide(() => ({ status: 401 }))
    const { sink, deps } = await sinkTo(far, [`secret_file = "${file}"`])
    await using _ = sink
    const failed = await sink.send([reading()], signal).catch((error: unknown) => error as Error)
    const [heard] = far.heard
    const id = String(heard?.headers['webhook-id'])
    const sent = `${id}.${String(heard?.headers['webhook-timestamp'])}.${heard?.body.toString()}`
    const mac = createHmac('sha256', key).update(sent).digest('base64')
    assert.equal(heard?.headers['webhook-signature'], `v1,${mac}`)
    await sink.send([reading()], signal).catch(() => undefined)
    assert.equal(far.heard[1]?.headers['webhook-id'], id)
    const visible = `${deps.logged.join('')}${String((failed as Error).stack)}`
    assert.ok(!visible.includes(secret) && !visible.includes(mac))
  })

  it('stop for good with 410, also after a start, until the address is another', async () => {
    using files = tree()
    const folder = files.path('sink')
    await using far = await farSide(() => ({ status: 410 }))
    const gone = { poison: 'the receiver has unsubscribed' }
    for (const _ of ['now', 'after a start']) {
      const { sink } = await sinkTo(far, [], folder)
      await using __ = sink
      assert.deepEqual(await sink.send(numbered(2), signal), [gone, gone])
      assert.equal(far.heard.length, 1)
    }
    assert.ok(existsSync(folder))
    await using other = await farSide(() => OK)
    const { sink } = await sinkTo(other, [], folder)
    await using _ = sink
    assert.deepEqual(await sink.send(numbered(2), signal), ['sent', 'sent'])
  })

  it('wait as long as the receiver asks, and a little more', async () => {
    const waits: Record<string, [number, number]> = {
      '7': [7000, 7700],
      [new Date(Date.now() + 60_000).toUTCString()]: [55_000, 66_001],
      '999999': [3_600_000, 3_960_000],
    }
    for (const [value, [least, most]] of Object.entries(waits)) {
      await using far = await farSide(() => ({ status: 503, headers: { 'retry-after': value } }))
      const { sink } = await sinkTo(far)
      await using _ = sink
      await assert.rejects(sink.send(numbered(1), signal), (error: { retryAfterMs?: number }) => {
        const { retryAfterMs = 0 } = error
        assert.ok(retryAfterMs >= least && retryAfterMs <= most, `${retryAfterMs}`)
        return true
      })
    }
  })

  it('do not go where they are sent', async () => {
    await using elsewhere = await farSide(() => OK)
    const headers = { location: elsewhere.url }
    await using far = await farSide(() => ({ status: 308, headers }))
    const { sink } = await sinkTo(far)
    await using _ = sink
    await assert.rejects(sink.send(numbered(1), signal), { name: 'SinkDown', message: /elsewhere/ })
    assert.equal(elsewhere.heard.length, 0)
  })

  it('leave out the one event that is refused, and send the others once in order', async () => {
    const taken: unknown[] = []
    await using far = await farSide(({ body }): Reply => {
      const values = valuesOf(body)
      if (values.includes(37)) return { status: 400, body: 'no 37\n\u001b[31m' }
      taken.push(...values)
      return OK
    })
    const { sink } = await sinkTo(far)
    await using _ = sink
    const outcomes = await sink.send(numbered(100), signal)
    assert.deepEqual(outcomes[37], { poison: 'the receiver refused it: no 37 [31m' })
    assert.equal(outcomes.filter((outcome) => outcome === 'sent').length, 99)
    assert.deepEqual(taken, Array.from({ length: 100 }, (__, value) => value).toSpliced(37, 1))
  })

  it('hold back only the device whose event the receiver fails at', async () => {
    await using far = await farSide(({ body }): Reply =>
      body.includes('urn:kith:bad') ? { status: 500 } : OK,
    )
    const { sink } = await sinkTo(far)
    await using _ = sink
    const items = ['a', 'bad', 'b', 'bad', 'a'].map((deviceId, seq) =>
      reading({ deviceId, id: `${deviceId}/${seq}/0` }),
    )
    assert.deepEqual(await sink.send(items, signal), ['sent', 'retry', 'sent', 'retry', 'sent'])
  })

  it('see a receiver that fails at everything as one that is not there', async () => {
    await using far = await farSide(() => ({ status: 500 }))
    const { sink } = await sinkTo(far)
    await using _ = sink
    const items = Array.from({ length: 100 }, (__, index) => reading({ deviceId: `dev${index}` }))
    await assert.rejects(sink.send(items, signal), { name: 'SinkDown' })
    assert.ok(far.heard.length < 16, `${far.heard.length}`)
  })

  it('keep only the beginning of a long answer', async () => {
    await using far = await farSide(() => ({ status: 400, body: 'x'.repeat(5_000_000) }))
    const { sink } = await sinkTo(far)
    await using _ = sink
    const [outcome] = await sink.send(numbered(1), signal)
    assert.ok(JSON.stringify(outcome).length < 400)
  })

  it('give up on a receiver that says nothing in time', async () => {
    const clock = virtualClock()
    await using server = createServer().listen(0, '::1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const settings = sinkSettings('webhook', `url = "http://[::1]:${port}/"`, 'timeout = "5s"')
    await using sink = await startWebhookSink(settings, sinkDeps({ clock }), signal)
    const sending = assert.rejects(sink.send(numbered(1), signal), {
      name: 'SinkDown',
      message: /no whole answer within 5 s/,
    })
    const [socket] = (await once(server, 'connection')) as [Socket]
    await clock.advance(5000)
    await sending
    socket.destroy()
  })

  it('count what left at the socket, below TLS', needs('mosquitto'), async () => {
    using files = tree()
    const { ca, cert, key } = makeCertificates(files)
    await using far = await farSide(() => OK, { cert, key })
    const { sink, deps } = await sinkTo(far, [`ca_file = "${ca}"`])
    await using _ = sink
    assert.deepEqual(
      await sink.send(numbered(50), signal),
      numbered(50).map(() => 'sent'),
    )
    const body = far.heard[0]?.body.length ?? 0
    assert.equal(deps.written(), far.received())
    assert.ok(deps.written() > body)
    const told = deps.told.get('dev1 temperature') ?? 0
    assert.ok(told <= body && told >= body - 50, `${told} of ${body}`)
  })

  it('refuse a server that another authority vouches for', needs('mosquitto'), async () => {
    using files = tree()
    using others = tree()
    await using far = await farSide(() => OK, makeCertificates(files))
    for (const lines of [[], [`ca_file = "${makeCertificates(others).ca}"`]]) {
      const { sink } = await sinkTo(far, lines)
      await using _ = sink
      await assert.rejects(sink.send(numbered(1), signal), { name: 'SinkDown' })
    }
    assert.equal(far.heard.length, 0)
  })

  it('refuse a secret that everybody can read, and say so without it', async () => {
    using files = tree()
    const file = files.path('secret')
    writeFileSync(file, 'hush', { mode: 0o644 })
    await using far = await farSide(() => OK)
    await assert.rejects(sinkTo(far, [`secret_file = "${file}"`]), (error: Error) => {
      assert.match(error.message, /can be read by everybody/)
      return !error.message.includes('hush')
    })
  })
})
