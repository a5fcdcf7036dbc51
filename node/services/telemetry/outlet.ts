/** What becomes of one sensor's values: rounding, dead band, heartbeat, and the space between two. */
import type { Reading } from '../../../protocols/telemetry/index.ts'
import type { Clock } from '../../env.ts'
import { createGate, type Pace } from '../sensors/index.ts'

export interface Outlet {
  /** A value that comes too early waits; where another comes meanwhile, that one waits instead. */
  offer(reading: Reading): void
  /** What waits goes out now, because nothing comes after it. */
  close(): void
}

export interface OutletDeps {
  readonly pace: Pace
  /** The shortest time between two readings; 0 for none. */
  readonly spacingMs: number
  readonly clock: Clock
}

export function createOutlet(
  { pace, spacingMs, clock }: OutletDeps,
  onReading: (reading: Reading) => void,
): Outlet {
  const gate = createGate(pace)
  let waiting: Reading | undefined
  let cancelTimer: (() => void) | undefined
  let nextMs = -Infinity

  function put(reading: Reading): void {
    const nowMs = clock.monotonic()
    const { value } = reading
    const kept = typeof value === 'number' ? gate.take(value, nowMs) : value
    if (kept === undefined) return
    nextMs = nowMs + spacingMs
    onReading({ ...reading, value: kept })
  }

  function release(): void {
    cancelTimer?.()
    cancelTimer = undefined
    const reading = waiting
    waiting = undefined
    if (reading !== undefined) put(reading)
  }

  return {
    offer(reading) {
      const earlyMs = nextMs - clock.monotonic()
      waiting = reading
      if (earlyMs <= 0) release()
      else cancelTimer ??= clock.timer(earlyMs, release)
    },
    close: release,
  }
}
