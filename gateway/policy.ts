/**
 * The rules of this gateway and what the home's owners signed, taken together: a reading leaves where
 * a rule sends it and a signed right lets it, and a call is made where both allow it. Rules alone never
 * widen: what they ask for beyond the signature is told in sentences, with what to sign. Pure.
 */
import { capsName, capToRead, fits } from '../protocols/members/index.ts'
import type { DownlinkRule, ForwardRule, GatewaySettings } from './config.ts'
import {
  callCaps,
  isMeant,
  isNamed,
  meanings,
  readCaps,
  readsWhole,
  refusalOf,
  type Facts,
  type Meaning,
  type Refusal,
} from './policy-rights.ts'

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

/** Sensors of which the rules are remembered: caps are text, and readings are many. */
const MAX_REMEMBERED = 10_000

/** `caps`: what was signed. `devices`: all of the home, for names in rules. */
export function policyOf(
  { forward, downlink }: Pick<GatewaySettings, 'forward' | 'downlink'>,
  caps: readonly string[],
  devices: readonly Facts[],
): Policy {
  const byId = new Map(devices.map((device) => [device.id, device]))
  const sending = meanings(forward, devices)
  const asking = meanings(downlink, devices)
  const inputs: Inputs = { sending, asking, caps, byId }
  const rulesFor = remembering((reading) => readingRules(inputs, reading))
  const packsFor = (deviceId: string): readonly NumberedRule[] => packRules(inputs, deviceId)
  const refusals = <T extends ForwardRule | DownlinkRule>(
    kind: string,
    rules: readonly Meaning<T>[],
    capsOf: (rule: Meaning<T>) => readonly string[],
  ): readonly Refusal[] =>
    rules.flatMap((rule) => refusalOf(`${kind} ${rule.index + 1}`, rule, capsOf(rule), caps))
  return {
    wanted: [...new Set([...sending.flatMap(readCaps), ...asking.flatMap(callCaps)])].toSorted(),
    refusals: [
      ...refusals('forward', sending, readCaps),
      ...refusals('downlink', asking, callCaps),
    ],
    rulesFor,
    packsFor,
    mayLeave: (sink, { deviceId, sensor }) =>
      (sensor === '' ? packsFor(deviceId) : rulesFor({ deviceId, sensor })).some(
        (rule) => rule.sink === sink,
      ),
    knows: (sink, deviceId) => knows(inputs, sink, deviceId),
    mayAsk: (wish) => askingRule(inputs, wish),
  }
}

interface Inputs {
  readonly sending: readonly Meaning<ForwardRule>[]
  readonly asking: readonly Meaning<DownlinkRule>[]
  readonly caps: readonly string[]
  readonly byId: ReadonlyMap<string, Facts>
}

function remembering(find: Policy['rulesFor']): Policy['rulesFor'] {
  const found = new Map<string, readonly NumberedRule[]>()
  return (reading) => {
    const key = `${reading.deviceId}/${reading.sensor}`
    const known = found.get(key)
    if (known !== undefined) return known
    if (found.size >= MAX_REMEMBERED) found.clear()
    const rules = find(reading)
    found.set(key, rules)
    return rules
  }
}

function readingRules(
  { sending, caps, byId }: Inputs,
  { deviceId, sensor }: { readonly deviceId: string; readonly sensor: string },
): readonly NumberedRule[] {
  const device = byId.get(deviceId)
  if (device === undefined) return []
  if (capToRead(caps, device.fingerprint, sensor) === undefined) return []
  return sending.filter(
    ({ meant, sensors, form }) =>
      form === 'json' && isMeant(meant, device) && sensors.some((one) => fits(sensor, one)),
  )
}

function packRules({ sending, caps, byId }: Inputs, deviceId: string): readonly NumberedRule[] {
  const device = byId.get(deviceId)
  if (device === undefined || !readsWhole(caps, device.fingerprint)) return []
  return sending.filter(({ meant, form }) => form === 'raw' && isMeant(meant, device))
}

function knows({ sending, asking, caps, byId }: Inputs, sink: string, deviceId: string): boolean {
  const device = byId.get(deviceId)
  if (device === undefined) return false
  const meant = (rule: Meaning<{ readonly sink: string }>): boolean =>
    rule.sink === sink && isMeant(rule.meant, device)
  return (
    (sending.some(meant) && isNamed(caps, ['read'], device)) ||
    (asking.some(meant) && isNamed(caps, ['write', 'invoke'], device))
  )
}

function askingRule(
  { asking, caps, byId }: Inputs,
  { sink, deviceId, verb, name }: Wish,
): NumberedDownlink | undefined {
  const device = byId.get(deviceId)
  if (device === undefined) return undefined
  if (!capsName(caps, { verb, device: device.fingerprint, name })) return undefined
  return asking.find(
    (rule) =>
      rule.sink === sink &&
      isMeant(rule.meant, device) &&
      rule[verb].some((pattern) => fits(name, pattern)),
  )
}
