import type { Clock } from '../../protocols/env.ts'

/** A clock that stands still until `advance` moves it; timers fire in order of their time. */
export interface VirtualClock extends Clock {
  /** Move on by `ms`, firing what falls due, and let promises settle between timers. */
  advance(ms: number): Promise<void>
  /** Change the wall clock only, as a wrong or corrected system clock does. */
  setWall(ms: number): void
}

export function virtualClock(startMs = 1_800_000_000_000): VirtualClock {
  let elapsed = 0
  let wallOffset = startMs
  let order = 0
  const timers = new Set<{ at: number; order: number; fire: () => void }>()

  function timer(ms: number, then: () => void): () => void {
    const entry = { at: elapsed + Math.max(0, ms), order: order++, fire: then }
    timers.add(entry)
    return () => void timers.delete(entry)
  }

  return {
    now: () => wallOffset + elapsed,
    monotonic: () => elapsed,
    timer,
    sleep(ms, signal) {
      signal?.throwIfAborted()
      return new Promise((resolve, reject) => {
        const cancel = timer(ms, () => {
          signal?.removeEventListener('abort', aborted)
          resolve()
        })
        const aborted = (): void => {
          cancel()
          reject(signal?.reason as Error)
        }
        signal?.addEventListener('abort', aborted, { once: true })
      })
    },
    setWall(ms) {
      wallOffset = ms - elapsed
    },
    async advance(ms) {
      const until = elapsed + ms
      for (;;) {
        await settle()
        const [next] = [...timers].toSorted((a, b) => a.at - b.at || a.order - b.order)
        if (next === undefined || next.at > until) break
        timers.delete(next)
        elapsed = next.at
        next.fire()
      }
      elapsed = until
      await settle()
    },
  }
}

/** Let everything that is ready run. */
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
}
