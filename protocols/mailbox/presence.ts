/** Whether a device is there, from what it said of itself and when that was heard. */
import type { Schedule } from './schedule.ts'

/**
 * `asleep`: its next wake is not overdue. `late`: it is. `lost`: three were missed. `offline`: it
 * does not sleep and is not connected, or nothing is known of when it wakes.
 */
export type PresenceState = 'online' | 'asleep' | 'late' | 'lost' | 'offline'

export interface Presence {
  readonly state: PresenceState
  /** When its next wake begins or should have begun, on the same clock as `nowMs`. */
  readonly dueMs?: number
  /** A call that waits now reaches it until then, if it keeps what it said. */
  readonly deliversByMs?: number
}

/** Missed wakes after which a device counts as lost. */
const MISSED = 3

/**
 * `heardMs` and `nowMs` are on one clock of this device: the sleeper's own clock is not asked, so a
 * wrong one does not matter.
 */
export function presenceOf(
  schedule: Pick<Schedule, 'mode' | 'periodMs' | 'slackMs'> | undefined,
  heardMs: number,
  connected: boolean,
  nowMs: number,
): Presence {
  if (connected) return { state: 'online' }
  if (schedule?.mode !== 'sleepy') return { state: 'offline' }
  const { periodMs, slackMs } = schedule
  const dueMs = heardMs + periodMs
  if (nowMs <= dueMs + slackMs) return { state: 'asleep', dueMs, deliversByMs: dueMs + slackMs }
  if (nowMs <= heardMs + MISSED * periodMs + slackMs) return { state: 'late', dueMs }
  return { state: 'lost', dueMs }
}
