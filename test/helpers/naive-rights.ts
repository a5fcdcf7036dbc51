/**
 * Who may call, worked out the long way from the words of the SPEC: a second opinion for tests. Shares
 * nothing with what it is held against. Whole caps are read by one expression, times are lists of
 * minutes, stars are spent in every way, and JSON is looked at as text.
 */

export interface NaiveDevice {
  readonly id: string
  readonly role: 'owner' | 'member' | 'sensor' | 'gateway' | 'guest'
  readonly caps: readonly string[]
  readonly endsMs: number | undefined
  readonly removed: boolean
  readonly quarantined: boolean
}

export interface NaiveCall {
  readonly caller: string
  readonly verb: 'read' | 'write' | 'invoke' | 'observe' | 'cancel'
  readonly name: string
  readonly args?: unknown
}

export interface NaiveMoment {
  readonly nowMs: number
  readonly clockSet: boolean
  readonly timeZone: string
}

export interface NaiveHome {
  readonly devices: readonly NaiveDevice[]
  /** The one that is called. */
  readonly callee: { readonly id: string; readonly fingerprint: string }
}

const NUMBER = String.raw`-?(?:0|[1-9]\d*)(?:\.\d*[1-9])?`
const WORD = String.raw`(?:(?!\.\.)[A-Za-z0-9_+:/#.-])+`
const VALUE = String.raw`(?:${NUMBER}\.\.${NUMBER}|${WORD}(?:\|${WORD})*)`
const CLOCK = String.raw`(?:[01]\d|2[0-3])[0-5]\d`
const SENSOR = String.raw`(?!.*\*\*)[A-Za-z0-9*][A-Za-z0-9*:./_-]{0,63}`
const NAME = String.raw`(?!.*\*\*)[A-Za-z0-9*][A-Za-z0-9*._-]{0,63}`
const FIELD = String.raw`(?![dntv]=)[A-Za-z][A-Za-z0-9_.-]{0,31}`
const CALL = new RegExp(
  `^(?<verb>write|invoke|observe):(?<device>[*]|[a-z2-7]{8})/(?<name>${NAME.replace('.*', '[^;]*')})` +
    `(?:;n=(?<n>[1-9]\\d{0,6}))?` +
    `(?:;v=(?<v>${VALUE})|(?<fields>(?:;${FIELD}=${VALUE})*))` +
    `(?:;t=(?<t>${CLOCK}-${CLOCK}))?(?:;d=(?<d>[1-7](?:-[1-7])?))?$`,
)
const READ = new RegExp(`^read:(?:(?<device>[*]|[a-z2-7]{8})/)?(?<name>${SENSOR})$`)

/** The accepted calls so far are kept in `accepted`, one text each, and more are added. */
export function naivelyAllows(
  home: NaiveHome,
  call: NaiveCall,
  moment: NaiveMoment,
  accepted: string[],
): boolean {
  if (call.caller === home.callee.id) return true
  const caller = standing(home, call.caller, moment)
  const callee = standing(home, home.callee.id, moment)
  if (caller === undefined || callee === undefined) return false
  if (caller.endsMs !== undefined && !moment.clockSet) return false
  const word = `${callee.role} serves ${caller.role}`
  if (/^(owner|member|sensor) serves (owner|member)$/.test(word)) return true
  if (!/^(owner|member|sensor) serves guest$/.test(word)) return false
  return call.verb === 'cancel' || guestMay(caller, { home, call, moment }, accepted)
}

function guestMay(guest: NaiveDevice, asked: Omit<Case, 'used'>, accepted: string[]): boolean {
  const fitting = guest.caps.filter((cap) => {
    const used = accepted.filter((one) => one === `${guest.id}|${cap}`).length
    return cap.length <= 64 && (readFits(cap, asked) || callFits(cap, { ...asked, used }))
  })
  const free = fitting.filter((cap) => !cap.includes(';n='))
  const counted = fitting.find((cap) => cap.includes(';n='))
  if (free.length === 0 && counted !== undefined) accepted.push(`${guest.id}|${counted}`)
  return fitting.length > 0
}

function standing(home: NaiveHome, id: string, { nowMs }: NaiveMoment): NaiveDevice | undefined {
  const device = home.devices.find((one) => one.id === id)
  if (device === undefined || device.removed || device.quarantined) return undefined
  return device.endsMs !== undefined && device.endsMs <= nowMs ? undefined : device
}

interface Case {
  readonly home: NaiveHome
  readonly call: NaiveCall
  readonly moment: NaiveMoment
  /** Accepted calls under this cap. */
  readonly used: number
}

function readFits(cap: string, { home, call }: Omit<Case, 'used'>): boolean {
  const { device, name } = READ.exec(cap)?.groups ?? {}
  if (name === undefined || call.verb !== 'read') return false
  // A star for the device is written before a pattern that has a slash itself, and only there.
  const oddStar = device === '*' && !name.includes('/')
  const bareSlash = device === undefined && name.includes('/')
  return !oddStar && !bareSlash && isHere(device, home) && spend(call.name, name)
}

