/**
 * The tables `[sensor.NAME]` of the settings file: what each kind of sensor takes, checked. One table
 * is one sensor. Keys that a kind does not have are mistakes, as are two that exclude each other.
 * Files and programs that a table names are not touched here.
 */
import * as v from 'valibot'

import { unitKind } from '../protocols/telemetry/index.ts'
import {
  argv,
  bool,
  broker,
  DAY_MS,
  duration,
  needsTls,
  needsUser,
  notNegative,
  number,
  path,
  pattern,
  pointer,
  positive,
  SECOND_MS,
  server,
  text,
  topic,
  url,
} from './config-fields.ts'
import {
  checkKind,
  isTable,
  refused,
  type CheckedTable,
  type TableProblem,
} from './config-tables.ts'

const unit = v.pipe(
  text(16),
  v.check(
    (name) => unitKind(name) !== undefined,
    'must be a unit of SenML, like Cel, %RH, Pa, hPa, V, W, kWh, lx or ppm',
  ),
)
/** What texts mean as numbers, like { ON = 1, OFF = 0 }. */
const words = v.record(text(64), number, 'must be a table like { ON = 1, OFF = 0 }')

const common = {
  description: v.optional(text(64)),
  scale: v.optional(number, 1),
  offset: v.optional(number, 0),
  deadband: v.optional(notNegative),
  resolution: v.optional(positive),
  heartbeat: v.optional(duration(SECOND_MS, 30 * DAY_MS)),
  map: v.optional(words),
  unit: v.optional(unit),
  /** A device that sleeps wakes at once when it changes. */
  alarm: v.optional(bool),
}
const polled = { ...common, interval: v.optional(duration(SECOND_MS, DAY_MS)) }
/** A small file can be watched, or read often. */
const quick = { ...common, interval: v.optional(duration(20, DAY_MS)), watch: v.optional(bool) }
/** The kernel tells of no changes there. */
const SILENT = /^\/(sys|proc|dev)\//
const tells = <T extends { readonly path: string; readonly watch?: boolean | undefined }>() =>
  v.check<T, 'tells nothing of /sys, /proc and /dev: write interval = "20ms" instead'>(
    ({ path: at, watch }) => watch !== true || !SILENT.test(at),
    'tells nothing of /sys, /proc and /dev: write interval = "20ms" instead',
  )
/** Sources that speak by themselves: the shortest time between two readings. */
const spoken = { ...common, interval: v.optional(duration(10, DAY_MS), '1s') }

export const SENSOR_SCHEMAS = {
  file: v.pipe(
    v.object({ type: v.literal('file'), ...quick, path, pattern: v.optional(pattern) }),
    v.forward(tells(), ['watch']),
  ),
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
  gpio: v.pipe(
    v.object({ type: v.literal('gpio'), ...quick, path, invert: v.optional(bool, false) }),
    v.forward(tells(), ['watch']),
  ),
  command: v.pipe(
    v.object({
      type: v.literal('command'),
      ...spoken,
      interval: v.optional(duration(10, DAY_MS)),
      command: argv,
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
    url,
    pointer: v.optional(pointer, ''),
    ...server,
  }),
  mqtt: v.pipe(
    v.object({
      type: v.literal('mqtt'),
      ...spoken,
      ...broker,
      topic,
      pointer: v.optional(pointer),
      retained: v.optional(bool, false),
    }),
    v.forward(needsUser(), ['password_file']),
    v.forward(needsTls(), ['ca_file']),
  ),
  push: v.object({ type: v.literal('push'), ...spoken }),
} as const

export type SensorType = keyof typeof SENSOR_SCHEMAS
export const SENSOR_TYPES = Object.keys(SENSOR_SCHEMAS) as readonly SensorType[]

/** One checked table; durations in milliseconds. */
export type SensorSettings = {
  [T in SensorType]: v.InferOutput<(typeof SENSOR_SCHEMAS)[T]> & { readonly name: string }
}[SensorType]
export type SettingsOf<T extends SensorType> = Extract<SensorSettings, { readonly type: T }>

/** Names of what the machine itself measures. */
const TAKEN = /^(load|cpu|uptime)$|^(memory|disk|network)(\.|$)|^temperature\.(zone|mon)\d/

/** The table `[sensor.NAME]`, as TOML gives it. */
export function checkSensor(name: string, table: unknown): CheckedTable<SensorSettings> {
  if (TAKEN.test(name)) {
    return refused('', 'the machine’s own sensors have such names; take another')
  }
  const group = { section: 'sensor', one: 'a sensor' }
  const checked = checkKind(group, SENSOR_SCHEMAS, name, table)
  const lonely = checked.ok && isQuick(checked.table) ? undefined : lonelyHeartbeat(table)
  if (lonely === undefined) return checked
  return { ok: false, problems: [...(checked.ok ? [] : checked.problems), lonely] }
}

/** Watched, or read more often than once a second: a reading is what has changed, and no other. */
export function isQuick(settings: SensorSettings): boolean {
  if (settings.type !== 'file' && settings.type !== 'gpio') return false
  return settings.watch === true || (settings.interval ?? SECOND_MS) < SECOND_MS
}

function lonelyHeartbeat(table: unknown): TableProblem | undefined {
  if (!isTable(table)) return undefined
  const { heartbeat, deadband, resolution } = table
  if (heartbeat === undefined || deadband !== undefined || resolution !== undefined)
    return undefined
  return { key: 'heartbeat', why: 'needs deadband or resolution: without them nothing is left out' }
}
