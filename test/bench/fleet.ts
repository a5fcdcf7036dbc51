/**
 * Many devices in one process, for a hub to follow: each with its own key, database, mesh and log,
 * connected to the hub alone.
 *
 *   fleet.ts HUB-ADDRESS SENSORS DATA-FOLDER:PORT…
 */
import process from 'node:process'
import { setTimeout } from 'node:timers/promises'

import type { Home } from '../../node/device/home.ts'
import { openHome } from './home.ts'

const [hub = '', sensors = '10', ...places] = process.argv.slice(2)
const stop = new AbortController()
process.once('SIGTERM', () => process.exit(0))
const settings = [
  ['mesh.multicast', 'false'],
  ['mesh.peers', hub],
] as const
const homes: Home[] = []
for (const place of places) {
  const at = place.lastIndexOf(':')
  const where = { dir: place.slice(0, at), port: Number(place.slice(at + 1)) }
  homes.push(await openHome(where, stop.signal, settings))
}
while (homes.some(({ mesh }) => mesh.peers().length === 0)) await setTimeout(100)
process.send?.({ type: 'connected' })

process.on('message', () => void run())

/** Once a second a reading of every sensor of every device, spread over the second. */
async function run(): Promise<void> {
  for (let tick = 0; ; tick++) {
    for (const [i, { telemetry }] of homes.entries()) {
      const atMs = Date.now()
      telemetry.publish(
        Array.from({ length: Number(sensors) }, (_, sensor) => ({
          sensor: `room.${sensor}`,
          unit: 'Cel',
          value: Math.round(200 + 50 * Math.sin((tick + 7 * i) / 229 + sensor)) / 10,
          atMs,
        })),
      )
      await setTimeout(Math.max(1, Math.floor(1000 / homes.length) - 1))
    }
  }
}
