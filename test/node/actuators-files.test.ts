import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { machineOf } from '../helpers/actuators.ts'
import { tree, type Tree } from '../helpers/sensors.ts'

let files: Tree
beforeEach(() => {
  files = tree()
})
afterEach(() => files[Symbol.dispose]())

const said = (name: string): string => readFileSync(files.path(name), 'utf8')

function lamp(trigger = 'none [mmc0] heartbeat'): void {
  files.write('sys/class/leds/ACT/brightness', '0\n')
  files.write('sys/class/leds/ACT/max_brightness', '255\n')
  files.write('sys/class/leds/ACT/trigger', trigger)
}

describe('a light of the kernel', () => {
  it('is switched on and off at its brightest, and blinks no more by itself', async () => {
    lamp()
    await using machine = machineOf('[property.on]\ntype = "led"\nled = "ACT"\n', files)
    assert.equal(await machine.read('on'), false)
    await machine.write('on', true)
    assert.equal(said('sys/class/leds/ACT/brightness'), '255')
    assert.equal(said('sys/class/leds/ACT/trigger'), 'none')
    assert.equal(await machine.read('on'), true)
    assert.equal(await machine.next(), 'on=true')
    await machine.write('on', false)
    assert.equal(said('sys/class/leds/ACT/brightness'), '0')
    assert.equal(await machine.next(), 'on=false')
  })

  it('is dimmed as a part of its brightest', async () => {
    lamp('[none] heartbeat')
    const toml = '[property.level]\ntype = "led"\nled = "ACT"\nvalue = "number"\n'
    await using machine = machineOf(toml, files)
    await machine.write('level', 0.4)
    assert.equal(said('sys/class/leds/ACT/brightness'), '102')
    assert.equal(await machine.read('level'), 0.4)
    assert.equal(said('sys/class/leds/ACT/trigger'), '[none] heartbeat')
    const { schema } = machine.actuators.model().properties['level'] ?? {}
    assert.deepEqual(schema, { type: 'number', minimum: 0, maximum: 1 })
  })

  it('says why it does not work, and works again', async () => {
    await using machine = machineOf('[property.on]\ntype = "led"\nled = "ACT"\n', files)
    await assert.rejects(machine.write('on', true), {
      code: 'ACTUATOR_FAILED',
      message: /max_brightness is not there$/,
    })
    assert.match(machine.actuators.problems().get('property.on') ?? '', /is not there$/)
    lamp()
    await machine.write('on', true)
    assert.equal(machine.actuators.problems().size, 0)
  })
})

describe('pulses of the kernel', () => {
  it('are exported, started and set', async () => {
    files.write('sys/class/pwm/pwmchip0/export', '')
    for (const name of ['duty_cycle', 'period', 'enable']) {
      files.write(`sys/class/pwm/pwmchip0/pwm1/${name}`, '0\n')
    }
    files.write('sys/class/pwm/pwmchip0/pwm1/duty_cycle', '30000000\n')
    const toml =
      '[property.servo]\ntype = "pwm"\nchannel = 1\nfrequency = 50\nmin = 0.05\nmax = 0.1\n'
    await using machine = machineOf(toml, files)
    assert.equal(await machine.read('servo'), 0)
    await machine.write('servo', 0.075)
    assert.equal(said('sys/class/pwm/pwmchip0/pwm1/period'), '20000000')
    assert.equal(said('sys/class/pwm/pwmchip0/pwm1/duty_cycle'), '1500000')
    assert.equal(said('sys/class/pwm/pwmchip0/pwm1/enable'), '1')
    assert.equal(await machine.read('servo'), 0.075)
    await assert.rejects(machine.write('servo', 0.2), { code: 'ACTUATOR_INVALID' })
  })

  it('of a channel that is not there yet are asked for', async () => {
    files.write('sys/class/pwm/pwmchip0/export', '')
    await using machine = machineOf('[property.fan]\ntype = "pwm"\n', files)
    await assert.rejects(machine.write('fan', 1), /is not there$/)
    assert.equal(said('sys/class/pwm/pwmchip0/export'), '0')
  })
})

