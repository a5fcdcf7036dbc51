/**
 * The tables `[sensor.NAME]` of the settings file: what each kind of sensor takes, checked. One table
 * is one sensor. Keys that a kind does not have are mistakes, as are two that exclude each other.
 * Files and programs that a table names are not touched here.
 */
import * as v from 'valibot'

import { unitKind } from '../protocols/telemetry/index.ts'
import { formatDuration, parseDuration } from './config-values.ts'

const SECOND_MS = 1000
const DAY_MS = 86_400_000
const MAX_TEXT_BYTES = 1024

const duration = (minMs: number, maxMs: number) => {
  const range = `must be from ${formatDuration(minMs)} to ${formatDuration(maxMs)}`
  return v.pipe(
    v.string('must be like "10s"'),
    v.transform(parseDuration),
    v.number('must be like "10s"'),
    v.minValue(minMs, range),
    v.maxValue(maxMs, range),
  )
}
const text = (maxBytes = MAX_TEXT_BYTES) =>
  v.pipe(
    v.string('must be text'),
    v.minLength(1, 'must not be empty'),
    v.maxBytes(maxBytes, `must be at most ${maxBytes} bytes long`),
    v.regex(/^[^\p{Cc}]*$/u, 'must be on one line, without control characters'),
  )
const number = v.pipe(v.number('must be a number'), v.finite('must be a number'))
const positive = v.pipe(number, v.gtValue(0, 'must be more than 0'))
const path = v.pipe(text(), v.startsWith('/', 'must be a whole path, from /'))
const bool = v.boolean('must be true or false')
const unit = v.pipe(
  text(16),
  v.check(
    (name) => unitKind(name) !== undefined,
    'must be a unit of SenML, like Cel, %RH, Pa, hPa, V, W, kWh, lx or ppm',
  ),
)
const pattern = v.pipe(
  text(),
  v.check(isPattern, 'must be a regular expression with at most one group in round brackets'),
)
const pointer = v.pipe(
  v.string('must be text'),
  v.maxBytes(MAX_TEXT_BYTES, `must be at most ${MAX_TEXT_BYTES} bytes long`),
  v.regex(/^(\/([^~]|~[01])*)?$/u, 'must be a JSON pointer, like "/temperature"'),
)
/** What texts mean as numbers, like { ON = 1, OFF = 0 }. */
const words = v.record(text(64), number, 'must be a table like { ON = 1, OFF = 0 }')

const common = {
  description: v.optional(text(64)),
  scale: v.optional(number, 1),
  offset: v.optional(number, 0),
  deadband: v.optional(v.pipe(number, v.minValue(0, 'must not be below 0'))),
  resolution: v.optional(positive),
  heartbeat: v.optional(duration(SECOND_MS, 30 * DAY_MS)),
  map: v.optional(words),
  unit: v.optional(unit),
}
const polled = { ...common, interval: v.optional(duration(SECOND_MS, DAY_MS)) }
/** Sources that speak by themselves: the shortest time between two readings. */
const spoken = { ...common, interval: v.optional(duration(10, DAY_MS), '1s') }
const timeout = v.optional(duration(100, 10 * 60_000), '10s')

