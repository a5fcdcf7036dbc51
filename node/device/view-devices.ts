/** The membership side of `NodeView`: devices, their names and roles, and letting them go. */
import { idText, keyOfPeerId, peerIdOf } from '../../protocols/identity/index.ts'
import {
  regrant,
  rename,
  revoke,
  type AuthorContext,
  type Op,
} from '../../protocols/members/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { resolveDevice } from '../api/device-ref.ts'
import type { DeviceRow, NodeView, OpView, RemovalView } from '../api/view.ts'
import { NodeError } from '../errors.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import { policyOf, signPolicy } from './gateway-policy.ts'
import { asNodeError } from './membership-refusals.ts'
import { offersOf } from './offers.ts'
import { termsOf } from './readers.ts'
import { deviceRows, homelessRow } from './rows.ts'

type DevicesView = Pick<
  NodeView,
  | 'devices'
  | 'device'
  | 'rename'
  | 'grant'
  | 'removal'
  | 'remove'
  | 'gatewayPolicy'
  | 'signGatewayPolicy'
>

export interface HomeAccess {
  /** Undefined without a home. */
  readonly home: () => Home | undefined
  /** @throws NodeError NODE_NO_HOME */
  readonly requireHome: () => Home
}

export function devicesView(base: DeviceBase, { home, requireHome }: HomeAccess): DevicesView {
  const find = (ref: string): DeviceRow => resolveDevice(ref, deviceRows(base, requireHome()))

  /** Act on one device; the last op made is the one to show. */
  function act(ref: string, make: (context: AuthorContext, key: Uint8Array) => Op | readonly Op[]) {
    const { id } = find(ref)
    const ops = asNodeError(() =>
      requireHome().members.act((context) => make(context, keyOfPeerId(id))),
    )
    return opView(ops.at(-1), id)
  }

  function preview(device: DeviceRow): RemovalView {
    const current = requireHome()
    return asNodeError(() => removalOf(current, device, removing(current, device)))
  }

  return {
    devices: async () => {
      const current = home()
      return current === undefined ? [homelessRow(base)] : deviceRows(base, current)
    },
    device: async (ref) => find(ref),
    gatewayPolicy: async (ref) => policyOf(requireHome(), find(ref)),
    signGatewayPolicy: async (ref, caps) => signPolicy(requireHome(), find(ref), caps),
    rename: async (ref, name) => act(ref, (context, key) => rename(context, key, name)),
    grant: async (ref, role, wanted = {}) => {
      const { name } = find(ref)
      const current = requireHome()
      const { members, time } = current
      const offers = await offersOf(base, current, wanted.calls)
      return act(ref, (context, subject) => {
        const device = members.state.devices.get(toHex(subject))
        const paired = device?.paired ?? 'direct'
        const terms = termsOf(base, { members, time, offers }, role, wanted)
        return regrant(context, { subject, role, name, paired, ...terms })
      })
    },
    removal: async (ref) => preview(find(ref)),
    async remove(ref, { reason }) {
      const device = find(ref)
      const cuts = preview(device)
      return { op: act(device.id, removing(requireHome(), device, reason)), cuts }
    },
  }
}

/** What a removal would do, found by making one on a copy that is then forgotten. */
function removalOf(home: Home, device: DeviceRow, op: (context: AuthorContext) => Op): RemovalView {
  const { members, mesh, telemetry } = home
  const lastSeq = telemetry.lastSeq(keyOfPeerId(device.id))
  const after = members.preview(op)
  const alsoRemoved = [...members.state.devices.values()].filter(
    ({ key }) => peerIdOf(key) !== device.id && !after.devices.has(toHex(key)),
  )
  return {
    device,
    connected: mesh.peers().some((peer) => peerIdOf(peer.key) === device.id),
    alsoRemoved: alsoRemoved.map(({ name }) => name),
    lastSeq: lastSeq === 0 ? null : lastSeq,
  }
}

/** What is trusted of a removed device's readings ends with the last one that came. */
function removing(
  { telemetry }: Home,
  { id }: DeviceRow,
  why?: string,
): (context: AuthorContext) => Op {
  const subject = keyOfPeerId(id)
  const lastSeq = telemetry.lastSeq(subject)
  const reason = why === 'lost' || why === 'stolen' ? why : 'removed'
  return (context) => revoke(context, { subject, reason, lastSeq })
}

function opView(op: Op | undefined, device: string): OpView {
  if (op === undefined) throw new NodeError('NODE_INTERNAL', 'No act was made.')
  const { id, payload, signer } = op
  return { id: idText(id), type: payload.type, device, by: peerIdOf(signer), at: payload.ts }
}
