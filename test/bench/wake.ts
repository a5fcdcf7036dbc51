/**
 * One wake of a device on a battery: ten packs out, one call in, its receipt out. Kith's is a whole
 * `kith wake`; MQTT's is mqtt.js with a persistent session over resumed TLS 1.3, and nothing signed
 * or on disk. Packets and bytes are what the kernel's interfaces carried meanwhile.
 */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { createClient, type ApiClient } from '../../node/api/client.ts'
import { addPast } from '../lab/long-log.ts'
import { hasBroker, startBroker, type Broker } from './broker.ts'
import { atMost, ratios, row, type Result } from './figures.ts'
import { BUILT, kithUp, makePair, socketOf, untilUp, type Place } from './home.ts'

const run = promisify(execFile)
const SIDE = fileURLToPath(new URL('./mqtt-wake-side.ts', import.meta.url))
const ROUNDS = 7
const COMMAND = 'home/nap/set'
/** A wake makes one pack of its own. */
const PAST = { packs: 9, sensors: 8 }
const CALL_MS = 600_000

interface Wake {
  readonly packets: number[]
  readonly bytes: number[]
  /** From the beginning of the connection to its end. */
  readonly netMs: number[]
  /** Of the whole process. */
  readonly processMs: number[]
}

export async function benchWake(root: string): Promise<Result> {
  const about = 'ten packs, a call and its receipt in one wake, beside MQTT (mqtt.js, resumed TLS)'
  if (!hasBroker()) return { name: 'wake', about: `${about}: skipped`, rows: [], goals: [] }
  const dir = path.join(root, 'wake')
  await mkdir(dir, { recursive: true })
  await using broker = await startBroker(dir)
  const places = await makePair(path.join(dir, 'home'), 4770)
  await writeFile(path.join(places.device.dir, 'config.toml'), settingsFor(places.device))
  await using hub = kithUp(places.follower, 'built')
  const api = createClient(socketOf(places.follower), AbortSignal.timeout(600_000))
  await untilUp(() => api.status())
  const [kith, mqtt] = [nothing(), nothing()]
  const pubMs: number[] = []
  // The first finds the parent, and fills caches.
  await kithWake(places.device)
  await mqttWake(broker, dir, 'first')
  for (let round = 0; round <= ROUNDS; round++) {
    await addPast(places.device.dir, PAST)
    await command(api, places.device)
    const ours = await carried(() => kithWake(places.device))
    await publish(broker, 'set')
    const theirs = await carried(() => mqttWake(broker, dir))
    if (round === 0) continue
    note(kith, ours)
    note(mqtt, theirs)
    const startedMs = performance.now()
    await publish(broker, 'nothing')
    pubMs.push(performance.now() - startedMs)
  }
  void hub
  return { name: 'wake', about, ...rowsOf(kith, mqtt, pubMs) }
}

function rowsOf(kith: Wake, mqtt: Wake, pubMs: readonly number[]): Pick<Result, 'rows' | 'goals'> {
  const net = ratios(kith.netMs, mqtt.netMs)
  const packets = ratios(kith.packets, mqtt.packets)
  const bytes = ratios(kith.bytes, mqtt.bytes)
  return {
    rows: [
      row('Kith: packets', '', kith.packets),
      row('Kith: bytes, with headers', '', kith.bytes),
      row('Kith: connection, begin to end', 'ms', kith.netMs),
      row('Kith: the whole process', 'ms', kith.processMs),
      row('MQTT: packets', '', mqtt.packets),
      row('MQTT: bytes, with headers', '', mqtt.bytes),
      row('MQTT: connection, begin to end', 'ms', mqtt.netMs),
      row('MQTT: the whole process, mqtt.js', 'ms', mqtt.processMs),
      row('MQTT: one message by mosquitto_pub, without TLS session, whole process', 'ms', pubMs),
      row('packets, Kith / MQTT', '×', packets),
      row('bytes, Kith / MQTT', '×', bytes),
      row('connection, Kith / MQTT', '×', net),
    ],
    goals: [
      atMost('fewer packets than MQTT', packets, 1),
      atMost('fewer bytes than MQTT', bytes, 1),
      atMost('no longer than MQTT from begin to end', net, 1),
    ],
  }
}

interface Carried {
  readonly packets: number
  readonly bytes: number
  readonly netMs: number
  readonly processMs: number
}

function nothing(): Wake {
  return { packets: [], bytes: [], netMs: [], processMs: [] }
}

function note(into: Wake, { packets, bytes, netMs, processMs }: Carried): void {
  into.packets.push(packets)
  into.bytes.push(bytes)
  into.netMs.push(netMs)
  into.processMs.push(processMs)
}

async function carried(wake: () => Promise<number>): Promise<Carried> {
  const before = counters()
  const startedMs = performance.now()
  const netMs = await wake()
  const processMs = performance.now() - startedMs
  const after = counters()
  return {
    packets: after.packets - before.packets,
    bytes: after.bytes - before.bytes,
    netMs,
    processMs,
  }
}

/** Received by all interfaces of this namespace: each packet counts once, where it arrives. */
function counters(): { readonly packets: number; readonly bytes: number } {
  let [packets, bytes] = [0, 0]
  for (const line of readFileSync('/proc/net/dev', 'latin1').split('\n').slice(2)) {
    const [carriedBytes, count] = line
      .slice(line.indexOf(':') + 1)
      .trim()
      .split(/\s+/)
    bytes += Number(carriedBytes ?? 0)
    packets += Number(count ?? 0)
  }
  return { packets, bytes }
}

function settingsFor({ dir, port }: Place): string {
  const light = path.join(dir, 'light')
  return `
    [mesh]
    port = ${port}
    [telemetry]
    sensors = ["load"]
    [power]
    mode = "sleepy"
    period = "10s"
    window = "5s"
    [property.on]
    type = "file"
    path = "${light}"
    value = "boolean"`
}

/** What a person at the hub wants of the device that sleeps. */
async function command(api: ApiClient, { id }: Place): Promise<void> {
  const signal = AbortSignal.timeout(10_000)
  const options = { ttlMs: CALL_MS }
  await api.writeProperty({ ref: id, name: 'on' }, true, options, signal)
}

interface Summary {
  readonly outcome: string
  readonly calls: number
  readonly packs: number
  readonly parts: Readonly<Record<'connect' | 'log' | 'calls' | 'close', number>>
}

async function kithWake({ dir }: Place): Promise<number> {
  const args = [BUILT, '--data-dir', dir, 'wake', '--json']
  const { stdout } = await run(process.execPath, args)
  const { parts } = JSON.parse(stdout) as Summary
  return parts.connect + parts.log + parts.calls + parts.close
}

async function mqttWake({ port, caFile }: Broker, dir: string, first = ''): Promise<number> {
  const args = [SIDE, String(port), caFile, path.join(dir, 'tls-session'), first]
  const { stdout } = await run(process.execPath, args)
  return (JSON.parse(stdout) as { ms: number }).ms
}

async function publish({ port, caFile }: Broker, what: 'set' | 'nothing'): Promise<void> {
  const topic = what === 'set' ? COMMAND : 'home/other'
  const to = ['-h', '::1', '-p', String(port), '--cafile', caFile, '-V', 'mqttv5']
  await run('mosquitto_pub', [...to, '-q', '1', '-t', topic, '-m', '{"on":true}'])
}
