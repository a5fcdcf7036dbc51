import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { discoveryOf, discoveryTopic } from '../../gateway/sinks/home-assistant-discovery.ts'
import { startHomeAssistantSink } from '../../gateway/sinks/home-assistant.ts'
import { topicNames } from '../../gateway/sinks/mqtt-topics.ts'
import type { SinkDevice } from '../../gateway/sinks/sink.ts'
import { startBroker } from '../helpers/mosquitto.ts'
import { tree } from '../helpers/sensors.ts'
import { sinkDeps, sinkDevice } from '../helpers/sinks.ts'
import { needs } from '../helpers/tools.ts'

const never = new AbortController().signal
const { gateway } = sinkDeps()
const sleeper = sinkDevice('Porch', {
  state: 'asleep',
  version: '1.2.0',
  promiseMs: 3_600_000,
  fields: [
    { sensor: 'temperature', unit: 'Cel', kind: 'number' },
    { sensor: 'energy', unit: 'kWh', kind: 'number' },
    { sensor: "it's {{ 1 }}", kind: 'boolean' },
    { sensor: 'text', kind: 'string' },
  ],
  commands: [
    { verb: 'write', name: 'on', kind: 'boolean' },
    { verb: 'write', name: 'level', kind: 'number', min: 0, max: 100 },
    { verb: 'write', name: 'mode', kind: 'string', choices: ['eco', 'fast'] },
    { verb: 'invoke', name: 'blink', kind: 'none' },
  ],
  update: { installed: '1.2.0', latest: '1.3.0' },
})

/**
 * Of Home Assistant's sensor device classes that are used here, the units and state classes that it
 * takes (home-assistant/core, components/sensor/const.py at 00eb6680, DEVICE_CLASS_UNITS and
 * DEVICE_CLASS_STATE_CLASSES; developers.home-assistant.io, "Sensor entity"). With any other it logs a fault and keeps no statistics.
 */
const MEASURED = ['measurement']
const COUNTED = ['total', 'total_increasing']
const ANY = [...MEASURED, ...COUNTED]
const DEVICE_CLASSES: Readonly<Record<string, readonly [units: string, states: string[]]>> = {
  apparent_power: ['VA', MEASURED],
  battery: ['%', MEASURED],
  current: ['A mA', MEASURED],
  data_rate: ['bit/s kbit/s Mbit/s Gbit/s B/s kB/s MB/s GB/s', MEASURED],
  data_size: ['bit kbit Mbit Gbit B kB MB GB TB', ANY],
  distance: ['mm cm m km', ANY],
  duration: ['d h min s ms', ANY],
  energy: ['J kJ MJ GJ mWh Wh kWh MWh GWh TWh', COUNTED],
  frequency: ['Hz kHz MHz GHz', MEASURED],
  humidity: ['%', MEASURED],
  illuminance: ['lx', MEASURED],
  ph: ['', MEASURED],
  power: ['W kW MW GW TW', MEASURED],
  pressure: ['Pa hPa kPa mbar cbar bar', MEASURED],
  reactive_power: ['var', MEASURED],
  signal_strength: ['dB dBm', MEASURED],
  speed: ['m/s mm/s km/h', MEASURED],
  temperature: ['°C °F K', MEASURED],
  voltage: ['V mV µV kV MV', MEASURED],
  volume: ['mL L m³', COUNTED],
  volume_storage: ['mL L m³', MEASURED],
  weight: ['µg mg g kg', ANY],
}

/** SenML's and its registry's units for which Home Assistant has a class (RFC 8428, RFC 8798). */
const SENML =
  'Cel K %RH %EL % W kW VA var Wh kWh J V mV A mA Hz MHz lx Pa hPa m/s km/h m mm cm km kg g mg l m3 s ms min h B kB MB bit/s dB dBm pH ppm'

/**
 * Keys that the schemas of Home Assistant's MQTT integration require or know
 * (home-assistant/core, components/mqtt/schemas.py at 0f5c1b54 and each platform's PLATFORM_SCHEMA_MODERN; docs "MQTT device discovery").
 */
const COMMON = 'platform unique_id name state_topic value_template device_class expire_after'.split(
  ' ',
)
const PLATFORMS: Readonly<Record<string, { needs: string[]; may: string[] }>> = {
  sensor: { needs: ['state_topic'], may: ['state_class', 'unit_of_measurement'] },
  binary_sensor: { needs: ['state_topic'], may: [] },
  switch: { needs: ['command_topic'], may: 'payload_on payload_off state_on state_off'.split(' ') },
  number: { needs: ['command_topic'], may: ['min', 'max', 'step', 'mode'] },
  select: { needs: ['command_topic', 'options'], may: ['command_template'] },
  text: { needs: ['command_topic'], may: ['command_template', 'max'] },
  button: { needs: ['command_topic'], may: ['payload_press'] },
  update: { needs: ['state_topic'], may: [] },
}

function textOf(component: Readonly<Record<string, unknown>>, key: string): string {
  const value = component[key]
  return typeof value === 'string' ? value : ''
}

