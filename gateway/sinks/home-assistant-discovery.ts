/**
 * A device as Home Assistant discovers it over MQTT: one message with all of its components (MQTT
 * device discovery, `homeassistant/device/ID/config`). Texts of devices stand in JSON strings and,
 * where a template needs them, in its own quotes: names can neither end one nor begin another.
 */
import { createHash } from 'node:crypto'

import type { TopicNames } from './mqtt-topics.ts'
import { bridgeTopic } from './mqtt-messages.ts'
import type { SinkCommand, SinkDevice, SinkField } from './sink.ts'

export interface DiscoveryOptions {
  readonly prefix: string
  readonly gateway: { readonly id: string; readonly name: string; readonly version: string }
}

export type Component = Readonly<Record<string, unknown>>
export interface Discovery {
  readonly device: Component
  readonly origin: Component
  readonly components: Readonly<Record<string, Component>>
  readonly [key: string]: unknown
}

interface UnitClass {
  /** As Home Assistant writes the unit. */
  readonly unit: string
  readonly deviceClass?: string
  /** Rises but for resets. */
  readonly total?: true
}

/** SenML units (RFC 8428 and its registry) with Home Assistant's units and sensor device classes. */
const UNITS: Readonly<Record<string, UnitClass>> = {
  Cel: { unit: '°C', deviceClass: 'temperature' },
  K: { unit: 'K', deviceClass: 'temperature' },
  '%RH': { unit: '%', deviceClass: 'humidity' },
  '%EL': { unit: '%', deviceClass: 'battery' },
  '%': { unit: '%' },
  W: { unit: 'W', deviceClass: 'power' },
  kW: { unit: 'kW', deviceClass: 'power' },
  VA: { unit: 'VA', deviceClass: 'apparent_power' },
  var: { unit: 'var', deviceClass: 'reactive_power' },
  Wh: { unit: 'Wh', deviceClass: 'energy', total: true },
  kWh: { unit: 'kWh', deviceClass: 'energy', total: true },
  J: { unit: 'J', deviceClass: 'energy', total: true },
  V: { unit: 'V', deviceClass: 'voltage' },
  mV: { unit: 'mV', deviceClass: 'voltage' },
  A: { unit: 'A', deviceClass: 'current' },
  mA: { unit: 'mA', deviceClass: 'current' },
  Hz: { unit: 'Hz', deviceClass: 'frequency' },
  lx: { unit: 'lx', deviceClass: 'illuminance' },
  Pa: { unit: 'Pa', deviceClass: 'pressure' },
  hPa: { unit: 'hPa', deviceClass: 'pressure' },
  'm/s': { unit: 'm/s', deviceClass: 'speed' },
  'km/h': { unit: 'km/h', deviceClass: 'speed' },
  m: { unit: 'm', deviceClass: 'distance' },
  mm: { unit: 'mm', deviceClass: 'distance' },
  km: { unit: 'km', deviceClass: 'distance' },
  kg: { unit: 'kg', deviceClass: 'weight' },
  g: { unit: 'g', deviceClass: 'weight' },
  m3: { unit: 'm³', deviceClass: 'volume_storage' },
  s: { unit: 's', deviceClass: 'duration' },
  ms: { unit: 'ms', deviceClass: 'duration' },
  min: { unit: 'min', deviceClass: 'duration' },
  h: { unit: 'h', deviceClass: 'duration' },
  B: { unit: 'B', deviceClass: 'data_size' },
  'bit/s': { unit: 'bit/s', deviceClass: 'data_rate' },
  dBm: { unit: 'dBm', deviceClass: 'signal_strength' },
  ppm: { unit: 'ppm' },
  pH: { unit: '', deviceClass: 'ph' },
}

/** Characters; no telemetry has a longer name. */
const SENSOR_MAX = 256
/** Silence this much longer than promised is too long, and a little for the way. */
const PROMISES = 3
const SLACK_S = 60

export function discoveryTopic(discovery: string, gatewayId: string, device: SinkDevice): string {
  return `${discovery}/device/${ownPrefix(gatewayId)}${short(device.id)}/config`
}

/** Begins the object ids of all devices that this gateway made known. */
export function ownPrefix(gatewayId: string): string {
  return `kith_${short(gatewayId)}_`
}

export function discoveryOf(
  device: SinkDevice,
  names: TopicNames,
  { prefix, gateway }: DiscoveryOptions,
): Discovery {
  const base = `${prefix}/${names.nameOf(device)}`
  const components: Record<string, Component> = {}
  for (const field of device.fields) {
    if (field.sensor.length > SENSOR_MAX) continue
    components[`s_${short(field.sensor)}`] = sensorOf(device, field, base)
  }
  for (const command of device.commands) {
    const made = commandOf(device, command, base)
    if (made !== undefined) components[`c_${short(`${command.verb} ${command.name}`)}`] = made
  }
  if (device.update !== undefined) components['update'] = updateOf(device, base)
  return {
    device: {
      identifiers: [`kith_${device.id}`],
      name: shown(device.name, device.id),
      manufacturer: 'Kith',
      via_device: `kith_${gateway.id}`,
      ...(device.version === undefined ? {} : { sw_version: shown(device.version, '') }),
    },
    origin: { name: 'Kith', sw_version: gateway.version },
    availability: [{ topic: bridgeTopic(prefix) }, { topic: `${base}/availability` }],
    availability_mode: 'all',
    qos: 1,
    components,
  }
}

