/** Numbers, times and names as a person reads them, in the browser's own language and time zone. */

export interface Shown {
  readonly value: string
  readonly unit: string
}

/** SenML unit → what a person knows it by. */
const UNIT_TEXT: ReadonlyMap<string, string> = new Map([
  ['1', ''],
  ['count', ''],
  ['Cel', '°C'],
  ['%RH', '%'],
  ['%EL', '%'],
  ['/100', '%'],
  ['Ohm', 'Ω'],
  ['m2', 'm²'],
  ['m3', 'm³'],
  ['m/s2', 'm/s²'],
  ['W/m2', 'W/m²'],
  ['ug/m3', 'µg/m³'],
  ['deg', '°'],
])
const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const
const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/**
 * `value` with as many digits as mean something (three or so) and a unit that a person knows.
 * `whole` says that this sensor counts: no decimals.
 */
export function showValue(value: number, unit: string, whole = false): Shown {
  if (!Number.isFinite(value)) return { value: '–', unit: '' }
  const text = UNIT_TEXT.get(unit) ?? unit
  if (unit === '/') return { value: showNumber(value * 100, false), unit: '%' }
  if (unit === 'B') return showBytes(value)
  if (unit === 'KiB') return showBytes(value * 1024)
  if (unit === 's' && Math.abs(value) >= 120) return { value: showSpan(value * 1000), unit: '' }
  return { value: showNumber(value, whole), unit: text }
}

/** A value and its unit in one piece of text. */
export function showText(value: number, unit: string, whole = false): string {
  const shown = showValue(value, unit, whole)
  return shown.unit === '' ? shown.value : `${shown.value} ${shown.unit}`
}

function showNumber(value: number, whole: boolean): string {
  const size = Math.abs(value)
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toPrecision(3)
  let digits = size >= 100 ? 0 : size >= 10 ? 1 : 2
  if (size > 0 && size < 0.1) digits = 4
  if (whole) digits = 0
  // Adding zero turns -0 into 0.
  return (Number(value.toFixed(digits)) + 0).toLocaleString(undefined, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
}

function showBytes(bytes: number): Shown {
  let amount = bytes
  let step = 0
  while (Math.abs(amount) >= 1024 && step < BYTE_UNITS.length - 1) {
    amount /= 1024
    step++
  }
  return { value: showNumber(amount, step === 0), unit: BYTE_UNITS[step] ?? 'B' }
}

/** A length of time in its two largest parts: `3 h 5 min`. */
export function showSpan(ms: number): string {
  const parts: readonly (readonly [number, string])[] = [
    [DAY_MS, 'd'],
    [HOUR_MS, 'h'],
    [MINUTE_MS, 'min'],
    [SECOND_MS, 's'],
  ]
  const at = parts.findIndex(([size]) => ms >= size)
  const [size, name] = parts[at] ?? [SECOND_MS, 's']
  const first = `${Math.floor(Math.max(0, ms) / size)} ${name}`
  const [nextSize, nextName] = parts[at + 1] ?? [0, '']
  const rest = at < 0 || nextSize === 0 ? 0 : Math.floor((ms % size) / nextSize)
  return rest > 0 ? `${first} ${rest} ${nextName}` : first
}

/** How long ago `at` was; a time within 5 s of now, and one from a clock that runs ahead, is now. */
export function showAgo(at: number, now: number): string {
  const ms = now - at
  if (ms < 5 * SECOND_MS) return 'just now'
  const words = new Intl.RelativeTimeFormat(undefined, { style: 'long', numeric: 'always' })
  if (ms < MINUTE_MS) return words.format(-Math.floor(ms / SECOND_MS), 'second')
  if (ms < HOUR_MS) return words.format(-Math.floor(ms / MINUTE_MS), 'minute')
  if (ms < DAY_MS) return words.format(-Math.floor(ms / HOUR_MS), 'hour')
  return words.format(-Math.floor(ms / DAY_MS), 'day')
}

/** When a device that sleeps wakes next, or should have. */
export function showDue(at: number, now: number): string {
  return at >= now ? `due in ${showSpan(at - now)}` : `was due ${showAgo(at, now)}`
}

/** The moment itself, for a tooltip. */
export function showMoment(at: number): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
}

export function showClock(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, { timeStyle: 'short' })
}

/** `cpu.load_1m` → `Cpu load 1m`. */
export function showSensor(name: string): string {
  const words = name.replaceAll(/[._-]+/g, ' ').trim()
  return words === '' ? name : words.charAt(0).toUpperCase() + words.slice(1)
}

/** `12345678901` → `12-3456-7890-1`, also while it is being typed. */
export function spaceCode(typed: string): string {
  const digits = typed.replaceAll(/\D/g, '').slice(0, CODE_DIGITS)
  const groups = [digits.slice(0, 2), digits.slice(2, 6), digits.slice(6, 10), digits.slice(10)]
  return groups.filter((group) => group !== '').join('-')
}

export const CODE_DIGITS = 11
