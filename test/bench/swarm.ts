/**
 * A release of 64 MB to many devices over cables of 50 Mbit/s, from the start of its publication to the
 * last device that has checked all of it, beside HTTPS and whatever else is installed; readings and
 * calls while that runs; and the same without a limit, beside bare libp2p streams.
 */
import { execFileSync } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import type { World } from '../lab/netns.ts'
import { makeCertificate } from './broker.ts'
import { atMost, quantile, row, type Goal, type Result, type Row } from './figures.ts'
import { effortOf, measured, WITH_MESSAGES, type Measured } from './processes.ts'
import { addressOf, startCables, startSwarmHome, upBytesOf, type Spread } from './swarm-home.ts'
import { beginTraffic, trafficSettings } from './swarm-traffic.ts'

const SIDE = fileURLToPath(new URL('./swarm-side.ts', import.meta.url))
const BYTES = 64_000_000
const MEGABYTES = BYTES / 1e6
const KILOBITS = 50_000
/** Of one cable, without headers. */
const LINK_MS = (BYTES * 8) / KILOBITS
const COUNTS = [4, 8, 16]
/** To how many without a limit, and beside others. */
const FEW = 4
/** HTTPS takes as many times as long as there are devices, so it moves this part of it. */
const HTTPS_PART = 4
const IDLE_MS = 8_000
const GOALS = { time: 1.15, upload: 1.2, tail: 2 }

interface Found {
  readonly rows: readonly Row[]
  readonly goals: readonly Goal[]
}

export async function benchSwarm(root: string): Promise<Result> {
  const file = path.join(root, 'bulk', 'release.bin')
  await mkdir(path.dirname(file))
  await fill({ file, bytes: BYTES })
  const found: Found[] = []
  for (const count of COUNTS)
    found.push(await limited(path.join(root, `swarm-${count}`), count, file))
  const small = path.join(root, 'small.bin')
  const about = { file: small, bytes: BYTES / HTTPS_PART }
  const sha256 = await fill(about)
  for (const count of [FEW, 2 * FEW]) found.push(await https(root, { ...about, sha256, count }))
  found.push(await unlimited(root, file), await withTraffic(path.join(root, 'traffic'), file))
  const missing = ['aria2c', 'syncthing'].filter((name) => !isInstalled(name))
  const without = missing.length === 0 ? '' : `; ${missing.join(' and ')}: not installed, left out`
  return {
    name: 'swarm',
    about: `${MEGABYTES} MB, published, to devices with ${KILOBITS / 1000} Mbit/s each${without}`,
    rows: found.flatMap(({ rows }) => rows),
    goals: found.flatMap(({ goals }) => goals),
  }
}

interface Sized {
  readonly file: string
  readonly bytes: number
}

/** Noise, so that nothing packs; its hash. */
async function fill({ file, bytes: count }: Sized): Promise<string> {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 's'), Buffer.alloc(16))
  const bytes = cipher.update(Buffer.alloc(count))
  await writeFile(file, bytes)
  return createHash('sha256').update(bytes).digest('hex')
}

async function limited(root: string, count: number, file: string): Promise<Found> {
  await using home = await startSwarmHome(root, count, KILOBITS)
  const spread = await home.spread(file)
  const [time, upload] = [spread.lastMs / LINK_MS, spread.upBytes / BYTES]
  return {
    rows: [
      row(`to ${count}: last device / size at the cable's speed`, '×', [time]),
      row(`to ${count}: of it, publishing`, 's', [spread.publishedMs / 1000]),
      row(`to ${count}: left the source / size`, '×', [upload]),
      ...costRows(`to ${count}`, spread, count),
    ],
    goals: [
      atMost(
        `to ${count}: last device ≤ ${GOALS.time} × size at the cable's speed`,
        [time],
        GOALS.time,
      ),
      atMost(`to ${count}: upload of the source ≤ ${GOALS.upload} × size`, [upload], GOALS.upload),
    ],
  }
}

function costRows(
  to: string,
  { sourceMs, othersMs, upBytes, lastMs }: Spread,
  count: number,
  bytes = BYTES,
): Row[] {
  const cores = (sourceMs + othersMs) / lastMs
  return [
    row(`${to}: processor of the source for a MB that left it`, 'ms', [(sourceMs * 1e6) / upBytes]),
    row(`${to}: processor of a device for a MB that it got`, 'ms', [
      othersMs / count / (bytes / 1e6),
    ]),
    row(`${to}: cores that all devices kept busy`, '', [cores]),
  ]
}

