import { setTimeout as sleep } from 'node:timers/promises'

/** No check runs more often. */
const PAUSE_MS = 100

/**
 * Ask `check` until it gives something true, and return that.
 *
 * @throws Error with `what`, the time, the last error and `detail()`, after `limitMs`
 */
export async function until<T>(
  what: string,
  limitMs: number,
  check: () => Promise<T | undefined | false> | T | undefined | false,
  detail: () => string = () => '',
): Promise<T> {
  const started = performance.now()
  let last: unknown
  while (performance.now() - started < limitMs) {
    try {
      const found = await check()
      if (found !== undefined && found !== false) return found
      last = undefined
    } catch (error) {
      last = error
    }
    await sleep(PAUSE_MS)
  }
  const why = last instanceof Error ? `\nlast: ${last.message}` : ''
  throw new Error(`${what}: not within ${limitMs} ms${why}${detail()}`, { cause: last })
}

/** Ask `check` for `ms`, and fail as soon as it gives something true. */
export async function never(
  what: string,
  ms: number,
  check: () => Promise<boolean>,
): Promise<void> {
  const started = performance.now()
  while (performance.now() - started < ms) {
    if (await check()) throw new Error(`${what}, which must not be`)
    await sleep(PAUSE_MS)
  }
}
