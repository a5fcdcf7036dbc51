/**
 * Readings as Prometheus names them: `kith_<sensor>_<unit>`, in base units, with the device and the
 * sensor's own name as labels, so that two sensors whose names become one stay two series. Truth is
 * 1 or 0; a text is a label of an `_info` series whose value is 1.
 */
import type { OutItem } from './sink.ts'

export interface Series {
  readonly name: string
  /** In order of their names. */
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
  /** Of `name`, for people. */
  readonly help: string
}

/** Suffix of the name, and what a value is multiplied with to be in that unit. */
type BaseUnit = readonly [suffix: string, factor: number]

const MAX_LABEL = 128
const MAX_NAME = 96

/** Units of SenML whose base unit has a name in Prometheus. */
const UNITS: Readonly<Record<string, BaseUnit>> = {
  Cel: ['celsius', 1],
  K: ['kelvin', 1],
  '/': ['ratio', 1],
  '%': ['ratio', 0.01],
  '/100': ['ratio', 0.01],
  '/1000': ['ratio', 0.001],
  ppm: ['ratio', 1e-6],
  '%RH': ['ratio', 0.01],
  '%EL': ['ratio', 0.01],
  EL: ['seconds', 1],
  s: ['seconds', 1],
  ms: ['seconds', 0.001],
  min: ['seconds', 60],
  h: ['seconds', 3600],
  m: ['meters', 1],
  mm: ['meters', 0.001],
  cm: ['meters', 0.01],
  km: ['meters', 1000],
  m2: ['square_meters', 1],
  m3: ['cubic_meters', 1],
  l: ['liters', 1],
  'l/s': ['liters_per_second', 1],
  'm3/s': ['cubic_meters_per_second', 1],
  'm/s': ['meters_per_second', 1],
  'm/s2': ['meters_per_second_squared', 1],
  'km/h': ['meters_per_second', 1 / 3.6],
  'm/h': ['meters_per_second', 1 / 3600],
  'mm/h': ['meters_per_second', 1 / 3_600_000],
  g: ['grams', 1],
  kg: ['grams', 1000],
  'kg/m3': ['grams_per_cubic_meter', 1000],
  'ug/m3': ['grams_per_cubic_meter', 1e-6],
  B: ['bytes', 1],
  KiB: ['bytes', 1024],
  GB: ['bytes', 1e9],
  'B/s': ['bytes_per_second', 1],
  'MB/s': ['bytes_per_second', 1e6],
  bit: ['bits', 1],
  'bit/s': ['bits_per_second', 1],
  'Mbit/s': ['bits_per_second', 1e6],
  Hz: ['hertz', 1],
  MHz: ['hertz', 1e6],
  '1/s': ['per_second', 1],
  '1/min': ['per_second', 1 / 60],
  'beat/min': ['beats_per_second', 1 / 60],
  V: ['volts', 1],
  mV: ['volts', 0.001],
  A: ['amperes', 1],
  mA: ['amperes', 0.001],
  W: ['watts', 1],
  kW: ['watts', 1000],
  'W/m2': ['watts_per_square_meter', 1],
  J: ['joules', 1],
  Wh: ['joules', 3600],
  kWh: ['joules', 3_600_000],
  C: ['coulombs', 1],
  Ah: ['coulombs', 3600],
  Ohm: ['ohms', 1],
  VA: ['volt_amperes', 1],
  kVA: ['volt_amperes', 1000],
  var: ['vars', 1],
  kvar: ['vars', 1000],
  Pa: ['pascals', 1],
  hPa: ['pascals', 100],
  lm: ['lumens', 1],
  lx: ['lux', 1],
  cd: ['candelas', 1],
  N: ['newtons', 1],
  rad: ['radians', 1],
  deg: ['degrees', 1],
  dB: ['decibels', 1],
  count: ['', 1],
}

/** Undefined where Prometheus has no place for it: a pack, or a number that is none. */
export function seriesOf(item: OutItem): Series | undefined {
  const { value, sensor, unit } = item
  if (item.pack !== undefined) return undefined
  const labels = labelsOf(item)
  if (typeof value === 'string') {
    const name = metricName(sensor, 'info')
    return {
      name,
      labels: { ...labels, value: cut(value) },
      value: 1,
      help: 'What a sensor says in words',
    }
  }
  if (typeof value === 'boolean') {
    const name = metricName(sensor, '')
    return { name, labels, value: value ? 1 : 0, help: 'Whether it is so' }
  }
  if (!Number.isFinite(value)) return undefined
  const [suffix, factor] = baseUnit(unit)
  const help = unit === undefined ? 'What a sensor measured' : `What a sensor measured in ${unit}`
  return { name: metricName(sensor, suffix), labels, value: scaled(value, factor), help }
}

/** The labels that all series of an item have. */
export function labelsOf({
  device,
  deviceId,
  sensor,
}: Pick<OutItem, 'device' | 'deviceId' | 'sensor'>): Record<string, string> {
  return { device: cut(device), device_id: cut(deviceId), sensor: cut(sensor) }
}

/** A label's value: any text, of at most 128 characters. */
export function cut(text: string): string {
  const whole = text.toWellFormed()
  return whole.length <= MAX_LABEL ? whole : whole.slice(0, MAX_LABEL).toWellFormed()
}

/** 12.5 hPa are 1250 Pa, not 1250.0000000000002. */
function scaled(value: number, factor: number): number {
  return factor === 1 ? value : Number((value * factor).toPrecision(15))
}

function baseUnit(unit: string | undefined): BaseUnit {
  if (unit === undefined) return ['', 1]
  return Object.hasOwn(UNITS, unit) ? (UNITS[unit] ?? ['', 1]) : [plain(unit), 1]
}

function metricName(sensor: string, suffix: string): string {
  const stem = `kith_${plain(sensor).slice(0, MAX_NAME)}`.replace(/_+$/, '')
  return suffix === '' || stem.endsWith(`_${suffix}`) ? stem : `${stem}_${suffix}`
}

/** Letters, digits and single underscores. */
function plain(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
    .replace(/^_+|_+$/g, '')
}
