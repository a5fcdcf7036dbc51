/** Waiting for a usable connection to one member. */
import type { Clock } from '../env.ts'
import { NodeError } from '../errors.ts'
import { isGreeted, untilAborted, type Connections, type Live } from './connections.ts'

export interface Reaching {
  /**
   * A greeted connection to `peer`, dialled if need be.
   *
   * @throws NodeError NODE_DENIED where it is no member, NODE_TIMEOUT after 10 s, or at once where it
   * sleeps; the signal's reason
   */
  reach(peer: string, signal: AbortSignal): Promise<Live>
  /** A greeting has succeeded: look again. */
  greeted(): void
}

/** `reach` waits this long for a connection. */
const WITHIN_MS = 10_000

export function createReaching(deps: {
  readonly clock: Clock
  readonly connections: Connections
  readonly isMember: (peer: string) => boolean
  /** It is off but for moments, and dials by itself. */
  readonly sleeps: (peer: string) => boolean
  readonly want: (peer: string) => void
  readonly stopped: AbortSignal
}): Reaching {
  const { clock, connections, isMember, sleeps, want, stopped } = deps
  const waiters = new Set<() => void>()

  function nextGreeting(): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        waiters.delete(wake)
        resolve()
      }
      waiters.add(wake)
    })
  }

  return {
    async reach(peer, signal) {
      const late = new AbortController()
      const cancel = clock.timer(WITHIN_MS, () =>
        late.abort(new NodeError('NODE_TIMEOUT', 'That device could not be reached.')),
      )
      const until = AbortSignal.any([signal, late.signal, stopped])
      try {
        for (;;) {
          until.throwIfAborted()
          if (!isMember(peer)) {
            throw new NodeError('NODE_DENIED', 'That device is not a member of this home.')
          }
          const open = connections.of(peer)
          const live = open.find(isGreeted)
          if (live !== undefined) return live
          if (open.length === 0 && sleeps(peer)) {
            throw new NodeError('NODE_TIMEOUT', 'That device sleeps.')
          }
          want(peer)
          await untilAborted(nextGreeting(), until)
        }
      } finally {
        cancel()
      }
    },
    greeted() {
      for (const wake of waiters) wake()
    },
  }
}
