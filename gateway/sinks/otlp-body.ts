/** Readings as bodies of OTLP in JSON: one resource for each device, one metric for each sensor. */
import type { OutItem, SinkDeps } from './sink.ts'

export type OtlpKind = 'metrics' | 'logs'

export interface OtlpScope {
  readonly gateway: SinkDeps['gateway']
  readonly observedMs: () => number
}

interface Attribute {
  readonly key: string
  readonly value: { readonly stringValue: string }
}

/** INFO in OpenTelemetry's scale. */
const INFO = 9

/** Units of SenML that UCUM writes otherwise; the others are the same in both. */
const UCUM: Readonly<Record<string, string>> = {
  B: 'By',
  'B/s': 'By/s',
  KiB: 'KiBy',
  GB: 'GBy',
  'MB/s': 'MBy/s',
  '/': '1',
  '/100': '%',
  '%RH': '%',
  '%EL': '%',
  EL: 's',
  count: '1',
  Ohm: 'Ohm',
  VA: 'V.A',
  kVA: 'kV.A',
  l: 'L',
  'l/s': 'L/s',
  'm/s2': 'm/s2',
  'beat/min': '{beat}/min',
  beats: '{beat}',
  deg: 'deg',
  ppm: '[ppm]',
  '1/s': 'Hz',
}

/** Whether OTLP has a place for it: not for packs, and not for numbers that are none. */
export function isPlain({ pack, value }: OutItem): boolean {
  return pack === undefined && (typeof value !== 'number' || Number.isFinite(value))
}

export function isText({ value }: OutItem): boolean {
  return typeof value === 'string'
}

export function bodyOf(kind: OtlpKind, items: readonly OutItem[], scope: OtlpScope): string {
  const devices = [
    ...Map.groupBy(items, ({ deviceId, device }) => `${deviceId} ${device}`).values(),
  ]
  const name = { name: 'kith.gateway', version: scope.gateway.version }
  return JSON.stringify(
    kind === 'metrics'
      ? {
          resourceMetrics: devices.map((of) => ({
            resource: resourceOf(of, scope),
            scopeMetrics: [{ scope: name, metrics: metricsOf(of) }],
          })),
        }
      : {
          resourceLogs: devices.map((of) => ({
            resource: resourceOf(of, scope),
            scopeLogs: [{ scope: name, logRecords: of.map((item) => logOf(item, scope)) }],
          })),
        },
  )
}

function resourceOf([item]: readonly OutItem[], { gateway }: OtlpScope): unknown {
  return {
    attributes: [
      attribute('service.name', 'kith'),
      attribute('service.instance.id', gateway.id),
      attribute('device.id', item?.deviceId ?? ''),
      attribute('device.name', item?.device ?? ''),
    ],
  }
}

function metricsOf(items: readonly OutItem[]): unknown[] {
  const metrics = Map.groupBy(items, ({ sensor, unit = '' }) => `${sensor} ${unit}`)
  return Array.from(metrics.values(), (points) => ({
    name: metricName(points[0]?.sensor ?? ''),
    unit: ucum(points[0]?.unit),
    gauge: { dataPoints: points.map(pointOf) },
  }))
}

function pointOf({ sensor, value, atMs }: OutItem): unknown {
  return {
    timeUnixNano: nanoseconds(atMs),
    asDouble: Number(value),
    // Not the id: each point would be a series of its own. Device, sensor and time name it.
    attributes: [attribute('kith.sensor', sensor)],
  }
}

function logOf({ id, sensor, value, atMs }: OutItem, { observedMs }: OtlpScope): unknown {
  return {
    timeUnixNano: nanoseconds(atMs),
    observedTimeUnixNano: nanoseconds(observedMs()),
    severityNumber: INFO,
    severityText: 'INFO',
    body: { stringValue: String(value).toWellFormed() },
    attributes: [attribute('kith.sensor', sensor), attribute('kith.id', id)],
  }
}

function attribute(key: string, value: string): Attribute {
  return { key, value: { stringValue: value.toWellFormed() } }
}

/** A name that begins with a letter, of what OpenTelemetry allows; `kith.` goes before it. */
function metricName(sensor: string): string {
  return `kith.${sensor.toLowerCase().replaceAll(/[^a-z0-9_./-]/g, '_')}`.slice(0, 255)
}

function ucum(unit: string | undefined): string {
  if (unit === undefined) return ''
  return Object.hasOwn(UCUM, unit) ? (UCUM[unit] ?? unit) : unit
}

/** 64-bit numbers are text in JSON. */
function nanoseconds(ms: number): string {
  return `${BigInt(Math.max(0, Math.round(ms * 1000))) * 1000n}`
}
