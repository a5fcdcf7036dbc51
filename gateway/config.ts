/**
 * The rules of the gateway, `gateway.toml` beside the device's settings: which readings go where, and
 * what may be asked for from there. Pure: from text to checked settings with every problem found, each
 * with its line. What the home's owners have signed is held against it in policy.ts.
 */
import { parse, TomlError } from 'smol-toml'
import * as v from 'valibot'

import {
  checkKeys,
  checkKind,
  fields,
  isTable,
  lineOf,
  nearest,
  parseDuration,
  parseSize,
  type ConfigProblem,
} from '../node/index.ts'
import { SINK_SCHEMAS, type SinkSettings } from './config-sinks.ts'

/** `[[forward]]`. */
export interface ForwardRule {
  /** A device's name, fingerprint or id; `*` for all. */
  readonly device: string
  /** Names of sensors, in which `*` stands for anything. */
  readonly sensors: readonly string[]
  readonly sink: string
  /** One reading of a sensor in so much time, the last; undefined for all. */
  readonly everyMs: number | undefined
  /** `raw`: the signed pack, byte for byte. */
  readonly form: 'json' | 'raw'
}

/** `[[downlink]]`. */
export interface DownlinkRule {
  readonly sink: string
  readonly device: string
  /** Names of properties and actions, in which `*` stands for anything. */
  readonly write: readonly string[]
  readonly invoke: readonly string[]
  readonly rate: Rate
}

/** So many in so much time. */
export interface Rate {
  readonly count: number
  readonly perMs: number
}

export interface GatewaySettings {
  readonly sinks: readonly SinkSettings[]
  readonly forward: readonly ForwardRule[]
  readonly downlink: readonly DownlinkRule[]
  readonly outbox: { readonly maxBytes: number }
}

const DEFAULT_OUTBOX = { maxBytes: 256 * 2 ** 20 }

/** As before the first line is written: nothing leaves. */
export const NO_RULES: GatewaySettings = Object.freeze({
  sinks: [],
  forward: [],
  downlink: [],
  outbox: DEFAULT_OUTBOX,
})

export type GatewayText =
  | { readonly ok: true; readonly settings: GatewaySettings }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] }

const SECTIONS = ['sink', 'forward', 'downlink', 'outbox']
const MAX_SINKS = 16
const MAX_RULES = 256
const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
const RATE = /^(\d{1,6})\/(s|m|h|d)$/

const pattern = v.pipe(
  v.string('must be text'),
  v.regex(
    /^(?:\*(?!\*)|[A-Za-z0-9])(?:[A-Za-z0-9\-:./_]|\*(?!\*)){0,63}$/,
    'must be a name, in which * stands for anything',
  ),
)
const anyPatterns = v.pipe(
  v.array(pattern, 'must be a list, like ["temperature.*"]'),
  v.maxLength(64, 'must have at most 64 entries'),
)
const patterns = v.pipe(anyPatterns, v.minLength(1, 'must not be empty'))
const rate = v.pipe(
  v.string('must be like "10/m"'),
  v.regex(RATE, 'must be like "10/m": so many in a second, a minute, an hour or a day'),
  v.transform(rateFrom),
  v.check(({ count }) => count > 0, 'must be at least 1'),
)

const FORWARD = v.object({
  device: v.optional(fields.text(64), '*'),
  sensors: v.optional(patterns, ['*']),
  sink: fields.name,
  every: v.optional(fields.duration(100, DAY_MS)),
  form: v.optional(v.picklist(['json', 'raw'], 'must be json or raw'), 'json'),
})

const DOWNLINK = v.object({
  sink: fields.name,
  device: fields.text(64),
  write: v.optional(anyPatterns, []),
  invoke: v.optional(anyPatterns, []),
  rate: v.optional(rate, '10/m'),
})

const OUTBOX = v.object({
  max_bytes: v.optional(
    v.pipe(
      v.string('must be like "256MiB"'),
      v.transform(parseSize),
      v.number('must be like "256MiB"'),
      v.minValue(2 ** 20, 'must be from 1MiB to 1TiB'),
      v.maxValue(2 ** 40, 'must be from 1MiB to 1TiB'),
    ),
    '256MiB',
  ),
})

/** Never throws: what is wrong is told. */
export function readGatewayText(text: string): GatewayText {
  let table: Record<string, unknown>
  try {
    table = parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const why = error.message.split('\n')[0] ?? 'not TOML'
    return { ok: false, problems: [{ key: '', line: error.line, why }] }
  }
  const found: Found[] = strangers(table)
  const settings = {
    sinks: readSinks(table['sink'], found),
    forward: readList('forward', table['forward'], found).flatMap(([place, one]) =>
      readForward(place, one, found),
    ),
    downlink: readList('downlink', table['downlink'], found).flatMap(([place, one]) =>
      readDownlink(place, one, found),
    ),
    outbox: readOutbox(table['outbox'], found),
  }
  const sinks = isTable(table['sink']) ? Object.keys(table['sink']) : []
  found.push(...strayRules(settings, sinks), ...wrongForms(settings))
  if (found.length === 0) return { ok: true, settings }
  return {
    ok: false,
    problems: found.map(({ key, why }) => ({ key: spoken(key), line: lineOf(text, key), why })),
  }
}

interface Found {
  readonly key: string
  readonly why: string
}

/** People count from 1: the second [[forward]]. */
function spoken(key: string): string {
  return key.replace(
    /^(forward|downlink)\.(\d+)/,
    (_, section: string, index: string) => `${section} ${Number(index) + 1}`,
  )
}

