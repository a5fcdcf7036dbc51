/**
 * A DataSchema that somebody else wrote, taken over keyword by keyword. What is not understood is
 * left out: above all `$ref`, `pattern` and `format`, which can name other schemas or make a check
 * run for ever. SPEC.md "Model".
 */
import type { Json } from './json.ts'
import { NAME, type DataSchema } from './model.ts'
import { BOUNDS } from './protocol.ts'

/** What one schema may hold. SPEC.md "Model". */
export const SCHEMA_BOUNDS = {
  /** Schemas inside each other. */
  maxDepth: 8,
  /** Schemas in all, and values in `enum` and `const` in all. */
  maxParts: 512,
  /** Characters of one text. */
  maxText: 1024,
} as const

/** Name of a member of an object. */
const MEMBER = /^[A-Za-z_][A-Za-z0-9._-]{0,63}$/
const INTO_PROTOTYPE: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])
const TYPES = ['boolean', 'integer', 'number', 'string', 'object', 'array', 'null'] as const
const TEXTS = ['title', 'description', 'unit'] as const
const FLAGS = ['readOnly', 'writeOnly'] as const
const NUMBERS = ['minimum', 'maximum', 'multipleOf'] as const
const SIZES = ['minLength', 'maxLength', 'minItems', 'maxItems'] as const

type Draft = { -readonly [K in keyof DataSchema]: DataSchema[K] }
type Members = Readonly<Record<string, unknown>>

/** Refuses one more part, or one that is too deep, by throwing. */
interface Budget {
  left: number
}

/** `value` as a schema; undefined where it is none, or a known keyword is misused, or it is too big. */
export function schemaFrom(value: unknown): DataSchema | undefined {
  try {
    return schema(value, 0, { left: SCHEMA_BOUNDS.maxParts })
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

/** Whether a member of an object can have this name. */
export function isMember(name: string): boolean {
  return MEMBER.test(name) && !INTO_PROTOTYPE.has(name)
}

/** Whether a property, an action or an event can have this name. */
export function isName(name: string): boolean {
  return NAME.test(name) && !INTO_PROTOTYPE.has(name)
}

function schema(value: unknown, depth: number, budget: Budget): DataSchema {
  if (depth > SCHEMA_BOUNDS.maxDepth || --budget.left < 0) throw new RangeError('too big')
  const from = objectOf(value)
  const draft: Draft = { ...scalars(from), ...values(from, budget) }
  if (own(from, 'items') !== undefined) draft.items = schema(own(from, 'items'), depth + 1, budget)
  const properties = own(from, 'properties')
  if (properties !== undefined) {
    draft.properties = Object.fromEntries(
      Object.entries(objectOf(properties)).map(([name, one]) => {
        if (!isMember(name)) throw new RangeError('name')
        return [name, schema(one, depth + 1, budget)]
      }),
    )
  }
  const required = own(from, 'required')
  if (required !== undefined) draft.required = namesOf(required)
  return draft
}

function scalars(from: Members): Draft {
  const draft: Draft = {
    ...taken(from, TEXTS, text),
    ...taken(from, FLAGS, flag),
    ...taken(from, NUMBERS, number),
    ...taken(from, SIZES, size),
  }
  const type = own(from, 'type')
  if (type !== undefined) draft.type = must(TYPES.find((one) => one === type))
  if (draft.multipleOf !== undefined && draft.multipleOf <= 0) throw new RangeError('multipleOf')
  return draft
}

/** Those of `names` that are there, each as `read` takes it. */
function taken<K extends string, T>(
  from: Members,
  names: readonly K[],
  read: (value: unknown) => T,
): Partial<Record<K, T>> {
  const found: Partial<Record<K, T>> = {}
  for (const name of names) {
    const one = own(from, name)
    if (one !== undefined) found[name] = read(one)
  }
  return found
}

/** `enum` and `const`. */
function values(from: Members, budget: Budget): Draft {
  const draft: Draft = {}
  const all = own(from, 'enum')
  if (all !== undefined) {
    if (!Array.isArray(all) || all.length === 0) throw new RangeError('enum')
    draft.enum = all.map((one) => json(one, 0, budget))
  }
  if (Object.hasOwn(from, 'const')) draft.const = json(from['const'], 0, budget)
  return draft
}

function json(value: unknown, depth: number, budget: Budget): Json {
  if (depth > BOUNDS.maxJsonDepth || --budget.left < 0) throw new RangeError('too big')
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'number') return number(value)
  if (typeof value === 'string') return text(value)
  if (Array.isArray(value)) return value.map((one) => json(one, depth + 1, budget))
  return Object.fromEntries(
    Object.entries(objectOf(value)).map(([name, one]) => {
      if (INTO_PROTOTYPE.has(name)) throw new RangeError('name')
      return [name, json(one, depth + 1, budget)]
    }),
  )
}

function namesOf(value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length > SCHEMA_BOUNDS.maxParts) throw new RangeError('names')
  return value.map((name) => {
    if (typeof name !== 'string' || !isMember(name)) throw new RangeError('name')
    return name
  })
}

function objectOf(value: unknown): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RangeError('no object')
  }
  return value as Members
}

function own(from: Members, name: string): unknown {
  return Object.hasOwn(from, name) ? from[name] : undefined
}

function text(value: unknown): string {
  if (typeof value !== 'string' || value.length > SCHEMA_BOUNDS.maxText || !value.isWellFormed()) {
    throw new RangeError('text')
  }
  return value
}

function flag(value: unknown): boolean {
  if (typeof value !== 'boolean') throw new RangeError('flag')
  return value
}

function number(value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new RangeError('number')
  return value
}

function size(value: unknown): number {
  const one = number(value)
  if (!Number.isSafeInteger(one) || one < 0) throw new RangeError('size')
  return one
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new RangeError('keyword')
  return value
}
