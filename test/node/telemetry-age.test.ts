import assert from 'node:assert/strict'
import { it } from 'node:test'

import { virtualClock } from '../helpers/clock.ts'
import { deviceOf, reading, START_MS } from '../helpers/telemetry.ts'
import { startLogs } from '../helpers/telemetry-home.ts'

const DAY_MS = 86_400_000
const YEARS_MS = 3650 * DAY_MS

it('loses nothing by a clock that leaps ahead and back, and believes a leap after a day', async () => {
  const clock = virtualClock(START_MS)
  const signer = deviceOf('sensor')
  await using telemetry = await startLogs(signer, clock, {
    follows: () => false,
    mayRead: () => false,
    settings: { enabled: [], intervalMs: DAY_MS, retentionMs: 30 * DAY_MS, maxBytes: 1e9 },
  })
  const kept = (): number =>
    telemetry.history({ device: signer.key, sinceMs: 0, untilMs: 1e15 }).length
  for (let i = 0; i < 3; i++) telemetry.publish([reading({ atMs: START_MS })], { now: true })
  assert.equal(kept(), 3)

  clock.setWall(START_MS + YEARS_MS)
  await clock.advance(600_000)
  assert.equal(kept(), 3)
  clock.setWall(START_MS + 600_000)
  await clock.advance(600_000)
  assert.equal(kept(), 3)

  clock.setWall(START_MS + YEARS_MS)
  await clock.advance(DAY_MS + 120_000)
  // The newest of a log always stays.
  assert.equal(kept(), 1)
})
