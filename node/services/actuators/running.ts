/** Keeps a driver that hears by itself running: what breaks is started again, later each time. */
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import type { Driver, Scalar } from './actuator.ts'

export interface Hearing {
  readonly clock: Clock
  readonly onValue: (value: Scalar) => void
  readonly onReady: () => void
  readonly onProblem: (error: Error) => void
}

const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 60_000

/** Until `signal` aborts. Never rejects. */
export async function runDriver(
  { run }: Driver,
  { clock, onValue, onReady, onProblem }: Hearing,
  signal: AbortSignal,
): Promise<void> {
  let waitMs = FIRST_WAIT_MS
  const ready = (): void => {
    waitMs = FIRST_WAIT_MS
    onReady()
  }
  while (!signal.aborted) {
    try {
      await run?.({ value: onValue, ready, problem: onProblem }, signal)
    } catch (error) {
      if (!signal.aborted) onProblem(asError(error))
    }
    await clock.sleep(waitMs, signal).catch(() => undefined)
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)
  }
}
