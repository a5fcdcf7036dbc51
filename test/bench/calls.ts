/**
 * A call on an open connection, from `call` to its checked receipt, beside a bare stream that carries
 * as many bytes each way, and beside the same command as MQTT 5 request and response. What is read
 * is in memory; what is written is a small file, which all three write before they answer.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { hasBroker, startBroker } from './broker.ts'
import { atMost, quantile, ratios, row, type Goal, type Result, type Row } from './figures.ts'
import { makePair } from './home.ts'
import { startProcess, type Measured } from './processes.ts'
import { BARE_PEER } from './start.ts'

export const CALL_SIDE = fileURLToPath(new URL('./call-side.ts', import.meta.url))
const MQTT_SIDE = fileURLToPath(new URL('./mqtt-call-side.ts', import.meta.url))

const ROUNDS = 5
const CALLS = 100
const GOAL = 1.5
/** Number, kind and lengths around a call or a receipt on the stream. */
const FRAME_BYTES = 12
/** A file system in memory, where a write is on "disk" at once. */
const IN_MEMORY = '/dev/shm'

const VERBS = ['read', 'write'] as const
type Verb = (typeof VERBS)[number]

interface Percentiles {
  readonly p50: number[]
  readonly p99: number[]
}

interface Sides extends AsyncDisposable {
  readonly caller: Measured
  readonly callee: Measured
}

/** Two devices of a home under `root`, each with a settings file; connected. */
export async function connectSides(
  root: string,
  port: number,
  settings: { readonly caller: string; readonly callee: string },
): Promise<Sides> {
  const places = await makePair(root, port)
  const start = async (place: typeof places.device, text: string): Promise<Measured> => {
    const file = path.join(place.dir, 'settings.toml')
    await writeFile(file, text)
    return startProcess([CALL_SIDE, place.dir, String(place.port), file])
  }
  const caller = await start(places.device, settings.caller)
  const callee = await start(places.follower, settings.callee)
  await Promise.all([caller.next('connected'), callee.next('connected')])
  return {
    caller,
    callee,
    async [Symbol.asyncDispose]() {
      await Promise.all([caller, callee].map((one) => one[Symbol.asyncDispose]()))
    },
  }
}

export async function benchCalls(root: string): Promise<Result> {
  const memory = await mkdtemp(path.join(IN_MEMORY, 'kith-bench-'))
  try {
    const file = path.join(memory, 'level')
    await writeFile(file, '0')
    const settings = {
      caller: '',
      callee: `[property.level]\ntype = "file"\npath = "${file}"\nvalue = "integer"\nmin = 0\nmax = 100\n[sensor.position]\ntype = "push"\n`,
    }
    await using onDisk = await connectSides(path.join(root, 'calls'), 4760, settings)
    await using inMemory = await connectSides(memory, 4770, settings)
    await using read = await bareStream()
    await using write = await bareStream(`--file=${file}`)
    const bare = { read: read.dialler, write: write.dialler }
    return await besideMqtt(root, file, { onDisk, inMemory, bare })
  } finally {
    await rm(memory, { recursive: true, force: true })
  }
}

interface Bare extends AsyncDisposable {
  readonly dialler: Measured
}

async function bareStream(...flags: readonly string[]): Promise<Bare> {
  const listener = startProcess([BARE_PEER, 'listen', ...flags])
  const { address } = await listener.next<{ address: string }>('listening')
  const dialler = startProcess([BARE_PEER, 'dial', address])
  await dialler.next('connected')
  return {
    dialler,
    async [Symbol.asyncDispose]() {
      await Promise.all([dialler, listener].map((one) => one[Symbol.asyncDispose]()))
    },
  }
}

interface Ours {
  readonly onDisk: Sides
  readonly inMemory: Sides
  /** Who asks, over a bare stream, another that does as much. */
  readonly bare: Readonly<Record<Verb, Measured>>
}

async function besideMqtt(root: string, file: string, ours: Ours): Promise<Result> {
  if (!hasBroker()) return measure(ours, undefined)
  const dir = path.join(root, 'calls-mqtt')
  await mkdir(dir, { recursive: true })
  await using broker = await startBroker(dir)
  const start = (role: string): Measured =>
    startProcess([MQTT_SIDE, role, String(broker.port), broker.caFile, file])
  await using callee = start('callee')
  await using caller = start('caller')
  await Promise.all([callee.next('connected'), caller.next('connected')])
  return await measure(ours, caller)
}

interface Figures {
  readonly bare: Percentiles
  readonly mqtt: Percentiles
  readonly disk: Percentiles
  readonly free: Percentiles
  /** A bare stream on which nothing is done. */
  readonly idle: Percentiles
}

