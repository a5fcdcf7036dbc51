/**
 * A home whose devices have a namespace and a cable each: `kith up` in the published form, a release
 * published by the command line, and what all of it cost.
 */
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { promisify } from 'node:util'

import { createClient, type ApiClient } from '../../node/api/client.ts'
import { startWorld, type World } from '../lab/netns.ts'
import { BUILT, makeHome, socketOf, untilUp, type Place } from './home.ts'
import { effortOf } from './processes.ts'

const INTERFACE = 'eth0'
const ONLINE_LIMIT_MS = 60_000
const SPREAD_LIMIT_MS = 150_000
const DAY_MINUTES = 1440

/** What moving a file to all cost. */
export interface Spread {
  /** From the start of the publication to the last device that has all of it, checked. */
  readonly lastMs: number
  /** How long the publication took of that. */
  readonly publishedMs: number
  /** What left the source, headers and all. */
  readonly upBytes: number
  /** Processor time of the source without the publishing command, and of all the others. */
  readonly sourceMs: number
  readonly othersMs: number
}

export interface SwarmHome extends AsyncDisposable {
  readonly world: World
  /** The first is the source. */
  readonly clients: readonly ApiClient[]
  /** Publish the folder of `file` and wait until every other device has it. */
  spread(file: string): Promise<Spread>
}

/** Cables of a switch, named `d0`, `d1` and so on, with addresses. */
export async function startCables(count: number, kilobits: number | undefined): Promise<World> {
  const names = Array.from({ length: count }, (_, i) => `d${i}`)
  const ports = names.map((device, i) => ({
    device,
    interface: INTERFACE,
    addresses: [`${addressOf(i)}/64`],
  }))
  const world = await startWorld({ lan: ports })
  if (kilobits !== undefined) {
    for (const name of names) await world.throttle(name, INTERFACE, kilobits)
  }
  return world
}

export function addressOf(index: number): string {
  return `fd00:6b69:7468::${(index + 1).toString(16)}`
}

export async function upBytesOf(world: World, device: string): Promise<number> {
  return (await world.counters(device, INTERFACE)).txBytes
}

/** A source and `count` others, connected. `settings` is the text of a settings file, by device. */
export async function startSwarmHome(
  root: string,
  count: number,
  kilobits: number | undefined,
  settings: (index: number, dir: string) => string = () => '',
): Promise<SwarmHome> {
  const places = await makeHome(root, 4646, { role: 'member', count })
  const world = await startCables(places.length, kilobits)
  const stop = new AbortController()
  try {
    const pids: number[] = []
    for (const [i, place] of places.entries()) {
      await writeFile(path.join(place.dir, 'config.toml'), settings(i, place.dir))
      pids.push(up(world, i, place))
    }
    const clients = places.map((place) => createClient(socketOf(place), stop.signal))
    await online(clients)
    await prepare(places)
    return {
      world,
      clients,
      spread: (file) => spread(file, { places, clients, pids, world }),
      [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
    }
  } catch (error) {
    await world[Symbol.asyncDispose]()
    throw error
  }
}

function up(world: World, index: number, { dir }: Place): number {
  const sets = ['log.level=error', 'telemetry.interval=1h', 'telemetry.max_wait=0s']
  const flags = sets.flatMap((one) => ['--set', one])
  const command = [process.execPath, BUILT, 'up', '--data-dir', dir, '--json', ...flags]
  const env = { ...process.env, KITH_CONFIG: undefined }
  const child = world.spawn(`d${index}`, command, { stdio: ['ignore', 'ignore', 'inherit'], env })
  return child.pid ?? 0
}

async function online(clients: readonly ApiClient[]): Promise<void> {
  const deadlineMs = performance.now() + ONLINE_LIMIT_MS
  for (const client of clients) {
    for (;;) {
      const rows = await untilUp(() => client.devices())
      if (rows.filter(({ self, state }) => self || state === 'online').length === clients.length) {
        break
      }
      if (performance.now() > deadlineMs) throw new Error('the devices do not see each other')
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
}

/** A channel, and hours for installing that are far away: a device that has a release waits for them. */
async function prepare([source]: readonly Place[]): Promise<void> {
  if (source === undefined) throw new Error('no source')
  const now = new Date()
  const opens = (now.getHours() * 60 + now.getMinutes() + DAY_MINUTES / 2) % DAY_MINUTES
  const window = [opens, (opens + 1) % DAY_MINUTES].map((minute) => clockOf(minute)).join('-')
  await kith(source, ['update', 'init'])
  await kith(source, ['update', 'rollout', '--ring', '100%', '--window', window])
}

function clockOf(minute: number): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`
}

async function kith({ dir }: Place, args: readonly string[]): Promise<void> {
  const full = [BUILT, '--data-dir', dir, '--json', '--yes', ...args]
  await promisify(execFile)(process.execPath, full, { timeout: SPREAD_LIMIT_MS })
}

interface Running extends Pick<SwarmHome, 'world' | 'clients'> {
  readonly places: readonly Place[]
  readonly pids: readonly number[]
}

async function spread(file: string, { places, clients, pids, world }: Running): Promise<Spread> {
  const [source, ...others] = places
  const [client] = clients
  if (source === undefined || client === undefined) throw new Error('no source')
  const stop = new AbortController()
  const efforts = (): number[] => pids.map((pid) => effortOf(pid).cpuMs)
  const upBefore = await upBytesOf(world, 'd0')
  const before = efforts()
  const startedMs = performance.now()
  const all = everyone(client, others, stop.signal)
  all.catch(() => undefined)
  await kith(source, ['update', 'publish', path.dirname(file), '--version', '1'])
  const publishedMs = performance.now() - startedMs
  await Promise.race([all, late()])
  const lastMs = performance.now() - startedMs
  const [sourceMs = 0, ...restMs] = efforts().map((ms, i) => ms - (before[i] ?? 0))
  return {
    lastMs,
    publishedMs,
    upBytes: (await upBytesOf(world, 'd0')) - upBefore,
    sourceMs,
    othersMs: restMs.reduce((sum, ms) => sum + ms, 0),
  }
}

async function late(): Promise<never> {
  await new Promise((resolve) => {
    setTimeout(resolve, SPREAD_LIMIT_MS).unref()
  })
  throw new Error('not all devices got it')
}

/** Resolves when each of them has reported that it has everything and waits for its hours. */
async function everyone(
  client: ApiClient,
  others: readonly Place[],
  signal: AbortSignal,
): Promise<void> {
  const missing = new Set(others.map(({ id }) => id))
  for await (const { type, data } of client.events(undefined, signal)) {
    if (type !== 'update.report' || data['phase'] !== 'waiting') continue
    missing.delete(String(data['device']))
    if (missing.size === 0) return
  }
}
