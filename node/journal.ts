/**
 * What happened lately, for whoever asks: a bounded list of numbered events, read from any number
 * on and then followed live. It lives in memory; what must outlast the process is signed and
 * stored elsewhere.
 */
import type { Clock } from './env.ts'

export interface JournalEvent {
  /** Rising within one run of the device, from 1. */
  readonly id: number
  readonly type: string
  /** Milliseconds since the Unix epoch. */
  readonly at: number
  readonly data: Readonly<Record<string, unknown>>
}

export interface Journal {
  /** Number of the newest event; 0 before the first. */
  readonly last: number
  record(type: string, data?: Readonly<Record<string, unknown>>): void
  /**
   * Kept events after number `since`, then live ones until `signal` aborts; only live ones where
   * `since` is undefined. A reader that is too slow misses the oldest, and sees it by the numbers.
   */
  follow(since: number | undefined, signal: AbortSignal): AsyncGenerator<JournalEvent, void, void>
}

const KEPT_EVENTS = 1000

export function createJournal(clock: Clock): Journal {
  const kept: JournalEvent[] = []
  const waiting = new Set<() => void>()
  let last = 0

  return {
    get last() {
      return last
    },
    record(type, data = {}) {
      kept.push({ id: ++last, type, at: clock.now(), data })
      if (kept.length > KEPT_EVENTS) kept.shift()
      for (const wake of waiting) wake()
    },

    follow(since, signal) {
      // Not inside the generator: live means from this call on, not from the first read.
      return read(since ?? last, signal)
    },
  }

  async function* read(
    from: number,
    signal: AbortSignal,
  ): AsyncGenerator<JournalEvent, void, void> {
    let seen = from
    while (!signal.aborted) {
      const next = kept.find(({ id }) => id > seen)
      if (next === undefined) {
        await changed(signal)
      } else {
        seen = next.id
        yield next
      }
    }
  }

  function changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        waiting.delete(wake)
        signal.removeEventListener('abort', wake)
        resolve()
      }
      waiting.add(wake)
      signal.addEventListener('abort', wake, { once: true })
    })
  }
}
