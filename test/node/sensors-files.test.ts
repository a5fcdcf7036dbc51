import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { renameSync, rmSync, symlinkSync } from 'node:fs'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { watchFile } from '../../node/machine/watch-file.ts'
import type { PolledSource } from '../../node/services/sensors/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { polledOf, sourcesOf, tree, valueOf, type Tree } from '../helpers/sensors.ts'

let files: Tree
beforeEach(() => {
  files = tree()
})
afterEach(() => files[Symbol.dispose]())

const fileToml = (path: string, more = ''): string =>
  `[sensor.a]\ntype = "file"\npath = "${path}"\n${more}`

describe('a file', () => {
  it('gives a number, with scale, offset and unit', async () => {
    const path = files.write('in', ' 21500\n')
    const source = polledOf(fileToml(path, 'scale = 0.001\noffset = -0.5\nunit = "Cel"'))
    assert.deepEqual(await source.read(), [{ sensor: 'a', unit: 'Cel', value: 21 }])
    assert.deepEqual(source.describe(), [{ name: 'a', unit: 'Cel', description: `From ${path}` }])
  })

  it('gives what a pattern finds in it', async () => {
    const path = files.write('in', 'a: 1\nwatts: 12.5 W\n')
    assert.equal(await valueOf(polledOf(fileToml(path, "pattern = '^watts: ([0-9.]+)'"))), 12.5)
    assert.equal(await valueOf(polledOf(fileToml(path, "pattern = '[0-9]+[.][0-9]+'"))), 12.5)
    await assert.rejects(valueOf(polledOf(fileToml(path, "pattern = 'amps'"))), /nowhere/)
  })

  it('gives numbers for words', async () => {
    const path = files.write('in', 'charging\n')
    const toml = fileToml(path, 'map = { charging = 1, idle = 0 }')
    assert.equal(await valueOf(polledOf(toml)), 1)
    files.write('in', 'constructor\n')
    await assert.rejects(valueOf(polledOf(toml)), /no number/)
  })

  it('gives nothing but finite decimal numbers', async () => {
    for (const text of [
      '',
      ' ',
      'NaN',
      'Infinity',
      '1e999',
      '0x10',
      '1,5',
      '1 2',
      '--1',
      '1n',
      '٣',
    ]) {
      const source = polledOf(fileToml(files.write('in', text)))
      await assert.rejects(valueOf(source), RangeError, text)
    }
    for (const [text, value] of [
      ['-1.5e2', -150],
      ['.5', 0.5],
      ['+7', 7],
      ['5.', 5],
    ] as const) {
      assert.equal(await valueOf(polledOf(fileToml(files.write('in', text)))), value)
    }
  })

  it('is refused where it is no small text, without a wait', async () => {
    const pipe = files.path('pipe')
    execFileSync('mkfifo', [pipe])
    symlinkSync(files.path('b'), files.path('loop'))
    symlinkSync(files.path('loop'), files.path('b'))
    const cases: readonly (readonly [string, RegExp])[] = [
      [pipe, /is not a file$/],
      ['/dev/zero', /is not a file$/],
      [files.root, /is (not a file|a folder)$/],
      [files.path('loop'), /chain of links/],
      [files.path('none'), /is not there$/],
      [files.path('none/below'), /is not there$/],
      [files.write('huge', '1'.repeat(65_537)), /larger than 64 KiB$/],
      [
        files.write(
          'binary',
          Uint8Array.from({ length: 999 }, (_, i) => i % 256),
        ),
        /no number/,
      ],
    ]
    for (const [path, why] of cases) {
      await assert.rejects(valueOf(polledOf(fileToml(path))), why, path)
    }
  })

  it('is read again when it has come back', async () => {
    const path = files.write('in', '1')
    const source = polledOf(fileToml(path))
    assert.equal(await valueOf(source), 1)
    renameSync(path, files.path('away'))
    await assert.rejects(valueOf(source), /is not there/)
    files.write('in', '2')
    assert.equal(await valueOf(source), 2)
  })
})

