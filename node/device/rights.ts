/**
 * What narrows the role of a device to single rights: the caps of a guest's grant, or what the home's
 * policy says of a gateway. The one place that knows both.
 */
import {
  boundBy,
  gatewayRightsIn,
  mayAct,
  NO_RIGHTS,
  readsAll,
  type Act,
  type Device,
  type GatewayRights,
} from '../../protocols/members/index.ts'
import { toHex } from '../../protocols/wire/index.ts'

/** Caps that narrow `act` for `device`; undefined where its role alone decides. */
export function narrowing(
  device: Pick<Device, 'key' | 'role' | 'caps'>,
  act: Act,
  policy: Uint8Array,
): readonly string[] | undefined {
  switch (boundBy(device.role, act)) {
    case undefined:
      return undefined
    case 'caps':
      return device.caps
    case 'policy':
      return rightsOf(policy, device.key).caps
  }
}

/** A policy stays the same bytes until an owner signs another, and is asked for every frame. */
const known = new WeakMap<Uint8Array, Map<string, GatewayRights>>()

/** A policy that cannot be read allows nothing. */
export function rightsOf(policy: Uint8Array, gateway: Uint8Array): GatewayRights {
  const byGateway = known.get(policy) ?? new Map<string, GatewayRights>()
  known.set(policy, byGateway)
  const key = toHex(gateway)
  const rights = byGateway.get(key) ?? readRights(policy, gateway)
  byGateway.set(key, rights)
  return rights
}

function readRights(policy: Uint8Array, gateway: Uint8Array): GatewayRights {
  try {
    return gatewayRightsIn(policy, gateway)
  } catch {
    return NO_RIGHTS
  }
}

/** Whether `reader` may have the whole log of the device with `fingerprint`, from whoever keeps it. */
export function mayReadLog(
  reader: Device | undefined,
  fingerprint: string,
  policy: Uint8Array,
  nowMs: number,
): boolean {
  if (reader === undefined || !mayAct(reader, 'read', nowMs)) return false
  const bound = boundBy(reader.role, 'read')
  // A guest gets nothing from those who keep the logs of others.
  if (bound === 'caps') return false
  return bound === undefined || readsAll(rightsOf(policy, reader.key).caps, fingerprint)
}
