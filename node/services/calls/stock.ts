/**
 * Room for calls that must be remembered until they cannot come again. Each caller has a share, and
 * some places that nobody else can take from it.
 */
import type { Clock } from '../../env.ts'
import type { ExecutedCalls } from '../../storage/calls-executed.ts'
import { keyed } from './keyed.ts'

export const STOCK = {
  /** Calls remembered at a time, of all callers, but for their own places. */
  all: 10_000,
  /** Of one caller. */
  perCaller: 2_500,
  /** Of one caller, however many others have. */
  ownPlaces: 64,
} as const

export interface Stock {
  /** Whether one more call of `caller` may begin. */
  hasRoom(caller: Uint8Array): boolean
  /** One has begun. */
  add(caller: Uint8Array): void
}

/** Counting again costs a look at every row. */
const RECOUNT_MS = 1000

export function createStock(store: ExecutedCalls, clock: Clock): Stock {
  /** At most so many, by caller; rows that ended since are still counted. */
  const counts = new Map<string, { own: number; countedMs: number }>()
  let all = Infinity

  function fits({ own }: { own: number }): boolean {
    return own < STOCK.ownPlaces || (own < STOCK.perCaller && all < STOCK.all)
  }

  return {
    hasRoom(caller) {
      const key = keyed(caller)
      let count = counts.get(key)
      if (count !== undefined && fits(count)) return true
      const nowMs = clock.monotonic()
      if (count !== undefined && nowMs - count.countedMs < RECOUNT_MS) return false
      const live = store.live(caller, clock.now())
      all = live.all
      count = { own: live.own, countedMs: nowMs }
      counts.set(key, count)
      return fits(count)
    },
    add(caller) {
      const count = counts.get(keyed(caller))
      if (count !== undefined) count.own++
      all++
    },
  }
}