const SCHEMAS = {
  file: v.object({ type: v.literal('file'), ...polled, path, pattern: v.optional(pattern) }),
  w1: v.object({
    type: v.literal('w1'),
    ...polled,
    id: v.pipe(
      text(16),
      v.regex(/^[0-9a-f]{2}-[0-9a-f]{12}$/, 'must be a sensor’s name, like "28-0316a2794bff"'),
    ),
  }),
  iio: v.object({
    type: v.literal('iio'),
    ...polled,
    device: v.pipe(text(64), v.regex(/^[\w:@.-]+$/, 'must be a device’s name, like "bme280"')),
    channel: v.pipe(text(64), v.regex(/^[a-z0-9_-]+$/, 'must be a channel’s name, like "temp"')),
  }),
  gpio: v.object({ type: v.literal('gpio'), ...polled, path, invert: v.optional(bool, false) }),
  command: v.pipe(
    v.object({
      type: v.literal('command'),
      ...spoken,
      interval: v.optional(duration(10, DAY_MS)),
      command: v.pipe(
        v.array(
          v.pipe(
            v.string('must be a list of texts'),
            v.maxBytes(MAX_TEXT_BYTES),
            v.regex(/^[^\0]*$/),
          ),
          'must be a list, like ["/usr/bin/sensor", "-1"]',
        ),
        v.minLength(1, 'must name a program'),
        v.maxLength(64, 'must have at most 64 entries'),
        v.check(
          (argv) => argv[0]?.startsWith('/') === true,
          'must begin with a whole path, from /',
        ),
      ),
      format: v.optional(
        v.picklist(['number', 'json', 'ndjson'], 'must be number, json or ndjson'),
        'number',
      ),
      pointer: v.optional(pointer),
      pattern: v.optional(pattern),
      timeout: v.optional(duration(100, DAY_MS)),
    }),
    v.forward(
      v.check(
        ({ format, pointer: at }) => at === undefined || format !== 'number',
        'needs format = "json" or "ndjson"',
      ),
      ['pointer'],
    ),
    v.forward(
      v.check(
        ({ format, pattern: at }) => at === undefined || format === 'number',
        'needs format = "number"',
      ),
      ['pattern'],
    ),
    v.forward(
      v.check(
        ({ format, interval }) =>
          format === 'ndjson' || interval === undefined || interval >= SECOND_MS,
        'must be at least 1s',
      ),
      ['interval'],
    ),
  ),
  http: v.object({
    type: v.literal('http'),
    ...polled,
    url: v.pipe(
      text(),
      v.check(
        (url) => isUrl(url, ['http:', 'https:']),
        'must be an http:// or https:// address, without user and password',
      ),
    ),
    pointer: v.optional(pointer, ''),
    timeout,
    token_file: v.optional(path),
    ca_file: v.optional(path),
  }),
  mqtt: v.pipe(
    v.object({
      type: v.literal('mqtt'),
      ...spoken,
      broker: v.pipe(
        text(),
        v.check(
          (url) => isUrl(url, ['mqtt:', 'mqtts:']),
          'must be an mqtt:// or mqtts:// address, without user and password',
        ),
      ),
      topic: v.pipe(text(), v.regex(/^[^+#]*$/, 'must be one topic, without + and #')),
      pointer: v.optional(pointer),
      user: v.optional(text(128)),
      password_file: v.optional(path),
      ca_file: v.optional(path),
      client_id: v.optional(text(64)),
      retained: v.optional(bool, false),
      version: v.optional(v.picklist([4, 5], 'must be 4 (MQTT 3.1.1) or 5'), 5),
    }),
    v.forward(
      v.check(
        ({ user, password_file: file }) => file === undefined || user !== undefined,
        'needs user',
      ),
      ['password_file'],
    ),
    v.forward(
      v.check(
        ({ ca_file: file, broker }) => file === undefined || broker.startsWith('mqtts:'),
        'needs an mqtts:// broker',
      ),
      ['ca_file'],
    ),
  ),
  push: v.object({ type: v.literal('push'), ...spoken }),
} as const

export type SensorType = keyof typeof SCHEMAS
export const SENSOR_TYPES = Object.keys(SCHEMAS) as readonly SensorType[]

/** One checked table; durations in milliseconds. */
export type SensorSettings = {
  [T in SensorType]: v.InferOutput<(typeof SCHEMAS)[T]> & { readonly name: string }
}[SensorType]
export type SettingsOf<T extends SensorType> = Extract<SensorSettings, { readonly type: T }>

export interface SensorProblem {
  /** Of the table; empty where the whole table is wrong. */
  readonly key: string
  readonly why: string
  /** The keys that could have been meant, where `key` is unknown. */
  readonly known?: readonly string[]
}

export type CheckedSensor =
  | { readonly ok: true; readonly sensor: SensorSettings }
  | { readonly ok: false; readonly problems: readonly SensorProblem[] }

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
/** Names of what the machine itself measures. */
const TAKEN = /^(load|cpu|uptime)$|^(memory|disk|network)(\.|$)|^temperature\.(zone|mon)\d/

/** Every key that a kind of sensor takes. */
export function sensorKeys(type: SensorType): readonly string[] {
  return Object.keys(SCHEMAS[type].entries)
}

/** The table `[sensor.NAME]`, as TOML gives it. */
export function checkSensor(name: string, table: unknown): CheckedSensor {
  const whole = (why: string): CheckedSensor => ({ ok: false, problems: [{ key: '', why }] })
  if (!NAME.test(name)) return whole('a sensor’s name has letters, digits, ., _ and - alone')
  if (TAKEN.test(name)) return whole('the machine’s own sensors have such names; take another')
  if (!isTable(table)) return whole(`must be a table, written [sensor.${name}]`)
  const type = table['type']
  if (!isSensorType(type)) {
    const why = `must be one of ${SENSOR_TYPES.join(', ')}`
    return { ok: false, problems: [{ key: 'type', why }] }
  }
  const known = sensorKeys(type)
  const unknown = Object.keys(table).filter((key) => !known.includes(key))
  const result = v.safeParse(SCHEMAS[type], table)
  const problems = [
    ...unknown.map((key) => unknownKey(name, key, { value: table[key], known })),
    ...(result.issues ?? []).map(problemOf),
    ...lonelyHeartbeat(table),
  ]
  if (problems.length > 0 || !result.success) return { ok: false, problems }
  return { ok: true, sensor: { ...result.output, name } }
}

function lonelyHeartbeat(table: Record<string, unknown>): SensorProblem[] {
  const { heartbeat, deadband, resolution } = table
  if (heartbeat === undefined || deadband !== undefined || resolution !== undefined) return []
  return [
    { key: 'heartbeat', why: 'needs deadband or resolution: without them nothing is left out' },
  ]
}

function unknownKey(
  name: string,
  key: string,
  { value, known }: { readonly value: unknown; readonly known: readonly string[] },
): SensorProblem {
  if (known.includes(`${key}_file`)) {
    return { key, why: `secrets and certificates are in files of their own: write ${key}_file` }
  }
  if (!isTable(value)) return { key, why: '', known }
  return { key, why: `a name with dots is written in quotes: [sensor."${name}.${key}"]` }
}

function problemOf(issue: v.BaseIssue<unknown>): SensorProblem {
  const first = issue.path?.[0]?.key
  const key = typeof first === 'string' ? first : ''
  const missing = issue.received === 'undefined' && issue.kind === 'schema'
  return { key, why: missing ? 'is missing' : issue.message }
}

function isSensorType(type: unknown): type is SensorType {
  return typeof type === 'string' && Object.hasOwn(SCHEMAS, type)
}

function isTable(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
  )
}

function isPattern(source: string): boolean {
  try {
    // With an empty alternative it matches anything, and the match tells the number of groups.
    const match = new RegExp(`${source}|`, 'm').exec('')
    return new RegExp(source, 'm').flags === 'm' && match !== null && match.length <= 2
  } catch {
    // Not a regular expression.
    return false
  }
}

function isUrl(address: string, protocols: readonly string[]): boolean {
  if (!URL.canParse(address)) return false
  const { protocol, username, password, hostname } = new URL(address)
  return protocols.includes(protocol) && username === '' && password === '' && hostname !== ''
}
