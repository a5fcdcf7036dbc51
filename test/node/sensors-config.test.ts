import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { readConfigText, setInText } from '../../node/config-file.ts'
import {
  checkSensor,
  SENSOR_SCHEMAS,
  SENSOR_TYPES,
  type SensorType,
} from '../../node/config-sensors.ts'

const WHOLE: Readonly<Record<string, string>> = {
  file: 'path = "/sys/x"\npattern = "t=(\\\\d+)"\nscale = 0.001\noffset = -1.5\nunit = "Cel"\ninterval = "30s"',
  w1: 'id = "28-0316a2794bff"\nresolution = 0.1\nheartbeat = "15m"',
  iio: 'device = "bme280"\nchannel = "humidityrelative"\ndeadband = 0.5',
  gpio: 'path = "/sys/class/gpio/gpio17/value"\ninvert = true',
  command:
    'command = ["/usr/bin/env", "-i", ""]\nformat = "ndjson"\npointer = "/a"\ntimeout = "1m"',
  http: 'url = "https://[::1]:8443/status"\npointer = "/a/0"\ntimeout = "2s"\ntoken_file = "/t"\nca_file = "/c"',
  mqtt: 'broker = "mqtts://[::1]"\ntopic = "zigbee2mqtt/Living room"\npointer = "/temperature"\nuser = "kith"\npassword_file = "/p"\nca_file = "/c"\nclient_id = "me"\nretained = true\nversion = 4\nmap = { ON = 1, OFF = 0 }',
  push: 'description = "From a script"\ninterval = "100ms"',
}

function sensorKeys(type: SensorType): readonly string[] {
  return Object.keys(SENSOR_SCHEMAS[type].entries)
}

function problemsOf(text: string): string[] {
  return readConfigText(text).problems.map(({ key, line, why }) => `${line ?? '-'} ${key}: ${why}`)
}