function sensorOf(device: SinkDevice, { sensor, unit, kind }: SinkField, base: string): Component {
  const common = {
    unique_id: `kith_${device.id}_${short(sensor)}`,
    name: shown(sensor, 'sensor'),
    state_topic: base,
    ...(device.promiseMs === undefined ? {} : { expire_after: expiryOf(device.promiseMs) }),
  }
  const key = quoted(sensor)
  if (kind === 'boolean') {
    const value_template = `{% if ${key} in value_json %}{{ 'ON' if value_json[${key}] else 'OFF' }}{% endif %}`
    return { platform: 'binary_sensor', ...common, value_template }
  }
  return {
    platform: 'sensor',
    ...common,
    value_template: `{% if ${key} in value_json %}{{ value_json[${key}] }}{% endif %}`,
    ...(kind === 'string' ? {} : measureOf(unit)),
  }
}

function measureOf(unit: string | undefined): Component {
  if (unit === undefined) return { state_class: 'measurement' }
  const known = Object.hasOwn(UNITS, unit) ? UNITS[unit] : undefined
  const written = known?.unit ?? shown(unit, '')
  return {
    state_class: known?.total === true ? 'total_increasing' : 'measurement',
    ...(written === '' ? {} : { unit_of_measurement: written }),
    ...(known?.deviceClass === undefined ? {} : { device_class: known.deviceClass }),
  }
}

function commandOf(device: SinkDevice, command: SinkCommand, base: string): Component | undefined {
  const { verb, name, kind, min, max, choices } = command
  const common = {
    unique_id: `kith_${device.id}_${verb}_${short(name)}`,
    name: shown(name, 'command'),
    command_topic: `${base}/${verb === 'write' ? 'set' : 'invoke'}/${name}`,
  }
  if (verb === 'invoke') {
    return kind === 'none' ? { platform: 'button', ...common, payload_press: '' } : undefined
  }
  const key = quoted(name)
  const value_template = `{% if ${key} in value_json %}{{ value_json[${key}] | tojson }}{% endif %}`
  const plain = `{% if ${key} in value_json %}{{ value_json[${key}] }}{% endif %}`
  const state = { state_topic: base, value_template }
  if (kind === 'boolean') {
    const words = { payload_on: 'true', payload_off: 'false', state_on: 'true', state_off: 'false' }
    return { platform: 'switch', ...common, ...state, ...words }
  }
  if (kind === 'number') {
    const bounds = { min: min ?? -1_000_000, max: max ?? 1_000_000, step: 0.001, mode: 'box' }
    return { platform: 'number', ...common, ...state, ...bounds }
  }
  if (kind !== 'string') return undefined
  const asJson = {
    command_template: '{{ value | tojson }}',
    value_template: plain,
    state_topic: base,
  }
  if (choices !== undefined) return { platform: 'select', ...common, ...asJson, options: choices }
  return { platform: 'text', ...common, ...asJson, max: 255 }
}

/** Shown alone: what is installed, and when, the home decides itself. */
function updateOf(device: SinkDevice, base: string): Component {
  return {
    platform: 'update',
    unique_id: `kith_${device.id}_update`,
    name: 'Kith',
    device_class: 'firmware',
    state_topic: `${base}/update`,
  }
}

export function updateStateOf({
  installed,
  latest,
}: {
  installed: string
  latest: string
}): string {
  const state = { installed_version: installed.slice(0, 64), latest_version: latest.slice(0, 64) }
  return JSON.stringify(state)
}

/** Seconds of silence after which a sleeper has broken its promise. */
export function expiryOf(promiseMs: number): number {
  return Math.ceil((PROMISES * promiseMs) / 1000) + SLACK_S
}

/** For people: without what cannot be seen, and not long. */
function shown(text: string, otherwise: string): string {
  const seen = text
    .slice(0, 1000)
    .toWellFormed()
    .replaceAll(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim()
  return seen === '' ? otherwise : Array.from(seen).slice(0, 64).join('')
}

/** As a text of a template; what could end it, or the template, is written by number. */
function quoted(text: string): string {
  const escape = (character: string): string =>
    `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  return `'${text.replaceAll(/[^A-Za-z0-9 .:_-]/g, escape)}'`
}

/** Of any text, the same for ever: 16 hexadecimal digits. */
function short(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}
