/**
 * One side of a telemetry benchmark in a process of its own: the real members, mesh, telemetry and
 * database of a data folder. The device publishes, the follower notes what its events say and when;
 * both read the kernel's monotonic clock, which all processes share.
 *
 *   telemetry-side.ts DATA-FOLDER PORT
 */
import process from 'node:process'
import { setImmediate, setTimeout } from 'node:timers/promises'

import type { Home } from '../../node/device/home.ts'
import type { Reading } from '../../protocols/telemetry/index.ts'
import { openHome } from './home.ts'

const [dir = '', port = '0'] = process.argv.slice(2)
const stop = new AbortController()
const home = await openHome({ dir, port: Number(port) }, stop.signal)
const { telemetry } = home

let readings = 0
let expected = Infinity
let usedBefore = process.cpuUsage()
const arrivals: [number, number][] = []

telemetry.events.on(
  'pack',
  ({ pack }) => {
    readings += pack.readings.length
    if (readings >= expected) report()
  },
  stop.signal,
)
telemetry.events.on(
  'reading',
  ({ seq, sensor }) => {
    if (sensor === 'latency') arrivals.push([seq, nowMs()])
  },
  stop.signal,
)
home.mesh.events.on('connect', () => process.send?.({ type: 'connected' }), stop.signal)
if (home.mesh.peers().length > 0) process.send?.({ type: 'connected' })

process.on('message', (message) => void obey(message as Wish))
process.once('SIGTERM', () => {
  stop.abort(new Error('stopping'))
  void Promise.resolve(home[Symbol.asyncDispose]()).finally(() => process.exit(0))
})

type Wish =
  | { readonly type: 'expect'; readonly readings: number }
  | {
      readonly type: 'flood'
      readonly packs: number
      readonly size: number
      readonly now?: boolean
    }
  | {
      readonly type: 'paced'
      readonly count: number
      readonly everyMs: number
      readonly now?: boolean
    }
  | { readonly type: 'single'; readonly count: number }
  | { readonly type: 'arrivals' }
  | { readonly type: 'count' }

async function obey(wish: Wish): Promise<void> {
  if (wish.type === 'expect') {
    readings = 0
    expected = wish.readings
    usedBefore = process.cpuUsage()
    process.send?.({ type: 'ready' })
  } else if (wish.type === 'flood') await flood(home, wish)
  else if (wish.type === 'single') await single(home, wish.count)
  else if (wish.type === 'paced') await paced(home, wish)
  else if (wish.type === 'count') process.send?.({ type: 'count', readings })
  else process.send?.({ type: 'arrivals', arrivals: arrivals.splice(0) })
}

/** Both sides see all readings of the device: its own as they are written, the other's as they come. */
function report(): void {
  expected = Infinity
  const { user, system } = process.cpuUsage(usedBefore)
  process.send?.({ type: 'done', atMs: nowMs(), cpuMs: (user + system) / 1000 })
}

async function flood(
  { telemetry: to }: Home,
  { packs, size, now: sealed = false }: Extract<Wish, { type: 'flood' }>,
): Promise<void> {
  process.send?.({ type: 'started', atMs: nowMs() })
  for (let pack = 0; pack < packs; pack++) {
    const now = Date.now()
    const batch = Array.from({ length: size }, (_, i) => readingAt(now + Math.floor(i / 8), i))
    to.publish(batch, { now: sealed })
    await setImmediate()
  }
  to.flushNow()
}

/** One reading at a time; the last ones do not wait for their pack. */
async function paced(
  { telemetry: to }: Home,
  { count, everyMs, now = false }: Extract<Wish, { type: 'paced' }>,
): Promise<void> {
  const startedMs = nowMs()
  for (let i = 0; i < count; i++) {
    await setTimeout(Math.max(0, startedMs + (i + 1) * everyMs - nowMs()))
    to.publish([readingAt(Date.now(), i)], { now })
  }
  to.flushNow()
  process.send?.({ type: 'paced' })
}

/** Eight sensors, each with a new value every few milliseconds. */
function readingAt(atMs: number, i: number): Reading {
  return { sensor: `sensor.${i % 8}`, unit: 'Cel', value: 20 + (i % 100) / 10, atMs }
}

/** One reading at a time, at once, each when the line has long been quiet. */
async function single({ telemetry: to, mesh }: Home, count: number): Promise<void> {
  const sent: [number, number, number][] = []
  for (let i = 0; i < count; i++) {
    const startedMs = nowMs()
    to.publish([{ sensor: 'latency', value: i, atMs: Date.now() }], { now: true })
    sent.push([to.lastSeq(mesh.key), startedMs, nowMs()])
    await setTimeout(10)
  }
  process.send?.({ type: 'sent', sent })
}

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
