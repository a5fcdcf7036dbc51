import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { uncompress } from 'snappyjs'

import { startRemoteWriteSink } from '../../gateway/sinks/remote-write.ts'
import type { OutItem } from '../../gateway/sinks/sink.ts'
import {
  farSide,
  freePort,
  NOW_MS,
  reading,
  sinkDeps,
  sinkSettings,
  startProgram,
} from '../helpers/far-side.ts'
import { tree, type Tree } from '../helpers/sensors.ts'
import { needs } from '../helpers/tools.ts'

const signal = new AbortController().signal

async function sinkTo(url: string, ...lines: string[]) {
  const deps = sinkDeps()
  const settings = sinkSettings('remote-write', `url = "${url}"`, ...lines)
  return { deps, sink: await startRemoteWriteSink(settings, deps, signal) }
}

interface Prometheus extends AsyncDisposable {
  readonly url: string
  /** Values of the one series over the last day, with their times. */
  values(query: string): Promise<readonly (readonly [number, number])[]>
}

async function startPrometheus(files: Tree, config = ''): Promise<Prometheus> {
  const port = await freePort()
  const base = `http://[::1]:${port}`
  const program = await startProgram(
    'prometheus',
    [
      `--config.file=${files.write('prometheus.yml', config)}`,
      `--storage.tsdb.path=${files.path('data')}`,
      `--web.listen-address=[::1]:${port}`,
      '--web.enable-remote-write-receiver',
    ],
    'Server is ready to receive web requests',
  )
  return {
    url: `${base}/api/v1/write`,
    async values(query) {
      const asked = await fetch(`${base}/api/v1/query?query=${encodeURIComponent(`${query}[2d]`)}`)
      const { data } = (await asked.json()) as {
        data: { result: { values: [number, string][] }[] }
      }
      return (data.result[0]?.values ?? []).map(([at, value]) => [at * 1000, Number(value)])
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  }
}

const ago = (seconds: number, more: Partial<OutItem> = {}): OutItem =>
  reading({ atMs: NOW_MS - seconds * 1000, value: 1000 - seconds, ...more })

describe('remote-write', () => {
  it(
    'keeps original times in a real Prometheus, of an hour that comes at once',
    needs('prometheus'),
    async () => {
      using files = tree()
      await using prometheus = await startPrometheus(files)
      const { sink } = await sinkTo(prometheus.url)
      await using _ = sink
      const items = Array.from({ length: 360 }, (__, index) => ago(3600 - index * 10))
      assert.deepEqual(new Set(await sink.send(items, signal)), new Set(['sent']))
      const stored = await prometheus.values('kith_temperature_celsius{device="porch"}')
      assert.deepEqual(
        stored,
        items.map(({ atMs, value }) => [atMs, value]),
      )
    },
  )

  it(
    'sets aside what Prometheus cannot take, and nothing beside it',
    needs('prometheus'),
    async () => {
      using files = tree()
      await using prometheus = await startPrometheus(files)
      const { sink } = await sinkTo(prometheus.url)
      await using _ = sink
      await sink.send([ago(100), ago(90)], signal)
      const outcomes = await sink.send(
        [
          ago(95),
          ago(80),
          ago(86_400 * 3, { sensor: 'ancient' }),
          ago(80, { sensor: 'other', unit: 'lx' }),
          ago(80, { sensor: 'other', unit: 'lx', value: 7 }),
          ago(70),
          reading({ pack: new Uint8Array(3) }),
        ],
        signal,
      )
      const kinds = outcomes.map((outcome) =>
        typeof outcome === 'string' ? outcome : outcome.poison,
      )
      assert.match(String(kinds[0]), /out of order/i)
      assert.equal(kinds[1], 'sent')
      assert.match(String(kinds[2]), /out of bounds|too old/i)
      assert.equal(kinds[3], 'sent')
      assert.match(String(kinds[4]), /duplicate/i)
      assert.deepEqual(kinds.slice(5), ['sent', 'Prometheus has no place for this'])
      const stored = await prometheus.values('kith_temperature_celsius')
      assert.deepEqual(
        stored.map(([, value]) => value),
        [900, 910, 920, 930],
      )
    },
  )

  it(
    'is stored once where it comes twice, in a Prometheus with a window for what is late',
    needs('prometheus'),
    async () => {
      using files = tree()
      const config = 'storage: {tsdb: {out_of_order_time_window: 1h}}\n'
      await using prometheus = await startPrometheus(files, config)
      const { sink } = await sinkTo(prometheus.url)
      await using _ = sink
      const items = [ago(100), ago(90), ago(80)]
      await sink.send(items, signal)
      assert.deepEqual(await sink.send([ago(95), ...items], signal), [
        'sent',
        'sent',
        'sent',
        'sent',
      ])
      const stored = await prometheus.values('kith_temperature_celsius')
      assert.deepEqual(
        stored.map(([, value]) => value),
        [900, 905, 910, 920],
      )
    },
  )

  it('puts all samples of a series under its labels, in order of time', async () => {
    await using far = await farSide(() => ({ status: 204 }))
    const { sink } = await sinkTo(far.url)
    await using _ = sink
    await sink.send([ago(2), ago(3), ago(1)], signal)
    assert.equal(far.heard.length, 1)
    const [{ headers, body }] = far.heard as [(typeof far.heard)[number]]
    assert.equal(headers['content-encoding'], 'snappy')
    assert.equal(headers['content-type'], 'application/x-protobuf')
    assert.equal(headers['x-prometheus-remote-write-version'], '0.1.0')
    const message = Buffer.from(uncompress(new Uint8Array(body)))
    const times = [3, 2, 1].map((second) => varint(NOW_MS - second * 1000))
    const places = times.map((bytes) => message.indexOf(bytes))
    assert.ok(
      places.every((place, index) => place > (places[index - 1] ?? 0)),
      places.join(),
    )
    assert.equal(message.toString('latin1').split('__name__').length, 2)
  })

  it('waits where the server is busy, forbids or is not there, and tries nothing item by item', async () => {
    for (const status of [401, 403, 404, 429, 502, 503, 302]) {
      await using far = await farSide(() => ({ status, headers: { location: 'http://[::1]:1/' } }))
      const { sink } = await sinkTo(far.url)
      await using _ = sink
      await assert.rejects(sink.send([ago(2), ago(1)], signal), { name: 'SinkDown' }, `${status}`)
      assert.equal(far.heard.length, 1)
    }
    const { sink } = await sinkTo(`http://[::1]:${await freePort()}/`)
    await using _ = sink
    await assert.rejects(sink.send([ago(2)], signal), { name: 'SinkDown', message: /ECONNREFUSED/ })
  })
})

function varint(value: number): Buffer {
  const bytes = [0x10]
  for (let left = BigInt(value); ; left >>= 7n) {
    if (left < 128n) return Buffer.from([...bytes, Number(left)])
    bytes.push(Number(left & 127n) | 128)
  }
}
