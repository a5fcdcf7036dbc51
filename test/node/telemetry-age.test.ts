import assert from 'node:assert/strict'
import { it } from 'node:test'

import pino from 'pino'

import { startTelemetry } from '../../node/services/telemetry/index.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { migration, openPackStore } from '../../node/storage/packs.ts'
import { virtualClock } from '../helpers/clock.ts'
import { MemoryNetwork } from '../helpers/memory-mesh.ts'
import { CONTEXT, deviceOf, HOME, reading, START_MS } from '../helpers/telemetry.ts'
import { timeOf } from '../helpers/time.ts'

const DAY_MS = 86_400_000
const YEARS_MS = 3650 * DAY_MS

it('loses nothing by a clock that leaps ahead and back, and believes a leap after a day', async () => {
  const clock = virtualClock(START_MS)
  const signer = deviceOf('sensor')
  await using telemetry = await startTelemetry(
    {
      mesh: new MemoryNetwork(clock).join(signer.key),
      store: openPackStore(openDatabase(':memory:', [migration])),
      signer,
      verifier: CONTEXT.verifier,
      home: HOME,
      members: [{ key: signer.key, publishes: true }],
      follows: () => false,
      mayRead: () => false,
      epoch: () => 0,
      time: timeOf(clock),
      sources: [],
      settings: { enabled: [], intervalMs: DAY_MS, retentionMs: 30 * DAY_MS, maxBytes: 1e9 },
      clock,
      log: pino({ level: 'silent' }),
    },
    new AbortController().signal,
  )
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
