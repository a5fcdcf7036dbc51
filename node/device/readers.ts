/**
 * Who may read what this device measures: the role table and the caps of guests, applied. The one
 * place for it, so that what people are shown is what the mesh is held to.
 */
import type { ThingModel } from '../../protocols/calls/index.ts'
import { fingerprintOf, peerIdOf } from '../../protocols/identity/index.ts'
import {
  boundBy,
  CAP_COUNT,
  capToRead,
  mayAct,
  parseCap,
  readsAny,
  type Bound,
  type Device,
  type Role,
} from '../../protocols/members/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { resolveDevice } from '../api/device-ref.ts'
import type { GrantTerms, SensorReader } from '../api/view.ts'
import { NodeError } from '../errors.ts'
import type { WantedGrant } from '../services/admission.ts'
import type { Guests } from '../services/telemetry/index.ts'
import type { DeviceBase } from './base.ts'
import { capsOfCalls } from './call-terms.ts'
import type { Home } from './home.ts'
import { narrowing } from './rights.ts'

type Base = Pick<DeviceBase, 'clock' | 'signer'>

interface TermParts {
  readonly members: Pick<Home['members'], 'active'>
  readonly time: Pick<Home['time'], 'quality'>
}

interface Parts extends TermParts {
  readonly members: Pick<Home['members'], 'active' | 'state'>
}

/** A grant's time is its author's; another clock may be behind it by so much and still be set. */
const LEEWAY_MS = 10 * 60_000

/** Through what `device` reads this sensor of the device with `fingerprint`; undefined: not at all. */
export function throughWhat(
  device: Device,
  { fingerprint, sensor }: { readonly fingerprint: string; readonly sensor: string },
  policy: Uint8Array,
  nowMs: number,
): string | undefined {
  if (!mayAct(device, 'read', nowMs)) return undefined
  const caps = narrowing(device, 'read', policy)
  return caps === undefined ? 'role' : capToRead(caps, fingerprint, sensor)
}

/** Everybody but this device, owners first. */
export function readersOf(
  base: Base,
  { members }: Pick<Parts, 'members'>,
  sensor: string,
): SensorReader[] {
  const { clock, signer } = base
  const fingerprint = fingerprintOf(signer.key)
  return members.active().flatMap((device) => {
    if (equalBytes(device.key, signer.key)) return []
    const what = { fingerprint, sensor }
    const through = throughWhat(device, what, members.state.policy, clock.now())
    return through === undefined ? [] : [{ name: device.name, role: device.role, through }]
  })
}

/** Guests and gateways as telemetry sees them. */
export function guestsOf(base: Base, { members, time }: Parts): Guests {
  const { clock, signer } = base
  const fingerprint = fingerprintOf(signer.key)
  const find = (key: Uint8Array): Device | undefined =>
    members.active().find((device) => equalBytes(device.key, key))
  const isBoundBy = (key: Uint8Array, bound: Bound): boolean => {
    const device = find(key)
    return device !== undefined && boundBy(device.role, 'read') === bound
  }
  return {
    has: (key) => isBoundBy(key, 'caps'),
    isGateway: (key) => isBoundBy(key, 'policy'),
    grant(key) {
      const device = find(key)
      const { policy } = members.state
      const caps = device === undefined ? undefined : narrowing(device, 'read', policy)
      if (device === undefined || caps === undefined || !readsAny(caps, fingerprint))
        return undefined
      if (!mayAct(device, 'read', clock.now())) return undefined
      // Without a clock nobody can say that the end has not come.
      if (device.expiresAtMs !== undefined && time.quality() === 'unset') return undefined
      return {
        allows: (sensor) =>
          throughWhat(device, { fingerprint, sensor }, policy, clock.now()) !== undefined,
        sinceMs: device.grantedAtMs - LEEWAY_MS,
      }
    },
  }
}

/** What a grant says beside the role. @throws NodeError NODE_USAGE, NODE_CONFLICT, NODE_NOT_FOUND */
export function termsOf(
  base: Pick<Base, 'clock'>,
  parts: TermParts & OfferParts,
  role: Role,
  { allow = [], calls = [], forMs }: GrantTerms,
): { readonly caps: readonly string[]; readonly expiresAtMs?: number } {
  const caps = [...new Set([...allow, ...capsOfCalls(calls, (ref) => calledDevice(parts, ref))])]
  if (caps.length > 0 && boundBy(role, 'read') !== 'caps') {
    throw usage(
      `The role ${role} reads and calls by its role.`,
      'Only guests are given single rights.',
    )
  }
  const wrong = caps.find((cap) => parseCap(cap) === undefined)
  if (wrong !== undefined) {
    throw usage(
      `"${wrong}" does not say what may be read.`,
      'Write read:SENSORS or read:FINGERPRINT/SENSORS, like read:temperature.* or read:abcd2345/*.',
    )
  }
  if (caps.length > CAP_COUNT) {
    throw usage(`A grant names at most ${CAP_COUNT} such rights.`, 'Use patterns with *.')
  }
  if (forMs === undefined) return { caps }
  if (role === 'owner') throw usage('An owner is one without end.', 'Give another role.')
  if (parts.time.quality() === 'unset') {
    throw new NodeError('NODE_CONFLICT', 'The clock of this device is not set.', {
      hint: 'Nothing was changed. Set the clock, so that others know when the grant ends.',
    })
  }
  return { caps, expiresAtMs: base.clock.now() + forMs }
}

/** What devices offer to others, as far as it is known here. */
interface OfferParts {
  /** The model that the device with this key described last. */
  readonly offers?: ((key: Uint8Array) => ThingModel | undefined) | undefined
}

/** @throws NodeError NODE_NOT_FOUND, NODE_AMBIGUOUS */
function calledDevice({ members, offers }: Pick<TermParts, 'members'> & OfferParts, ref: string) {
  const rows = members.active().map(({ key, name }) => ({
    key,
    name,
    id: peerIdOf(key),
    fingerprint: fingerprintOf(key),
    state: 'unknown' as const,
  }))
  const { key, fingerprint } = resolveDevice(ref, rows)
  return { fingerprint, model: offers?.(key) }
}

/** A device has what it is to get, without end. */
export function isGiven(
  known: Device | undefined,
  { role, caps = [], expiresAtMs }: Pick<WantedGrant, 'role' | 'caps' | 'expiresAtMs'>,
): boolean {
  const ends = known?.expiresAtMs !== undefined || expiresAtMs !== undefined
  const same = known?.role === role && known.caps.join(' ') === caps.toSorted().join(' ')
  return same && !ends
}

function usage(message: string, hint: string): NodeError {
  return new NodeError('NODE_USAGE', message, { hint: `Nothing was changed. ${hint}` })
}
