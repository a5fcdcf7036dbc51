/**
 * Settings of the device: flag before environment before file before default, each value checked
 * against config-schema.ts. This file joins the sources; it changes nothing.
 */
import { readFile } from 'node:fs/promises'

import { isSettingKey, readConfigText, unknownKey, type ConfigProblem } from './config-file.ts'
import { SETTING_KEYS, SETTINGS, type ConfigValues, type SettingKey } from './config-schema.ts'
import type { SensorSettings } from './config-sensors.ts'
import type { ThingSettings } from './config-things.ts'
import { checkTextValue, type Checked, type SettingValue } from './config-values.ts'
import { NodeError } from './errors.ts'
import { resolvePaths, type Paths } from './paths.ts'

export type { ConfigValues, SettingKey } from './config-schema.ts'
export type { Paths } from './paths.ts'

export type ConfigSource = 'flag' | 'environment' | 'file' | 'default'

/** `config.mesh.port`, `config.telemetry.interval` (ms), `config.paths.dataDir` … */
export interface Config extends ConfigValues {
  readonly paths: Paths
  readonly sources: Readonly<Record<SettingKey, ConfigSource>>
  /** The tables `[sensor.NAME]` of the file. */
  readonly sensors: readonly SensorSettings[]
  /** Its tables of what others may do here, and of what this device does by itself. */
  readonly things: ThingSettings
}

export interface ConfigInputs {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly homeDir: string
  readonly hostName: string
  readonly uid: number
  readonly dataDir?: string | undefined
  /** A file that must exist; the usual one may be missing. */
  readonly configFile?: string | undefined
  /** Settings from flags, as text. */
  readonly flags?: ReadonlyMap<string, string> | undefined
}

const MAX_FILE_BYTES = 64 * 1024

/** Every setting's name in the environment, `KITH_MESH_PORT` for mesh.port. */
export function environmentName(key: SettingKey): string {
  return `KITH_${key.toUpperCase().replace('.', '_')}`
}

/** @throws NodeError NODE_CONFIG with place, reason and what to write instead */
export async function loadConfig(inputs: ConfigInputs): Promise<Config> {
  const paths = resolvePaths(inputs)
  const text = await readConfigFile(paths.configFile, inputs.configFile !== undefined)
  const file = readConfigText(text)
  if (file.problems.length > 0) throw fileError(paths.configFile, file.problems)
  const flags = fromFlags(inputs.flags ?? new Map())
  const environment = fromEnvironment(inputs.env)
  const values = new Map<SettingKey, SettingValue>()
  const sources = {} as Record<SettingKey, ConfigSource>
  for (const key of SETTING_KEYS) {
    const [source, value] = [
      ['flag', flags.get(key)] as const,
      ['environment', environment.get(key)] as const,
      ['file', file.values.get(key)] as const,
    ].find(([, found]) => found !== undefined) ?? ['default' as const, SETTINGS[key].default]
    values.set(key, value ?? SETTINGS[key].default)
    sources[key] = source
  }
  if (values.get('device.name') === '') values.set('device.name', deviceName(inputs.hostName))
  return Object.freeze({
    ...nest(values),
    paths,
    sources,
    sensors: file.sensors,
    things: file.things,
  })
}

/** The host name without its domain, cut to what a device's name may be. */
function deviceName(hostName: string): string {
  const name = (hostName.split('.')[0] ?? '').replaceAll(/[^\w-]/g, '').slice(0, 63)
  return name === '' ? 'device' : name
}

/** The file's text; empty where there is none and `required` is false. */
export async function readConfigFile(path: string, required: boolean): Promise<string> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (!required && (code === 'ENOENT' || code === 'ENOTDIR')) return ''
    throw new NodeError('NODE_CONFIG', `The settings file ${path} cannot be read (${code}).`, {
      cause,
      hint: 'Check the path and its permissions.',
    })
  }
  try {
    if (bytes.length > MAX_FILE_BYTES) throw new Error('too large')
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new NodeError(
      'NODE_CONFIG',
      `The settings file ${path} is not a text of at most 64 KiB.`,
      {
        cause,
        hint: 'Nothing was changed. Replace the file or remove it.',
      },
    )
  }
}

/** All problems of a file as one error for people. */
export function fileError(path: string, problems: readonly ConfigProblem[]): NodeError {
  const lines = problems.map((problem) => `${path}${describe(problem)}`)
  return new NodeError('NODE_CONFIG', lines.join('\n'), {
    hint: 'Nothing was started or changed. Mend the file, then try: kith config validate',
  })
}

function describe({ key, line, why }: ConfigProblem): string {
  const place = line === undefined ? '' : `:${line}`
  return `${place}: ${key === '' ? why : `${key}: ${why}`}`
}

function fromFlags(flags: ReadonlyMap<string, string>): Map<SettingKey, SettingValue> {
  const values = new Map<SettingKey, SettingValue>()
  for (const [key, text] of flags) {
    if (!isSettingKey(key)) {
      throw new NodeError('NODE_CONFIG', `--set ${key}: ${unknownKey(key)}`)
    }
    values.set(key, valueOf(`--set ${key}`, checkTextValue(key, text)))
  }
  return values
}

function fromEnvironment(env: ConfigInputs['env']): Map<SettingKey, SettingValue> {
  const values = new Map<SettingKey, SettingValue>()
  const names = new Map(SETTING_KEYS.map((key) => [environmentName(key), key]))
  const sections = new Set([...names.keys()].map((name) => name.split('_', 2).join('_')))
  for (const [name, text] of Object.entries(env)) {
    const key = names.get(name)
    if (key !== undefined && text !== undefined) {
      values.set(key, valueOf(name, checkTextValue(key, text)))
    } else if (key === undefined && sections.has(name.split('_', 2).join('_'))) {
      throw new NodeError('NODE_CONFIG', `${name}: ${unknownKey(name, [...names.keys()])}`)
    }
  }
  return values
}

function valueOf(place: string, checked: Checked): SettingValue {
  if (checked.ok) return checked.value
  throw new NodeError('NODE_CONFIG', `${place}: ${checked.why}`)
}

function nest(values: ReadonlyMap<SettingKey, SettingValue>): ConfigValues {
  const sections: Record<string, Record<string, SettingValue>> = {}
  for (const [key, value] of values) {
    const [section = '', name = ''] = key.split('.')
    sections[section] = { ...sections[section], [name]: value }
  }
  return sections as unknown as ConfigValues
}

export interface ConfigRowView {
  readonly key: SettingKey
  readonly value: SettingValue
  readonly source: ConfigSource
}

/** Every setting in force and where it came from. */
export function configRows(config: Config): readonly ConfigRowView[] {
  const sections = config as unknown as Record<string, Record<string, SettingValue>>
  return SETTING_KEYS.map((key) => {
    const [section = '', name = ''] = key.split('.')
    const value = sections[section]?.[name] ?? SETTINGS[key].default
    return { key, value, source: config.sources[key] }
  })
}
