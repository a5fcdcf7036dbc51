/**
 * The same readings over Kith and over MQTT, side by side: one device to one follower, against one
 * publisher through a mosquitto to one subscriber, mqtt.js at both ends, TLS 1.3 and QoS 1. Kith's
 * readings are signed, checked, and on disk at both ends; MQTT's are none of that. Not here: what a
 * hub with many devices costs, which is hub.ts.
 */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { hasBroker, startBroker, type Broker } from './broker.ts'
import { quantile, ratios, row, type Goal, type Result, type Row } from './figures.ts'
import { connectPair, type ConnectedPair } from './pair.ts'
import { effortOf, startProcess, type Measured } from './processes.ts'
import { receivedBytes } from './wire-bytes.ts'

const SIDE = fileURLToPath(new URL('./mqtt-side.ts', import.meta.url))
const ROUNDS = 5
const BATCH = 50
const BATCHES = 600
/** A reading at a time is slower by far: fewer make a round as long. */
const FEWER = 100
const SINGLES = 300
/** Goal: times the readings/s of MQTT. */
const FASTER = 2
const PACED_MS = 10
const SLOW_MS = 10_000
const SETTLE_MS = 1_500

interface Mqtt {
  readonly broker: Broker
  readonly publisher: Measured
  readonly subscriber: Measured
}

/** Throughput and cost of one flood. */
interface Flood {
  readonly perSecond: number
  /** Of all processes, for 1,000 readings. */
  readonly cpuMs: number
}

interface Percentiles {
  readonly p50: number[]
  readonly p99: number[]
}

export async function benchMqtt(root: string): Promise<Result> {
  const about = `readings over Kith and over MQTT 5 (mosquitto, mqtt.js, TLS 1.3, QoS 1, JSON)`
  if (!hasBroker()) {
    return { name: 'mqtt', about: `${about}: skipped, mosquitto or openssl is missing`, ...NOTHING }
  }
  const dir = path.join(root, 'mqtt')
  await mkdir(dir, { recursive: true })
  await using broker = await startBroker(dir)
  const start = (role: string): Measured =>
    startProcess([SIDE, role, String(broker.port), broker.caFile])
  await using subscriber = start('subscriber')
  await using publisher = start('publisher')
  await Promise.all([subscriber.next('connected'), publisher.next('connected')])
  await using pair = await connectPair(path.join(dir, 'kith'), 4750)
  const mqtt = { broker, publisher, subscriber }
  const parts = [await throughput(pair, mqtt), await latency(pair, mqtt), await wire(pair, mqtt)]
  return {
    name: 'mqtt',
    about,
    rows: parts.flatMap(({ rows }) => rows),
    goals: parts.flatMap(({ goals }) => goals),
  }
}

interface Part {
  readonly rows: readonly Row[]
  readonly goals: readonly Goal[]
}

const NOTHING: Part = { rows: [], goals: [] }

/** The same batches in four ways. */
interface Ways {
  /** A pack for each batch. */
  readonly sealed: Flood[]
  /** Packs as full as they get. */
  readonly packed: Flood[]
  /** A message for each reading. */
  readonly each: Flood[]
  /** A message for each batch. */
  readonly batch: Flood[]
}

async function throughput(pair: ConnectedPair, mqtt: Mqtt): Promise<Part> {
  const ways: Ways = { sealed: [], packed: [], each: [], batch: [] }
  for (let round = 0; round <= ROUNDS; round++) {
    const sealed = await kithFlood(pair, true)
    const packed = await kithFlood(pair, false)
    const batch = await mqttFlood(mqtt, BATCHES, false)
    const each = await mqttFlood(mqtt, FEWER, true)
    if (round === 0) continue
    ways.sealed.push(sealed)
    ways.packed.push(packed)
    ways.each.push(each)
    ways.batch.push(batch)
  }
  const parts = [
    compared('sealed', 'each', ways),
    compared('sealed', 'batch', ways),
    compared('packed', 'each', ways),
    compared('packed', 'batch', ways),
  ]
  return {
    rows: [
      ...Object.entries(NAMES).map(([way, name]) =>
        row(name, '/s', rates(ways[way as keyof Ways])),
      ),
      ...Object.entries(NAMES).map(([way, name]) =>
        row(`${name}: processor for 1,000`, 'ms', costs(ways[way as keyof Ways])),
      ),
      ...parts.flatMap(({ rows }) => rows),
    ],
    goals: parts.flatMap(({ goals }) => goals),
  }
}

const NAMES: Readonly<Record<keyof Ways, string>> = {
  sealed: `Kith, ${BATCH} readings in a pack`,
  packed: 'Kith, packed as they come',
  each: 'MQTT, a reading in a message',
  batch: `MQTT, ${BATCH} readings in a message`,
}

function compared(ours: keyof Ways, theirs: keyof Ways, ways: Ways): Part {
  const faster = ratios(rates(ways[ours]), rates(ways[theirs]))
  const dearer = ratios(costs(ways[ours]), costs(ways[theirs]))
  const both = `${NAMES[ours]} / ${NAMES[theirs]}`
  return {
    rows: [row(`${both}: readings/s`, '×', faster), row(`${both}: processor`, '×', dearer)],
    goals: [
      {
        text: `${both}: at least ${FASTER} × the readings/s`,
        met: quantile(faster, 0.5) >= FASTER,
      },
      atMostTheirs(`${both}: processor`, dearer),
    ],
  }
}

function rates(floods: readonly Flood[]): number[] {
  return floods.map(({ perSecond }) => perSecond)
}

function costs(floods: readonly Flood[]): number[] {
  return floods.map(({ cpuMs }) => cpuMs)
}