async function measure(ours: Ours, mqtt: Measured | undefined): Promise<Result> {
  const lengths = await lengthsOf(ours.onDisk)
  const parts = []
  for (const verb of VERBS) {
    const figures: Figures = {
      bare: empty(),
      mqtt: empty(),
      disk: empty(),
      free: empty(),
      idle: empty(),
    }
    for (let round = 0; round <= ROUNDS; round++) await one(round > 0)
    parts.push(part(verb, figures, mqtt !== undefined))

    async function one(counts: boolean): Promise<void> {
      const { inMemory, onDisk } = ours
      const bare = await bareTrips(ours.bare[verb], lengths)
      const idle = verb === 'read' ? bare : await bareTrips(ours.bare.read, lengths)
      const disk = await calls(onDisk.caller, verb)
      const free = await calls(inMemory.caller, verb)
      const theirs = mqtt === undefined ? [] : await calls(mqtt, verb)
      if (!counts) return
      note(figures.bare, bare)
      note(figures.idle, idle)
      note(figures.disk, disk)
      note(figures.free, free)
      if (mqtt !== undefined) note(figures.mqtt, theirs)
    }
  }
  const { bytes, answerBytes } = lengths
  return {
    name: 'calls',
    about:
      `a call until its receipt is checked, ${ROUNDS} × ${CALLS}, ${bytes} bytes and ${answerBytes} back` +
      (mqtt === undefined ? '; without MQTT: mosquitto or openssl is missing' : ''),
    rows: parts.flatMap(({ rows }) => rows),
    goals: parts.flatMap(({ goals }) => goals),
  }
}

function part(
  verb: Verb,
  { bare, mqtt, disk, free, idle }: Figures,
  hasMqtt: boolean,
): { rows: Row[]; goals: Goal[] } {
  const ratio = ratios(disk.p50, bare.p50)
  const inMemory = ratios(free.p50, bare.p50)
  const rows = [
    row(`${verb}: as many bytes over an open libp2p stream, p50`, 'ms', bare.p50),
    row('the same, p99', 'ms', bare.p99),
    ...(verb === 'read' ? [] : [row('the same without the file, p50', 'ms', idle.p50)]),
    row(`${verb}: call, both data folders on disk, p50`, 'ms', disk.p50),
    row('the same, p99', 'ms', disk.p99),
    row(`${verb}: call, both data folders in memory, p50`, 'ms', free.p50),
    row('the same, p99', 'ms', free.p99),
    row(`${verb}: call on disk / libp2p stream, p50`, '×', ratio),
    row(`${verb}: call in memory / libp2p stream, p50`, '×', inMemory),
  ]
  const goals = [atMost(`${verb}: p50 at most ${GOAL} × the bare stream`, ratio, GOAL)]
  if (!hasMqtt) return { rows, goals }
  const theirs = ratios(disk.p50, mqtt.p50)
  rows.push(
    row(`${verb}: MQTT request and response, p50`, 'ms', mqtt.p50),
    row('the same, p99', 'ms', mqtt.p99),
    row(`${verb}: call on disk / MQTT, p50`, '×', theirs),
    row(`${verb}: call on disk / MQTT, p99`, '×', ratios(disk.p99, mqtt.p99)),
    row(`${verb}: call in memory / MQTT, p50`, '×', ratios(free.p50, mqtt.p50)),
  )
  goals.push(atMost(`${verb}: p50 at most MQTT's`, theirs, 1))
  return { rows, goals }
}

interface Lengths {
  readonly bytes: number
  readonly answerBytes: number
}

/** Of a call and its receipt as they cross the stream, within a few bytes. */
async function lengthsOf({ caller, callee }: Sides): Promise<Lengths> {
  caller.send({ type: 'call', verb: 'write', count: 1 })
  await caller.next('called')
  callee.send({ type: 'executed' })
  const { executed } = await callee.next<{ executed: readonly Lengths[] }>('executed')
  const [only] = executed
  if (only === undefined) throw new Error('nothing was executed')
  return { bytes: only.bytes + FRAME_BYTES, answerBytes: only.answerBytes + FRAME_BYTES }
}

async function bareTrips(dialler: Measured, lengths: Lengths): Promise<readonly number[]> {
  dialler.send({ count: CALLS, ...lengths })
  return (await dialler.next<{ tookMs: readonly number[] }>('echoed')).tookMs
}

async function calls(caller: Measured, verb: Verb): Promise<readonly number[]> {
  caller.send({ type: 'call', verb, count: CALLS })
  return (await caller.next<{ tookMs: readonly number[] }>('called')).tookMs
}

function empty(): Percentiles {
  return { p50: [], p99: [] }
}

function note(into: Percentiles, tookMs: readonly number[]): void {
  into.p50.push(quantile(tookMs, 0.5))
  into.p99.push(quantile(tookMs, 0.99))
}
