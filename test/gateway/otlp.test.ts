import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { startOtlpSink } from '../../gateway/sinks/otlp.ts'
import {
  farSide,
  NOW_MS,
  reading,
  sinkDeps,
  sinkSettings,
  type Reply,
} from '../helpers/far-side.ts'

const signal = new AbortController().signal
const TEXT = reading({ sensor: 'mode', value: 'eco', atMs: NOW_MS - 5000 })

async function against(reply: (path: string) => Reply) {
  const far = await farSide(({ path }) => reply(path))
  const settings = sinkSettings('otlp', `url = "${far.url}/base/"`)
  return { far, sink: await startOtlpSink(settings, sinkDeps(), signal) }
}

describe('OpenTelemetry over HTTP', () => {
  it('gets numbers as gauges and texts as log records, with the times of measuring', async () => {
    const { far, sink } = await against(() => ({ status: 200, body: '{}' }))
    await using _ = far
    await using __ = sink
    const items = [
      reading(),
      TEXT,
      reading({ atMs: NOW_MS - 1000, value: 20 }),
      reading({ sensor: 'door', value: true }),
    ]
    assert.deepEqual(await sink.send(items, signal), ['sent', 'sent', 'sent', 'sent'])
    assert.deepEqual(
      far.heard.map(({ path }) => path),
      ['/base/v1/metrics', '/base/v1/logs'],
    )
    const [metrics, logs] = far.heard.map(({ body }) => JSON.parse(body.toString()) as Body)
    const [resource] = metrics?.resourceMetrics ?? []
    assert.ok(resource !== undefined)
    assert.ok(
      resource.resource.attributes.some(
        ({ key, value }) => key === 'device.id' && value.stringValue === 'dev1',
      ),
    )
    assert.deepEqual(
      resource.scopeMetrics[0]?.metrics.map(({ name, unit, gauge }) => [
        name,
        unit,
        gauge.dataPoints.map(({ timeUnixNano, asDouble }) => [timeUnixNano, asDouble]),
      ]),
      [
        [
          'kith.temperature',
          'Cel',
          [
            [`${NOW_MS}000000`, 21.5],
            [`${NOW_MS - 1000}000000`, 20],
          ],
        ],
        ['kith.door', 'Cel', [[`${NOW_MS}000000`, 1]]],
      ],
    )
    const [record] = logs?.resourceLogs?.[0]?.scopeLogs[0]?.logRecords ?? []
    assert.equal(record?.timeUnixNano, `${NOW_MS - 5000}000000`)
    assert.deepEqual(record.body, { stringValue: 'eco' })
    assert.ok(BigInt(record.observedTimeUnixNano) >= BigInt(record.timeUnixNano))
  })

  it('keeps the count where the receiver refuses a part, and sends nothing of it again', async () => {
    const body = JSON.stringify({
      partialSuccess: { rejectedDataPoints: '2', errorMessage: 'too old' },
    })
    const { far, sink } = await against(() => ({ status: 200, body }))
    await using _ = far
    await using __ = sink
    const items = [1, 2, 3].map((value) => reading({ value, atMs: NOW_MS + value }))
    const poison = { poison: 'the receiver refused 2 of 3 and does not say which: too old' }
    assert.deepEqual(await sink.send(items, signal), ['sent', poison, poison])
    assert.equal(far.heard.length, 1)
  })

  it('takes a warning, and an answer that is no JSON, as success', async () => {
    for (const body of [
      '{"partialSuccess":{"errorMessage":"slow down"}}',
      '',
      '\u0000\u0001',
      '[]',
      'null',
    ]) {
      const { far, sink } = await against(() => ({ status: 200, body }))
      await using _ = far
      await using __ = sink
      assert.deepEqual(await sink.send([reading()], signal), ['sent'], body)
    }
  })

  it('sets aside only what is refused, and waits where nobody is there', async () => {
    const { far, sink } = await against((path) =>
      path.endsWith('logs') ? { status: 400, body: 'no logs' } : { status: 200 },
    )
    await using _ = far
    await using __ = sink
    assert.deepEqual(await sink.send([reading(), TEXT, reading({ atMs: NOW_MS + 1 })], signal), [
      'sent',
      { poison: 'the receiver refused it: no logs' },
      'sent',
    ])
    const other = await against(() => ({ status: 429, headers: { 'retry-after': '3' } }))
    await using ___ = other.far
    await using ____ = other.sink
    await assert.rejects(other.sink.send([reading()], signal), { name: 'SinkDown' })
  })
})

interface Body {
  readonly resourceMetrics?: {
    readonly resource: { readonly attributes: { key: string; value: { stringValue: string } }[] }
    readonly scopeMetrics: {
      readonly metrics: {
        name: string
        unit: string
        gauge: { dataPoints: { timeUnixNano: string; asDouble: number }[] }
      }[]
    }[]
  }[]
  readonly resourceLogs?: {
    readonly scopeLogs: {
      readonly logRecords: { timeUnixNano: string; observedTimeUnixNano: string; body: unknown }[]
    }[]
  }[]
}
