/**
 * The settings file, TOML 1.0: from text to checked values with every problem found, each with its
 * line, and from one changed value to new text that keeps the person's comments and order. Pure:
 * reading and writing the file is the caller's.
 */
import { parse, stringify, TomlError } from 'smol-toml'

import { SETTING_KEYS, SETTINGS, type SettingKey } from './config-schema.ts'
import { checkSensor, type SensorSettings } from './config-sensors.ts'
import { NO_THINGS, type ThingSettings } from './config-things.ts'
import { checkValue, formatDuration, formatSize, type SettingValue } from './config-values.ts'
import { NodeError } from './errors.ts'

export interface ConfigProblem {
  /** Empty where the file is not TOML. */
  readonly key: string
  /** From 1; undefined where the place is not known. */
  readonly line: number | undefined
  readonly why: string
}

export interface ConfigText {
  readonly values: ReadonlyMap<SettingKey, SettingValue>
  /** The tables `[sensor.NAME]` that are in order. */
  readonly sensors: readonly SensorSettings[]
  readonly things: ThingSettings
  readonly problems: readonly ConfigProblem[]
}

/** As many tables `[sensor.NAME]` as one device may have. */
const MAX_SENSORS = 256

/** Never throws: what is wrong is in `problems`. */
export function readConfigText(text: string): ConfigText {
  let table: Record<string, unknown>
  try {
    table = parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const why = error.message.split('\n')[0] ?? 'not TOML'
    return {
      values: new Map(),
      sensors: [],
      things: NO_THINGS,
      problems: [{ key: '', line: error.line, why }],
    }
  }
  const values = new Map<SettingKey, SettingValue>()
  const problems: ConfigProblem[] = []
  const { sensor = {}, ...settings } = table
  const sensors = readSensors(text, sensor, problems)
  for (const [key, raw] of flatten(settings)) {
    const line = lineOf(text, key)
    if (!isSettingKey(key)) {
      problems.push({ key, line, why: unknownKey(key) })
      continue
    }
    const checked = checkValue(key, raw)
    if (checked.ok) values.set(key, checked.value)
    else problems.push({ key, line, why: checked.why })
  }
  return { values, sensors, things: NO_THINGS, problems }
}

function readSensors(text: string, tables: unknown, problems: ConfigProblem[]): SensorSettings[] {
  if (!isTable(tables)) {
    const why = 'sensors are tables, written [sensor.NAME]'
    problems.push({ key: 'sensor', line: lineOf(text, 'sensor'), why })
    return []
  }
  const entries = Object.entries(tables)
  if (entries.length > MAX_SENSORS) {
    const why = `there must be at most ${MAX_SENSORS} sensors`
    problems.push({ key: 'sensor', line: lineOf(text, 'sensor'), why })
  }
  return entries.slice(0, MAX_SENSORS).flatMap(([name, table]) => {
    const checked = checkSensor(name, table)
    if (checked.ok) return [checked.sensor]
    const place = `sensor.${name}`
    for (const { key, why, known } of checked.problems) {
      const path = key === '' ? place : `${place}.${key}`
      const line = lineOf(text, path, place)
      problems.push({
        key: path,
        line,
        why: known === undefined ? why : unknownSensorKey(key, known),
      })
    }
    return []
  })
}

function unknownSensorKey(key: string, known: readonly string[]): string {
  const near = nearest(key, known)
  return near === undefined
    ? `there is no such key; there are ${known.join(', ')}`
    : `there is no such key; did you mean ${near}?`
}

export function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(SETTINGS, key)
}

/** "there is no such setting; did you mean …?" */
export function unknownKey(key: string, known: readonly string[] = SETTING_KEYS): string {
  const near = nearest(key, known)
  return near === undefined
    ? 'there is no such setting; `kith config schema` lists them'
    : `there is no such setting; did you mean ${near}?`
}