describe('a file', () => {
  it('is a pin that may be the other way round', async () => {
    const path = files.write('gpio17/value', '0\n')
    await using machine = machineOf(
      `[property.pump]\ntype = "gpio"\npath = "${path}"\ninvert = true\n`,
      files,
    )
    assert.equal(await machine.read('pump'), true)
    await machine.write('pump', false)
    assert.equal(said('gpio17/value'), '1')
  })

  it('takes values under its own words, and no others', async () => {
    const path = files.write('mode', 'auto\n')
    await using machine = machineOf(
      `[property.fan]\ntype = "file"\npath = "${path}"\nvalue = "boolean"\non = "auto"\noff = "manual"\n`,
      files,
    )
    assert.equal(await machine.read('fan'), true)
    await machine.write('fan', false)
    assert.equal(said('mode'), 'manual')
    files.write('mode', 'broken')
    await assert.rejects(machine.read('fan'), { code: 'ACTUATOR_FAILED' })
  })

  it('takes texts as they are, whatever they are', async () => {
    const path = files.write('text', '')
    await using machine = machineOf(
      `[property.text]\ntype = "file"\npath = "${path}"\nvalue = "string"\n`,
      files,
    )
    const nasty = '$(id); `id` "\'\\ --x\n{value}\t\u{1F4A1}'
    await machine.write('text', nasty)
    assert.equal(said('text'), nasty)
    assert.equal(await machine.read('text'), nasty)
    for (const value of [1, true, null, {}, 'x'.repeat(300)]) {
      await assert.rejects(machine.write('text', value), { code: 'ACTUATOR_INVALID' })
    }
  })

  it('is not made, not waited for, and read or written only where that was said', async () => {
    mkdirSync(files.path('folder'))
    const toml = ['gone', 'folder']
      .map(
        (name) =>
          `[property.${name}]\ntype = "file"\npath = "${files.path(name)}"\nvalue = "integer"\nreadable = false\n`,
      )
      .join('')
    await using machine = machineOf(toml, files)
    await assert.rejects(machine.write('gone', 1), /is not there$/)
    assert.equal(existsSync(files.path('gone')), false)
    await assert.rejects(machine.write('folder', 1), /is a folder$/)
    await assert.rejects(machine.read('gone'), { code: 'ACTUATOR_UNKNOWN' })
    await assert.rejects(machine.read('constructor'), { code: 'ACTUATOR_UNKNOWN' })
    const { gone } = machine.actuators.model().properties
    assert.equal(gone?.readable, false)
    assert.equal(gone.writable, true)
  })

  it('is set at the start to what the settings say', async () => {
    const path = files.write('gpio17/value', '0\n')
    symlinkSync(path, files.path('pin'))
    await using machine = machineOf(
      `[property.pump]\ntype = "gpio"\npath = "${files.path('pin')}"\ninitial = true\n`,
      files,
    )
    assert.equal(await machine.next(), 'pump=true')
    assert.equal(said('gpio17/value'), '1')
  })
})

describe('an action on a property', () => {
  it('toggles it, one after the other', async () => {
    lamp()
    await using machine = machineOf(
      '[property.on]\ntype = "led"\nled = "ACT"\n[action.toggle]\ntype = "toggle"\nproperty = "on"\n',
      files,
    )
    const results = await Promise.all(Array.from({ length: 5 }, () => machine.invoke('toggle')))
    assert.deepEqual(results, [true, false, true, false, true])
    assert.equal(said('sys/class/leds/ACT/brightness'), '255')
  })

  it('does not toggle what it does not know', async () => {
    const path = files.write('pin', '')
    await using machine = machineOf(
      `[property.on]\ntype = "file"\nvalue = "boolean"\npath = "${path}"\nreadable = false\n[action.toggle]\ntype = "toggle"\nproperty = "on"\n`,
      files,
    )
    await assert.rejects(machine.invoke('toggle'), /whether it is on is not known/)
    await machine.write('on', false)
    assert.equal(await machine.invoke('toggle'), true)
  })

  it('sets it to what the settings say', async () => {
    lamp()
    await using machine = machineOf(
      '[property.on]\ntype = "led"\nled = "ACT"\n[action.light]\ntype = "set"\nproperty = "on"\nvalue = true\n',
      files,
    )
    assert.equal(await machine.invoke('light'), undefined)
    assert.equal(said('sys/class/leds/ACT/brightness'), '255')
    await assert.rejects(machine.invoke('dark'), { code: 'ACTUATOR_UNKNOWN' })
  })
})
