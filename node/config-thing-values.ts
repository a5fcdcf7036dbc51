/** What values of properties and arguments may be, and texts into which they are written. */
import * as v from 'valibot'

import { bool, number, positive, server, text, whole } from './config-fields.ts'
import type { TableProblem } from './config-tables.ts'

export const VALUE_TYPES = ['boolean', 'integer', 'number', 'string'] as const
export type ValueType = (typeof VALUE_TYPES)[number]

/** What a value may be; `value` is its type. */
export interface ValueSettings {
  readonly value: ValueType
  readonly min?: number | undefined
  readonly max?: number | undefined
  /** The value is a whole multiple of this. */
  readonly step?: number | undefined
  readonly choices?: readonly (string | number)[] | undefined
  /** Of a text, in characters. */
  readonly max_length?: number | undefined
  readonly unit?: string | undefined
  readonly description?: string | undefined
}

/** Longest text where nothing is said, in characters. */
export const MAX_LENGTH = 256

export const choices = v.pipe(
  v.array(v.union([v.string(), v.number()]), 'must be a list of texts or numbers'),
  v.minLength(1, 'must not be empty'),
  v.maxLength(64, 'must have at most 64 entries'),
)

/** Keys of properties and actions of every kind. */
export const about = { description: v.optional(text(256)), coalesce: v.optional(bool, false) }
export const scalar = v.union(
  [v.boolean(), v.string(), v.number()],
  'must be true, false, a number or text',
)
export const limits = {
  min: v.optional(number),
  max: v.optional(number),
  step: v.optional(positive),
  choices: v.optional(choices),
  max_length: v.optional(whole(1, 4096)),
  unit: v.optional(text(32)),
}
export const valueType = v.picklist(VALUE_TYPES, `must be one of ${VALUE_TYPES.join(', ')}`)
/** What an HTTP request has besides its address. */
const method = v.picklist(
  ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
  'must be GET, POST, PUT, PATCH or DELETE',
)
export const sent = {
  method: v.optional(method, 'POST'),
  body: v.optional(text(4096)),
  content_type: v.optional(text(128), 'application/json'),
  ...server,
}
/** What a message to a broker has besides its topic. */
export const message = { payload: v.optional(text(4096)), retain: v.optional(bool, false) }

/** What contradicts itself; undefined for nothing. */
export function wrongValue(settings: ValueSettings): TableProblem | undefined {
  const { value, min, max, step, choices: list } = settings
  const numeric = value === 'integer' || value === 'number'
  const stray = Object.entries({ min, max, step }).find(([, one]) => one !== undefined && !numeric)
  if (stray !== undefined) return { key: stray[0], why: `is for numbers, not for a ${value}` }
  if (settings.max_length !== undefined && value !== 'string') {
    return { key: 'max_length', why: `is for texts, not for a ${value}` }
  }
  if (min !== undefined && max !== undefined && min > max) {
    return { key: 'max', why: 'must not be below min' }
  }
  if (list === undefined) return undefined
  if (value === 'boolean') return { key: 'choices', why: 'is for numbers and texts' }
  const bad = list.find((one) => !fits({ ...settings, choices: undefined }, one))
  return bad === undefined ? undefined : { key: 'choices', why: `has ${bad}, which does not fit` }
}

/** Whether `given` is such a value. */
export function fits(settings: ValueSettings, given: unknown): boolean {
  const { value, choices: list, max_length: length = MAX_LENGTH } = settings
  if (list !== undefined && !list.some((one) => one === given)) return false
  switch (value) {
    case 'boolean':
      return typeof given === 'boolean'
    case 'string':
      return typeof given === 'string' && Array.from(given).length <= length
    case 'integer':
      return Number.isSafeInteger(given) && inRange(settings, given as number)
    case 'number':
      return Number.isFinite(given) && inRange(settings, given as number)
  }
}

function inRange({ min = -Infinity, max = Infinity, step }: ValueSettings, given: number): boolean {
  if (given < min || given > max) return false
  if (step === undefined) return true
  const steps = given / step
  return Math.abs(steps - Math.round(steps)) < 1e-9 * Math.max(1, Math.abs(steps))
}

/** Where a value is written into a text: `{level}`. */
const PLACE = /\{([a-z][a-z0-9_]*)\}/g

/** A place in `given` for which there is no value; undefined for none. */
export function strayPlaces(
  key: string,
  given: string | readonly string[] | undefined = [],
  { allowed }: { readonly allowed: readonly string[] },
): TableProblem | undefined {
  for (const [i, part] of [given].flat().entries()) {
    for (const [place, name = ''] of part.matchAll(PLACE)) {
      if (typeof given !== 'string' && i === 0) {
        return { key, why: 'the program itself is not chosen by a value' }
      }
      if (!allowed.includes(name)) {
        const known = allowed.map((one) => `{${one}}`).join(', ')
        return {
          key,
          why: `there is no value for ${place}${known === '' ? '' : `; there is ${known}`}`,
        }
      }
    }
  }
  return key === 'url' && typeof given === 'string' ? placeInHost(given) : undefined
}

/** A value may be anywhere in an address but in the name of the server. */
function placeInHost(address: string): TableProblem | undefined {
  const [, host = ''] = /^[a-z]+:\/\/([^/?#]*)/.exec(address) ?? []
  if (!/[{}]/.test(host)) return undefined
  return { key: 'url', why: 'the server itself is not chosen by a value' }
}

/** `template` with each place replaced by what `write` makes of its name. */
export function fillPlaces(template: string, write: (name: string) => string): string {
  return template.replaceAll(PLACE, (_place, name: string) => write(name))
}
