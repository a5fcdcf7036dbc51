/**
 * `every = "10s"`: of the readings of one sensor in so much time, the last leaves. Time is that of
 * measuring, so that what comes late is thinned as it would have been live; and nothing waits longer
 * than one such time. Held in memory: what is held when the power fails is not sent, what comes next is.
 */

export interface Thin<T> {
  /**
   * `key`: rule, device and sensor. Returns what leaves now because `item` begins a new span: the last
   * of the span before.
   */
  take(key: string, item: Timed<T>, everyMs: number, now: Now): T | undefined
  /** What has waited long enough, oldest first. */
  due(monotonicMs: number): T[]
  /** When something is due; undefined where nothing is held. */
  nextDueMs(): number | undefined
  /** All that is held, which is then held no more. */
  flush(): T[]
}

export interface Timed<T> {
  readonly atMs: number
  readonly value: T
}

export interface Now {
  readonly wallMs: number
  readonly monotonicMs: number
}

interface Held<T> extends Timed<T> {
  readonly span: number
  readonly dueMs: number
}

export function createThin<T>(): Thin<T> {
  const held = new Map<string, Held<T>>()
  return {
    take(key, { atMs, value }, everyMs, { wallMs, monotonicMs }) {
      const span = Math.floor(atMs / everyMs)
      const before = held.get(key)
      if (before?.span === span) {
        if (atMs >= before.atMs) held.set(key, { ...before, atMs, value })
        return undefined
      }
      // To the span's end on our clock; a whole span where that is past or another clock says otherwise.
      const left = (span + 1) * everyMs - wallMs
      const wait = left > 0 && left <= everyMs ? left : everyMs
      // Deleted first: a map keeps the place of a key that is set again.
      held.delete(key)
      held.set(key, { span, atMs, value, dueMs: monotonicMs + wait })
      return before?.value
    },
    due(monotonicMs) {
      const ready = [...held].filter(([, { dueMs }]) => dueMs <= monotonicMs)
      for (const [key] of ready) held.delete(key)
      return ready.toSorted(([, a], [, b]) => a.dueMs - b.dueMs).map(([, { value }]) => value)
    },
    nextDueMs() {
      let next: number | undefined
      for (const { dueMs } of held.values()) next = Math.min(next ?? dueMs, dueMs)
      return next
    },
    flush() {
      const all = [...held.values()].map(({ value }) => value)
      held.clear()
      return all
    },
  }
}
