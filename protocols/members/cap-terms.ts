/**
 * What narrows a cap for calls, behind its name: how often, with what argument, at what time of day,
 * on what days. `;n=3;v=0..50;t=0800-2200;d=1-5`, each at most once and in this order, the limits of
 * an argument's members (`;level=0..50`) in the order of their names. SPEC.md "Caps".
 */

/** A number from `min` to `max`, both of them allowed. */
export interface RangeLimit {
  /** Member of the argument; the whole argument where absent. */
  readonly field?: string
  readonly min: number
  readonly max: number
}

/** One of some words: a text that is the same, or a number or truth value that is written so. */
export interface ChoiceLimit {
  readonly field?: string
  /** Rising, none twice. */
  readonly choices: readonly string[]
}

export type ArgumentLimit = RangeLimit | ChoiceLimit

/** From the first to before the last, in whole units of its kind; past the end of the day or week. */
export interface Span {
  readonly from: number
  readonly to: number
}

export interface CapTerms {
  /** So many accepted calls, 1 to 1,000,000. */
  readonly count?: number
  /** What the argument must be. Either the whole or members of it. */
  readonly limits?: readonly ArgumentLimit[]
  /** Minutes of the local day, 0 to 1439, `to` not included; where `to` is less, past midnight. */
  readonly time?: Span
  /** ISO weekdays, 1 is Monday, `to` included; where `to` is less, past Sunday. */
  readonly days?: Span
}

/** Most accepted calls that a cap can count. */
export const MAX_COUNT = 1_000_000

const NUMBER = String.raw`-?\d{1,16}(?:\.\d{1,16})?`
const RANGE = new RegExp(`^(${NUMBER})\\.\\.(${NUMBER})$`)
const WORD = /^[A-Za-z0-9_+:/#.-]+$/
const FIELD = /^[A-Za-z][A-Za-z0-9_.-]{0,31}$/
const COUNT = /^[1-9]\d{0,6}$/
const TIME = /^([01]\d|2[0-3])([0-5]\d)-([01]\d|2[0-3])([0-5]\d)$/
const DAYS = /^([1-7])(?:-([1-7]))?$/
/** Names of terms, which are therefore no names of members that a cap can limit. */
const RESERVED = new Set(['d', 'n', 't', 'v'])

/** Terms from their texts; undefined where one is not understood, or stands where it must not. */
export function parseTerms(texts: readonly string[]): CapTerms | undefined {
  let terms: CapTerms = {}
  for (const text of texts) {
    const equals = text.indexOf('=')
    if (equals < 1) return undefined
    const more = parseTerm(terms, text.slice(0, equals), text.slice(equals + 1))
    if (more === undefined) return undefined
    terms = { ...terms, ...more }
  }
  return terms
}

/** What one more term adds. Order and repetition are settled by the one spelling. */
function parseTerm(terms: CapTerms, name: string, value: string): CapTerms | undefined {
  switch (name) {
    case 'n': {
      const count = COUNT.test(value) ? Number(value) : Infinity
      return count <= MAX_COUNT ? { count } : undefined
    }
    case 't':
      return parseTime(value)
    case 'd':
      return parseDays(value)
    default: {
      const limits = [...(terms.limits ?? [])]
      const limit = parseLimit(name, value)
      const whole = limits.some(({ field }) => field === undefined)
      if (limit === undefined || whole || (limit.field === undefined && limits.length > 0)) {
        return undefined
      }
      return { limits: [...limits, limit] }
    }
  }
}

function parseLimit(name: string, value: string): ArgumentLimit | undefined {
  if (name !== 'v' && (RESERVED.has(name) || !FIELD.test(name))) return undefined
  const field = name === 'v' ? {} : { field: name }
  const [, low, high] = RANGE.exec(value) ?? []
  if (low !== undefined && high !== undefined) {
    const [min, max] = [Number(low), Number(high)]
    return min <= max ? { ...field, min, max } : undefined
  }
  const choices = value.split('|')
  const sound = choices.every((word) => WORD.test(word) && !word.includes('..'))
  return sound ? { ...field, choices: [...new Set(choices)].toSorted() } : undefined
}

function parseTime(value: string): CapTerms | undefined {
  const [, ...digits] = TIME.exec(value) ?? []
  const [h1 = 0, m1 = 0, h2 = 0, m2 = 0] = digits.map(Number)
  const time = { from: h1 * 60 + m1, to: h2 * 60 + m2 }
  return digits.length === 4 && time.from !== time.to ? { time } : undefined
}

function parseDays(value: string): CapTerms | undefined {
  const [, from, to = from] = DAYS.exec(value) ?? []
  return from === undefined ? undefined : { days: { from: Number(from), to: Number(to) } }
}

/** Texts of terms in their order. */
export function formatTerms({ count, limits = [], time, days }: CapTerms): string[] {
  const inOrder = limits.toSorted((a, b) => ((a.field ?? '') < (b.field ?? '') ? -1 : 1))
  return [
    ...(count === undefined ? [] : [`n=${count}`]),
    ...new Set(inOrder.map(({ field = 'v', ...limit }) => `${field}=${formatLimit(limit)}`)),
    ...(time === undefined ? [] : [`t=${clockText(time.from)}-${clockText(time.to)}`]),
    ...(days === undefined ? [] : [`d=${daysText(days)}`]),
  ]
}

function formatLimit(limit: ArgumentLimit): string {
  return 'choices' in limit ? limit.choices.join('|') : `${limit.min}..${limit.max}`
}

function clockText(minute: number): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${two(Math.floor(minute / 60))}${two(minute % 60)}`
}

function daysText({ from, to }: Span): string {
  return from === to ? `${from}` : `${from}-${to}`
}