describe('a 1-wire sensor', () => {
  const ID = '28-0316a2794bff'
  const toml = `[sensor.cellar]\ntype = "w1"\nid = "${ID}"\n`
  const slave = (memory: string, sum: string, t: string): string =>
    `${memory} : crc=${memory.slice(-2)} ${sum}\n${memory} t=${t}\n`
  const put = (text: string): string => files.write(`sys/bus/w1/devices/${ID}/w1_slave`, text)

  it('gives degrees', async () => {
    put(slave('72 01 4b 46 7f ff 0e 10 57', 'YES', '23125'))
    const source = polledOf(toml, files.root)
    assert.deepEqual(await source.read(), [{ sensor: 'cellar', unit: 'Cel', value: 23.125 }])
    put(slave('f8 ff 4b 46 7f ff 08 10 57', 'YES', '-500'))
    assert.equal(await valueOf(source), -0.5)
    put(slave('50 05 4b 46 7f ff 10 10 57', 'YES', '85000'))
    assert.equal(await valueOf(source), 85)
  })

  it('gives nothing where wires or power are bad', async () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      [slave('72 01 4b 46 7f ff 0e 10 57', 'NO', '23125'), /damaged/],
      [slave('00 00 00 00 00 00 00 00 00', 'YES', '0'), /pulled down/],
      [slave('50 05 4b 46 7f ff 0c 10 1c', 'YES', '85000'), /lost power/],
      ['', /another form/],
      ['t=23125\n', /another form/],
      [slave('72 01 4b 46 7f ff 0e 10 57', 'YES', '99999999'), /another form/],
    ]
    const source = polledOf(toml, files.root)
    for (const [text, why] of cases) {
      put(text)
      await assert.rejects(valueOf(source), why, text)
    }
    rmSync(files.path('sys'), { recursive: true })
    await assert.rejects(valueOf(source), /is not there/)
  })

  it('does not fail because another of the bus does', async () => {
    put(slave('72 01 4b 46 7f ff 0e 10 57', 'YES', '23125'))
    const sources = sourcesOf(
      `[sensor.b]\ntype = "w1"\nid = "28-000000000000"\n${toml}`,
      files.root,
    )
    const results = await Promise.allSettled(
      sources.map(async (source) => ('read' in source ? valueOf(source) : undefined)),
    )
    assert.deepEqual(
      results.map(({ status }) => status),
      ['rejected', 'fulfilled'],
    )
  })
})

describe('a converter or sensor chip', () => {
  const toml = (device: string, channel: string): string =>
    `[sensor.a]\ntype = "iio"\ndevice = "${device}"\nchannel = "${channel}"\n`
  const put = (device: number, name: string, text: string): string =>
    files.write(`sys/bus/iio/devices/iio:device${device}/${name}`, text)

  it('gives what the driver computed, in units of SenML', async () => {
    put(0, 'name', 'bme280\n')
    put(0, 'in_temp_input', '21530\n')
    put(0, 'in_humidityrelative_input', '43123\n')
    put(0, 'in_pressure_input', '101.325\n')
    const read = async (channel: string): Promise<unknown> =>
      (await polledOf(toml('bme280', channel), files.root).read())[0]
    assert.deepEqual(await read('temp'), { sensor: 'a', unit: 'Cel', value: 21.53 })
    assert.deepEqual(await read('humidityrelative'), { sensor: 'a', unit: '%RH', value: 43.123 })
    assert.deepEqual(await read('pressure'), { sensor: 'a', unit: 'Pa', value: 101_325 })
  })

  it('makes a value of raw, offset and scale, also where channels share them', async () => {
    put(1, 'in_voltage0_raw', '1000\n')
    put(1, 'in_voltage_scale', '0.5\n')
    put(1, 'in_voltage0_offset', '-200\n')
    put(1, 'in_count_raw', '7\n')
    const volts = polledOf(toml('iio:device1', 'voltage0'), files.root)
    assert.deepEqual(await volts.read(), [{ sensor: 'a', unit: 'V', value: 0.4 }])
    const count = polledOf(toml('iio:device1', 'count'), files.root)
    assert.deepEqual(await count.read(), [{ sensor: 'a', value: 7 }])
  })

  it('says what is missing, double or broken', async () => {
    const read = (device: string): Promise<unknown> =>
      valueOf(polledOf(toml(device, 'temp'), files.root))
    await assert.rejects(read('bme280'), /no chip named bme280/)
    put(0, 'name', 'bme280\n')
    await assert.rejects(read('bme280'), /in_temp_raw is not there/)
    put(0, 'in_temp_input', 'x\n')
    await assert.rejects(read('bme280'), RangeError)
    put(1, 'name', 'bme280\n')
    await assert.rejects(read('bme280'), /iio:device0, iio:device1/)
  })
})

