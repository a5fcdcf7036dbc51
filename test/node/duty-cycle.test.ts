import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { pino } from 'pino'

import {
  ALARM_GAP_MS,
  ALARM_RETRY_MS,
  startDutyCycle,
  type DutyCycle,
  type WindowOutcome,
} from '../../node/device/duty-cycle.ts'
import { virtualClock, type VirtualClock } from '../helpers/clock.ts'

const PERIOD_MS = 600_000
const YEAR_MS = 365 * 86_400_000

interface Opened {
  readonly reason: string
  readonly beganMs: number
}

/** A device whose windows last `lastsMs` and end with `outcome`. */
function sleepy(clock: VirtualClock, { lastsMs = 100 } = {}) {
  const opened: Opened[] = []
  const next: { outcome: WindowOutcome; lastsMs: number } = { outcome: 'told', lastsMs }
  let open = 0
  let most = 0
  const cycle: DutyCycle = startDutyCycle(
    {
      clock,
      log: pino({ level: 'silent' }),
      periodMs: PERIOD_MS,
      window: async (reason) => {
        opened.push({ reason, beganMs: clock.monotonic() })
        most = Math.max(most, ++open)
        await clock.sleep(next.lastsMs)
        open--
        return next.outcome
      },
    },
    new AbortController().signal,
  )
  return {
    cycle,
    opened,
    next,
    times: () => opened.map(({ beganMs }) => beganMs),
    most: () => most,
  }
}

describe('a device that sleeps', () => {
  it('wakes at the start and once each period, however long its windows are', async () => {
    const clock = virtualClock()
    const { cycle, times, opened } = sleepy(clock, { lastsMs: 7000 })
    await clock.advance(3 * PERIOD_MS + 1)
    assert.deepEqual(times(), [0, PERIOD_MS, 2 * PERIOD_MS, 3 * PERIOD_MS])
    assert.ok(opened.every(({ reason }) => reason === 'period'))
    await stop(cycle, clock)
  })

  it('keeps its times where the wall clock is set by years, either way', async () => {
    const clock = virtualClock()
    const { cycle, times } = sleepy(clock)
    await clock.advance(PERIOD_MS / 2)
    clock.setWall(clock.now() - 30 * YEAR_MS)
    await clock.advance(PERIOD_MS)
    clock.setWall(clock.now() + 60 * YEAR_MS)
    await clock.advance(PERIOD_MS)
    assert.deepEqual(times(), [0, PERIOD_MS, 2 * PERIOD_MS])
    await stop(cycle, clock)
  })

  it('opens a window at once for an alarm, and counts the period from it', async () => {
    const clock = virtualClock()
    const { cycle, opened } = sleepy(clock)
    await clock.advance(200_000)
    const heard = cycle.alarm('door')
    await clock.advance(100)
    assert.equal(await heard, 'told')
    assert.deepEqual(opened.at(-1), { reason: 'door', beganMs: 200_000 })
    assert.equal(cycle.dueMs, 200_000 + PERIOD_MS)
    await stop(cycle, clock)
  })

  it('lets alarms in an open window share the next one, and opens none beside it', async () => {
    const clock = virtualClock()
    const { cycle, opened, most } = sleepy(clock, { lastsMs: 3000 })
    await clock.advance(1000)
    const heard = [cycle.alarm('door'), cycle.alarm('window'), cycle.alarm('door')]
    await clock.advance(5000)
    assert.deepEqual(await Promise.all(heard), ['told', 'told', 'told'])
    assert.deepEqual(opened.slice(1), [{ reason: 'door, window', beganMs: 3000 }])
    assert.equal(most(), 1)
    await stop(cycle, clock)
  })

  it('opens no more than one window in two seconds for a contact that flaps', async () => {
    const clock = virtualClock()
    const { cycle, times } = sleepy(clock)
    await clock.advance(100_000)
    for (let i = 0; i < 200; i++) {
      void cycle.alarm('flap')
      await clock.advance(50)
    }
    const alarms = times().slice(1)
    assert.ok(alarms.length <= 10_000 / ALARM_GAP_MS + 1, `${alarms.length} windows`)
    assert.ok(alarms.slice(1).every((at, i) => at - (alarms[i] ?? 0) >= ALARM_GAP_MS))
    await stop(cycle, clock)
  })

  it('tells an alarm again that nobody heard, after 5, 10 and 20 s, until somebody does', async () => {
    const clock = virtualClock()
    const { cycle, next, opened } = sleepy(clock, { lastsMs: 0 })
    await clock.advance(100_000)
    next.outcome = 'missed'
    assert.equal(await settled(clock, cycle.alarm('door')), 'missed')
    await clock.advance(ALARM_RETRY_MS * 3)
    next.outcome = 'told'
    await clock.advance(ALARM_RETRY_MS * 4)
    assert.deepEqual(
      opened.slice(1).map(({ beganMs, reason }) => [reason, beganMs - 100_000]),
      [
        ['door', 0],
        ['door', 5000],
        ['door', 15_000],
        ['door', 35_000],
      ],
    )
    await clock.advance(PERIOD_MS - 1)
    assert.equal(opened.length, 5, 'told once it is told no more')
    await stop(cycle, clock)
  })

  it('is due as it said before, where the window of an alarm reached nobody', async () => {
    const clock = virtualClock()
    const { cycle, next } = sleepy(clock)
    await clock.advance(PERIOD_MS / 2)
    next.outcome = 'missed'
    void cycle.alarm('door')
    await clock.advance(200)
    assert.equal(cycle.dueMs, PERIOD_MS)
    await stop(cycle, clock)
  })

  it('stops between windows at once, and answers alarms no more', async () => {
    const clock = virtualClock()
    const { cycle, opened } = sleepy(clock)
    await clock.advance(1000)
    await stop(cycle, clock)
    assert.equal(await cycle.alarm('late'), 'missed')
    await clock.advance(2 * PERIOD_MS)
    assert.equal(opened.length, 1)
  })
})

async function settled<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  await clock.advance(0)
  return work
}

/** A window that is open ends by itself. */
async function stop(cycle: DutyCycle, clock: VirtualClock): Promise<void> {
  await Promise.all([cycle[Symbol.asyncDispose](), clock.advance(10_000)])
}
