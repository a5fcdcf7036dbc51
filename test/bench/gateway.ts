/**
 * What a gateway adds between the mesh and a broker: readings from a device over the mesh through the
 * gateway's outbox on disk to a subscriber of mosquitto, against mqtt.js alone that says the same
 * messages to the same broker; and how an hour that waited drains.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { hasBroker, startBroker } from './broker.ts'
import { quantile, ratios, row, type Result } from './figures.ts'
import { makeHome } from './home.ts'
import { effortOf, memoryOf, startProcess, type Measured } from './processes.ts'

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const PORT = 4900
const DEVICES = 51
const ROUNDS = 2
const BATCHES = 600
const BATCH = 50
const SINGLES = 300
const HOURS = 4
const SETTLE_MS = 1500
const MB = 2 ** 20
const GOALS = { rate: 0.7, addedMs: 15, drainS: 60, lateMs: 1000, flat: 1.1 }

interface Sides {
  readonly device: Measured
  readonly gateway: Measured
  readonly subscriber: Measured
  readonly publisher: Measured
}

interface Numbers {
  readonly perSecond: number[]
  readonly alonePerSecond: number[]
  readonly cpuMs: number[]
  readonly p50: number[]
  readonly aloneP50: number[]
}

export async function benchGateway(root: string): Promise<Result> {
  const about = 'mesh, gateway, mosquitto (TLS 1.3, QoS 1), subscriber; mqtt.js alone beside it'
  if (!hasBroker()) {
    const skipped = `${about}: skipped, mosquitto or openssl is missing`
    return { name: 'gateway', about: skipped, rows: [], goals: [] }
  }
  const dir = path.join(root, 'gateway')
  const places = await makeHome(dir, PORT, {
    role: 'sensor',
    count: DEVICES,
    gatewayMay: ['read:*'],
  })
  const [, gatePlace, source] = places
  if (gatePlace === undefined || source === undefined) throw new Error('no home')
  const brokerDir = path.join(dir, 'broker')
  await mkdir(brokerDir)
  let broker = await startBroker(brokerDir)
  const { caFile } = broker
  const rules = `[sink.broker]\ntype = "mqtt"\nbroker = "mqtts://[::1]:${broker.port}"\nca_file = "${caFile}"\n[[forward]]\nsink = "broker"\n`
  await writeFile(path.join(gatePlace.dir, 'gateway.toml'), rules)
  const far = (role: string): Measured =>
    startProcess([
      file('./gateway-far.ts'),
      role,
      String(broker.port),
      caFile,
      path.join(dir, 'said.json'),
    ])
  await using subscriber = far('subscriber')
  await using publisher = far('publisher')
  await Promise.all([subscriber.next('connected'), publisher.next('connected')])
  const address = `/ip6/::1/tcp/${source.port}/p2p/${source.id}`
  await using device = startProcess([file('./telemetry-side.ts'), source.dir, String(source.port)])
  await using gateway = startProcess([
    file('./gateway-side.ts'),
    gatePlace.dir,
    String(gatePlace.port),
    address,
  ])
  await Promise.all([device.next('connected'), gateway.next('connected')])
  const sides = { device, gateway, subscriber, publisher }
  const numbers = await steady(sides)
  await broker[Symbol.asyncDispose]()
  const grown = await hours(gateway)
  broker = await startBroker(brokerDir)
  await subscriber.next('connected')
  const drained = await drain(sides, grown.perHour)
  await broker[Symbol.asyncDispose]()
  return resultOf(about, numbers, { ...grown, ...drained })
}

async function steady(sides: Sides): Promise<Numbers> {
  const numbers: Numbers = { perSecond: [], alonePerSecond: [], cpuMs: [], p50: [], aloneP50: [] }
  const { device, gateway, subscriber, publisher } = sides
  for (let round = 0; round <= ROUNDS; round++) {
    const before = effortOf(gateway.pid).cpuMs
    await expectIn(subscriber, BATCHES * BATCH, true)
    device.send({ type: 'flood', packs: BATCHES, size: BATCH, now: true })
    const through = await rateOf(device, subscriber)
    const cpuMs = effortOf(gateway.pid).cpuMs - before
    subscriber.send({ type: 'keep' })
    await subscriber.next('kept')
    await expectIn(subscriber, BATCHES * BATCH, false)
    publisher.send({ type: 'again' })
    const alone = await rateOf(publisher, subscriber)
    const p50 = quantile(await singles(device, subscriber), 0.5)
    const aloneP50 = quantile(await singles(publisher, subscriber), 0.5)
    if (round === 0) continue
    numbers.perSecond.push(through)
    numbers.alonePerSecond.push(alone)
    numbers.cpuMs.push((1000 * cpuMs) / (BATCHES * BATCH))
    numbers.p50.push(p50)
    numbers.aloneP50.push(aloneP50)
  }
  return numbers
}

async function expectIn(subscriber: Measured, readings: number, keep: boolean): Promise<void> {
  subscriber.send({ type: 'expect', readings, keep })
  await subscriber.next('ready')
}

/** Messages a second, from the first word to the last arrival. */
async function rateOf(from: Measured, to: Measured): Promise<number> {
  const { atMs: startedMs } = await from.next<{ atMs: number }>('started')
  const { atMs, messages } = await to.next<{ atMs: number; messages: number }>('done')
  return (1000 * messages) / (atMs - startedMs)
}

