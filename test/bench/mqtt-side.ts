/**
 * One end of the MQTT way in a process of its own, as `telemetry-side.ts` is of ours: MQTT 5 over
 * TLS 1.3, QoS 1, JSON, no signature and no disk. Answers to the same messages.
 *
 *   mqtt-side.ts publisher|subscriber PORT CA-FILE
 */
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { setTimeout } from 'node:timers/promises'

import mqtt from 'mqtt'

const [role = '', port = '', caFile = ''] = process.argv.slice(2)
/** Messages on their way at once: more than any round trip needs. */
const WINDOW = 256

interface Reading {
  readonly sensor: string
  readonly unit?: string
  readonly value: number
  readonly atMs: number
}

type Wish =
  | { readonly type: 'expect'; readonly readings: number }
  | {
      readonly type: 'flood'
      readonly packs: number
      readonly size: number
      readonly each: boolean
    }
  | { readonly type: 'single'; readonly count: number }
  | { readonly type: 'paced'; readonly count: number; readonly everyMs: number }
  | { readonly type: 'arrivals' }

const options: mqtt.IClientOptions = {
  protocol: 'mqtts',
  host: '::1',
  port: Number(port),
  protocolVersion: 5,
  ca: readFileSync(caFile),
  properties: { receiveMaximum: 65_535 },
}
const client = await mqtt.connectAsync(options)
let readings = 0
let expected = Infinity
let usedBefore = process.cpuUsage()
const arrivals: [number, number][] = []

client.on('message', (_topic, payload) => {
  const read = JSON.parse(payload.toString()) as Reading | readonly Reading[]
  const all: readonly Reading[] = 'sensor' in read ? [read] : read
  readings += all.length
  for (const { sensor, value } of all) if (sensor === 'latency') arrivals.push([value, nowMs()])
  if (readings >= expected) report()
})
if (role === 'subscriber') await client.subscribeAsync('home/#', { qos: 1 })
process.on('message', (message) => void obey(message as Wish))
process.once('SIGTERM', () => void client.endAsync(true).finally(() => process.exit(0)))
process.send?.({ type: 'connected' })

async function obey(wish: Wish): Promise<void> {
  if (wish.type === 'expect') {
    readings = 0
    expected = wish.readings
    usedBefore = process.cpuUsage()
    process.send?.({ type: 'ready' })
  } else if (wish.type === 'flood') {
    await flood(wish)
    report()
  } else if (wish.type === 'single') await single(wish.count)
  else if (wish.type === 'paced') await paced(wish)
  else process.send?.({ type: 'arrivals', arrivals: arrivals.splice(0) })
}

function report(): void {
  expected = Infinity
  const { user, system } = process.cpuUsage(usedBefore)
  process.send?.({ type: 'done', atMs: nowMs(), cpuMs: (user + system) / 1000 })
}

/** Batches as one message each, or each reading as its own; resolves when all are acknowledged. */
async function flood({ packs, size, each }: Extract<Wish, { type: 'flood' }>): Promise<void> {
  process.send?.({ type: 'started', atMs: nowMs() })
  const waiting = new Set<Promise<unknown>>()
  for (let pack = 0; pack < packs; pack++) {
    const now = Date.now()
    const batch = Array.from({ length: size }, (_, i) => readingAt(now + Math.floor(i / 8), i))
    for (const part of each ? batch : [batch]) {
      const sent: Promise<unknown> = publish(part).finally(() => waiting.delete(sent))
      waiting.add(sent)
      if (waiting.size >= WINDOW) await Promise.race(waiting)
    }
  }
  await Promise.all(waiting)
}

async function single(count: number): Promise<void> {
  const sent: [number, number, number][] = []
  for (let i = 0; i < count; i++) {
    const startedMs = nowMs()
    void publish({ sensor: 'latency', value: i, atMs: Date.now() })
    sent.push([i, startedMs, nowMs()])
    await setTimeout(10)
  }
  process.send?.({ type: 'sent', sent })
}

async function paced({ count, everyMs }: { count: number; everyMs: number }): Promise<void> {
  const startedMs = nowMs()
  for (let i = 0; i < count; i++) {
    await setTimeout(Math.max(0, startedMs + (i + 1) * everyMs - nowMs()))
    void publish(readingAt(Date.now(), i))
  }
  process.send?.({ type: 'paced' })
}

/** As `telemetry-side.ts` makes them. */
function readingAt(atMs: number, i: number): Reading {
  return { sensor: `sensor.${i % 8}`, unit: 'Cel', value: 20 + (i % 100) / 10, atMs }
}

function publish(part: Reading | readonly Reading[]): Promise<unknown> {
  const topic = 'sensor' in part ? `home/device/${part.sensor}` : 'home/device'
  return client.publishAsync(topic, JSON.stringify(part), { qos: 1 })
}

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
