import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { get } from 'node:http'
import { describe, it } from 'node:test'

import { samplePrometheus, startPrometheusSink } from '../../gateway/sinks/prometheus.ts'
import { seriesOf } from '../../gateway/sinks/prometheus-names.ts'
import {
  farSide,
  found,
  freePort,
  NOW_MS,
  reading,
  sinkDeps,
  sinkSettings,
  startProgram,
} from '../helpers/far-side.ts'
import { tree } from '../helpers/sensors.ts'
import { needs } from '../helpers/tools.ts'

const signal = new AbortController().signal

async function started() {
  const port = await freePort()
  const deps = sinkDeps()
  const sink = await startPrometheusSink(sinkSettings('prometheus', `port = ${port}`), deps, signal)
  return { port, deps, sink, url: `http://[::1]:${port}/metrics` }
}

async function asked(url: string, host?: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false, headers: host === undefined ? {} : { host } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
      )
    }).once('error', reject)
  })
}

describe('names for Prometheus', () => {
  it('have base units, and values in them', () => {
    const named = (sensor: string, unit: string, value: number) => {
      const series = seriesOf(reading({ sensor, unit, value }))
      return [series?.name, series?.value]
    }
    assert.deepEqual(named('temperature.cpu', 'Cel', 40), ['kith_temperature_cpu_celsius', 40])
    assert.deepEqual(named('pressure', 'hPa', 1013.25), ['kith_pressure_pascals', 101_325])
    assert.deepEqual(named('humidity', '%RH', 45), ['kith_humidity_ratio', 0.45])
    assert.deepEqual(named('energy', 'kWh', 2), ['kith_energy_joules', 7_200_000])
    assert.deepEqual(named('uptime.seconds', 's', 5), ['kith_uptime_seconds', 5])
    assert.deepEqual(named('load', '__proto__', 1), ['kith_load_proto', 1])
    assert.deepEqual(named('9 / "}\n', '}\n', 1), ['kith_9', 1])
  })

  it('keep apart what has one name', () => {
    const one = seriesOf(reading({ sensor: 'a.b' }))
    const other = seriesOf(reading({ sensor: 'a-b' }))
    assert.equal(one?.name, other?.name)
    assert.notDeepEqual(one?.labels, other?.labels)
  })

  it('have no place for packs and for numbers that are none', () => {
    assert.equal(seriesOf(reading({ pack: new Uint8Array(3) })), undefined)
    assert.equal(seriesOf(reading({ value: NaN })), undefined)
  })
})

