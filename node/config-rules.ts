/**
 * The tables `[event.NAME]` and `[rule.NAME]` of the settings file: what is watched for on a sensor,
 * and what is called when it comes. This file checks them; it watches and calls nothing.
 */
import * as v from 'valibot'

import {
  bool,
  DAY_MS,
  duration,
  name,
  notNegative,
  number,
  SECOND_MS,
  text,
} from './config-fields.ts'
import { checkKeys, inner, isTable, wrongTable, type CheckedTable } from './config-tables.ts'

/** As JSON has it, and as TOML can write it. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue }

/** What is watched for: exactly one of `equals`, `each`, `above`, `below` and `changes`. */
export interface ConditionSettings {
  readonly sensor: string
  readonly equals?: boolean | number | string
  /** It comes with every reading that is this, for sensors that speak when something happens. */
  readonly each?: boolean | number | string
  readonly above?: number
  readonly below?: number
  readonly changes?: boolean
  /** How far back past `above` or `below` a value goes before the condition can come again. */
  readonly hysteresis?: number
  /** How long it holds without a break before it counts. */
  readonly forMs?: number
}

/** `[event.NAME]`: a condition on one of the device's own sensors. */
export interface EventSettings {
  readonly name: string
  readonly description?: string
  readonly when: ConditionSettings
}

/** A condition on a device's sensor; the device's own where none is named. */
export interface RuleWhen extends ConditionSettings {
  readonly device?: string
}

/** One call. */
export interface RuleCall {
  /** This device where none is named. */
  readonly device?: string
  readonly verb: 'invoke' | 'write'
  readonly name: string
  readonly args?: JsonValue
  readonly ttlMs?: number
}

/** `[rule.NAME]`. */
export interface RuleSettings {
  readonly name: string
  readonly description?: string
  readonly enabled: boolean
  readonly when: RuleWhen
  readonly calls: readonly RuleCall[]
  /** The shortest time between two times that it calls. */
  readonly cooldownMs?: number
}

const scalar = v.union([v.boolean(), v.string(), number], 'must be true, false, a number or text')
const condition = {
  sensor: name,
  equals: v.optional(scalar),
  each: v.optional(scalar),
  above: v.optional(number),
  below: v.optional(number),
  changes: v.optional(v.literal(true, 'must be true or not there')),
  hysteresis: v.optional(notNegative),
  for: v.optional(duration(100, DAY_MS)),
}
const device = text(64)

export const EVENT_SCHEMA = v.object({ description: v.optional(text(256)), ...condition })

const when = inner(
  { device: v.optional(device), ...condition },
  '{ sensor = "button", equals = 1 }',
)
const call = inner(
  {
    device: v.optional(device),
    invoke: v.optional(name),
    write: v.optional(name),
    args: v.optional(json('must be a value as in JSON')),
    value: v.optional(json('must be a value as in JSON')),
    ttl: v.optional(duration(SECOND_MS, 30 * DAY_MS)),
  },
  '{ device = "lamp", invoke = "toggle" }',
)

/** The linter takes an object that says `then` by itself for a promise. */
const KEY = { calls: 'then' } as const

export const RULE_SCHEMA = v.object({
  description: v.optional(text(256)),
  enabled: v.optional(bool, true),
  when,
  [KEY.calls]: v.pipe(
    v.array(call, 'must be a list of tables, like [{ device = "lamp", invoke = "toggle" }]'),
    v.minLength(1, 'must not be empty'),
    v.maxLength(16, 'must have at most 16 entries'),
  ),
  cooldown: v.optional(duration(100, DAY_MS)),
})

/** The table `[event.NAME]`, as TOML gives it. */
export function checkEvent(key: string, table: unknown): CheckedTable<EventSettings> {
  const group = { section: 'event', one: 'an event' }
  const wrong = wrongTable(group, key, table)
  if (wrong !== undefined) return wrong
  const checked = checkKeys(group, EVENT_SCHEMA, key, table as Record<string, unknown>)
  if (!checked.ok) return checked
  const { description, name: _name, ...rest } = checked.table
  const contradiction = wrongCondition(rest)
  if (contradiction !== undefined) return { ok: false, problems: [contradiction] }
  const said = description === undefined ? {} : { description }
  return { ok: true, table: { name: key, ...said, when: conditionFrom(rest) } }
}

