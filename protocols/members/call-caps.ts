/**
 * Whether caps allow a call: the verb, the device, the name, the argument, the local time and how
 * often before. Pure; who the caller is, whether its grant still holds, and the counting are the
 * caller's business. SPEC.md "Caps".
 */
import type { ArgumentLimit, Span } from './cap-terms.ts'
import { capToRead, fits, parseCap, type CallCap, type CallVerb } from './caps.ts'

/** Time of day where the device stands. */
export interface LocalTime {
  /** Of the day, 0 to 1439. */
  readonly minute: number
  /** ISO: 1 is Monday, 7 is Sunday. */
  readonly weekday: number
}

export interface CallQuestion {
  /** `read` also for observing a property, `observe` for an event. */
  readonly verb: CallVerb | 'read'
  /** Fingerprint of the device that is called. */
  readonly device: string
  readonly name: string
  /** A value of JSON; undefined where the call has none. */
  readonly args?: unknown
  /** Undefined where the clock is not set: caps with a time or days then allow nothing. */
  readonly localTime: LocalTime | undefined
  /** How many calls were accepted under this cap before. */
  readonly used: (cap: string) => number
}

/** How near a call came to being allowed, furthest last. */
export const DENIALS = ['name', 'argument', 'clock', 'time', 'count'] as const
export type Denial = (typeof DENIALS)[number]

/** `counts`: one more call is to be counted under the cap, before another is judged. */
export type Judgement =
  | { readonly allow: string; readonly counts: boolean }
  | { readonly deny: Denial }

/** The first cap that allows the call, one that does not count before one that does. */
export function judgeCall(caps: readonly string[], question: CallQuestion): Judgement {
  const { verb, device, name } = question
  if (verb === 'read') {
    const allow = capToRead(caps, device, name)
    return allow === undefined ? { deny: 'name' } : { allow, counts: false }
  }
  let counted: string | undefined
  let deny: Denial = 'name'
  for (const text of caps) {
    const cap = parseCap(text)
    if (cap === undefined || cap.verb !== verb) continue
    const against = denialOf(cap, text, question)
    if (against === undefined && cap.count === undefined) return { allow: text, counts: false }
    if (against === undefined) counted ??= text
    else if (DENIALS.indexOf(against) > DENIALS.indexOf(deny)) deny = against
  }
  return counted === undefined ? { deny } : { allow: counted, counts: true }
}

/** Whether caps let somebody use `name` at all, with some argument at some time. For descriptions. */
export function capsName(
  caps: readonly string[],
  { verb, device, name }: Pick<CallQuestion, 'verb' | 'device' | 'name'>,
): boolean {
  if (verb === 'read') return capToRead(caps, device, name) !== undefined
  return caps.some((text) => {
    const cap = parseCap(text)
    return cap !== undefined && cap.verb === verb && names(cap, device, name)
  })
}

function names(cap: CallCap, device: string, name: string): boolean {
  return (cap.device ?? device) === device && fits(name, cap.names)
}

/** Why this cap does not allow it. */
function denialOf(cap: CallCap, text: string, question: CallQuestion): Denial | undefined {
  const { device, name, args, localTime, used } = question
  if (!names(cap, device, name)) return 'name'
  if (!(cap.limits ?? []).every((limit) => meets(args, limit))) return 'argument'
  if (cap.time !== undefined || cap.days !== undefined) {
    if (localTime === undefined) return 'clock'
    if (!isTime(cap, localTime)) return 'time'
  }
  return cap.count !== undefined && used(text) >= cap.count ? 'count' : undefined
}

function meets(args: unknown, limit: ArgumentLimit): boolean {
  const value = limit.field === undefined ? args : memberOf(args, limit.field)
  if ('choices' in limit) {
    return isPlain(value) && limit.choices.includes(String(value))
  }
  return typeof value === 'number' && value >= limit.min && value <= limit.max
}

function isPlain(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

function memberOf(args: unknown, field: string): unknown {
  if (typeof args !== 'object' || args === null || Array.isArray(args)) return undefined
  return Object.hasOwn(args, field) ? (args as Record<string, unknown>)[field] : undefined
}

/** The days are those on which the time begins: what is past midnight belongs to the day before. */
function isTime({ time, days }: CallCap, { minute, weekday }: LocalTime): boolean {
  const dayBefore = ((weekday + 5) % 7) + 1
  if (time === undefined) return isDay(days, weekday)
  if (time.from < time.to) return time.from <= minute && minute < time.to && isDay(days, weekday)
  return minute < time.to ? isDay(days, dayBefore) : minute >= time.from && isDay(days, weekday)
}

function isDay(days: Span | undefined, day: number): boolean {
  if (days === undefined) return true
  const { from, to } = days
  return from <= to ? from <= day && day <= to : day >= from || day <= to
}