/** Of each single reading, from its publication to its arrival. */
async function singles(
  from: Measured,
  to: Measured,
  arrivedAll: () => Promise<unknown> = () => setTimeout(SETTLE_MS),
): Promise<readonly number[]> {
  to.send({ type: 'arrivals' })
  await to.next('arrivals')
  from.send({ type: 'single', count: SINGLES })
  const { sent } = await from.next<{ sent: readonly (readonly [string | number, number])[] }>(
    'sent',
  )
  await arrivedAll()
  to.send({ type: 'arrivals' })
  const { arrivals } = await to.next<{ arrivals: readonly (readonly [string, number])[] }>(
    'arrivals',
  )
  const arrived = new Map(arrivals.map(([id, atMs]) => [id.split('/').at(-1), atMs]))
  return sent.map(([id, startedMs]) => {
    const atMs = arrived.get(String(id).split('/').at(-1))
    if (atMs === undefined) throw new Error(`reading ${id} did not arrive`)
    return atMs - startedMs
  })
}

interface Grown {
  readonly perHour: number
  readonly growth: number
  readonly resident: readonly number[]
}

async function hours(gateway: Measured): Promise<Grown> {
  const resident: number[] = []
  let perHour = 0
  for (let i = 0; i < HOURS; i++) {
    gateway.send({ type: 'hour' })
    perHour = (await gateway.next<{ readings: number }>('hour')).readings
    resident.push(memoryOf(gateway.pid).rss / MB)
  }
  const half = HOURS / 2
  const growth = quantile(resident.slice(half), 0.5) / quantile(resident.slice(0, half), 0.5)
  return { perHour, growth, resident }
}

interface Drained {
  readonly drainS: number
  readonly lateMs: readonly number[]
}

/** All hours, told for one; live readings go on beside it. */
async function drain(sides: Sides, perHour: number): Promise<Drained> {
  const { gateway, device, subscriber } = sides
  const startedMs = performance.now()
  const waits = async (most: number): Promise<void> => {
    for (;;) {
      gateway.send({ type: 'waiting' })
      const { items } = await gateway.next<{ items: number }>('waiting')
      if (items <= most) return
      await setTimeout(50)
    }
  }
  await waits(perHour * HOURS - 500)
  let drainS = 0
  const lateMs = await singles(device, subscriber, async () => {
    await waits(0)
    drainS = (performance.now() - startedMs) / 1000 / HOURS
    await setTimeout(SETTLE_MS)
  })
  return { drainS, lateMs }
}

function resultOf(about: string, numbers: Numbers, late: Grown & Drained): Result {
  const faster = ratios(numbers.perSecond, numbers.alonePerSecond)
  const added = numbers.p50.map((ms, i) => ms - (numbers.aloneP50[i] ?? 0))
  const worst = Math.max(...late.lateMs)
  return {
    name: 'gateway',
    about,
    rows: [
      row('through the gateway', 'messages/s', numbers.perSecond),
      row('mqtt.js alone, the same messages', 'messages/s', numbers.alonePerSecond),
      row('through the gateway / alone', '×', faster),
      row('gateway: processor for 1,000 readings', 'ms', numbers.cpuMs),
      row('one reading, p50', 'ms', numbers.p50),
      row('mqtt.js alone, p50', 'ms', numbers.aloneP50),
      row('added, p50', 'ms', added),
      row(`an hour of ${DEVICES} devices, ${late.perHour} readings, drained in`, 's', [
        late.drainS,
      ]),
      row('live readings beside it', 'ms', late.lateMs),
      row(`resident while ${HOURS} hours wait`, 'MB', late.resident),
      row('resident, second half / first half', '×', [late.growth]),
    ],
    goals: [
      {
        text: `at least ${GOALS.rate} × mqtt.js alone`,
        met: quantile(faster, 0.5) >= GOALS.rate,
      },
      {
        text: `at most ${GOALS.addedMs} ms added`,
        met: quantile(added, 0.5) <= GOALS.addedMs,
      },
      {
        text: `an hour drained in ${GOALS.drainS} s`,
        met: late.drainS <= GOALS.drainS,
      },
      {
        text: `no live reading later than ${GOALS.lateMs} ms`,
        met: worst <= GOALS.lateMs,
      },
      { text: `memory flat: at most ${GOALS.flat} ×`, met: late.growth <= GOALS.flat },
    ],
  }
}