function callFits(cap: string, { home, call, moment, used }: Case): boolean {
  const parts = CALL.exec(cap)?.groups
  if (parts === undefined || !hasSoundNumbers(parts) || !hasSoundLimits(parts)) return false
  const isMeant = parts['verb'] === call.verb && isHere(parts['device'], home)
  if (!isMeant || !spend(call.name, parts['name'] ?? '')) return false
  if (!argumentFits(call.args, parts) || !timeFits(parts, moment)) return false
  return used < Number(parts['n'] ?? Infinity)
}

type Groups = Readonly<Record<string, string | undefined>>

/** What no expression can say. */
function hasSoundNumbers({ n = '1', t = '0000-0001', d = '1' }: Groups): boolean {
  const wholeDay = t.slice(0, 4) === t.slice(5)
  const twice = d.length === 3 && d[0] === d[2]
  return Number(n) <= 1_000_000 && !wholeDay && !twice
}

function hasSoundLimits({ verb, n, v, fields = '' }: Groups): boolean {
  const limits = limitsOf(v, fields)
  if (verb === 'observe' && (n !== undefined || limits.length > 0)) return false
  const names = limits.map(([field]) => field)
  if (names.join(';') !== [...new Set(names)].toSorted().join(';')) return false
  return limits.every(([, value]) => {
    const [low, high] = rangeOf(value) ?? []
    const words = value.split('|')
    if (low === undefined) return words.join('|') === [...new Set(words)].toSorted().join('|')
    return value === `${Number(low)}..${Number(high)}` && !(Number(low) > Number(high))
  })
}

function limitsOf(v: string | undefined, fields: string): [string, string][] {
  const all = v === undefined ? fields.split(';').slice(1) : [`=${v}`]
  return all.map((text) => [text.split('=')[0] ?? '', text.slice(text.indexOf('=') + 1)])
}

function rangeOf(value: string): [string, string] | undefined {
  const [low, high] = value.split('..')
  return low === undefined || high === undefined ? undefined : [low, high]
}

function isHere(device: string | undefined, { callee }: NaiveHome): boolean {
  return device === undefined || device === '*' || device === callee.fingerprint
}

/** Every way to spend a star. */
function spend(name: string, pattern: string): boolean {
  if (pattern === '') return name === ''
  const after = pattern.slice(1)
  if (pattern[0] !== '*') return pattern[0] === name[0] && spend(name.slice(1), after)
  return spend(name, after) || (name !== '' && spend(name.slice(1), pattern))
}

function argumentFits(args: unknown, { v, fields = '' }: Groups): boolean {
  return limitsOf(v, fields).every(([field, value]) => {
    const whole = args === undefined ? undefined : JSON.stringify(args)
    const text = field === '' ? whole : memberText(whole, field)
    if (text === undefined) return false
    const [low, high] = rangeOf(value) ?? []
    if (low === undefined || high === undefined) {
      return value.split('|').some((word) => text === word || text === JSON.stringify(word))
    }
    if (!/^-?\d/.test(text)) return false
    return !(Number(text) < Number(low)) && !(Number(text) > Number(high))
  })
}

function memberText(whole: string | undefined, field: string): string | undefined {
  if (whole === undefined || !whole.startsWith('{')) return undefined
  const members = new Map(Object.entries(JSON.parse(whole) as object))
  return members.has(field) ? JSON.stringify(members.get(field)) : undefined
}

const DAY = 1440
const WEEK = 7 * DAY

/** Every minute of a week that is allowed, by walking through each window from its beginning. */
function timeFits({ t, d }: Groups, { nowMs, clockSet, timeZone }: NaiveMoment): boolean {
  if (t === undefined && d === undefined) return true
  if (!clockSet) return false
  const allowed = new Set<number>()
  for (const day of daysOf(d)) {
    const [from, to] = t === undefined ? [0, 0] : t.split('-').map(minutes)
    let minute = from ?? 0
    do {
      allowed.add(((day - 1) * DAY + minute) % WEEK)
      minute++
    } while (minute % DAY !== to)
  }
  return allowed.has(minuteOfWeek(nowMs, timeZone))
}

function daysOf(text: string | undefined): number[] {
  if (text === undefined) return [1, 2, 3, 4, 5, 6, 7]
  const days = [Number(text[0])]
  while (days.at(-1) !== Number(text.at(-1))) days.push(((days.at(-1) ?? 0) % 7) + 1)
  return days
}

function minutes(text: string): number {
  return Number(text.slice(0, 2)) * 60 + Number(text.slice(2))
}

const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']

function minuteOfWeek(nowMs: number, timeZone: string): number {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).formatToParts(nowMs)
  const part = (type: string): string => parts.find((one) => one.type === type)?.value ?? ''
  return (
    WEEKDAYS.indexOf(part('weekday')) * DAY + Number(part('hour')) * 60 + Number(part('minute'))
  )
}
