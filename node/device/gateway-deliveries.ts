/**
 * What a gateway may have, in order for each device from a cursor: first what was missed, then as it
 * comes. Signed packs come from the kept logs, so that a reader that is slow or away loses nothing.
 */
import { peerIdOf } from '../../protocols/identity/index.ts'
import { FLAGS, reopenPack, trustedTimes } from '../../protocols/telemetry/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import type { DeviceNode } from '../node.ts'
import type { GatewayCursor, GatewayDelivery } from './gateway.ts'
import type { Home } from './home.ts'

type Node = Pick<DeviceNode, 'base' | 'home'>

/** Packs of one device before it is another's turn. */
const PAGE_PACKS = 16

export async function* deliver(
  node: Node,
  cursor: GatewayCursor,
  signal: AbortSignal,
): AsyncGenerator<GatewayDelivery, void, undefined> {
  const done = new Map(cursor)
  while (!signal.aborted) {
    const home = node.home()
    for (const key of home === undefined ? [] : [home.mesh.key]) {
      for (const { seq, bytes } of node.base.packs.read(
        key,
        (done.get(peerIdOf(key)) ?? 0) + 1,
        PAGE_PACKS,
      )) {
        if (home !== undefined) yield deliveryOf(home, node, { seq, bytes })
        done.set(peerIdOf(key), seq)
      }
    }
    await node.base.clock.sleep(100, signal)
  }
}

function deliveryOf(
  home: Home,
  { base }: Node,
  { seq, bytes }: { readonly seq: number; readonly bytes: Uint8Array },
): GatewayDelivery {
  const pack = reopenPack(bytes)
  const { times, flags } = trustedTimes(pack, { receivedAtMs: base.clock.now() })
  const deviceId = peerIdOf(pack.device)
  const name = home.members.state.devices.get(toHex(pack.device))?.name ?? ''
  const readings = pack.readings.map((reading, index) => ({
    device: pack.device,
    deviceId,
    name,
    sensor: reading.sensor,
    ...(reading.unit === undefined ? {} : { unit: reading.unit }),
    value: reading.value,
    atMs: times[index] ?? reading.atMs,
    seq,
    index,
    timeUncertain: (flags & FLAGS.clockUnsynced) !== 0,
    verified: true,
  }))
  return { kind: 'pack', device: pack.device, deviceId, name, seq, bytes, readings, live: false }
}
