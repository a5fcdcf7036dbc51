/**
 * The tables `[property.NAME]` of the settings file: what others may read here and set, and where it
 * is. Each is checked; nothing that they name is touched here.
 */
import * as v from 'valibot'

import {
  argv,
  bool,
  broker,
  needsTls,
  needsUser,
  number,
  path,
  pointer,
  positive,
  text,
  timeout,
  topic,
  url,
  whole,
} from './config-fields.ts'
import { checkKind, type CheckedTable, type TableProblem } from './config-tables.ts'
import {
  about,
  fits,
  limits,
  message,
  scalar,
  sent,
  strayPlaces,
  valueType,
  wrongValue,
  type ValueSettings,
} from './config-thing-values.ts'

const valued = { value: valueType, ...limits, initial: v.optional(scalar) }
/** What true and false are called there. */
const switched = { on: v.optional(text(64)), off: v.optional(text(64)) }
const device = (example: string) =>
  v.pipe(text(64), v.regex(/^\w[\w:@.-]*$/, `must be a name, like "${example}"`))

export const PROPERTY_SCHEMAS = {
  gpio: v.object({
    type: v.literal('gpio'),
    ...about,
    chip: v.optional(device('gpiochip0'), 'gpiochip0'),
    line: v.optional(whole(0, 1023)),
    path: v.optional(path),
    invert: v.optional(bool, false),
    writable: v.optional(bool, true),
    initial: v.optional(bool),
  }),
  led: v.object({
    type: v.literal('led'),
    ...about,
    led: device('ACT'),
    value: v.optional(v.picklist(['boolean', 'number'], 'must be boolean or number'), 'boolean'),
    initial: v.optional(scalar),
  }),
  pwm: v.object({
    type: v.literal('pwm'),
    ...about,
    chip: v.optional(device('pwmchip0'), 'pwmchip0'),
    channel: v.optional(whole(0, 63), 0),
    frequency: v.optional(v.pipe(positive, v.maxValue(1e6, 'must be at most 1000000')), 1000),
    min: v.optional(number, 0),
    max: v.optional(number, 1),
    step: v.optional(positive),
    initial: v.optional(number),
  }),
  file: v.object({
    type: v.literal('file'),
    ...about,
    ...valued,
    ...switched,
    path,
    readable: v.optional(bool, true),
    writable: v.optional(bool, true),
  }),
  command: v.object({
    type: v.literal('command'),
    ...about,
    ...valued,
    ...switched,
    set: v.optional(argv),
    get: v.optional(argv),
    pointer: v.optional(pointer),
    timeout,
  }),
  http: v.object({
    type: v.literal('http'),
    ...about,
    ...valued,
    ...switched,
    url: v.optional(url),
    ...sent,
    state_url: v.optional(url),
    pointer: v.optional(pointer),
  }),
  mqtt: v.pipe(
    v.object({
      type: v.literal('mqtt'),
      ...about,
      ...valued,
      ...switched,
      ...broker,
      topic: v.optional(topic),
      ...message,
      state_topic: v.optional(topic),
      pointer: v.optional(pointer),
      timeout,
    }),
    v.forward(needsUser(), ['password_file']),
    v.forward(needsTls(), ['ca_file']),
  ),
} as const

export type PropertyType = keyof typeof PROPERTY_SCHEMAS
/** One checked table; durations in milliseconds. */
export type PropertySettings = {
  [T in PropertyType]: v.InferOutput<(typeof PROPERTY_SCHEMAS)[T]> & { readonly name: string }
}[PropertyType]
export type PropertyOf<T extends PropertyType> = Extract<PropertySettings, { readonly type: T }>

/** The table `[property.NAME]`, as TOML gives it. */
export function checkProperty(name: string, table: unknown): CheckedTable<PropertySettings> {
  const group = { section: 'property', one: 'a property' }
  const checked = checkKind(group, PROPERTY_SCHEMAS, name, table)
  if (!checked.ok) return checked
  const settings: PropertySettings = checked.table
  const wrong = wrongProperty(settings)
  return wrong === undefined ? { ok: true, table: settings } : { ok: false, problems: [wrong] }
}

function wrongProperty(settings: PropertySettings): TableProblem | undefined {
  const value = valueOfProperty(settings)
  const wrong = wrongValue(value)
  if (wrong !== undefined) return wrong
  const { initial } = settings
  if (initial !== undefined && !fits(value, initial)) {
    return { key: 'initial', why: 'is not a value that the property may have' }
  }
  const more = WRONG[settings.type] as (one: PropertySettings) => TableProblem | undefined
  return more(settings)
}

const ONE_PLACE = { allowed: ['value'] }
const NO_PLACE = { allowed: [] }

/** What else each type wants. */
const WRONG: { readonly [T in PropertyType]: (one: PropertyOf<T>) => TableProblem | undefined } = {
  gpio({ line, path: file }) {
    if ((line === undefined) !== (file === undefined)) return undefined
    return { key: '', why: 'must have either line or path' }
  },
  led: () => undefined,
  pwm({ min, max }) {
    if (min >= 0 && max <= 1) return undefined
    return { key: min < 0 ? 'min' : 'max', why: 'must be from 0 to 1' }
  },
  file({ readable, writable }) {
    if (readable || writable) return undefined
    return { key: 'readable', why: 'must be true where writable is false' }
  },
  command({ set, get }) {
    if (set === undefined && get === undefined) {
      return { key: '', why: 'must have set, get or both' }
    }
    return strayPlaces('set', set, ONE_PLACE) ?? strayPlaces('get', get, NO_PLACE)
  },
  http({ url: address, state_url: state, body }) {
    if (address === undefined && state === undefined) {
      return { key: '', why: 'must have url, state_url or both' }
    }
    return strayPlaces('url', address, ONE_PLACE) ?? strayPlaces('body', body, ONE_PLACE)
  },
  mqtt({ topic: to, state_topic: from, payload }) {
    if (to === undefined && from === undefined) {
      return { key: '', why: 'must have topic, state_topic or both' }
    }
    return strayPlaces('payload', payload, ONE_PLACE)
  },
}

/** What the values of a property may be. */
export function valueOfProperty(settings: PropertySettings): ValueSettings {
  switch (settings.type) {
    case 'gpio':
      return { value: 'boolean' }
    case 'led':
      return settings.value === 'number'
        ? { value: 'number', min: 0, max: 1 }
        : { value: 'boolean' }
    case 'pwm':
      return { ...settings, value: 'number' }
    case 'file':
    case 'command':
    case 'http':
    case 'mqtt':
      return settings
  }
}
