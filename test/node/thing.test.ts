import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'

import pino from 'pino'

import type { EventSettings } from '../../node/config-rules.ts'
import { thingOf } from '../../node/device/thing.ts'
import { createEmitter } from '../../node/events.ts'
import type { Thing } from '../../node/services/calls/index.ts'
import type { Telemetry, TelemetryEvents } from '../../node/services/telemetry/index.ts'
import type { Json } from '../../protocols/calls/index.ts'
import { machineOf, type Machine } from '../helpers/actuators.ts'
import { virtualClock } from '../helpers/clock.ts'
import { tree, type Tree } from '../helpers/sensors.ts'

let files: Tree
beforeEach(() => {
  files = tree()
})
afterEach(() => files[Symbol.dispose]())

type SensorState = ReturnType<Telemetry['sensors']>[number]

function setUp(machine: Machine, events: readonly EventSettings[] = []) {
  const telemetryEvents = createEmitter<TelemetryEvents>(() => undefined)
  const sensors: SensorState[] = [
    { name: 'button', unit: '', description: 'Button', on: true },
    { name: 'load', unit: 'count', description: 'Load', on: false, value: 0.5 },
  ]
  const clock = virtualClock()
  const stop = new AbortController()
  const thing: Thing = thingOf(
    {
      title: () => 'Lamp',
      actuators: machine.actuators,
      telemetry: { events: telemetryEvents, sensors: () => sensors },
      events,
      clock,
      log: pino({ level: 'silent' }),
    },
    stop.signal,
  )
  const told: string[] = []
  thing.onChange((name, value, kind) => told.push(`${kind} ${name}=${JSON.stringify(value)}`))
  const measure = (sensor: string, value: number): void => {
    const at = sensors.findIndex(({ name }) => name === sensor)
    const before = sensors[at]
    if (before !== undefined) sensors[at] = { ...before, value }
    telemetryEvents.emit('measured', { sensor, value, atMs: clock.now() })
  }
  const { signal } = stop
  return {
    thing,
    telemetryEvents,
    told,
    sensors,
    clock,
    measure,
    stop,
    read: (name: string): Promise<Json> => thing.read(name, signal),
    write: (name: string, value: Json): Promise<void> => thing.write(name, value, signal),
    invoke: (name: string): Promise<Json | undefined> => thing.invoke(name, undefined, signal),
  }
}

function lamp(): Machine {
  const path = files.write('pin', '0')
  return machineOf(
    `[property.on]\ntype = "gpio"\npath = "${path}"\n[action.toggle]\ntype = "toggle"\nproperty = "on"\n`,
    files,
  )
}

describe('what a device is to those who call it', () => {
  it('has actuators, the sensors that are on, and events', async () => {
    await using machine = lamp()
    const pressed = {
      name: 'pressed',
      description: 'Pressed',
      when: { sensor: 'button', equals: 1 },
    }
    const { thing } = setUp(machine, [pressed])
    const { title, properties, actions, events } = thing.model()
    assert.equal(title, 'Lamp')
    assert.deepEqual(Object.keys(properties).toSorted(), ['button', 'on'])
    assert.deepEqual(properties['button'], {
      schema: { type: 'number', readOnly: true },
      description: 'Button',
      readable: true,
      writable: false,
      observable: true,
      sensor: 'button',
    })
    assert.deepEqual(Object.keys(actions), ['toggle'])
    assert.deepEqual(events, { pressed: { data: {}, description: 'Pressed' } })
    assert.equal(thing.model(), thing.model())
  })

  it('reads, writes and invokes, and tells of changes', async () => {
    await using machine = lamp()
    const { read, write, invoke, told, measure } = setUp(machine)
    await assert.rejects(read('button'), { code: 'THING_FAILED', message: /nothing was measured/ })
    measure('button', 1)
    assert.equal(await read('button'), 1)
    await write('on', true)
    assert.equal(await invoke('toggle'), false)
    assert.deepEqual(told, ['property button=1', 'property on=true', 'property on=false'])
    await assert.rejects(write('button', 1), { code: 'THING_UNKNOWN' })
    await assert.rejects(read('load'), { code: 'THING_UNKNOWN' })
    await assert.rejects(write('on', 'x'), { code: 'THING_INVALID' })
    await assert.rejects(invoke('explode'), { code: 'THING_UNKNOWN' })
  })

  it('tells when it has more than before', async () => {
    await using machine = lamp()
    const { clock, thing, sensors, telemetryEvents, told, measure } = setUp(machine)
    let models = 0
    const off = thing.onModel(() => models++)
    const before = thing.model()
    sensors[1] = { name: 'load', unit: 'count', description: 'Load', on: true }
    measure('load', 0.7)
    assert.equal(models, 1)
    assert.notEqual(thing.model(), before)
    assert.deepEqual(told, ['property load=0.7'])
    sensors.length = 1
    telemetryEvents.emit('chosen', { sensor: 'load', on: false })
    assert.equal(models, 2)
    assert.deepEqual(Object.keys(thing.model().properties), ['button', 'on'])
    off()
    sensors.length = 0
    await clock.advance(1000)
    assert.deepEqual(Object.keys(thing.model().properties), ['on'])
    assert.equal(models, 2)
  })

  it('makes events of its own sensors, once each time', async () => {
    await using machine = lamp()
    const held = { name: 'held', when: { sensor: 'button', equals: 1, forMs: 2000 } }
    const pressed = { name: 'pressed', when: { sensor: 'button', equals: 1 } }
    const { told, measure, clock, stop } = setUp(machine, [held, pressed])
    const events = (): string[] => told.filter((one) => one.startsWith('event'))
    measure('button', 1)
    measure('button', 1)
    assert.deepEqual(events(), ['event pressed=1'])
    await clock.advance(2001)
    assert.deepEqual(events(), ['event pressed=1', 'event held=1'])
    measure('button', 0)
    measure('button', 1)
    assert.equal(events().length, 3)
    stop.abort(new Error('enough'))
    await clock.advance(5000)
    measure('button', 0)
    measure('button', 1)
    assert.equal(events().length, 3)
  })
})
