import assert from 'node:assert/strict'
import { it } from 'node:test'

import type { Telemetry } from '../../node/services/telemetry/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { MemoryNetwork } from '../helpers/memory-mesh.ts'
import { deviceOf, reading } from '../helpers/telemetry.ts'
import { startLogs } from '../helpers/telemetry-home.ts'

const [hub, sensor] = [deviceOf('hub'), deviceOf('sensor')]

it('asks again where the other device did not know yet that it may read', async () => {
  const clock = virtualClock()
  const network = new MemoryNetwork(clock)
  let knows = false
  const start = (signer: typeof hub): Promise<Telemetry> =>
    startLogs(signer, clock, {
      mesh: network.join(signer.key),
      members: [hub, sensor].map(({ key }) => ({ key, publishes: true })),
      follows: (device) => equalBytes(device, sensor.key),
      mayRead: () => knows,
    })
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
