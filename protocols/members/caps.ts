/**
 * Caps: what a role that is bound by them may use, as its grant names it. Pure text and its meaning;
 * who asks is protocols/telemetry's holder. A cap that this version cannot read allows nothing, so
 * that older devices stay on the safe side of newer grants. SPEC.md "Caps".
 */
import { CAP_BYTES } from './messages.ts'

/** Readings of sensors whose name fits a pattern, of one device or of every device of the home. */
export interface ReadCap {
  /** Fingerprint of the device that measures; every device where absent. */
  readonly device?: string
  /** A sensor's name, in which `*` stands for any characters, also none. */
  readonly sensors: string
}

const READ = 'read:'
const EVERY_DEVICE = '*'
const FINGERPRINT = /^[a-z2-7]{8}$/
/** Characters of a sensor's name and `*`, never two of them in a row. */
const PATTERN = /^(?:\*(?!\*)|[A-Za-z0-9])(?:[A-Za-z0-9\-:./_]|\*(?!\*)){0,63}$/

/**
 * `read:PATTERN` or `read:DEVICE/PATTERN`; undefined for anything else. What stands before the first
 * slash is the device: for a pattern that has a slash itself, `*` says every device.
 */
export function parseCap(text: string): ReadCap | undefined {
  if (text.length > CAP_BYTES || !text.startsWith(READ)) return undefined
  const cap = splitDevice(text.slice(READ.length))
  if (cap === undefined || !PATTERN.test(cap.sensors)) return undefined
  return formatCap(cap) === text ? cap : undefined
}

function splitDevice(rest: string): ReadCap | undefined {
  const slash = rest.indexOf('/')
  if (slash === -1) return { sensors: rest }
  const device = rest.slice(0, slash)
  const sensors = rest.slice(slash + 1)
  if (device === EVERY_DEVICE) return { sensors }
  return FINGERPRINT.test(device) ? { device, sensors } : undefined
}

/** The one spelling of a cap. */
export function formatCap({ device, sensors }: ReadCap): string {
  const every = sensors.includes('/') ? `${EVERY_DEVICE}/` : ''
  return `${READ}${device === undefined ? every : `${device}/`}${sensors}`
}

/** The first of `caps` that allows to read `sensor` of the device with `fingerprint`. */
export function capToRead(
  caps: readonly string[],
  fingerprint: string,
  sensor: string,
): string | undefined {
  return caps.find((text) => {
    const cap = parseCap(text)
    if (cap === undefined || (cap.device ?? fingerprint) !== fingerprint) return false
    return fits(sensor, cap.sensors)
  })
}

/**
 * Whether `*` in `pattern` can stand for something that makes it `name`. A star takes as little as it
 * can and more only where the rest does not fit, so the cost is at most the product of the lengths.
 */
function fits(name: string, pattern: string): boolean {
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
