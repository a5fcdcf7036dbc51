/**
 * Who may call this device, and what for: the role table and the caps of guests, applied to one call
 * at the moment it is to be executed. The one place for it, beside readers.ts for readings. Knows
 * nothing of what is called: whether there is such a name, and whether the arguments fit its schema,
 * is judged after.
 */
import type { Allows } from '../../protocols/calls/index.ts'
import { fingerprintOf } from '../../protocols/identity/index.ts'
import {
  boundBy,
  capsName,
  judgeCall,
  mayAct,
  type Act,
  type Denial,
  type Device,
  type LocalTime,
} from '../../protocols/members/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import type { Asked, Rights, Verdict } from '../services/calls/index.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import { narrowing, rightsOf } from './rights.ts'

type Base = Pick<DeviceBase, 'clock' | 'signer'>

interface Parts {
  readonly members: Pick<Home['members'], 'active' | 'state'>
  readonly time: Pick<Home['time'], 'quality'>
}

export interface Callers extends Rights {
  /** What `caller` may use at all, with some argument at some time: for its description. */
  readonly allows: (caller: Uint8Array) => Allows
}

const NO_RIGHT = 'This device has no right to this.'
const DENIED: Readonly<Record<Denial, string>> = {
  name: NO_RIGHT,
  argument: 'The argument is outside of what the right allows.',
  clock: 'The right is for a time, and the clock here is not set.',
  time: 'The right is for another time.',
  count: 'The right was used as often as it may be.',
}

/**
 * Judged by the membership and the clock of the moment, so a device that was removed, or whose grant
 * ended, is denied from then on. `counted` names the grant and the cap: a new grant counts anew.
 */
export function callersOf(base: Base, parts: Parts): Callers {
  const { clock, signer } = base
  const here = fingerprintOf(signer.key)
  const find = (key: Uint8Array): Device | undefined =>
    parts.members.active().find((device) => equalBytes(device.key, key))

  /** The device, where nothing but its caps stands against such an act of it here; or why not. */
  function standing(caller: Uint8Array, act: Act): Device | string {
    const device = find(caller)
    const own = find(signer.key)
    if (device === undefined || own === undefined) return 'This device is not in the home.'
    if (device.expiresAtMs !== undefined && parts.time.quality() === 'unset') {
      return 'The right ends, and the clock here is not set.'
    }
    const may = mayAct(device, act, clock.now()) && mayAct(own, 'serve', clock.now())
    // A gateway that the policy does not name has no business here at all.
    return may && !isUnnamed(device, parts.members.state.policy) ? device : NO_RIGHT
  }

  function judge(
    caller: Uint8Array,
    { verb, name, args }: Asked,
    used: (counted: string) => number,
  ): Verdict {
    // What a device does with itself is its own business.
    if (equalBytes(caller, signer.key)) return { allow: true }
    const act = actOf(verb)
    const device = standing(caller, act)
    if (typeof device === 'string') return { allow: false, why: device }
    const caps = narrowing(device, act, parts.members.state.policy)
    if (verb === 'cancel' || caps === undefined) return { allow: true }
    const counted = (cap: string): string => `${toHex(device.grant)} ${cap}`
    const localTime = parts.time.quality() === 'unset' ? undefined : localTimeAt(clock.now())
    const judged = judgeCall(caps, {
      verb,
      device: here,
      name,
      args,
      localTime,
      used: (cap) => used(counted(cap)),
    })
    if ('deny' in judged) return { allow: false, why: DENIED[judged.deny] }
    return judged.counts ? { allow: true, counted: counted(judged.allow) } : { allow: true }
  }

  return {
    isActive: (key) => find(key) !== undefined,
    judge,
    allows: (caller) => (right, name) => {
      if (equalBytes(caller, signer.key)) return true
      const device = standing(caller, actOf(right))
      if (typeof device === 'string') return false
      const caps = narrowing(device, actOf(right), parts.members.state.policy)
      return caps === undefined || capsName(caps, { verb: right, device: here, name })
    },
  }
}

function isUnnamed(device: Device, policy: Uint8Array): boolean {
  return boundBy(device.role, 'call') === 'policy' && rightsOf(policy, device.key).caps.length === 0
}

function actOf(verb: Asked['verb']): Act {
  return verb === 'read' ? 'read' : 'call'
}

/** The time of day in the time zone of this machine. */
export function localTimeAt(wallMs: number): LocalTime {
  const local = new Date(wallMs)
  return {
    minute: local.getHours() * 60 + local.getMinutes(),
    weekday: ((local.getDay() + 6) % 7) + 1,
  }
}
