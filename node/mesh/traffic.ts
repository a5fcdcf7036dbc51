/** What connections cost: bytes at their sockets, and the time with any of them open. */
import type { Clock } from '../env.ts'
import type { Live } from './connections.ts'
import type { Traffic } from './mesh.ts'
import type { SocketFacts } from './transport.ts'

export interface TrafficCount {
  opened(live: Live): void
  closed(live: Live): void
  total(): Traffic
}

export function countTraffic(
  clock: Pick<Clock, 'monotonic'>,
  facts: (live: Live) => SocketFacts | undefined,
): TrafficCount {
  const open = new Set<Live>()
  let [bytesIn, bytesOut, connectedMs, sinceMs] = [0, 0, 0, 0]
  return {
    opened(live) {
      if (open.size === 0) sinceMs = clock.monotonic()
      open.add(live)
    },
    closed(live) {
      if (!open.delete(live)) return
      const { bytesRead = 0, bytesWritten = 0 } = facts(live) ?? {}
      bytesIn += bytesRead
      bytesOut += bytesWritten
      if (open.size === 0) connectedMs += clock.monotonic() - sinceMs
    },
    total() {
      const all = [...open].map((live) => facts(live))
      return {
        bytesIn: all.reduce((sum, one) => sum + (one?.bytesRead ?? 0), bytesIn),
        bytesOut: all.reduce((sum, one) => sum + (one?.bytesWritten ?? 0), bytesOut),
        connectedMs: connectedMs + (open.size > 0 ? clock.monotonic() - sinceMs : 0),
      }
    },
  }
}
