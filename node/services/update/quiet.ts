/** Hours in which releases leave the network to others: no chunk leaves, and none is asked for. */
import { minutesUntil, type Window } from '../../../protocols/update/index.ts'
import type { Clock } from '../../env.ts'
import type { DeviceFacts } from './types.ts'

const MINUTE_MS = 60_000
/** A clock that is set, or a change of summer time, is noticed this late. */
const LONGEST_MS = 10 * MINUTE_MS

export interface Quiet {
  readonly now: boolean
  /** When to look again, at the latest. */
  readonly againMs: number
}

/** `minute`: minutes since midnight, local time. */
export function quietAt(hours: readonly Window[], minute: number): Quiet {
  const waits = hours.map((one) => minutesUntil(one, minute))
  const now = waits.includes(0)
  const ends = hours.map(({ from, to }) => minutesUntil({ from: to, to: from }, minute))
  const minutes = Math.min(...(now ? ends.filter((_, i) => waits[i] === 0) : waits))
  return { now, againMs: Math.min(LONGEST_MS, Math.max(1, minutes) * MINUTE_MS) }
}

/** What a device says that waits for the end of them. */
export const QUIET = {
  phase: 'waiting',
  code: 'UPDATE_QUIET',
  why: 'these are quiet hours',
} as const

type Facts = Pick<DeviceFacts, 'quietHours' | 'minute'>

export function quietHere({ quietHours = [], minute }: Facts): Quiet {
  return quietAt(quietHours, minute())
}

/** `run` when they begin, looked at after `afterMs` and then in time. Ends with the returned function. */
export function whenQuiet(
  { clock, facts }: { readonly clock: Clock; readonly facts: Facts },
  afterMs: number,
  run: () => void,
): () => void {
  if (facts.quietHours === undefined || facts.quietHours.length === 0) return () => undefined
  const look = (): void => {
    const { now, againMs } = quietHere(facts)
    cancel = clock.timer(againMs, look)
    if (now) run()
  }
  let cancel = clock.timer(afterMs, look)
  return () => cancel()
}
