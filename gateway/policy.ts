/**
 * The rules of this gateway and what the home's owners signed, taken together: a reading leaves where
 * a rule sends it and a signed right lets it, and a call is made where both allow it. Rules alone never
 * widen: what they ask for beyond the signature is told in sentences, with what to sign. Pure.
 */
import { capsBeyond, capsName, capToRead, fits, parseCap } from '../protocols/members/index.ts'
import type { GatewayDeviceFacts } from '../node/index.ts'
import type { DownlinkRule, ForwardRule, GatewaySettings } from './config.ts'

type Facts = Pick<GatewayDeviceFacts, 'id' | 'fingerprint' | 'name'>

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

export interface Policy {
  /** All that the rules ask for, as caps: what an owner signs. */
  readonly wanted: readonly string[]
  readonly refusals: readonly Refusal[]
  /** The rules that send this reading out, each with its number; none where it stays. */
  rulesFor(reading: { readonly deviceId: string; readonly sensor: string }): readonly NumberedRule[]
  /** The sinks that get this device's packs whole. */
  packsFor(deviceId: string): readonly NumberedRule[]
  /** Whether what waits for a sink may still leave; an empty sensor is a whole pack. */
  mayLeave(sink: string, item: { readonly deviceId: string; readonly sensor: string }): boolean
  /** Whether a sink may know that this device is there: something of it leaves, or can be asked for. */
  knows(sink: string, deviceId: string): boolean
  /** The rule that lets a sink ask for this; undefined where nothing does. */
  mayAsk(wish: Wish): NumberedDownlink | undefined
}

export type NumberedRule = ForwardRule & { readonly index: number }
export type NumberedDownlink = DownlinkRule & { readonly index: number }

export interface Wish {
  readonly sink: string
  readonly deviceId: string
  readonly verb: 'write' | 'invoke'
  readonly name: string
}

const EVERY = '*'
/** Sensors of which the rules are remembered: caps are text, and readings are many. */
const MAX_REMEMBERED = 10_000

/** `caps`: what was signed. `devices`: all of the home, for names in rules. */
export function policyOf(
  settings: GatewaySettings,
  caps: readonly string[],
  devices: readonly Facts[],
): Policy {
  const forward = settings.forward.map((rule, index) => ({
    ...rule,
    index,
    meant: meantBy(rule.device, devices),
  }))
  const downlink = settings.downlink.map((rule, index) => ({
    ...rule,
    index,
    meant: meantBy(rule.device, devices),
  }))
  const byId = new Map(devices.map((device) => [device.id, device]))
  const found = new Map<string, readonly NumberedRule[]>()
  const rulesFor: Policy['rulesFor'] = ({ deviceId, sensor }) => {
    const key = `${deviceId}/${sensor}`
    const known = found.get(key)
    if (known !== undefined) return known
    if (found.size >= MAX_REMEMBERED) found.clear()
    const rules = findRules(deviceId, sensor)
    found.set(key, rules)
    return rules
  }
  const findRules = (deviceId: string, sensor: string): readonly NumberedRule[] => {
    const device = byId.get(deviceId)
    if (device === undefined) return []
    if (capToRead(caps, device.fingerprint, sensor) === undefined) return []
    return forward.filter(
      ({ meant, sensors, form }) =>
        form === 'json' && isMeant(meant, device) && sensors.some((one) => fits(sensor, one)),
    )
  }
  const packsFor: Policy['packsFor'] = (deviceId) => {
    const device = byId.get(deviceId)
    if (device === undefined || !readsWhole(caps, device.fingerprint)) return []
    return forward.filter(({ meant, form }) => form === 'raw' && isMeant(meant, device))
  }
  return {
    wanted: [...new Set([...forward.flatMap(readCaps), ...downlink.flatMap(callCaps)])].toSorted(),
    refusals: [
      ...forward.flatMap((rule) =>
        refusalOf(`forward ${rule.index + 1}`, rule, readCaps(rule), caps),
      ),
      ...downlink.flatMap((rule) =>
        refusalOf(`downlink ${rule.index + 1}`, rule, callCaps(rule), caps),
      ),
    ],
    rulesFor,
    packsFor,
    mayLeave: (sink, { deviceId, sensor }) =>
      (sensor === '' ? packsFor(deviceId) : rulesFor({ deviceId, sensor })).some(
        (rule) => rule.sink === sink,
      ),
    knows(sink, deviceId) {
      const device = byId.get(deviceId)
      if (device === undefined) return false
      const meant = (rule: Meaning<{ readonly sink: string }>): boolean =>
        rule.sink === sink && isMeant(rule.meant, device)
      return (
        (forward.some(meant) && isNamed(caps, ['read'], device)) ||
        (downlink.some(meant) && isNamed(caps, ['write', 'invoke'], device))
      )
    },
    mayAsk({ sink, deviceId, verb, name }) {
      const device = byId.get(deviceId)
      if (device === undefined) return undefined
      if (!capsName(caps, { verb, device: device.fingerprint, name })) return undefined
      return downlink.find(
        (rule) =>
          rule.sink === sink &&
          isMeant(rule.meant, device) &&
          rule[verb].some((pattern) => fits(name, pattern)),
      )
    },
  }
}

/** Every device, or those that a name, a fingerprint or an id stands for: at most one, or it is unclear. */
type Meant = typeof EVERY | readonly Facts[]
type Meaning<T> = T & { readonly index: number; readonly meant: Meant }

function meantBy(ref: string, devices: readonly Facts[]): Meant {
  if (ref === EVERY) return EVERY
  const exact = devices.filter(({ id, fingerprint }) => id === ref || fingerprint === ref)
  return exact.length > 0 ? exact : devices.filter(({ name }) => name === ref)
}

function isMeant(meant: Meant, device: Facts): boolean {
  return meant === EVERY || (meant.length === 1 && meant[0]?.id === device.id)
}

function readCaps({ meant, sensors }: Meaning<ForwardRule>): readonly string[] {
  return sensors.flatMap((pattern) =>
    placesOf(meant).map((place) => {
      // The one spelling of a cap names the device only where it must.
      if (place !== EVERY) return `read:${place}/${pattern}`
      return pattern.includes('/') ? `read:*/${pattern}` : `read:${pattern}`
    }),
  )
}

function callCaps({ meant, write, invoke }: Meaning<DownlinkRule>): readonly string[] {
  return placesOf(meant).flatMap((place) => [
    ...write.map((name) => `write:${place}/${name}`),
    ...invoke.map((name) => `invoke:${place}/${name}`),
  ])
}

function placesOf(meant: Meant): readonly string[] {
  if (meant === EVERY) return [EVERY]
  return meant.length === 1 ? meant.map(({ fingerprint }) => fingerprint) : []
}

function readsWhole(caps: readonly string[], fingerprint: string): boolean {
  return capsBeyond([`read:${fingerprint}/*`], caps).length === 0
}

/** Whether something of the device was signed. */
function isNamed(
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

function refusalOf(
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
