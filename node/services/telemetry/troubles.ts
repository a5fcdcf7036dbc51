/** Which sources do not work, and why: told to the log once, and to whoever looks. */
import type { Logger } from 'pino'

import type { Clock } from '../../env.ts'

export interface Troubles {
  report(id: string, error: Error): void
  /** It works (again). */
  clear(id: string): void
  /** Why it does not work; undefined where it does. */
  of(id: string): string | undefined
  /** How often in a row it failed. */
  count(id: string): number
}

/** A source that works now and then does not fill the log. */
const QUIET_MS = 10 * 60_000

interface Trouble {
  message: string
  count: number
}

export function createTroubles({ clock, log }: { clock: Clock; log: Logger }): Troubles {
  const troubles = new Map<string, Trouble>()
  const warnedMs = new Map<string, number>()
  return {
    report(id, error) {
      const trouble = troubles.get(id) ?? { message: '', count: 0 }
      const known = trouble.message === error.message
      troubles.set(id, trouble)
      trouble.message = error.message
      trouble.count++
      if (known) return
      const nowMs = clock.monotonic()
      const quiet = nowMs - (warnedMs.get(id) ?? -Infinity) < QUIET_MS
      if (!quiet) warnedMs.set(id, nowMs)
      log[quiet ? 'debug' : 'warn']({ source: id, err: error }, 'sensor cannot be read')
    },
    clear(id) {
      if (troubles.delete(id)) log.debug({ source: id }, 'sensor is read again')
    },
    of: (id) => troubles.get(id)?.message,
    count: (id) => troubles.get(id)?.count ?? 0,
  }
}