/** A home in which a device reads, measures and is called while it fetches. */
async function withTraffic(root: string, file: string): Promise<Found> {
  await using home = await startSwarmHome(root, FEW, KILOBITS, trafficSettings)
  const traffic = await beginTraffic(home.clients)
  await setTimeout(1_000)
  traffic.taken()
  await setTimeout(IDLE_MS)
  const idle = traffic.taken()
  await home.spread(file)
  const swarm = traffic.taken()
  await traffic.stop()
  const kinds = [
    ['readings', 'a live reading'],
    ['calls', 'a call'],
  ] as const
  return kinds.reduce<Found>(
    ({ rows, goals }, [kind, what]) => {
      const [before, during] = [quantile(idle[kind], 0.99), quantile(swarm[kind], 0.99)]
      return {
        rows: [
          ...rows,
          row(`${what}, idle, p50`, 'ms', [quantile(idle[kind], 0.5)]),
          row(`${what}, idle, p99`, 'ms', [before]),
          row(`${what}, while the swarm runs, p50`, 'ms', [quantile(swarm[kind], 0.5)]),
          row(`${what}, while the swarm runs, p99`, 'ms', [during]),
        ],
        goals: [
          ...goals,
          atMost(`${what}: p99 ≤ ${GOALS.tail} × idle`, [during / before], GOALS.tail),
        ],
      }
    },
    { rows: [], goals: [] },
  )
}

async function unlimited(root: string, file: string): Promise<Found> {
  const bareMs = await bare(file)
  await using home = await startSwarmHome(path.join(root, 'free'), FEW, undefined)
  const spread = await home.spread(file)
  const swarmMs = spread.lastMs - spread.publishedMs
  return {
    rows: [
      row(`no limit, to ${FEW}: each device, publication included`, 'MB/s', [
        MEGABYTES / (spread.lastMs / 1000),
      ]),
      row('no limit: publishing', 's', [spread.publishedMs / 1000]),
      row(`no limit, to ${FEW}: each device, after that`, 'MB/s', [MEGABYTES / (swarmMs / 1000)]),
      row(`bare libp2p streams to ${FEW} at once: each`, 'MB/s', [MEGABYTES / (bareMs / 1000)]),
      row('swarm after publishing / bare streams, time', '×', [swarmMs / bareMs]),
      ...costRows(`no limit, to ${FEW}`, spread, FEW),
    ],
    goals: [],
  }
}

/** Milliseconds until the last of them has it all. */
async function bare(file: string): Promise<number> {
  await using world = await startCables(FEW + 1, undefined)
  await using source = side(world, 0, ['bare', 'serve', file, addressOf(0)])
  const { address } = await source.next<{ address: string }>('listening')
  return (await pull(world, FEW, ['bare', 'get', address, String(BYTES)])).lastMs
}

async function https(
  root: string,
  { count, file, bytes, sha256 }: Sized & { readonly count: number; readonly sha256: string },
): Promise<Found> {
  if (!isInstalled('openssl')) return { rows: [], goals: [] }
  makeCertificate(path.join(root, 'cert.pem'), path.join(root, 'key.pem'))
  await using world = await startCables(count + 1, KILOBITS)
  await using source = side(world, 0, ['https', 'serve', file, root])
  await source.next('listening')
  const before = effortOf(source.pid).cpuMs
  const upBefore = await upBytesOf(world, 'd0')
  const got = await pull(world, count, ['https', 'get', addressOf(0), String(bytes), sha256])
  const upBytes = (await upBytesOf(world, 'd0')) - upBefore
  const sourceMs = effortOf(source.pid).cpuMs - before
  const name = `HTTPS to ${count}`
  return {
    rows: [
      row(`${name}: last device / size at the cable's speed`, '×', [
        (got.lastMs / LINK_MS) * (BYTES / bytes),
      ]),
      row(`${name}: left the source / size`, '×', [upBytes / bytes]),
      ...costRows(name, { ...got, publishedMs: 0, upBytes, sourceMs }, count, bytes),
    ],
    goals: [],
  }
}

/** All others start at once. */
async function pull(
  world: World,
  count: number,
  args: readonly string[],
): Promise<Pick<Spread, 'lastMs' | 'othersMs'>> {
  const others = Array.from({ length: count }, (_, i) => side(world, i + 1, args))
  try {
    await Promise.all(others.map((one) => one.next('ready')))
    const efforts = (): number => others.reduce((sum, { pid }) => sum + effortOf(pid).cpuMs, 0)
    const before = efforts()
    const startedMs = performance.now()
    for (const one of others) one.send({ type: 'go' })
    await Promise.all(others.map((one) => one.next('done')))
    return { lastMs: performance.now() - startedMs, othersMs: efforts() - before }
  } finally {
    await Promise.all(others.map((one) => one[Symbol.asyncDispose]()))
  }
}

function side(world: World, index: number, args: readonly string[]): Measured {
  const command = [process.execPath, SIDE, ...args]
  return measured(world.spawn(`d${index}`, command, { stdio: WITH_MESSAGES }), args.join(' '))
}

function isInstalled(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
