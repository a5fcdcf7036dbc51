import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import pino from 'pino'

import { builtInSources, isChosen, type PolledSource } from '../../node/services/sensors/index.ts'
import { createSampler } from '../../node/services/telemetry/sampler.ts'
import { requireReading, type Reading } from '../../protocols/telemetry/index.ts'
import { virtualClock } from '../helpers/clock.ts'

let root = ''

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kith-sensors-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function file(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

function source(id: string): PolledSource {
  const found = builtInSources({ root, dataDir: root }).find((one) => one.id === id)
  assert.ok(found)
  return found
}

async function valuesOf(one: PolledSource): Promise<Record<string, unknown>> {
  return Object.fromEntries((await one.read()).map(({ sensor, value }) => [sensor, value]))
}

describe('built-in sensors', () => {
  it('read this very machine, and give readings that a pack can carry', async () => {
    const readable: string[] = []
    for (const one of builtInSources({ dataDir: root })) {
      const names = one.describe().map(({ name }) => name)
      const samples = await one.read()
      for (const sample of samples) {
        requireReading({ ...sample, atMs: 0 })
        assert.ok(names.includes(sample.sensor))
      }
      if (samples.length > 0) readable.push(one.id)
    }
    for (const id of ['load', 'memory', 'uptime', 'disk']) assert.ok(readable.includes(id), id)
  })

  it('take load, memory and uptime from the kernel’s files', async () => {
    file('proc/loadavg', '0.52 0.58 0.59 1/467 12345\n')
    file('proc/meminfo', 'MemTotal:        1000 kB\nMemFree:  1 kB\nMemAvailable:     400 kB\n')
    file('proc/uptime', '3600.75 7000.00\n')
    assert.deepEqual(await valuesOf(source('load')), { load: 0.52 })
    const memory = { 'memory.used': 600 * 1024, 'memory.available': 400 * 1024 }
    assert.deepEqual(await valuesOf(source('memory')), memory)
    assert.deepEqual(await valuesOf(source('uptime')), { uptime: 3600 })
  })

  it('measure the processor between two readings', async () => {
    const cpu = source('cpu')
    file('proc/stat', 'cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1\n')
    assert.deepEqual(await cpu.read(), [])
    file('proc/stat', 'cpu  150 0 125 720 105 0 0 0 0 0\n')
    assert.deepEqual(await valuesOf(cpu), { cpu: 0.75 })
  })

  it('count the network of each interface but the loopback', async () => {
    file(
      'proc/net/dev',
      'Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n' +
        '    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n' +
        '  eth0.5:1000 10 0 0 0 0 0 0 2000 20 0 0 0 0 0 0\n',
    )
    assert.deepEqual(await valuesOf(source('network')), {
      'network.eth0-5.rx-bytes': 1000,
      'network.eth0-5.rx-packets': 10,
      'network.eth0-5.tx-bytes': 2000,
      'network.eth0-5.tx-packets': 20,
    })
  })

  it('find temperatures of zones and chips, and leave out the one that is broken', async () => {
    file('sys/class/thermal/thermal_zone0/type', 'cpu-thermal\n')
    file('sys/class/thermal/thermal_zone0/temp', '48312\n')
    file('sys/class/thermal/thermal_zone1/temp', 'broken\n')
    file('sys/class/hwmon/hwmon2/name', 'nvme\n')
    file('sys/class/hwmon/hwmon2/temp1_input', '-5000\n')
    file('sys/class/hwmon/hwmon2/temp1_label', 'Composite <b>\n')
    const temperature = source('temperature')
    assert.deepEqual(await valuesOf(temperature), {
      'temperature.zone0-cpu-thermal': 48.312,
      'temperature.mon2-nvme.Composite-b-': -5,
    })
    assert.equal(temperature.describe().length, 3)
  })

  it('reject where the machine does not answer', async () => {
    file('proc/loadavg', 'nonsense\n')
    await assert.rejects(source('load').read(), RangeError)
    await assert.rejects(source('memory').read(), /ENOENT/)
    assert.deepEqual(await source('temperature').read(), [])
  })
})

describe('choosing sensors', () => {
  it('goes by name, by the beginning of a name, and by pattern', () => {
    const chosen: [string, string, boolean][] = [
      ['memory.used', 'memory', true],
      ['memory.used', 'memory.used', true],
      ['memory.used', 'mem', false],
      ['memory.used', '*', true],
      ['memory.used', '*.used', true],
      ['memory.used', 'm*.u*d', true],
      ['memory.used', 'memory.*', true],
      ['memory', 'memory.*', false],
      ['aba', 'ab*ba', false],
      ['memory.used', '', false],
    ]
    for (const [name, pattern, expected] of chosen) {
      assert.equal(isChosen(name, [pattern]), expected, `${name} ${pattern}`)
    }
    assert.equal(isChosen('load', []), false)
  })
})

describe('sampling', () => {
  function sampling(sources: readonly PolledSource[], enabled: readonly string[] = ['*']) {
    const clock = virtualClock()
    const got: Reading[] = []
    const log = pino({ level: 'silent' })
    const deps = { sources, enabled, intervalMs: 1000, clock, log }
    const sampler = createSampler(deps, (readings) => got.push(...readings))
    return { clock, got, sampler }
  }

  function fake(id: string, read: () => Promise<number>): PolledSource {
    return {
      id,
      describe: () => [{ name: id, unit: 'count', description: id }],
      read: async () => [{ sensor: id, unit: 'count', value: await read() }],
    }
  }

  it('reads at the interval, with the time of the reading, until it is stopped', async () => {
    const stop = new AbortController()
    const { clock, got, sampler } = sampling([fake('a', () => Promise.resolve(1))])
    const running = assert.rejects(sampler.run(stop.signal))
    await clock.advance(2500)
    stop.abort(new Error('stop'))
    await running
    await clock.advance(5000)
    const start = clock.now() - 7500
    assert.deepEqual(
      got.map(({ atMs }) => atMs - start),
      [0, 1000, 2000],
    )
  })

  it('goes on with the others when one fails and one never answers', async () => {
    const broken = fake('broken', () => Promise.reject(new Error('no such bus')))
    const silent = fake('silent', () => new Promise(() => undefined))
    const mute: PolledSource = {
      ...broken,
      id: 'mute',
      describe: () => {
        throw new Error('gone')
      },
    }
    const { clock, got, sampler } = sampling([
      broken,
      silent,
      mute,
      fake('good', () => Promise.resolve(1)),
    ])
    const stop = new AbortController()
    const running = assert.rejects(sampler.run(stop.signal))
    await clock.advance(1500)
    stop.abort(new Error('stop'))
    await running
    assert.deepEqual(
      got.map(({ sensor }) => sensor),
      ['good', 'good'],
    )
    const problems = sampler.sensors().map(({ name, problem }) => [name, problem])
    assert.deepEqual(problems, [
      ['broken', 'no such bus'],
      ['silent', 'the last reading has not come yet'],
      ['good', undefined],
    ])
  })

  it('does not touch what is off, and obeys a change at once', async () => {
    let reads = 0
    const counted = fake('counted', () => Promise.resolve(++reads))
    const { got, sampler } = sampling([counted], [])
    await sampler.sample()
    assert.equal(reads, 0)
    assert.equal(sampler.setEnabled('counted', true), true)
    assert.equal(sampler.setEnabled('unheard', true), false)
    await sampler.sample()
    const [state] = sampler.sensors()
    assert.deepEqual([state?.on, state?.value], [true, 1])
    sampler.setEnabled('counted', false)
    await sampler.sample()
    assert.deepEqual([reads, got.length], [1, 1])
  })
})
