import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { startKafkaSink } from '../../gateway/sinks/kafka.ts'
import { freePort, NOW_MS, reading, sinkDeps, sinkSettings } from '../helpers/far-side.ts'
import { startKafka } from '../helpers/kafka-broker.ts'

const signal = new AbortController().signal
const MESSAGE_TOO_LARGE = 10
const NOT_ENOUGH_REPLICAS = 19

async function sinkTo(port: number, ...lines: string[]) {
  const deps = sinkDeps()
  const settings = sinkSettings('kafka', `brokers = ["[::1]:${port}"]`, ...lines)
  return { deps, sink: await startKafkaSink(settings, deps, signal) }
}

describe('Kafka', () => {
  it('gets events keyed by device, in order, with the time of measuring', async () => {
    await using broker = await startKafka('kith')
    const { sink, deps } = await sinkTo(broker.port)
    const items = [5, 3, 9].map((value) => reading({ value, atMs: NOW_MS + value }))
    assert.deepEqual(await sink.send(items, signal), ['sent', 'sent', 'sent'])
    assert.deepEqual(
      broker.records.map(({ key, atMs, headers }) => [key, atMs, headers['ce_id']]),
      items.map(({ deviceId, atMs, id }) => [deviceId, atMs, id]),
    )
    const events = broker.records.map(
      ({ value }) => JSON.parse(value) as { data: { value: number } },
    )
    assert.deepEqual(
      events.map(({ data }) => data.value),
      [5, 3, 9],
    )
    assert.equal(deps.written(), broker.received())
    const bytes = broker.records.reduce((sum, { value }) => sum + value.length, 0)
    assert.equal(deps.told.get('dev1 temperature'), bytes)
    await sink[Symbol.asyncDispose]()
  })

  it('leaves out the one record that is too large', async () => {
    await using broker = await startKafka('kith', (records) =>
      records.some(({ value }) => value.includes('"value":7')) ? MESSAGE_TOO_LARGE : 0,
    )
    const { sink } = await sinkTo(broker.port)
    const items = Array.from({ length: 10 }, (_, value) => reading({ value, atMs: NOW_MS + value }))
    const outcomes = await sink.send(items, signal)
    assert.deepEqual(outcomes[7], { poison: 'Kafka refused it: MESSAGE_TOO_LARGE' })
    assert.equal(outcomes.filter((outcome) => outcome === 'sent').length, 9)
    assert.equal(broker.records.length, 9)
    await sink[Symbol.asyncDispose]()
  })

  it('is not there while it cannot keep them safe, and is found again', async () => {
    let code = NOT_ENOUGH_REPLICAS
    await using broker = await startKafka('kith', () => code)
    const { sink } = await sinkTo(broker.port)
    await assert.rejects(sink.send([reading()], signal), { name: 'SinkDown' })
    code = 0
    assert.deepEqual(await sink.send([reading()], signal), ['sent'])
    await sink[Symbol.asyncDispose]()
  })

  it('is not there where nothing listens', async () => {
    const { sink } = await sinkTo(await freePort())
    await assert.rejects(sink.send([reading()], signal), { name: 'SinkDown' })
    await sink[Symbol.asyncDispose]()
  })

  it('does not start with a user and no password, or a topic that cannot be', async () => {
    await assert.rejects(sinkTo(1, 'user = "kith"'), { code: 'NODE_CONFIG' })
    await assert.rejects(sinkTo(1, 'topic = "a/b"'), { code: 'NODE_CONFIG' })
  })
})
