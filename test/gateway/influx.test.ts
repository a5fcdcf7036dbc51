import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { startInfluxSink } from '../../gateway/sinks/influx.ts'
import { lineOf } from '../../gateway/sinks/influx-line.ts'
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

async function sinkTo(...lines: string[]) {
  return await startInfluxSink(sinkSettings('influx', ...lines), sinkDeps(), signal)
}

describe('line protocol', () => {
  it('keeps whatever a name holds inside it', () => {
    const device = 'a,b=c d\n e="\\'
    const line = lineOf(reading({ device, sensor: 'a b,c', value: 1 }))
    const tags = String.raw`device=a\,b\=c\ d\ \ e\="/,device_id=dev1,unit=Cel`
    assert.equal(line, String.raw`a\ b\,c,${tags} value=1 ` + `${NOW_MS}\n`)
    assert.match(lineOf(reading({ value: 'x"\\' })) ?? '', / text="x\\"\\\\" /)
    assert.equal(lineOf(reading({ value: Infinity })), undefined)
    assert.equal(lineOf(reading({ value: 'x'.repeat(70_000) })), undefined)
    assert.equal(lineOf(reading({ atMs: 1e17 })), undefined)
  })
})

describe('InfluxDB', () => {
  it('of version 2 gets the token of the file, organisation and bucket', async () => {
    using files = tree()
    await using far = await farSide(() => ({ status: 204 }))
    const token = `token_file = "${files.write('token', 'hush')}"`
    await using sink = await sinkTo(`url = "${far.url}"`, 'org = "home"', 'bucket = "b&c"', token)
    assert.deepEqual(await sink.send([reading()], signal), ['sent'])
    assert.equal(far.heard[0]?.path, '/api/v2/write?bucket=b%26c&org=home&precision=ms')
    assert.equal(far.heard[0]?.headers.authorization, 'Token hush')
  })

  it('needs a bucket, or a database', async () => {
    await assert.rejects(sinkTo('url = "http://[::1]:1"'), { code: 'NODE_CONFIG' })
    await assert.rejects(sinkTo('url = "http://[::1]:1"', 'version = 1'), { code: 'NODE_CONFIG' })
  })

  it(
    'of version 1 keeps values, times and hostile names; what it refuses stands alone',
    needs('influxdb'),
    async () => {
      using files = tree()
      const port = await freePort()
      const config = [
        'reporting-disabled = true',
        `bind-address = "[::1]:${await freePort()}"`,
        '[meta]',
        `dir = "${files.path('meta')}"`,
        '[data]',
        `dir = "${files.path('data')}"`,
        `wal-dir = "${files.path('wal')}"`,
        '[monitor]',
        'store-enabled = false',
        '[http]',
        `bind-address = "[::1]:${port}"`,
      ].join('\n')
      const url = `http://[::1]:${port}`
      await using _ = await startProgram(
        'influxd',
        ['-config', files.write('influx.conf', config)],
        'Listening for signals',
      )
      const ask = async (q: string, method = 'GET') =>
        (
          await fetch(`${url}/query?${new URLSearchParams({ db: 'home', epoch: 'ms', q })}`, {
            method,
          })
        ).json() as Promise<Found>
      await found(async () => await ask('CREATE DATABASE home', 'POST').catch(() => undefined))
      await using sink = await sinkTo(`url = "${url}"`, 'version = 1', 'database = "home"')
      const device = 'a,b=c "d" ✓'
      const good = [
        reading({ device }),
        reading({ device, atMs: NOW_MS - 86_400_000, value: 1 }),
        reading({ device, sensor: 'mode', value: 'a "b"\\, c=d\nx' }),
        reading({ device, sensor: 'door', value: true }),
      ]
      await ask('SELECT 1')
      await fetch(`${url}/write?db=home`, { method: 'POST', body: 'clash value="text"' })
      const bad = reading({ device, sensor: 'clash' })
      const outcomes = await sink.send([...good.slice(0, 2), bad, ...good.slice(2)], signal)
      assert.deepEqual(outcomes.toSpliced(2, 1), ['sent', 'sent', 'sent', 'sent'])
      assert.match(JSON.stringify(outcomes[2]), /field type conflict/)
      // What comes twice is there once.
      await sink.send(good, signal)
      const rows = async (what: string) => (await ask(what)).results[0]?.series?.[0]?.values
      assert.deepEqual(await rows('SELECT value, device, unit FROM temperature'), [
        [NOW_MS - 86_400_000, 1, device, 'Cel'],
        [NOW_MS, 21.5, device, 'Cel'],
      ])
      assert.deepEqual(await rows('SELECT text FROM mode'), [[NOW_MS, 'a "b"\\, c=d\nx']])
      assert.deepEqual(await rows('SELECT state FROM door'), [[NOW_MS, true]])
    },
  )
})

interface Found {
  readonly results: { readonly series?: { readonly values: unknown[][] }[] }[]
}