describe('the endpoint that Prometheus scrapes', () => {
  it('shows the newest reading, its time, and truth and texts as numbers', async () => {
    const { sink, url } = await started()
    await using _ = sink
    await sink.send(
      [
        reading(),
        reading({ value: 1, atMs: NOW_MS - 1000 }),
        reading({ sensor: 'door', unit: undefined as never, value: true }),
        reading({ sensor: 'mode', unit: undefined as never, value: 'eco "\\\n' }),
      ],
      signal,
    )
    const { text } = await asked(url)
    const labels = 'device="porch",device_id="dev1",sensor='
    assert.ok(text.includes(`kith_temperature_celsius{${labels}"temperature"} 21.5\n`), text)
    assert.ok(
      text.includes(`kith_reading_timestamp_seconds{${labels}"temperature"} ${NOW_MS / 1000}\n`),
    )
    assert.ok(text.includes(`kith_door{${labels}"door"} 1\n`))
    assert.ok(text.includes(`kith_mode_info{${labels}"mode",value="eco \\"\\\\\\n"} 1\n`))
  })

  it('forgets what was removed, lost, or may no longer leave', async () => {
    const { sink, url } = await started()
    await using _ = sink
    const device = (id: string, state: 'online' | 'lost', sensor = 'temperature') => ({
      id,
      name: id,
      state,
      fields: [{ sensor, kind: 'number' as const }],
      commands: [],
    })
    const ids = ['kept', 'removed', 'lost', 'narrowed']
    await sink.send(
      ids.map((deviceId) => reading({ deviceId, device: deviceId })),
      signal,
    )
    await sink.devices?.([
      device('kept', 'online'),
      device('lost', 'lost'),
      device('narrowed', 'online', 'other'),
    ])
    const { text } = await asked(url)
    const shown = text.split('\n').filter((line) => line.startsWith('kith_temperature'))
    assert.deepEqual(
      shown.map((line) => /device="(\w+)"/.exec(line)?.[1]),
      ['kept'],
    )
    assert.ok(text.includes('kith_device_up{device="lost",device_id="lost",state="lost"} 0\n'))
  })

  it('answers only who asks for the page, under a name of this machine', async () => {
    const { sink, url, port } = await started()
    await using _ = sink
    assert.equal((await asked(url)).status, 200)
    assert.equal((await asked(url, `localhost:${port}`)).status, 200)
    assert.equal((await asked(url, 'evil.example')).status, 403)
    assert.equal((await asked(url, '127.0.0.1.evil.example')).status, 403)
    assert.equal((await asked(url.replace('metrics', ''))).status, 404)
  })

  it('counts each line as of its sensor, and what left at the socket', async () => {
    const { sink, url, deps } = await started()
    await using _ = sink
    await sink.send([reading()], signal)
    const { text } = await asked(url)
    const lines = text.split('\n').filter((line) => line.includes('sensor="temperature"'))
    assert.equal(lines.length, 2)
    const bytes = lines.reduce((sum, line) => sum + line.length + 1, 0)
    assert.equal(deps.told.get('dev1 temperature'), bytes)
    assert.ok(deps.written() > text.length)
  })

  it('says before what would leave as it then leaves', async () => {
    const { sink, url } = await started()
    await using _ = sink
    const items = [reading(), reading({ sensor: 'mode', value: 'a"b\\' })]
    await sink.send(items, signal)
    const lines = (text: string) =>
      text
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'))
        .toSorted()
    const { gateway } = sinkDeps()
    const of = { items, devices: [], gateway }
    const [sample] = samplePrometheus(sinkSettings('prometheus'), of)
    assert.deepEqual(lines(String(sample?.body)), lines((await asked(url)).text))
  })

  it('is where nothing else listens', async () => {
    await using other = await farSide(() => ({ status: 200 }))
    const { port } = new URL(other.url)
    const settings = sinkSettings('prometheus', `port = ${port}`)
    await assert.rejects(startPrometheusSink(settings, sinkDeps(), signal), /EADDRINUSE/)
  })
})

describe('Prometheus itself', () => {
  it(
    'scrapes hostile names whole, and answers every question of the dashboard',
    needs('prometheus'),
    async () => {
      using files = tree()
      const { sink, port } = await started()
      await using _ = sink
      const device = 'por"ch\\\n{}=# \u0000 ✓'.padEnd(200, 'x')
      await sink.send(
        [
          reading({ device }),
          reading({ sensor: 'a.b', device }),
          reading({ sensor: 'a-b', device }),
        ],
        signal,
      )
      const own = await freePort()
      const config = files.write(
        'prometheus.yml',
        `scrape_configs: [{job_name: kith, scrape_interval: 100ms, scrape_timeout: 100ms, static_configs: [{targets: ['[::1]:${port}']}]}]`,
      )
      await using __ = await startProgram(
        'prometheus',
        [
          `--config.file=${config}`,
          `--storage.tsdb.path=${files.path('data')}`,
          `--web.listen-address=[::1]:${own}`,
        ],
        'Server is ready to receive web requests',
      )
      const ask = async (query: string) => {
        const url = `http://[::1]:${own}/api/v1/query?query=${encodeURIComponent(query)}`
        return JSON.parse((await asked(url)).text) as Answer
      }
      const seen = await found(async () => {
        const { data } = await ask('kith_temperature_celsius')
        return data?.result[0]
      })
      assert.equal(seen.metric['device'], device.slice(0, 128))
      assert.equal(seen.value[1], '21.5')
      assert.equal(
        (await ask('count({__name__="kith_a_b_celsius"})')).data?.result[0]?.value[1],
        '2',
      )
      for (const question of dashboardQuestions()) {
        assert.equal((await ask(question)).status, 'success', question)
      }
      assert.ok(dashboardQuestions().length >= 5)
    },
  )
})

interface Answer {
  readonly status: string
  readonly data?: { readonly result: { metric: Record<string, string>; value: [number, string] }[] }
}

/** With Grafana's own variables filled in. */
function dashboardQuestions(): string[] {
  const file = new URL('../../gateway/grafana/home.json', import.meta.url)
  const { panels } = JSON.parse(readFileSync(file, 'utf8')) as {
    panels: { targets?: { expr: string }[] }[]
  }
  return panels
    .flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
    .map((expr) => expr.replaceAll('$device', '.*').replaceAll('$__interval', '1m'))
}
