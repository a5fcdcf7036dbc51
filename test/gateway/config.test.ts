import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { readGatewayText } from '../../gateway/config.ts'

const HOME_ASSISTANT = `
[sink.ha]
type = "home-assistant"
broker = "mqtt://homeassistant.local"
[[forward]]
sink = "ha"
`

/** `line key: why` of each problem. */
function problems(text: string): readonly string[] {
  const read = readGatewayText(text)
  return read.ok ? [] : read.problems.map(({ key, line, why }) => `${line} ${key}: ${why}`)
}

describe('the rules of a gateway', () => {
  it('are five lines for Home Assistant, and send all of all devices there', () => {
    const read = readGatewayText(HOME_ASSISTANT)
    assert.ok(read.ok)
    assert.deepEqual(
      read.settings.forward.map(({ device, sensors, sink, form }) => ({
        device,
        sensors,
        sink,
        form,
      })),
      [{ device: '*', sensors: ['*'], sink: 'ha', form: 'json' }],
    )
    assert.equal(read.settings.downlink.length, 0)
  })

  it('are none where the file is empty', () => {
    const read = readGatewayText('')
    assert.ok(read.ok)
    assert.deepEqual(
      [read.settings.sinks, read.settings.forward, read.settings.downlink],
      [[], [], []],
    )
  })

  it('tell each mistake with its line and the nearest name', () => {
    assert.deepEqual(
      problems(`[sink.ha]
type = "home-assistant"
broker = "mqtt://ha.local"
brokr = 3
[[forward]]
sink = "ha"
[[forward]]
sink = "haa"
sensor = ["x"]
every = "3"
[outbx]
`),
      [
        '11 outbx: there is no such key; did you mean outbox?',
        '4 sink.ha.brokr: there is no such key; did you mean broker?',
        '9 forward 2.sensor: there is no such key; did you mean sensors?',
        '10 forward 2.every: must be like "10s"',
      ],
    )
    assert.deepEqual(problems(`${HOME_ASSISTANT}[[forward]]\nsink = "hha"\n`), [
      '8 forward 2.sink: there is no sink hha; did you mean ha?',
    ])
  })

  it('take secrets from files alone', () => {
    assert.deepEqual(problems(HOME_ASSISTANT.replace('\n[[', '\npassword = "hunter2"\n[[')), [
      '5 sink.ha.password: secrets and certificates are in files of their own: write password_file',
    ])
  })

  it('never repeat what stands in an address', () => {
    const text = HOME_ASSISTANT.replace('mqtt://home', 'mqtt://me:hunter2@home')
    assert.equal(problems(text).length, 1)
    assert.doesNotMatch(problems(text).join('\n'), /hunter2/)
  })

  it('refuse a form or a wish that the sink has no way for', () => {
    assert.deepEqual(problems(`${HOME_ASSISTANT}form = "raw"\n`), [
      '7 forward 1.form: home-assistant cannot carry packs; write json',
    ])
    const prometheus = '[sink.p]\ntype = "prometheus"\n'
    assert.deepEqual(
      problems(`${prometheus}[[downlink]]\nsink = "p"\ndevice = "a"\nwrite = ["on"]\n`),
      ['4 downlink 1.sink: nothing can be asked for through prometheus'],
    )
  })

  it('refuse packs of some sensors, thinned packs and a wish for nothing', () => {
    const mqtt = '[sink.m]\ntype = "mqtt"\nbroker = "mqtt://x"\n'
    assert.deepEqual(
      problems(`${mqtt}[[forward]]\nsink = "m"\nform = "raw"\nsensors = ["a"]\nevery = "1m"\n`),
      [
        '8 forward 1.every: packs leave as they were signed: raw has no every',
        '7 forward 1.sensors: a pack has all sensors: raw needs ["*"]',
      ],
    )
    assert.deepEqual(problems(`${mqtt}[[downlink]]\nsink = "m"\ndevice = "a"\n`), [
      '4 downlink 1: must have write or invoke, like write = ["on"]',
    ])
    assert.deepEqual(
      problems(`${mqtt}[[downlink]]\nsink = "m"\ndevice = "a"\nwrite = ["on"]\nrate = "0/m"\n`),
      ['8 downlink 1.rate: must be at least 1'],
    )
  })

  it('name the line where it is not TOML', () => {
    assert.match(problems('[sink.ha]\ntype =\n')[0] ?? '', /^2 /)
  })
})
