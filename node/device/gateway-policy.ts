/** What an owner signs about a gateway, and what is signed now. */
import { keyOfPeerId } from '../../protocols/identity/index.ts'
import {
  capsBeyond,
  MembersError,
  parseCap,
  setPolicy,
  withGatewayRights,
} from '../../protocols/members/index.ts'
import type { DeviceRow, GatewayPolicyView } from '../api/view.ts'
import { NodeError } from '../errors.ts'
import type { Home } from './home.ts'
import { rightsOf } from './rights.ts'
import { asNodeError } from './membership-refusals.ts'

/** @throws NodeError NODE_USAGE where it is no gateway */
export function policyOf(home: Home, row: DeviceRow): GatewayPolicyView {
  const { caps } = rightsOf(home.members.state.policy, gatewayKey(row))
  return { device: row.id, name: row.name, caps, wider: [], taken: [] }
}

/** One owner's act. @throws NodeError NODE_USAGE, NODE_DENIED, NODE_CONFLICT */
export function signPolicy(home: Home, row: DeviceRow, caps: readonly string[]): GatewayPolicyView {
  const { members } = home
  const key = gatewayKey(row)
  const wrong = caps.find((cap) => parseCap(cap) === undefined)
  if (wrong !== undefined) {
    throw new NodeError('NODE_USAGE', `"${wrong}" does not say what a gateway may have or call.`, {
      hint: 'Nothing was changed. Write read:FINGERPRINT/SENSORS, read:SENSORS, write:FINGERPRINT/NAME or invoke:FINGERPRINT/NAME.',
    })
  }
  const before = policyOf(home, row).caps
  const next = nextPolicy(home, key, caps)
  asNodeError(() => members.act((context) => setPolicy(context, next)))
  const now = policyOf(home, row)
  return { ...now, wider: capsBeyond(now.caps, before), taken: capsBeyond(before, now.caps) }
}

function nextPolicy({ members }: Home, key: Uint8Array, caps: readonly string[]): Uint8Array {
  try {
    return withGatewayRights(members.state.policy, key, { caps })
  } catch (cause) {
    if (!(cause instanceof MembersError)) throw cause
    throw new NodeError('NODE_CONFLICT', 'The policy of the home has no room for this.', {
      cause,
      hint: 'Nothing was changed. A policy holds 2,048 bytes: use patterns with *, like read:temperature.*',
    })
  }
}

function gatewayKey({ id, name, role }: DeviceRow): Uint8Array {
  if (role === 'gateway') return keyOfPeerId(id)
  throw new NodeError('NODE_USAGE', `${name} is no gateway.`, {
    hint: 'Nothing was changed. See the roles with: kith devices',
  })
}
