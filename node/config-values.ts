/** One setting's value from what a person wrote: TOML's own types in a file, text elsewhere. */
import { SETTINGS, type Setting, type SettingKey } from './config-schema.ts'

export type SettingValue = string | number | boolean | readonly string[]
export type Checked =
  | { readonly ok: true; readonly value: SettingValue }
  | { readonly ok: false; readonly why: string }

const DURATION_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZE_BYTES = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const

/** "10s", "1.5h", "250ms" in whole milliseconds; undefined where it is no duration. */
export function parseDuration(text: string): number | undefined {
  return parseUnit(text, DURATION_MS)
}

/** "1GiB", "500MB", "4096B" in whole bytes; undefined where it is no size. */
export function parseSize(text: string): number | undefined {
  return parseUnit(text, SIZE_BYTES)
}

function parseUnit(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,6})?) ?([a-zA-Z]{1,3})$/.exec(text.trim())
  const [, digits, unit] = match ?? []
  if (digits === undefined || unit === undefined || !Object.hasOwn(units, unit)) return undefined
  const value = Number(digits) * (units[unit] ?? Number.NaN)
  return Number.isSafeInteger(Math.round(value)) ? Math.round(value) : undefined
}

/** The shortest text that parses back to `ms`. */
export function formatDuration(ms: number): string {
  return formatUnit(ms, [
    ['d', DURATION_MS.d],
    ['h', DURATION_MS.h],
    ['m', DURATION_MS.m],
    ['s', DURATION_MS.s],
    ['ms', 1],
  ])
}

/** The shortest text in binary units that parses back to `bytes`. */
export function formatSize(bytes: number): string {
  return formatUnit(bytes, [
    ['TiB', SIZE_BYTES.TiB],
    ['GiB', SIZE_BYTES.GiB],
    ['MiB', SIZE_BYTES.MiB],
    ['KiB', SIZE_BYTES.KiB],
    ['B', 1],
  ])
}

function formatUnit(value: number, units: readonly (readonly [string, number])[]): string {
  const [name, size] = units.find(([, factor]) => value >= factor && value % factor === 0) ?? [
    units.at(-1)?.[0] ?? '',
    1,
  ]
  return `${value / size}${name}`
}

/** `value` as a person would write it in the file. */
export function formatValue(key: SettingKey, value: SettingValue): string {
  const { type } = SETTINGS[key]
  if (typeof value === 'number' && type === 'duration') return formatDuration(value)
  if (typeof value === 'number' && type === 'size') return formatSize(value)
  return typeof value === 'object' ? value.join(', ') : String(value)
}

/** A value from a file. */
export function checkValue(key: SettingKey, raw: unknown): Checked {
  const setting: Setting = SETTINGS[key]
  switch (setting.type) {
    case 'integer':
    case 'number':
    case 'duration':
    case 'size':
      return checkNumber(setting, raw)
    case 'boolean':
      return typeof raw === 'boolean' ? accept(raw) : refuse('must be true or false')
    case 'text':
      return checkText(raw, setting.maxBytes)
    case 'choice':
      return setting.choices.includes(String(raw))
        ? accept(String(raw))
        : refuse(`must be one of ${setting.choices.join(', ')}`)
    case 'list':
      return checkList(raw, setting)
  }
}

/** A value from a flag or the environment. Lists are separated by commas. */
export function checkTextValue(key: SettingKey, text: string): Checked {
  const { type } = SETTINGS[key]
  if (type === 'integer') return checkValue(key, /^-?\d{1,15}$/.test(text) ? Number(text) : text)
  if (type === 'number') {
    return checkValue(key, /^\d{1,9}(?:\.\d{1,6})?$/.test(text) ? Number(text) : text)
  }
  if (type === 'boolean') {
    const words: Readonly<Record<string, boolean>> = { true: true, false: false, 1: true, 0: false }
    return checkValue(key, Object.hasOwn(words, text) ? words[text] : text)
  }
  if (type === 'list') {
    const items = text.split(',').map((item) => item.trim())
    return checkValue(
      key,
      items.filter((item) => item !== ''),
    )
  }
  return checkValue(key, text)
}

type NumberSetting = Extract<Setting, { min: number }>

function checkNumber(setting: NumberSetting, raw: unknown): Checked {
  const { type, min, max } = setting
  const example = {
    integer: 'a whole number',
    number: 'a number',
    duration: 'like "10s"',
    size: 'like "1GiB"',
  }
  const value = numberOf(type, raw)
  if (value === undefined) return refuse(`must be ${example[type]}`)
  if (value < min || value > max) {
    const show = { integer: String, number: String, duration: formatDuration, size: formatSize }
    return refuse(`must be from ${show[type](min)} to ${show[type](max)}`)
  }
  return accept(value)
}

function numberOf(type: NumberSetting['type'], raw: unknown): number | undefined {
  if (type === 'number') return typeof raw === 'number' && Number.isFinite(raw) ? raw : undefined
  const parse = type === 'duration' ? parseDuration : parseSize
  const value = type === 'integer' ? raw : typeof raw === 'string' ? parse(raw) : undefined
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined
}

function checkText(raw: unknown, maxBytes: number): Checked {
  if (typeof raw !== 'string') return refuse('must be text')
  if (Buffer.byteLength(raw) > maxBytes) return refuse(`must be at most ${maxBytes} bytes long`)
  if (/\p{Cc}/u.test(raw)) return refuse('must be on one line, without control characters')
  return accept(raw)
}

function checkList(raw: unknown, setting: Extract<Setting, { maxItems: number }>): Checked {
  if (!Array.isArray(raw)) return refuse('must be a list of texts, like ["a", "b"]')
  if (raw.length > setting.maxItems) return refuse(`must have at most ${setting.maxItems} entries`)
  for (const item of raw as readonly unknown[]) {
    const checked = checkText(item, setting.maxBytes)
    if (!checked.ok) return refuse(`each entry ${checked.why}`)
    if (checked.value === '') return refuse('must not have an empty entry')
    if (setting.entry?.pattern.test(String(item)) === false) {
      return refuse(`must have entries of the form that each ${setting.entry.form}`)
    }
  }
  return accept([...(raw as readonly string[])])
}

function accept(value: SettingValue): Checked {
  return { ok: true, value }
}

function refuse(why: string): Checked {
  return { ok: false, why }
}