function assertValid(config: ReturnType<typeof discoveryOf>): void {
  const { device, origin, components } = config
  assert.ok(Array.isArray(device['identifiers']) && device['identifiers'].length > 0)
  assert.equal(typeof origin['name'], 'string')
  const ids = new Set<unknown>()
  for (const [key, component] of Object.entries(components)) {
    assert.match(key, /^[a-zA-Z0-9_-]+$/)
    const rules = PLATFORMS[String(component['platform'])]
    assert.ok(rules, String(component['platform']))
    for (const need of ['unique_id', ...rules.needs]) assert.ok(need in component, need)
    const known = new Set([...COMMON, ...rules.needs, ...rules.may])
    assert.deepEqual(
      Object.keys(component).filter((one) => !known.has(one)),
      [],
    )
    ids.add(component['unique_id'])
    if ('expire_after' in component) assert.ok(Number.isInteger(component['expire_after']))
  }
  assert.equal(ids.size, Object.keys(components).length)
}

describe("a device as Home Assistant's MQTT discovery has it", () => {
  const config = discoveryOf(sleeper, topicNames([sleeper]), { prefix: 'kith', gateway })
  const find = (name: string) =>
    Object.values(config.components).find((one) => one['name'] === name)

  it('keeps to the schema', () => {
    assertValid(config)
    assert.match(
      discoveryTopic('homeassistant', gateway.id, sleeper),
      /^homeassistant\/device\/[a-zA-Z0-9_-]+\/config$/,
    )
  })

  it('has classes from units, and is gone three promises later', () => {
    const { device_class, state_class, unit_of_measurement, expire_after } =
      find('temperature') ?? {}
    assert.deepEqual(
      [device_class, state_class, unit_of_measurement],
      ['temperature', 'measurement', '°C'],
    )
    assert.equal(expire_after, 3 * 3600 + 60)
    assert.equal(find('energy')?.['state_class'], 'total_increasing')
    assert.deepEqual(config['availability'], [
      { topic: 'kith/bridge/state' },
      { topic: 'kith/Porch/availability' },
    ])
    assert.equal(config['availability_mode'], 'all')
  })

  it('has a class with units and states that Home Assistant takes for it', () => {
    const fields = SENML.split(' ').map((unit, i) => ({
      sensor: `sensor.${i}`,
      unit,
      kind: 'number' as const,
    }))
    const device = sinkDevice('All', { fields })
    const made = discoveryOf(device, topicNames([device]), { prefix: 'kith', gateway })
    let classes = 0
    for (const component of Object.values(made.components)) {
      const of = textOf(component, 'device_class')
      if (of === '') continue
      classes++
      const [units = '', states = []] = DEVICE_CLASSES[of] ?? []
      const unit = textOf(component, 'unit_of_measurement')
      const what = `${of} in ${unit}`
      assert.ok(units.split(' ').includes(unit), what)
      assert.ok(states.includes(textOf(component, 'state_class')), what)
    }
    assert.ok(classes >= 30, `${classes}`)
  })

  it('lets no name out of its template', () => {
    const template = String(find("it's {{ 1 }}")?.['value_template'])
    assert.ok(template.includes(String.raw`it\u0027s \u007b\u007b 1 \u007d\u007d`))
  })

  it('keeps to the schema with any name', () => {
    for (const name of ['a/+#', '\0\u0007', 'x'.repeat(10_000), '', '"}{']) {
      const device = sinkDevice(name, {
        id: 'one',
        fields: [{ sensor: name, unit: name, kind: 'number' }],
      })
      const made = discoveryOf(device, topicNames([device]), { prefix: 'kith', gateway })
      assertValid(made)
      assert.ok(JSON.stringify(made).length < 3000)
    }
  })
})

describe('the Home Assistant sink with mosquitto', needs('mosquitto'), () => {
  it('tells devices, again at birth, and takes back those that are gone, also from before', async () => {
    using files = tree()
    await using broker = await startBroker(files)
    const client = await broker.client()
    const topicOf = (device: SinkDevice): string =>
      discoveryTopic('homeassistant', gateway.id, device)
    const old = sinkDevice('Old')
    await client.publishAsync(topicOf(old), '{}', { retain: true, qos: 1 })
    const waiting = new Map<string, () => void>()
    const next = async (topic: string, empty: boolean): Promise<void> =>
      await new Promise((resolve) => waiting.set(`${topic} ${empty}`, resolve))
    const settings = {
      type: 'home-assistant',
      name: 'ha',
      prefix: 'kith',
      discovery: 'homeassistant',
      qos: 1,
      retain: true,
      version: 5,
      max_age: 1000,
      broker: `mqtt://[::1]:${broker.port}`,
    } as Parameters<typeof startHomeAssistantSink>[0]
    client.on('message', (topic, payload) => waiting.get(`${topic} ${payload.length === 0}`)?.())
    const [told, cleaned] = [next(topicOf(sleeper), false), next(topicOf(old), true)]
    await client.subscribeAsync('#', { qos: 1 })
    await using sink = await startHomeAssistantSink(settings, sinkDeps(), never)
    await sink.devices?.([sleeper])
    await Promise.all([told, cleaned])
    const again = next(topicOf(sleeper), false)
    await client.publishAsync('homeassistant/status', 'online')
    await again
    const gone = next(topicOf(sleeper), true)
    await sink.devices?.([])
    await gone
    await client.endAsync()
  })
})
