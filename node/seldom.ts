/** A log for what goes wrong again and again: told when it begins or changes, then now and then. */
import type { Clock } from './env.ts'
import { asError } from './errors.ts'
import type { Logger } from './log.ts'

const TELL_EVERY_MS = 60_000
/** Messages that are remembered; they are constant, so there are few. */
const MAX_REMEMBERED = 64

interface Told {
  readonly atMs: number
  readonly why: string
  /** Times that it was not told since. */
  silent: number
}

/**
 * The same log, but for warnings and errors with an `err`: the same message with the same error is
 * written at once and then once a minute at most, without the stack, with `times` since the last one.
 */
export function seldom(log: Logger, clock: Pick<Clock, 'monotonic'>): Logger {
  const remembered = new Map<string, Told>()

  function write(level: 'error' | 'warn', facts: unknown, message: string): void {
    const { err, ...rest } = facts as { err?: unknown }
    const error = err === undefined ? undefined : asError(err)
    if (error === undefined) {
      log[level](facts, message)
      return
    }
    const why = `${error.name}: ${error.message}`
    const nowMs = clock.monotonic()
    const told = remembered.get(message)
    if (told?.why !== why) {
      if (remembered.size >= MAX_REMEMBERED) remembered.clear()
      remembered.set(message, { atMs: nowMs, why, silent: 0 })
      log[level](facts, message)
    } else if (nowMs - told.atMs < TELL_EVERY_MS) {
      told.silent++
    } else {
      remembered.set(message, { atMs: nowMs, why, silent: 0 })
      log[level]({ ...rest, why, times: told.silent + 1 }, message)
    }
  }

  return Object.create(log, {
    error: { value: (facts: unknown, message: string) => write('error', facts, message) },
    warn: { value: (facts: unknown, message: string) => write('warn', facts, message) },
  }) as Logger
}