/** The table `[rule.NAME]`, as TOML gives it. */
export function checkRule(key: string, table: unknown): CheckedTable<RuleSettings> {
  const group = { section: 'rule', one: 'a rule' }
  const wrong = wrongTable(group, key, table)
  if (wrong !== undefined) return wrong
  const checked = checkKeys(group, RULE_SCHEMA, key, table as Record<string, unknown>)
  if (!checked.ok) return checked
  const { when: watched, [KEY.calls]: calls, cooldown, enabled, description } = checked.table
  const { device: from, ...rest } = watched
  const problems = [
    ...[wrongCondition(rest)].flatMap((one) =>
      one === undefined ? [] : [{ key: one.key === '' ? 'when' : `when.${one.key}`, why: one.why }],
    ),
    ...calls.flatMap((one, i) => {
      const why = wrongCall(one)
      return why === undefined ? [] : [{ key: `then.${i}`, why }]
    }),
  ]
  if (problems.length > 0) return { ok: false, problems }
  return {
    ok: true,
    table: {
      name: key,
      enabled,
      when: { ...conditionFrom(rest), ...(from === undefined ? {} : { device: from }) },
      calls: calls.map(callFrom),
      ...(description === undefined ? {} : { description }),
      ...(cooldown === undefined ? {} : { cooldownMs: cooldown }),
    },
  }
}

type Condition = Omit<v.InferOutput<typeof when>, 'device'>
type WrittenCall = v.InferOutput<typeof call>

function wrongCondition(
  written: Condition,
): { readonly key: string; readonly why: string } | undefined {
  const kinds = (['equals', 'each', 'above', 'below', 'changes'] as const).filter(
    (kind) => written[kind] !== undefined,
  )
  if (kinds.length !== 1) {
    return { key: kinds[1] ?? '', why: 'must have one of equals, each, above, below and changes' }
  }
  const [kind] = kinds
  if (written.hysteresis !== undefined && kind !== 'above' && kind !== 'below') {
    return { key: 'hysteresis', why: 'needs above or below' }
  }
  if (written.for !== undefined && (kind === 'changes' || kind === 'each')) {
    return { key: 'for', why: `has no meaning with ${kind}, which is over at once` }
  }
  return undefined
}

function conditionFrom({ for: forMs, ...rest }: Condition): ConditionSettings {
  const given = Object.entries({ ...rest, forMs }).filter(([, value]) => value !== undefined)
  return Object.fromEntries(given) as unknown as ConditionSettings
}

function wrongCall({ invoke, write, args, value }: WrittenCall): string | undefined {
  if ((invoke === undefined) === (write === undefined)) return 'must have either invoke or write'
  if (write !== undefined && value === undefined) return 'needs the value to write'
  if (write !== undefined && args !== undefined) return 'takes value, not args'
  if (invoke !== undefined && value !== undefined) return 'takes args, not value'
  return undefined
}

function callFrom({ device: to, invoke, write, args, value, ttl }: WrittenCall): RuleCall {
  const what = (write === undefined ? args : value) as JsonValue | undefined
  return {
    verb: write === undefined ? 'invoke' : 'write',
    name: write ?? invoke ?? '',
    ...(to === undefined ? {} : { device: to }),
    ...(what === undefined ? {} : { args: what }),
    ...(ttl === undefined ? {} : { ttlMs: ttl }),
  }
}

/** Its type says nothing: one that holds itself is too deep for those who infer from it. */
function json(why: string): v.GenericSchema {
  return v.pipe(
    v.custom<unknown>((value) => isJsonValue(value), why),
    // Tables of TOML have no prototype.
    v.transform((value) => structuredClone(value)),
  )
}

const FORBIDDEN_KEYS = /^(__proto__|constructor|prototype)$/
const MAX_DEPTH = 8

/** Dates and infinite numbers, which TOML has too, are none. */
export function isJsonValue(value: unknown, depth = 0): value is JsonValue {
  if (depth > MAX_DEPTH) return false
  if (typeof value === 'string' || typeof value === 'boolean') return true
  if (typeof value === 'number') return Number.isFinite(value)
  if (Array.isArray(value)) return value.every((item) => isJsonValue(item, depth + 1))
  if (!isTable(value)) return false
  return Object.entries(value).every(
    ([key, item]) => !FORBIDDEN_KEYS.test(key) && isJsonValue(item, depth + 1),
  )
}
