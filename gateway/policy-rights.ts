/**
 * What rules ask for in the words of rights, and what signed rights hold of a device. Pure.
 */
import { capsBeyond, parseCap } from '../protocols/members/index.ts'
import type { GatewayDeviceFacts } from '../node/index.ts'
import type { DownlinkRule, ForwardRule } from './config.ts'

export type Facts = Pick<GatewayDeviceFacts, 'id' | 'fingerprint' | 'name'>

/** A rule that asks for more than was signed, or for what is not there. */
export interface Refusal {
  /** Where the rule stands: `forward 1`. */
  readonly rule: string
  readonly sink: string
  /** One sentence for people. */
  readonly why: string
  /** What an owner would sign; empty where signing does not help. */
  readonly sign: readonly string[]
}

const EVERY = '*'

/** Every device, or those that a name, a fingerprint or an id stands for: at most one, or it is unclear. */
type Meant = typeof EVERY | readonly Facts[]
export type Meaning<T> = T & { readonly index: number; readonly meant: Meant }

function meantBy(ref: string, devices: readonly Facts[]): Meant {
  if (ref === EVERY) return EVERY
  const exact = devices.filter(({ id, fingerprint }) => id === ref || fingerprint === ref)
  return exact.length > 0 ? exact : devices.filter(({ name }) => name === ref)
}

export function isMeant(meant: Meant, device: Facts): boolean {
  return meant === EVERY || (meant.length === 1 && meant[0]?.id === device.id)
}

export function readCaps({ meant, sensors }: Meaning<ForwardRule>): readonly string[] {
  return sensors.flatMap((pattern) =>
    placesOf(meant).map((place) => {
      // The one spelling of a cap names the device only where it must.
      if (place !== EVERY) return `read:${place}/${pattern}`
      return pattern.includes('/') ? `read:*/${pattern}` : `read:${pattern}`
    }),
  )
}

export function callCaps({ meant, write, invoke }: Meaning<DownlinkRule>): readonly string[] {
  return placesOf(meant).flatMap((place) => [
    ...write.map((name) => `write:${place}/${name}`),
    ...invoke.map((name) => `invoke:${place}/${name}`),
  ])
}

function placesOf(meant: Meant): readonly string[] {
  if (meant === EVERY) return [EVERY]
  return meant.length === 1 ? meant.map(({ fingerprint }) => fingerprint) : []
}

export function readsWhole(caps: readonly string[], fingerprint: string): boolean {
  return capsBeyond([`read:${fingerprint}/*`], caps).length === 0
}

/** Whether something of the device was signed. */
export function isNamed(
  caps: readonly string[],
  verbs: readonly string[],
  { fingerprint }: Facts,
): boolean {
  return caps.some((text) => {
    const cap = parseCap(text)
    return (
      cap !== undefined && verbs.includes(cap.verb) && (cap.device ?? fingerprint) === fingerprint
    )
  })
}

export function refusalOf(
  rule: string,
  { device, meant, sink }: Pick<Meaning<ForwardRule>, 'device' | 'meant' | 'sink'>,
  wanted: readonly string[],
  caps: readonly string[],
): Refusal[] {
  if (meant !== EVERY && meant.length !== 1) {
    const why =
      meant.length === 0
        ? `There is no device ${device} in the home.`
        : `There are ${meant.length} devices with the name ${device}: write the fingerprint of one.`
    return [{ rule, sink, why, sign: [] }]
  }
  const sign = capsBeyond(wanted, caps)
  if (sign.length === 0) return []
  const why = `No owner has signed that this gateway may ${sign.join(', ')}. An owner signs it with: kith gateway policy sign`
  return [{ rule, sink, why, sign }]
}

/** Each rule with its number and the devices that it means. */
export function meanings<T extends { readonly device: string }>(
  rules: readonly T[],
  devices: readonly Facts[],
): readonly Meaning<T>[] {
  return rules.map((rule, index) => ({ ...rule, index, meant: meantBy(rule.device, devices) }))
}
