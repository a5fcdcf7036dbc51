/** The incidents side of `NodeView`: for owners alone. */
import { keyOfPeerId, peerIdOf } from '../../protocols/identity/index.ts'
import { permits } from '../../protocols/members/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { resolveDevice } from '../api/device-ref.ts'
import type { IncidentView, NodeView } from '../api/view.ts'
import { NodeError } from '../errors.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import { deviceRows } from './rows.ts'

export function incidentsView(
  base: DeviceBase,
  requireHome: () => Home,
): Pick<NodeView, 'incidents'> {
  return {
    async incidents({ device: ref, since: sinceMs = 0 }) {
      const home = requireHome()
      const role = home.members.self?.role
      if (role === undefined || !permits(role, 'inspect')) {
        throw new NodeError('NODE_DENIED', 'Only an owner’s device shows incidents.', {
          hint: 'Run this on an owner’s device: kith devices shows which ones are.',
        })
      }
      const device =
        ref === undefined ? undefined : keyOfPeerId(resolveDevice(ref, deviceRows(base, home)).id)
      return home.incidents.list({ device, sinceMs }).map((report) => viewOf(home, report))
    },
  }
}

function viewOf(
  { members }: Home,
  report: ReturnType<Home['incidents']['list']>[number],
): IncidentView {
  const nameOf = (key: Uint8Array): string => {
    const hex = toHex(key)
    return members.state.devices.get(hex)?.name ?? members.state.removed.get(hex)?.name ?? ''
  }
  const { at, clock, code, count, device, kind, places = [], seq, since, stage, subject } = report
  return {
    device: peerIdOf(device),
    name: nameOf(device),
    seq,
    at,
    since,
    count,
    kind,
    code: code ?? null,
    subject: subject === undefined ? null : { id: peerIdOf(subject), name: nameOf(subject) },
    stage: stage ?? null,
    places,
    clock,
    version: report.version,
  }
}
