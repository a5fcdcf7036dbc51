/**
 * JSON of strangers, read and written within bounds. SPEC.md "JSON". Unlike `JSON.parse` it stops at
 * the first byte too many, refuses a key that is there twice and keys that reach into a prototype,
 * and builds nothing before it was counted. Numbers are those of JavaScript: what does not fit is
 * rounded, what is infinite is refused.
 */
import { isLonger } from '../wire/index.ts'
import { BOUNDS, CallsError } from './protocol.ts'

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [name: string]: Json }

export interface JsonBounds {
  /** Longest text, in bytes of UTF-8. */
  readonly maxBytes: number
  /** Default 16. */
  readonly maxDepth?: number
  /** Default 1,000. */
  readonly maxValues?: number
}

/** Bounds of what a call carries. */
export const ARGS: JsonBounds = { maxBytes: BOUNDS.maxArgsBytes }
/** Bounds of what a receipt or an observed value carries. */
export const RESULT: JsonBounds = { maxBytes: BOUNDS.maxResultBytes }

const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])
const LITERALS: readonly (readonly [string, null | boolean])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
]
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
// The control characters that JSON forbids inside a string are what is excluded.
const STRING = /"(?:[^"\\\p{Cc}]|[\u007f-\u009f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy
const SPACE = /[ \t\n\r]*/y

/** @throws CallsError CALLS_BAD_JSON */
export function parseJson(text: string, bounds: JsonBounds): Json {
  if (isLonger(text, bounds.maxBytes)) throw bad('too long')
  const reader = new Reader(text, countdown(bounds))
  return reader.whole()
}

/**
 * `value` as compact JSON text, keys in the order of the object.
 *
 * @throws CallsError CALLS_BAD_JSON for what is not JSON, or is over the bounds
 */
export function formatJson(value: Json, bounds: JsonBounds): string {
  const text = write(value, 0, countdown(bounds))
  if (isLonger(text, bounds.maxBytes)) throw bad('too long')
  return text
}

/** Counts a value at `depth`. */
type Count = (depth: number) => void

function countdown({ maxDepth = BOUNDS.maxJsonDepth, maxValues }: JsonBounds): Count {
  let left: number = maxValues ?? BOUNDS.maxJsonValues
  return (depth) => {
    if (depth > maxDepth) throw bad('too deep')
    if (--left < 0) throw bad('too many values')
  }
}

class Reader {
  readonly #text: string
  readonly #count: Count
  #at = 0

  constructor(text: string, count: Count) {
    this.#text = text
    this.#count = count
  }

  whole(): Json {
    const value = this.#value(0)
    if (this.#at < this.#text.length) throw bad('more than one value')
    return value
  }

  #value(outside: number): Json {
    this.#skip()
    const first = this.#text[this.#at]
    const opens = first === '{' || first === '['
    const depth = opens ? outside + 1 : outside
    this.#count(depth)
    const value = opens ? this.#nested(first, depth) : this.#scalar(first)
    this.#skip()
    return value
  }

  #nested(first: '{' | '[', depth: number): Json {
    this.#at++
    return first === '[' ? this.#array(depth) : this.#object(depth)
  }

  #array(depth: number): Json {
    const items: Json[] = []
    if (this.#ends(']')) return items
    do items.push(this.#value(depth))
    while (this.#follows(']'))
    return items
  }

  #object(depth: number): Json {
    const members: Record<string, Json> = {}
    if (this.#ends('}')) return members
    do {
      this.#skip()
      const key = this.#string()
      if (FORBIDDEN_KEYS.has(key)) throw bad('forbidden key')
      if (Object.hasOwn(members, key)) throw bad('key used twice')
      this.#skip()
      this.#expect(':')
      members[key] = this.#value(depth)
    } while (this.#follows('}'))
    return members
  }

  #scalar(first: string | undefined): Json {
    if (first === '"') return this.#string()
    for (const [word, value] of LITERALS) {
      if (!this.#text.startsWith(word, this.#at)) continue
      this.#at += word.length
      return value
    }
    const value = Number(this.#token(NUMBER))
    if (!Number.isFinite(value)) throw bad('number')
    return value
  }

  #string(): string {
    const value = JSON.parse(this.#token(STRING)) as string
    if (!value.isWellFormed()) throw bad('text')
    return value
  }

  #token(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    const [found] = pattern.exec(this.#text) ?? []
    if (found === undefined || found === '') throw bad(`at ${this.#at}`)
    this.#at += found.length
    return found
  }

  #skip(): void {
    SPACE.lastIndex = this.#at
    this.#at += SPACE.exec(this.#text)?.[0].length ?? 0
  }

  /** True, and past it, where the array or object is empty. */
  #ends(close: string): boolean {
    this.#skip()
    if (this.#text[this.#at] !== close) return false
    this.#at++
    return true
  }

  /** Past a comma or the end; true where there is more. */
  #follows(close: string): boolean {
    const more = this.#text[this.#at] === ','
    this.#expect(more ? ',' : close)
    return more
  }

  #expect(character: string): void {
    if (this.#text[this.#at] !== character) throw bad(`at ${this.#at}`)
    this.#at++
  }
}

function write(value: unknown, outside: number, count: Count): string {
  const depth = typeof value === 'object' && value !== null ? outside + 1 : outside
  count(depth)
  if (Array.isArray(value)) {
    return `[${Array.from(value, (item) => write(item, depth, count)).join(',')}]`
  }
  if (typeof value === 'object' && value !== null) return writeObject(value, depth, count)
  if (typeof value === 'string' && value.isWellFormed()) return JSON.stringify(value)
  const plain = value === null || typeof value === 'boolean' || Number.isFinite(value)
  if (!plain) throw bad('value')
  return JSON.stringify(value)
}

function writeObject(value: object, depth: number, count: Count): string {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw bad('object')
  const members = Object.entries(value).map(([key, item]) => {
    if (FORBIDDEN_KEYS.has(key) || !key.isWellFormed()) throw bad('forbidden key')
    return `${JSON.stringify(key)}:${write(item, depth, count)}`
  })
  return `{${members.join(',')}}`
}

function bad(detail: string): CallsError {
  return new CallsError('CALLS_BAD_JSON', detail)
}
