/**
 * A gateway in a process of its own, with everything that `kith gateway up` runs.
 *
 *   gateway-side.ts DATA-FOLDER PORT PEER-ADDRESS
 */
import { hostname } from 'node:os'
import path from 'node:path'
import process from 'node:process'

import { startBridge } from '../../gateway/bridge.ts'
import { loadConfig, startGatewayDevice, systemClock, systemRandom } from '../../node/index.ts'

const [dir = '', port = '0', peer = ''] = process.argv.slice(2)
const MINUTE_MS = 60_000
const MINUTES = 60
const SENSORS = 10
const settings = {
  'mesh.port': port,
  'mesh.multicast': 'false',
  'mesh.peers': peer,
  'telemetry.interval': '1h',
  'api.dashboard': 'false',
  'log.level': 'error',
}
const config = await loadConfig({
  env: {},
  homeDir: dir,
  hostName: hostname(),
  uid: process.getuid?.() ?? 0,
  dataDir: dir,
  flags: new Map(Object.entries(settings)),
})
const stop = new AbortController()
const device = await startGatewayDevice(config, stop.signal)
const bridge = await startBridge(
  {
    device,
    clock: systemClock,
    random: systemRandom,
    log: device.log,
    dataDir: dir,
    rulesPath: path.join(dir, 'gateway.toml'),
  },
  stop.signal,
)
process.send?.({ type: 'connected' })
process.once('SIGTERM', () => {
  stop.abort(new Error('stopping'))
  void end()
})
let packs = 0

async function end(): Promise<void> {
  await bridge[Symbol.asyncDispose]()
  await device[Symbol.asyncDispose]()
  process.exit(0)
}

process.on('message', (wish: { readonly type: string }) => {
  if (wish.type === 'hour') void hour()
  else process.send?.({ type: 'waiting', items: bridge.outbox.state()[0]?.items ?? 0 })
})

/** What an hour of all devices that only exist in the home's log would be, into the outbox. */
async function hour(): Promise<void> {
  const silent = device.devices().filter(({ self, state }) => !self && state !== 'online')
  const now = Date.now()
  for (let minute = MINUTES; minute > 0; minute--) {
    packs++
    const atMs = now - minute * MINUTE_MS
    const taken = silent.map(({ id, name }) => ({
      deviceId: id,
      seq: packs,
      items: Array.from({ length: SENSORS }, (_, i) => ({
        sink: 'broker',
        item: {
          id: `${id}/${packs}/${i}`,
          deviceId: id,
          device: name,
          sensor: `room.${i}`,
          unit: 'Cel',
          value: 20 + ((packs + i) % 100) / 10,
          atMs,
        },
      })),
    }))
    await bridge.outbox.put(taken, stop.signal)
  }
  process.send?.({ type: 'hour', readings: silent.length * MINUTES * SENSORS })
}
