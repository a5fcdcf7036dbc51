/** Values of properties and arguments, to and from what files, programs, servers and brokers say. */
import type { DataSchema, Json } from '../../../protocols/calls/index.ts'
import { fillPlaces, MAX_LENGTH, type ValueSettings } from '../../config-thing-values.ts'
import { valueFrom } from '../../machine/values.ts'
import { ActuatorError, type Scalar } from './actuator.ts'

export interface Words {
  /** What true is called there. */
  readonly on?: string | undefined
  readonly off?: string | undefined
}

/** The schema that a description gives of it. */
export function schemaOf(settings: ValueSettings): DataSchema {
  const { value, min, max, step, choices, unit, description, max_length: length } = settings
  const limits = {
    minimum: min,
    maximum: max,
    multipleOf: step,
    enum: choices,
    unit,
    description,
    maxLength: value === 'string' ? (length ?? MAX_LENGTH) : undefined,
  }
  const given = Object.entries(limits).filter(([, limit]) => limit !== undefined)
  return { type: value, ...Object.fromEntries(given) }
}

/** `raw` as a value of the property's type. @throws RangeError */
export function readValue(raw: unknown, settings: ValueSettings & Words): Scalar {
  const { value, on = 'true', off = 'false', max_length: length = MAX_LENGTH } = settings
  if (value === 'string') {
    const text = typeof raw === 'string' ? raw.replace(/\r?\n$/, '') : raw
    if (typeof text === 'string' && text.isWellFormed() && Array.from(text).length <= length) {
      return text
    }
    throw new RangeError('the value is not a text that the property may have')
  }
  if (value !== 'boolean') return valueFrom(raw, { scale: 1, offset: 0 })
  const number = valueFrom(raw, { scale: 1, offset: 0, map: { [on]: 1, [off]: 0 } })
  if (number !== 0 && number !== 1) throw new RangeError('the value is neither true nor false')
  return number === 1
}

/** What `value` is called there. */
export function worded(value: Scalar, { on, off }: Words): Scalar {
  return typeof value === 'boolean' ? ((value ? on : off) ?? value) : value
}

type Values = ReadonlyMap<string, Scalar>

/** An argument list in which each value is, or is part of, one argument. */
export function intoArguments(argv: readonly string[], values: Values): string[] {
  return argv.map((part) =>
    fillPlaces(part, (name) => {
      const text = String(values.get(name) ?? '')
      if (!text.includes('\0')) return text
      throw new ActuatorError('ACTUATOR_INVALID', 'a program takes no text with a zero character')
    }),
  )
}

/** An address in which each value is, or is part of, one part. @throws ActuatorError */
export function intoUrl(template: string, values: Values): string {
  const address = intoForm(template, values)
  const [path = ''] = address.replace(/^[a-z]+:\/\/[^/?#]*/, '').split(/[?#]/, 1)
  const up = path.split('/').some((part) => part === '.' || part === '..')
  if (up) throw new ActuatorError('ACTUATOR_INVALID', 'no part of an address is of dots alone')
  return address
}

function intoForm(template: string, values: Values): string {
  return fillPlaces(template, (name) =>
    encodeURIComponent(String(values.get(name) ?? '').toWellFormed()),
  )
}

/** As JSON, as parts of a form or as they are, by the type of the content. */
export function intoBody(template: string, contentType: string, values: Values): string {
  if (/^application\/x-www-form-urlencoded\b/.test(contentType)) return intoForm(template, values)
  if (/^application\/([\w.-]+\+)?json\b/.test(contentType)) return intoJson(template, values)
  return fillPlaces(template, (name) => String(values.get(name) ?? ''))
}

/** A place that is all of the message is the value as it is; in a longer one it is JSON. */
export function intoMessage(template: string, values: Values): string {
  const [, alone] = /^\{([a-z][a-z0-9_]*)\}$/.exec(template) ?? []
  return alone === undefined ? intoJson(template, values) : String(values.get(alone) ?? '')
}

function intoJson(template: string, values: Values): string {
  return fillPlaces(template, (name) => JSON.stringify(values.get(name) ?? null))
}

/** JSON that is no list and no table. @throws ActuatorError ACTUATOR_INVALID */
export function scalarOf(value: Json | undefined): Scalar {
  if (value !== null && value !== undefined && typeof value !== 'object') return value
  throw new ActuatorError('ACTUATOR_INVALID')
}
