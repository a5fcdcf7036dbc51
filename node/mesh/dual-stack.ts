/**
 * IPv4 beside IPv6, where a link has it: a listener on the same port, and libp2p's own mDNS module.
 * IPv4 may come after the start, as with DHCP at boot, so both follow the links.
 */
import type { PeerDiscovery } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { Logger } from 'pino'

import type { Clock } from '../env.ts'
import { createBudget } from './budget.ts'
import { portOf, type HostComponents } from './host.ts'
import { readLinks } from './links.ts'
import { stockMdns } from './stock-mdns.ts'

export interface DualStack {
  /** libp2p's peer discovery; undefined without multicast. */
  readonly discovery: ((components: unknown) => PeerDiscovery) | undefined
  /** After the start, and whenever the links have changed. */
  follow(components: HostComponents): Promise<void>
}

/** IPv6 is tried first: what came in over IPv4 is told a little later, and not in any number. */
const IP6_FIRST_MS = 500
const HEARD_PER_SECOND = 100
const HEARD_BURST = 200

export function createDualStack(deps: {
  readonly clock: Clock
  readonly multicast: boolean
  readonly interfaces?: readonly string[] | undefined
  readonly log: Logger
  readonly isMember: (peer: string) => boolean
  readonly onHeard: (peer: string, addresses: readonly string[]) => void
}): DualStack {
  const { isMember, clock } = deps
  const budget = createBudget(clock, HEARD_PER_SECOND, HEARD_BURST)
  const onHeard = (peer: string, heard: readonly string[]): void => {
    if (budget.take()) clock.timer(IP6_FIRST_MS, () => deps.onHeard(peer, heard))
  }
  const addresses = (): string =>
    readLinks(deps.interfaces)
      .flatMap((link) => link.ip4)
      .join()
  const hasIp4 = (): boolean => addresses() !== ''
  // libp2p starts the module itself; after that only a change is a reason to start it anew.
  let served = addresses()
  const stock = deps.multicast ? stockMdns({ hasIp4, isMember, onHeard }) : undefined
  return {
    discovery: stock?.create,
    async follow({ transportManager }) {
      try {
        const port = portOf({ transportManager })
        const listens = transportManager.getAddrs().some((on) => on.toString().startsWith('/ip4/'))
        if (!listens && hasIp4()) {
          await transportManager.listen([multiaddr(`/ip4/0.0.0.0/tcp/${port}`)])
        }
        const now = addresses()
        if (now === served) return
        served = now
        await stock?.follow()
      } catch (error) {
        deps.log.debug({ err: error }, 'no IPv4')
      }
    },
  }
}
