/**
 * Caps: what a role that is bound by them may use, as its grant names it. Text, its meaning, and the
 * one spelling of each. Who asks is protocols/telemetry's holder for readings, and call-caps.ts for
 * calls. A cap that this version cannot read allows nothing, so that older devices stay on the safe
 * side of newer grants. SPEC.md "Caps".
 */
import { formatTerms, parseTerms, type CapTerms } from './cap-terms.ts'
import { CAP_BYTES } from './messages.ts'

/** Readings and properties whose name fits a pattern, of one device or of every device of the home. */
export interface ReadCap {
  readonly verb: 'read'
  /** Fingerprint of the device that measures; every device where absent. */
  readonly device?: string
  /** A sensor's name, in which `*` stands for any characters, also none. */
  readonly sensors: string
}

/** What a cap lets a guest do beside reading: set a property, invoke an action, hear of an event. */
export const CALL_VERBS = ['write', 'invoke', 'observe'] as const
export type CallVerb = (typeof CALL_VERBS)[number]

export interface CallCap extends CapTerms {
  readonly verb: CallVerb
  /** Fingerprint of the device that is called; every device where absent. */
  readonly device?: string
  /** A name in the device's description, in which `*` stands for any characters, also none. */
  readonly names: string
}

export type Cap = ReadCap | CallCap

const READ = 'read:'
const EVERY_DEVICE = '*'
const FINGERPRINT = /^[a-z2-7]{8}$/
/** Characters of a sensor's name and `*`, never two of them in a row. */
const PATTERN = /^(?:\*(?!\*)|[A-Za-z0-9])(?:[A-Za-z0-9\-:./_]|\*(?!\*)){0,63}$/
/** The same of a name in a description, which has no `:` and no `/`. */
const NAME_PATTERN = /^(?:\*(?!\*)|[A-Za-z0-9])(?:[A-Za-z0-9\-._]|\*(?!\*)){0,63}$/

/** What `text` allows; undefined where it is not a cap in its one spelling. */
export function parseCap(text: string): Cap | undefined {
  if (text.length > CAP_BYTES) return undefined
  const cap = text.startsWith(READ) ? parseRead(text.slice(READ.length)) : parseCall(text)
  return cap !== undefined && formatCap(cap) === text ? cap : undefined
}

/**
 * `read:PATTERN` or `read:DEVICE/PATTERN`. What stands before the first slash is the device: for a
 * pattern that has a slash itself, `*` says every device.
 */
function parseRead(rest: string): ReadCap | undefined {
  const slash = rest.indexOf('/')
  const sensors = rest.slice(slash + 1)
  if (!PATTERN.test(sensors)) return undefined
  if (slash === -1) return { verb: 'read', sensors }
  const device = deviceOf(rest.slice(0, slash))
  return device === undefined ? undefined : { verb: 'read', ...device, sensors }
}

/** `VERB:DEVICE/NAMES`, then terms. */
function parseCall(text: string): CallCap | undefined {
  const [what = '', ...rest] = text.split(';')
  const verb = CALL_VERBS.find((one) => what.startsWith(`${one}:`))
  const slash = what.indexOf('/')
  if (verb === undefined || slash === -1) return undefined
  const device = deviceOf(what.slice(verb.length + 1, slash))
  const names = what.slice(slash + 1)
  const terms = parseTerms(rest)
  if (device === undefined || terms === undefined || !NAME_PATTERN.test(names)) return undefined
  // An event takes no argument and is not counted.
  const counted = terms.count !== undefined || terms.limits !== undefined
  return verb === 'observe' && counted ? undefined : { verb, ...device, names, ...terms }
}

function deviceOf(text: string): { readonly device?: string } | undefined {
  if (text === EVERY_DEVICE) return {}
  return FINGERPRINT.test(text) ? { device: text } : undefined
}

/** The one spelling of a cap. */
export function formatCap(cap: Cap): string {
  const { verb, device } = cap
  if (verb !== 'read')
    return [`${verb}:${device ?? EVERY_DEVICE}/${cap.names}`, ...formatTerms(cap)].join(';')
  const every = cap.sensors.includes('/') ? `${EVERY_DEVICE}/` : ''
  return `${READ}${device === undefined ? every : `${device}/`}${cap.sensors}`
}

/** The first of `caps` that allows to read `sensor` of the device with `fingerprint`. */
export function capToRead(
  caps: readonly string[],
  fingerprint: string,
  sensor: string,
): string | undefined {
  return caps.find((text) => {
    const cap = parseCap(text)
    if (cap?.verb !== 'read' || (cap.device ?? fingerprint) !== fingerprint) return false
    return fits(sensor, cap.sensors)
  })
}

/** Whether any sensor of the device with `fingerprint` may be read. */
export function readsAny(caps: readonly string[], fingerprint: string): boolean {
  return caps.some((text) => {
    const cap = parseCap(text)
    return cap?.verb === 'read' && (cap.device ?? fingerprint) === fingerprint
  })
}

/** Whether every sensor of the device with `fingerprint` may be read. */
export function readsAll(caps: readonly string[], fingerprint: string): boolean {
  return caps.some((text) => {
    const cap = parseCap(text)
    return (
      cap?.verb === 'read' && (cap.device ?? fingerprint) === fingerprint && cap.sensors === '*'
    )
  })
}

/**
 * Whether everything that `inner` allows is allowed by `outer` too. Where one narrows by time, count
 * or argument, only the same terms are taken to be within.
 */
export function capCovers(outer: string, inner: string): boolean {
  const [wide, narrow] = [parseCap(outer), parseCap(inner)]
  if (wide === undefined || narrow === undefined) return false
  if (wide.device !== undefined && wide.device !== narrow.device) return false
  if (wide.verb === 'read') return narrow.verb === 'read' && fits(narrow.sensors, wide.sensors)
  if (narrow.verb !== wide.verb) return false
  const [terms, needed] = [formatTerms(wide), formatTerms(narrow)]
  const free = terms.length === 0 || terms.join(';') === needed.join(';')
  // A star of the narrow one is only ever met by a star of the wide one.
  return free && fits(narrow.names, wide.names)
}

/**
 * Whether `*` in `pattern` can stand for something that makes it `name`. A star takes as little as it
 * can and more only where the rest does not fit, so the cost is at most the product of the lengths.
 */
export function fits(name: string, pattern: string): boolean {
  let at = 0
  let next = 0
  let star = -1
  let resume = 0
  while (at < name.length) {
    if (pattern[next] === '*') {
      star = next++
      resume = at
    } else if (pattern[next] === name[at]) {
      next++
      at++
    } else if (star >= 0) {
      next = star + 1
      at = ++resume
    } else {
      return false
    }
  }
  while (pattern[next] === '*') next++
  return next === pattern.length
}