describe('a pin', () => {
  it('gives 0 or 1, or the other way round, and nothing else', async () => {
    const path = files.write('value', '1\n')
    const toml = `[sensor.door]\ntype = "gpio"\npath = "${path}"\n`
    const source = polledOf(toml)
    assert.equal(await valueOf(source), 1)
    assert.equal(await valueOf(polledOf(`${toml}invert = true`)), 0)
    files.write('value', '0\n')
    assert.equal(await valueOf(source), 0)
    files.write('value', '2\n')
    await assert.rejects(valueOf(source), /neither 0 nor 1/)
  })
})

describe('a file that is watched', () => {
  /** Resolves with what the source says once it says `value`, whatever it tells before. */
  function until(source: PolledSource, value: number, act: () => void): Promise<void> {
    const stop = new AbortController()
    return new Promise<void>((resolve) => {
      const look = async (): Promise<void> => {
        if ((await valueOf(source).catch(() => undefined)) === value) resolve()
      }
      source.watch?.(() => void look(), stop.signal)
      act()
    }).finally(() => stop.abort())
  }

  it('tells of what is written in place', async () => {
    const path = files.write('in', '1\n')
    const source = polledOf(fileToml(path, 'watch = true'))
    await until(source, 2, () => files.write('in', '2\n'))
  })

  it('tells of what takes its place, again and again', async () => {
    const path = files.write('in', '1\n')
    const source = polledOf(fileToml(path, 'watch = true'))
    for (const value of [2, 3, 4]) {
      files.write('new', `${value}\n`)
      await until(source, value, () => renameSync(files.path('new'), path))
    }
  })

  it('tells when it comes, and of what its link leads to', async () => {
    const pin = polledOf(`[sensor.a]\ntype = "gpio"\nwatch = true\npath = "${files.path('pin')}"`)
    await until(pin, 1, () => files.write('pin', '1\n'))
    const target = files.write('below/target', '1\n')
    symlinkSync(target, files.path('link'))
    const source = polledOf(fileToml(files.path('link'), 'watch = true'))
    await until(source, 7, () => files.write('below/target', '7\n'))
  })

  it('is found again where its folder went and came', async () => {
    const path = files.write('folder/in', '1\n')
    const clock = virtualClock()
    const stop = new AbortController()
    const told: unknown[] = []
    watchFile(path, clock, () => told.push(1), stop.signal)
    /** Asks the kernel meanwhile, which the clock knows nothing of. */
    const untilTold = async (act: () => void): Promise<void> => {
      told.length = 0
      act()
      while (told.length === 0) await clock.advance(5000)
    }
    await untilTold(() => rmSync(files.path('folder'), { recursive: true }))
    await untilTold(() => files.write('folder/in', '2\n'))
    await untilTold(() => files.write('folder/in', '3\n'))
    stop.abort()
  })

  it('gives no second reading of the same value, and none of the emptiness between two', async () => {
    const path = files.write('in', '')
    const source = polledOf(fileToml(path, 'watch = true'))
    assert.equal(source.pace?.deadband, 0)
    assert.equal(polledOf(fileToml(path, 'interval = "20ms"')).pace?.deadband, 0)
    assert.equal(polledOf(fileToml(path)).pace?.deadband, undefined)
    const reading = valueOf(source)
    files.write('in', '5')
    assert.equal(await reading, 5)
  })
})
