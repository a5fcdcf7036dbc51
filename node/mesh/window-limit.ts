/**
 * How long a window may be. It is over after its limit; while work runs that may not be torn, such
 * as a call that acts, a little later, but never by more than `EXTENSION_MS`.
 */
import type { Clock } from '../env.ts'

export interface Limit {
  /** Aborts when the window is over, or what it is part of ends. */
  readonly signal: AbortSignal
  /** Whether time was up. */
  readonly over: boolean
  /** The window waits for `work`: `beyond` its limit, within bounds, or up to its limit. */
  hold(work: Promise<unknown>, beyond: boolean): void
  /** Resolves when nothing is waited for any more. */
  idle(): Promise<void>
  /** The window was closed in time. */
  close(): void
}

/** As long as a call may take that says nothing else of itself, and its receipt's way back. */
export const EXTENSION_MS = 10_500
/** After the last work beyond the limit: its result is to be told. */
export const GRACE_MS = 500

export function openLimit(
  { clock, limitMs }: { readonly clock: Clock; readonly limitMs: number },
  until: AbortSignal,
): Limit {
  const end = new AbortController()
  let [working, late, over, closed] = [0, false, false, false]
  const held = new Set<Promise<unknown>>()
  let cancelGrace = (): void => undefined

  const finish = (): void => {
    over = true
    end.abort(new Error('the window is over'))
  }
  const cancelSoft = clock.timer(limitMs, () => {
    late = true
    if (working === 0) finish()
  })
  const cancelHard = clock.timer(limitMs + EXTENSION_MS, finish)

  return {
    signal: AbortSignal.any([until, end.signal]),
    get over() {
      return over
    },
    hold(work, beyond) {
      const ended = work.then(
        () => undefined,
        () => undefined,
      )
      held.add(ended)
      if (beyond) {
        working++
        cancelGrace()
      }
      void ended.then(() => {
        held.delete(ended)
        if (beyond) working--
        if (late && working === 0 && !closed) cancelGrace = clock.timer(GRACE_MS, finish)
        return undefined
      })
    },
    async idle() {
      while (held.size > 0) await Promise.all(held)
    },
    close() {
      closed = true
      cancelSoft()
      cancelHard()
      cancelGrace()
    },
  }
}
