/**
 * The settings file, TOML 1.0: from text to checked values with every problem found, each with its
 * line, and from one changed value to new text that keeps the person's comments and order. Pure:
 * reading and writing the file is the caller's.
 */
import { parse, stringify, TomlError } from 'smol-toml'

import { SETTING_KEYS, SETTINGS, type SettingKey } from './config-schema.ts'
import { checkAction } from './config-actions.ts'
import { checkProperty } from './config-properties.ts'
import { checkEvent, checkRule } from './config-rules.ts'
import { checkSensor, type SensorSettings } from './config-sensors.ts'
import { isTable, type CheckedTable } from './config-tables.ts'
import { checkPlugin, NO_THINGS, strangers, type ThingSettings } from './config-things.ts'
import { checkValue, formatDuration, formatSize, type SettingValue } from './config-values.ts'
import { NodeError } from './errors.ts'
import { nearest } from './nearest.ts'

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

/** As many tables of one section as one device may have. */
const MAX_TABLES = 256

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
  const { sensor, property, action, event, rule, plugin, ...settings } = table
  const tables = readThings(text, { sensor, property, action, event, rule, plugin }, problems)
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
  return { values, ...tables, problems }
}

function readThings(
  text: string,
  tables: Readonly<Record<string, unknown>>,
  problems: ConfigProblem[],
): Pick<ConfigText, 'sensors' | 'things'> {
  const read = <T>(section: string, check: Check<T>): readonly T[] =>
    readTables(text, { section, tables: tables[section], check }, problems)
  const sensors = read('sensor', checkSensor)
  const things = {
    properties: read('property', checkProperty),
    actions: read('action', checkAction),
    events: read('event', checkEvent),
    rules: read('rule', checkRule),
    plugins: read('plugin', checkPlugin),
  }
  for (const { key, why } of strangers(things, sensors)) {
    problems.push({ key, line: lineOf(text, key), why })
  }
  return { sensors, things }
}

type Check<T> = (name: string, table: unknown) => CheckedTable<T>

interface Section<T> {
  readonly section: string
  readonly tables: unknown
  readonly check: Check<T>
}

function readTables<T>(
  text: string,
  { section, tables, check }: Section<T>,
  problems: ConfigProblem[],
): T[] {
  const wrong = (why: string): void => {
    problems.push({ key: section, line: lineOf(text, section), why })
  }
  if (tables === undefined) return []
  if (!isTable(tables)) {
    wrong(`must be tables, written [${section}.NAME]`)
    return []
  }
  const entries = Object.entries(tables)
  if (entries.length > MAX_TABLES) wrong(`there must be at most ${MAX_TABLES} of them`)
  return entries.slice(0, MAX_TABLES).flatMap(([name, table]) => {
    const checked = check(name, table)
    if (checked.ok) return [checked.table]
    const place = `${section}.${name}`
    for (const { key, why } of checked.problems) {
      const path = key === '' ? place : `${place}.${key}`
      problems.push({ key: path, line: lineOf(text, path), why })
    }
    return []
  })
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

/** Two levels: sections and names. Anything deeper is one value, and refused as such. */
function* flatten(table: Record<string, unknown>): Generator<[string, unknown]> {
  for (const [section, content] of Object.entries(table)) {
    if (!isTable(content)) yield [section, content]
    else for (const [name, value] of Object.entries(content)) yield [`${section}.${name}`, value]
  }
}

/**
 * Line of the assignment to `key`, of the table it is in, or of its section; undefined where none is
 * plain to see.
 */
export function lineOf(text: string, key: string): number | undefined {
  const places = assignments(text)
  const find = (wanted: string): number | undefined =>
    places.find(({ path }) => path === wanted)?.line
  for (let end = key.length; end > 0; end = key.lastIndexOf('.', end - 1)) {
    const line = find(key.slice(0, end))
    if (line !== undefined) return line
  }
  const [section] = key.split('.', 1)
  return places.find(({ path }) => path.split('.', 1)[0] === section)?.line
}

/**
 * Where each section begins and each key is assigned, as far as that is plain to see. The tables of a
 * list have numbers: the second `[[forward]]` is `forward.1`.
 */
function assignments(text: string): readonly { path: string; line: number }[] {
  const places: { path: string; line: number }[] = []
  const counts = new Map<string, number>()
  let prefix = ''
  for (const [index, line] of text.split('\n').entries()) {
    const section = sectionIn(line, counts)
    const left = named(/^\s*([\w".-]+?)\s*=/, line)
    if (section !== undefined) prefix = `${section}.`
    if (section !== undefined) places.push({ path: section, line: index + 1 })
    else if (left !== undefined) places.push({ path: prefix + left, line: index + 1 })
  }
  return places
}

/** The section that begins in this line. `counts`: tables so far, by list. */
function sectionIn(line: string, counts: Map<string, number>): string | undefined {
  const list = named(/^\s*\[\[\s*([^[\]]+?)\s*\]\]/, line)
  if (list === undefined) return named(/^\s*\[\s*([^[\]]+?)\s*\]/, line)
  const count = counts.get(list) ?? 0
  counts.set(list, count + 1)
  return `${list}.${count}`
}

function named(pattern: RegExp, line: string): string | undefined {
  return pattern.exec(line)?.[1]?.replaceAll('"', '')
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