function atMostTheirs(what: string, ratio: readonly number[]): Goal {
  return { text: `${what}: at most theirs`, met: quantile(ratio, 0.5) <= 1 }
}

/** With `now` each batch is a pack of its own, else packs are as full as they get. */
async function kithFlood({ device, follower }: ConnectedPair, now: boolean): Promise<Flood> {
  const readings = BATCHES * BATCH
  await expectIn([device, follower], readings)
  device.send({ type: 'flood', packs: BATCHES, size: BATCH, now })
  return await floodOf(readings, device, follower)
}

async function mqttFlood(
  { broker, publisher, subscriber }: Mqtt,
  packs: number,
  each: boolean,
): Promise<Flood> {
  const readings = packs * BATCH
  await expectIn([publisher, subscriber], readings)
  const before = effortOf(broker.pid).cpuMs
  publisher.send({ type: 'flood', packs, size: BATCH, each })
  const { perSecond, cpuMs } = await floodOf(readings, publisher, subscriber)
  const brokerMs = effortOf(broker.pid).cpuMs - before
  return { perSecond, cpuMs: cpuMs + (1000 * brokerMs) / readings }
}

async function expectIn(sides: readonly Measured[], readings: number): Promise<void> {
  for (const side of sides) {
    side.send({ type: 'expect', readings })
    await side.next('ready')
  }
}

async function floodOf(readings: number, from: Measured, to: Measured): Promise<Flood> {
  const { atMs: startedMs } = await from.next<{ atMs: number }>('started')
  const [sent, came] = await Promise.all([
    from.next<{ cpuMs: number }>('done'),
    to.next<{ cpuMs: number; atMs: number }>('done'),
  ])
  return {
    perSecond: (1000 * readings) / (came.atMs - startedMs),
    cpuMs: (1000 * (sent.cpuMs + came.cpuMs)) / readings,
  }
}

async function latency({ device, follower }: ConnectedPair, mqtt: Mqtt): Promise<Part> {
  const [ours, theirs]: [Percentiles, Percentiles] = [empty(), empty()]
  for (let round = 0; round <= ROUNDS; round++) {
    const kith = await singles(device, follower)
    const other = await singles(mqtt.publisher, mqtt.subscriber)
    if (round === 0) continue
    note(ours, kith)
    note(theirs, other)
  }
  const [p50, p99] = [ratios(ours.p50, theirs.p50), ratios(ours.p99, theirs.p99)]
  return {
    rows: [
      row('Kith, single readings at 100/s, p50', 'ms', ours.p50),
      row('MQTT, the same, p50', 'ms', theirs.p50),
      row('Kith, p99', 'ms', ours.p99),
      row('MQTT, p99', 'ms', theirs.p99),
      row('Kith / MQTT, p50', '×', p50),
      row('Kith / MQTT, p99', '×', p99),
    ],
    goals: [atMostTheirs('latency p50', p50), atMostTheirs('latency p99', p99)],
  }
}

function empty(): Percentiles {
  return { p50: [], p99: [] }
}

function note(into: Percentiles, tookMs: readonly number[]): void {
  into.p50.push(quantile(tookMs, 0.5))
  into.p99.push(quantile(tookMs, 0.99))
}

/** @throws Error where a reading did not arrive */
async function singles(from: Measured, to: Measured): Promise<readonly number[]> {
  from.send({ type: 'single', count: SINGLES })
  const { sent } = await from.next<{ sent: readonly (readonly [number, number, number])[] }>('sent')
  await pause(SETTLE_MS)
  to.send({ type: 'arrivals' })
  const { arrivals } = await to.next<{ arrivals: readonly (readonly [number, number])[] }>(
    'arrivals',
  )
  const arrivedAt = new Map(arrivals)
  return sent.map(([id, startedMs]) => {
    const arrived = arrivedAt.get(id)
    if (arrived === undefined) throw new Error(`reading ${id} did not arrive`)
    return arrived - startedMs
  })
}

/** All that crosses any interface, discovery and keep-alive included, for each reading. */
async function wire({ device }: ConnectedPair, mqtt: Mqtt): Promise<Part> {
  const at = (from: Measured, everyMs: number, now = false): Promise<number> =>
    bytesEach(from, everyMs, now)
  const rows = {
    packed: await at(device, PACED_MS),
    now: await at(device, PACED_MS, true),
    mqtt: await at(mqtt.publisher, PACED_MS),
    slow: await at(device, SLOW_MS),
    mqttSlow: await at(mqtt.publisher, SLOW_MS),
  }
  return {
    rows: [
      row('on the wire at 100/s: Kith, as packed', 'bytes/reading', [rows.packed]),
      row('on the wire at 100/s: Kith, each at once', 'bytes/reading', [rows.now]),
      row('on the wire at 100/s: MQTT, to the broker and on', 'bytes/reading', [rows.mqtt]),
      row('on the wire at 0.1/s: Kith', 'bytes/reading', [rows.slow]),
      row('on the wire at 0.1/s: MQTT, to the broker and on', 'bytes/reading', [rows.mqttSlow]),
      row('Kith, as packed / MQTT at 100/s', '×', [rows.packed / rows.mqtt]),
      row('Kith / MQTT at 0.1/s', '×', [rows.slow / rows.mqttSlow]),
    ],
    goals: [],
  }
}

async function bytesEach(from: Measured, everyMs: number, now: boolean): Promise<number> {
  const count = everyMs >= SLOW_MS ? 4 : 1000
  const before = receivedBytes()
  from.send({ type: 'paced', count, everyMs, now })
  await from.next('paced')
  await pause(SETTLE_MS)
  return (receivedBytes() - before) / count
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