function strangers(table: Record<string, unknown>): Found[] {
  return Object.keys(table)
    .filter((key) => !SECTIONS.includes(key))
    .map((key) => {
      const near = nearest(key, SECTIONS)
      const instead = near === undefined ? `; there are ${SECTIONS.join(', ')}` : ''
      const why = near === undefined ? instead : `; did you mean ${near}?`
      return { key, why: `there is no such key${why}` }
    })
}

function readSinks(tables: unknown, found: Found[]): SinkSettings[] {
  if (tables === undefined) return []
  if (!isTable(tables)) {
    found.push({ key: 'sink', why: 'must be tables, written [sink.NAME]' })
    return []
  }
  const entries = Object.entries(tables)
  if (entries.length > MAX_SINKS) {
    found.push({ key: 'sink', why: `there must be at most ${MAX_SINKS} of them` })
  }
  return entries.slice(0, MAX_SINKS).flatMap(([name, table]) => {
    const checked = checkKind({ section: 'sink', one: 'a sink' }, SINK_SCHEMAS, name, table)
    if (checked.ok) return [checked.table]
    found.push(...checked.problems.map(({ key, why }) => ({ key: join(`sink.${name}`, key), why })))
    return []
  })
}

function readList(
  section: string,
  list: unknown,
  found: Found[],
): (readonly [string, Record<string, unknown>])[] {
  if (list === undefined) return []
  if (!Array.isArray(list) || !list.every(isTable)) {
    found.push({ key: section, why: `must be tables, each written [[${section}]]` })
    return []
  }
  if (list.length > MAX_RULES) {
    found.push({ key: section, why: `there must be at most ${MAX_RULES} of them` })
  }
  return list.slice(0, MAX_RULES).map((one, index) => [`${section}.${index}`, one])
}

function readForward(place: string, table: Record<string, unknown>, found: Found[]): ForwardRule[] {
  const checked = checkKeys({ section: 'forward', one: 'a rule' }, FORWARD, '', table)
  if (!checked.ok) {
    found.push(...checked.problems.map(({ key, why }) => ({ key: join(place, key), why })))
    return []
  }
  const { device, sensors, sink, every, form } = checked.table
  if (form === 'raw' && every !== undefined) {
    found.push({ key: `${place}.every`, why: 'packs leave as they were signed: raw has no every' })
  }
  if (form === 'raw' && !sensors.includes('*')) {
    found.push({ key: `${place}.sensors`, why: 'a pack has all sensors: raw needs ["*"]' })
  }
  return [{ device, sensors, sink, everyMs: every, form }]
}

function readDownlink(
  place: string,
  table: Record<string, unknown>,
  found: Found[],
): DownlinkRule[] {
  const checked = checkKeys({ section: 'downlink', one: 'a rule' }, DOWNLINK, '', table)
  if (!checked.ok) {
    found.push(...checked.problems.map(({ key, why }) => ({ key: join(place, key), why })))
    return []
  }
  const { sink, device, write, invoke, rate: most } = checked.table
  if (write.length + invoke.length === 0) {
    found.push({ key: place, why: 'must have write or invoke, like write = ["on"]' })
  }
  return [{ sink, device, write, invoke, rate: most }]
}

function readOutbox(table: unknown, found: Found[]): GatewaySettings['outbox'] {
  if (table === undefined) return DEFAULT_OUTBOX
  if (!isTable(table)) {
    found.push({ key: 'outbox', why: 'must be a table, written [outbox]' })
    return DEFAULT_OUTBOX
  }
  const checked = checkKeys({ section: 'outbox', one: 'the outbox' }, OUTBOX, '', table)
  if (checked.ok) return { maxBytes: checked.table.max_bytes }
  found.push(...checked.problems.map(({ key, why }) => ({ key: join('outbox', key), why })))
  return DEFAULT_OUTBOX
}

/** Rules for sinks that there are none of. */
function strayRules({ forward, downlink }: GatewaySettings, names: readonly string[]): Found[] {
  const stray = (section: string, rules: readonly { readonly sink: string }[]): Found[] =>
    rules.flatMap(({ sink }, index) => {
      if (names.includes(sink)) return []
      const near = nearest(sink, names)
      const instead = near === undefined ? `write [sink.${sink}]` : `did you mean ${near}?`
      return [{ key: `${section}.${index}.sink`, why: `there is no sink ${sink}; ${instead}` }]
    })
  return [...stray('forward', forward), ...stray('downlink', downlink)]
}

/** Only sinks that carry bytes can have packs, and only those that are asked can ask. */
function wrongForms({ sinks, forward, downlink }: GatewaySettings): Found[] {
  const typeOf = (name: string): string | undefined =>
    sinks.find((sink) => sink.name === name)?.type
  return [
    ...forward.flatMap(({ sink, form }, index) => {
      const type = typeOf(sink)
      if (form !== 'raw' || type === undefined || CARRY_PACKS.includes(type)) return []
      return [{ key: `forward.${index}.form`, why: `${type} cannot carry packs; write json` }]
    }),
    ...downlink.flatMap(({ sink }, index) => {
      const type = typeOf(sink)
      if (type === undefined || ASK.includes(type)) return []
      return [{ key: `downlink.${index}.sink`, why: `nothing can be asked for through ${type}` }]
    }),
  ]
}

const CARRY_PACKS: readonly string[] = ['mqtt', 'webhook', 'nats', 'kafka']
const ASK: readonly string[] = ['mqtt', 'home-assistant']

function join(place: string, key: string): string {
  return key === '' ? place : `${place}.${key}`
}

function rateFrom(text: string): Rate {
  const [, count = '0', unit = 'm'] = RATE.exec(text) ?? []
  return { count: Number(count), perMs: parseDuration(`1${unit}`) ?? MINUTE_MS }
}
