/** Leases of a gateway's device, for as long as it is in a home, and again in the next one. */
import { keyOfPeerId, peerIdOf } from '../../protocols/identity/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import { createEmitter } from '../events.ts'
import type { Logger } from '../log.ts'
import type { DeviceNode } from '../node.ts'
import { startLeases, type LeaseService } from '../services/leases.ts'
import type { GatewayCursor, GatewayLeaseEvents, GatewayLeases } from './gateway.ts'
import type { Home } from './home.ts'

type Node = Pick<DeviceNode, 'base' | 'home'>

/** How often it is looked for a home. */
const LOOK_MS = 1000

export function leasesOf(node: Node, log: Logger, signal: AbortSignal): GatewayLeases {
  const events = createEmitter<GatewayLeaseEvents>((err) => log.error({ err }, 'listener failed'))
  let wanted: readonly string[] = []
  let progress: (name: string) => GatewayCursor = () => new Map()
  let current: { readonly home: Home; readonly service: LeaseService } | undefined
  const start = async (home: Home, until: AbortSignal): Promise<LeaseService> => {
    const { mesh, members } = home
    const { clock } = node.base
    const done = (name: string): { device: Uint8Array; seq: number }[] =>
      [...progress(name)].map(([id, seq]) => ({ device: keyOfPeerId(id), seq }))
    const others = (): readonly Uint8Array[] => othersIn(home)
    const service = await startLeases({ mesh, others, done, clock, log }, until)
    members.events.on('change', () => service.refresh(), until)
    service.events.on('change', () => events.emit('change', undefined), until)
    service.events.on(
      'done',
      ({ name, rows }) => {
        const cursor = new Map(rows.map(({ device, seq }) => [peerIdOf(device), seq]))
        events.emit('done', { name, cursor })
      },
      until,
    )
    service.want(wanted)
    return service
  }
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      const home = node.home()
      if (home !== undefined && home !== current?.home) {
        current = { home, service: await start(home, signal) }
        events.emit('change', undefined)
      }
      await node.base.clock.sleep(LOOK_MS, signal).catch(() => undefined)
    }
    await current?.service[Symbol.asyncDispose]()
  }
  void run().catch((err: unknown) => log.error({ err }, 'leases have ended'))
  return {
    events,
    want(names) {
      wanted = names
      current?.service.want(names)
    },
    wants: (name) => wanted.includes(name),
    progress: (of) => void (progress = of),
    holds: (name) => current?.service.holds(name) ?? false,
    holder(name) {
      const key = current?.service.holder(name)
      if (key === undefined) return undefined
      const device = current?.home.members.state.devices.get(toHex(key))
      return { id: peerIdOf(key), name: device?.name ?? '' }
    },
  }
}

/** Nobody, where this device is no gateway. */
function othersIn({ members }: Home): readonly Uint8Array[] {
  const { self } = members
  if (self?.role !== 'gateway') return []
  return members
    .active()
    .filter(
      ({ role, quarantined, key }) =>
        role === 'gateway' && !quarantined && !equalBytes(key, self.key),
    )
    .map(({ key }) => key)
}