/** The known name with the fewest edits from `name`, where those are few; undefined otherwise. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const leaf = (key: string): string => key.slice(key.lastIndexOf('.') + 1)
  const scored = known.map((candidate) => ({
    candidate,
    edits: Math.min(
      editDistance(name, candidate),
      // The right name in the wrong section, or in none.
      leaf(name) === leaf(candidate) ? 1 : Number.POSITIVE_INFINITY,
    ),
  }))
  const best = scored.toSorted((a, b) => a.edits - b.edits)[0]
  return best !== undefined && best.edits <= Math.max(2, Math.floor(name.length / 4))
    ? best.candidate
    : undefined
}

function editDistance(a: string, b: string): number {
  if (a.length > 128) return a.length
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/** Two levels: sections and names. Anything deeper is one value, and refused as such. */
function* flatten(table: Record<string, unknown>): Generator<[string, unknown]> {
  for (const [section, content] of Object.entries(table)) {
    if (!isTable(content)) yield [section, content]
    else for (const [name, value] of Object.entries(content)) yield [`${section}.${name}`, value]
  }
}

function isTable(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
  )
}

/** Line of the assignment to `key`, or of its section; undefined where neither is plain to see. */
function lineOf(text: string, key: string, table = key): number | undefined {
  const [section] = key.split('.', 1)
  const places = assignments(text)
  const found =
    places.find(({ path }) => path === key) ??
    places.find(({ path }) => path === table) ??
    places.find(({ path }) => path.split('.', 1)[0] === section)
  return found?.line
}

/** Where each section begins and each key is assigned, as far as that is plain to see. */
function assignments(text: string): readonly { path: string; line: number }[] {
  const places: { path: string; line: number }[] = []
  let prefix = ''
  for (const [index, line] of text.split('\n').entries()) {
    const section = /^\s*\[\s*([^\]]+?)\s*\]/.exec(line)?.[1]?.replaceAll('"', '')
    const left = /^\s*([\w".-]+?)\s*=/.exec(line)?.[1]?.replaceAll('"', '')
    if (section !== undefined) prefix = `${section}.`
    if (section !== undefined) places.push({ path: section, line: index + 1 })
    else if (left !== undefined) places.push({ path: prefix + left, line: index + 1 })
  }
  return places
}

/**
 * `text` with `key` set to `value`, all else kept. @throws NodeError NODE_CONFIG where the file's
 * own way of writing the key cannot be changed safely
 */
export function setInText(text: string, key: SettingKey, value: SettingValue): string {
  const [section = '', name = ''] = key.split('.')
  const assignment = `${name} = ${tomlValue(key, value)}`
  const changed = replaceOrInsert(text, { key, section, assignment })
  const { values, sensors, problems } = readConfigText(changed)
  const before = readConfigText(text)
  const kept =
    JSON.stringify(sensors) === JSON.stringify(before.sensors) &&
    [...before.values].every(
      ([other, was]) => other === key || JSON.stringify(values.get(other)) === JSON.stringify(was),
    )
  if (problems.length > 0 || !kept || JSON.stringify(values.get(key)) !== JSON.stringify(value)) {
    throw new NodeError('NODE_CONFIG', `The file cannot be changed safely at ${key}.`, {
      hint: `Nothing was changed. Edit it by hand: [${section}] ${assignment}`,
    })
  }
  return changed
}

function replaceOrInsert(
  text: string,
  { key, section, assignment }: { key: SettingKey; section: string; assignment: string },
): string {
  const lines = text === '' ? [] : text.replace(/\n$/, '').split('\n')
  if (readConfigText(text).values.has(key)) {
    const at = (lineOf(text, key) ?? 0) - 1
    const line = lines[at] ?? ''
    const dotted = /^\s*[\w"-]+\s*\./.test(line) ? `${section}.` : ''
    const comment = /\s+#[^"'\]]*$/.exec(line)?.[0] ?? ''
    lines[at] = `${dotted}${assignment}${comment}`
  } else {
    const header = lines.findIndex((line) => line.trim().startsWith(`[${section}]`))
    if (header === -1) lines.push(...(lines.length > 0 ? [''] : []), `[${section}]`, assignment)
    else lines.splice(header + 1, 0, assignment)
  }
  return `${lines.join('\n')}\n`
}

function tomlValue(key: SettingKey, value: SettingValue): string {
  const { type } = SETTINGS[key]
  const written =
    typeof value !== 'number' || type === 'integer' || type === 'number'
      ? value
      : type === 'duration'
        ? formatDuration(value)
        : formatSize(value)
  return stringify({ x: written }).replace(/^x = /, '').trim()
}
