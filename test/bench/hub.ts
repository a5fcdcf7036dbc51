/** What a hub costs that keeps the logs of fifty devices with ten sensors each, once a second. */
import { statSync } from 'node:fs'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { quantile, row, type Result } from './figures.ts'
import { makeHome } from './home.ts'
import { effortOf, memoryOf, startProcess, type Measured } from './processes.ts'

const FLEET = fileURLToPath(new URL('./fleet.ts', import.meta.url))
const SIDE = fileURLToPath(new URL('./telemetry-side.ts', import.meta.url))
const DEVICES = 50
const SENSORS = 10
const PORT = 4800
/** Packs come every ten seconds, and memory grows until the first collections. */
const SETTLE_MS = 20_000
const STEP_MS = 1000
const SHORT_MS = 60_000
const LONG_MS = 600_000
const CPU_GOAL_PERCENT = 10
const FLAT = 1.1
const MB = 2 ** 20

/** One round: the spread of memory is over its time. */
export async function benchHub(root: string, long: boolean): Promise<Result> {
  const [hubPlace, ...devices] = await makeHome(path.join(root, 'hub'), PORT, {
    role: 'sensor',
    count: DEVICES,
  })
  if (hubPlace === undefined) throw new Error('no hub')
  const { dir, port, id } = hubPlace
  await using hub = startProcess([SIDE, dir, String(port)])
  const address = `/ip6/::1/tcp/${port}/p2p/${id}`
  const folders = devices.map((device) => `${device.dir}:${device.port}`)
  await using fleet = startProcess([FLEET, address, String(SENSORS), ...folders])
  await fleet.next('connected')
  fleet.send({ type: 'run' })
  return await watch(hub, dir, long ? LONG_MS : SHORT_MS)
}

async function watch(hub: Measured, dir: string, forMs: number): Promise<Result> {
  await setTimeout(SETTLE_MS)
  const first = { readings: await countOf(hub), bytes: bytesIn(dir), effort: effortOf(hub.pid) }
  const startedMs = performance.now()
  const resident: number[] = []
  while (performance.now() - startedMs < forMs) {
    await setTimeout(STEP_MS)
    resident.push(memoryOf(hub.pid).rss / MB)
  }
  const tookMs = performance.now() - startedMs
  const cpu = (100 * (effortOf(hub.pid).cpuMs - first.effort.cpuMs)) / tookMs
  const readings = (await countOf(hub)) - first.readings
  const grown = growth(resident)
  return {
    name: 'hub',
    about: `${DEVICES} devices with ${SENSORS} sensors, once a second, for ${Math.round(tookMs / 1000)} s`,
    rows: [
      row('readings taken in', '/s', [(1000 * readings) / tookMs]),
      row('processor, of one core', '%', [cpu]),
      row('resident', 'MB', resident),
      row('resident, last quarter / first quarter', '×', [grown]),
      row('disk for each reading', 'bytes', [(bytesIn(dir) - first.bytes) / readings]),
    ],
    goals: [
      { text: `at most ${CPU_GOAL_PERCENT} % of one core`, met: cpu <= CPU_GOAL_PERCENT },
      { text: `memory flat: at most ${FLAT} ×`, met: grown <= FLAT },
    ],
  }
}

async function countOf(hub: Measured): Promise<number> {
  hub.send({ type: 'count' })
  return (await hub.next<{ readings: number }>('count')).readings
}

/** The database with its log file. */
function bytesIn(dir: string): number {
  return ['kith.db', 'kith.db-wal'].reduce(
    (sum, name) => sum + statSync(path.join(dir, name)).size,
    0,
  )
}

function growth(values: readonly number[]): number {
  const quarter = Math.ceil(values.length / 4)
  return quantile(values.slice(-quarter), 0.5) / quantile(values.slice(0, quarter), 0.5)
}
