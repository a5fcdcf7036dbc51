import assert from 'node:assert/strict'
import { it } from 'node:test'

import pino from 'pino'

import { startTelemetry, type Telemetry } from '../../node/services/telemetry/index.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { migration, openPackStore } from '../../node/storage/packs.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { MemoryNetwork } from '../helpers/memory-mesh.ts'
import { CONTEXT, deviceOf, HOME, reading } from '../helpers/telemetry.ts'
import { timeOf } from '../helpers/time.ts'

const [hub, sensor] = [deviceOf('hub'), deviceOf('sensor')]

it('asks again where the other device did not know yet that it may read', async () => {
  const clock = virtualClock()
  const network = new MemoryNetwork(clock)
  let knows = false
  const start = (signer: typeof hub): Promise<Telemetry> =>
    startTelemetry(
      {
        mesh: network.join(signer.key),
        store: openPackStore(openDatabase(':memory:', [migration])),
        signer,
        verifier: CONTEXT.verifier,
        home: HOME,
        members: [hub, sensor].map(({ key }) => ({ key, publishes: true })),
        follows: (device) => equalBytes(device, sensor.key),
        mayRead: () => knows,
        epoch: () => 0,
        time: timeOf(clock),
        sources: [],
        settings: { enabled: [], intervalMs: 1000, retentionMs: 1e12, maxBytes: 1e9 },
        clock,
        log: pino({ level: 'silent' }),
      },
      new AbortController().signal,
    )
  await using reader = await start(hub)
  await using holder = await start(sensor)
  holder.publish([reading()], { now: true })
  network.connect(hub.key, sensor.key)
  await clock.advance(10)
  assert.equal(reader.lastSeq(sensor.key), 0)
  knows = true
  await clock.advance(60_000)
  assert.equal(reader.lastSeq(sensor.key), 1)
})
