/** Dialling several addresses of one device so that a dead one costs little time. */
import type { Clock } from '../env.ts'
import { untilAborted } from './connections.ts'

const NEXT_AFTER_MS = 150
const GIVE_UP_AFTER_MS = 4000

/**
 * Try one address after the other, the next one when the last failed or after 150 ms. The first that
 * answers wins; the others are given up. Each attempt has a signal of its own, for Node ties a
 * socket's whole life to the signal that it was dialled with: the winner's must never abort.
 *
 * @throws AggregateError where none answered within 4 s; the reason of `stop`
 */
export async function race<T>(
  addresses: readonly string[],
  attempt: (address: string, signal: AbortSignal) => Promise<T>,
  clock: Clock,
  stop: AbortSignal,
): Promise<T> {
  const over = new AbortController()
  const giveUp = (): void => over.abort(new Error('no answer'))
  const cancel = clock.timer(GIVE_UP_AFTER_MS, giveUp)
  const signal = AbortSignal.any([stop, over.signal])
  const attempts: Promise<T>[] = []

  async function run(address: string): Promise<T> {
    const own = new AbortController()
    const lose = (): void => own.abort(signal.reason)
    signal.addEventListener('abort', lose, { once: true })
    try {
      const won = await untilAborted(attempt(address, own.signal), own.signal)
      // Before anything else aborts: this one is out of the race.
      signal.removeEventListener('abort', lose)
      over.abort(new Error('another address answered'))
      return won
    } finally {
      signal.removeEventListener('abort', lose)
    }
  }

  try {
    for (const address of addresses) {
      if (signal.aborted) break
      const attempted = run(address)
      attempts.push(attempted)
      const settled = attempted.then(
        () => {},
        () => {},
      )
      await Promise.race([settled, clock.sleep(NEXT_AFTER_MS, signal).catch(() => {})])
    }
    return await Promise.any(attempts)
  } finally {
    cancel()
    giveUp()
  }
}