describe('the tables of sensors', () => {
  it('take every kind with all of its keys', () => {
    assert.deepEqual(Object.keys(WHOLE).toSorted(), SENSOR_TYPES.toSorted())
    for (const [type, keys] of Object.entries(WHOLE)) {
      const { sensors, problems } = readConfigText(`[sensor.a]\ntype = "${type}"\n${keys}\n`)
      assert.deepEqual(problems, [], type)
      assert.equal(sensors[0]?.type, type)
      assert.equal(sensors[0]?.name, 'a')
    }
  })

  it('give durations in milliseconds and what was not said its default', () => {
    const { sensors } = readConfigText(
      '[sensor."garden.air"]\ntype = "w1"\nid = "28-0316a2794bff"\ninterval = "30s"\nheartbeat = "1h"\nresolution = 0.5\n',
    )
    assert.deepEqual(sensors, [
      {
        type: 'w1',
        name: 'garden.air',
        id: '28-0316a2794bff',
        scale: 1,
        offset: 0,
        interval: 30_000,
        heartbeat: 3_600_000,
        resolution: 0.5,
      },
    ])
  })

  const mistakes: readonly (readonly [text: string, problem: RegExp])[] = [
    [
      '[sensor.a]\ntype = "w1"\nid = "28-0316a2794bff"\nintervall = "1s"',
      /^4 sensor\.a\.intervall: .*did you mean interval\?$/,
    ],
    ['# x\n[sensor.a]\ntype = "w2"', /^3 sensor\.a\.type: must be one of file, w1/],
    ['[sensor.a]\nunit = "Cel"', /^1 sensor\.a\.type: must be one of/],
    [
      '[mesh]\nport = 1\n[sensor.b]\ntype = "push"\n[sensor.a]\ntype = "file"',
      /^5 sensor\.a\.path: is missing$/,
    ],
    ['[sensor.a]\ntype = "file"\npath = "x"', /^3 .*whole path/],
    ['[sensor.a]\ntype = "file"\npath = "/x"\npattern = "("', /^4 .*regular expression/],
    ['[sensor.a]\ntype = "file"\npath = "/x"\npattern = "(a)(b)"', /^4 .*at most one group/],
    ['[sensor.a]\ntype = "file"\npath = "/x"\nunit = "°C"', /^4 .*unit of SenML, like Cel/],
    ['[sensor.a]\ntype = "file"\npath = "/x"\nscale = nan', /^4 .*must be a number/],
    ['[sensor.a]\ntype = "file"\npath = "/x"\ninterval = "1ms"', /^4 .*must be from 20ms to 1d/],
    [
      '[sensor.a]\ntype = "http"\nurl = "http://h"\ninterval = "20ms"',
      /^4 .*must be from 1s to 1d/,
    ],
    [
      '[sensor.a]\ntype = "gpio"\npath = "/sys/class/gpio/gpio17/value"\nwatch = true',
      /^4 .*interval = "20ms"/,
    ],
    ['[sensor.a]\ntype = "file"\npath = "/x"\nheartbeat = "1m"', /^4 .*needs deadband/],
    ['[sensor.a]\ntype = "file"\npath = "/x"\ninterval = 10', /^4 .*like "10s"/],
    [
      '[sensor.a]\ntype = "file"\npath = "/x"\nheartbeat = "1h"',
      /^4 .*needs deadband or resolution/,
    ],
    ['[sensor.a]\ntype = "w1"\nid = "../../etc"', /^3 .*sensor’s name, like/],
    ['[sensor.a]\ntype = "iio"\ndevice = "../x"\nchannel = "temp"', /^3 .*device’s name/],
    ['[sensor.a]\ntype = "command"\ncommand = "rm -rf /"', /^3 .*must be a list/],
    ['[sensor.a]\ntype = "command"\ncommand = ["ls"]', /^3 .*begin with a whole path/],
    ['[sensor.a]\ntype = "command"\ncommand = []', /^3 .*(name a program|begin)/],
    ['[sensor.a]\ntype = "command"\ncommand = ["/x"]\npointer = "/a"', /^4 .*needs format/],
    [
      '[sensor.a]\ntype = "command"\ncommand = ["/x"]\nformat = "json"\npattern = "a"',
      /^5 .*needs format = "number"/,
    ],
    ['[sensor.a]\ntype = "command"\ncommand = ["/x"]\ninterval = "20ms"', /^4 .*at least 1s/],
    ['[sensor.a]\ntype = "http"\nurl = "http://u:p@h/"', /^3 .*without user and password/],
    ['[sensor.a]\ntype = "http"\nurl = "file:///etc/passwd"', /^3 .*http:\/\/ or https:/],
    ['[sensor.a]\ntype = "http"\nurl = "http://h/"\npointer = "a.b"', /^4 .*JSON pointer/],
    ['[sensor.a]\ntype = "mqtt"\nbroker = "mqtt://h"\ntopic = "a/#"', /^4 .*without \+ and #/],
    [
      '[sensor.a]\ntype = "mqtt"\nbroker = "mqtt://h"\ntopic = "a"\npassword_file = "/p"',
      /^5 .*needs user/,
    ],
    ['[sensor.a]\ntype = "mqtt"\nbroker = "mqtt://h"\ntopic = "a"\nca_file = "/p"', /^5 .*mqtts/],
    [
      '[sensor.a]\ntype = "mqtt"\nbroker = "mqtt://h"\ntopic = "a"\npassword = "x"',
      /^5 .*write password_file$/,
    ],
    ['[sensor.garden.air]\ntype = "push"', /^1 sensor\.garden\.type.*/],
    [
      '[sensor.garden]\ntype = "push"\nair = { type = "push" }',
      /^3 .*in quotes: \[sensor\."garden\.air"\]/,
    ],
    ['[sensor."a b"]\ntype = "push"', /^1 .*letters, digits/],
    ['[sensor."memory.used"]\ntype = "push"', /^1 .*the machine’s own/],
    ['[sensor]\na = 1', /^2 sensor\.a: must be a table/],
    ['sensor = 1', /^1 sensor: must be tables/],
  ]
  for (const [text, problem] of mistakes) {
    it(`refuse ${JSON.stringify(text)}`, () => {
      const [first = ''] = problemsOf(text)
      assert.match(first, problem)
    })
  }

  it('tell all mistakes at once and keep what is in order', () => {
    const text = '[sensor.a]\ntype = "push"\nx = 1\nunit = "°C"\n[sensor.b]\ntype = "push"\n'
    const { sensors, problems } = readConfigText(text)
    assert.deepEqual(
      problems.map(({ key }) => key),
      ['sensor.a.x', 'sensor.a.unit'],
    )
    assert.deepEqual(
      sensors.map(({ name }) => name),
      ['b'],
    )
  })

  it('are never too many', () => {
    const table = (_: unknown, index: number): string => `[sensor.s${index}]\ntype = "push"\n`
    assert.deepEqual(problemsOf(Array.from({ length: 256 }, table).join('')), [])
    const [problem = ''] = problemsOf(Array.from({ length: 257 }, table).join(''))
    assert.match(problem, /at most 256/)
  })

  it('stay as they are where another setting changes', () => {
    const text = '# mine\n[sensor.a]\ntype = "push" # why\n'
    assert.equal(setInText(text, 'mesh.port', 1), `${text}\n[mesh]\nport = 1\n`)
  })

  it('give a verdict on anything, and nothing that it does not know gets in', () => {
    const key = fc.oneof(
      fc.constantFrom(...SENSOR_TYPES.flatMap((type) => sensorKeys(type))),
      fc.string(),
    )
    const tables = fc.dictionary(key, fc.oneof(fc.anything(), fc.string()))
    fc.assert(
      fc.property(fc.string(), fc.constantFrom(...SENSOR_TYPES), tables, (name, type, table) => {
        const checked = checkSensor(name, { ...table, type })
        if (!checked.ok) return assert.ok(checked.problems.length > 0)
        const known = [...sensorKeys(type), 'name']
        assert.ok(Object.keys(checked.table).every((one) => known.includes(one)))
      }),
    )
  })

  it('are all in README.md, each key of each kind', () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
    for (const type of SENSOR_TYPES) {
      const keys = new Set(sensorKeys(type))
      const missing = [...keys].filter((key) => !readme.includes(`\`${key}\``))
      assert.deepEqual(missing, [], type)
      assert.ok(readme.includes(`| \`${type}\` |`), type)
    }
  })
})
