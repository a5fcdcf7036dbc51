/** What a paired device costs while nothing happens: memory, processor time, wake-ups. */
import path from 'node:path'

import { createClient } from '../../node/api/client.ts'
import { row, type Result, type Row } from './figures.ts'
import { kithUp, makePair, socketOf, untilUp, type Form } from './home.ts'
import { effortOf, memoryOf, startProcess, type Measured } from './processes.ts'
import { BARE_PEER } from './start.ts'

const SETTLE_MS = 25_000
const WATCH_MS = 30_000
const MEMORY_GOAL = 1.35
const CPU_GOAL_PERCENT = 1
const MB = 1024 * 1024

interface Cost {
  readonly rss: number
  readonly pss: number
  readonly cpuPercent: number
  readonly wakes: number
}

/** One run, in which all idle side by side: rounds would take a minute each. */
export async function benchFootprint(root: string): Promise<Result> {
  await using bare = startProcess([BARE_PEER, 'listen', '--mdns'])
  const { address } = await bare.next<{ address: string }>('listening')
  await using connected = startProcess([BARE_PEER, 'dial', address, '--mdns'])
  const [built, sources] = [await idlePair(root, 'built'), await idlePair(root, 'sources')]
  try {
    const all = [bare, connected, ...built, ...sources]
    const costs = await costOf(all)
    return result(costs.slice(0, 2), costs.slice(2, 4), costs.slice(4, 6))
  } finally {
    await Promise.all([...built, ...sources].map((one) => one[Symbol.asyncDispose]()))
  }
}

async function idlePair(root: string, form: Form): Promise<readonly [Measured, Measured]> {
  const pair = await makePair(path.join(root, `footprint-${form}`), form === 'built' ? 4700 : 4710)
  // The first start compiles, which leaves more in memory than any later one.
  await kithUp(pair.follower, form)[Symbol.asyncDispose]()
  const both = [kithUp(pair.follower, form), kithUp(pair.device, form)] as const
  const client = createClient(socketOf(pair.device), AbortSignal.timeout(SETTLE_MS))
  await untilUp(async () => {
    if ((await client.status()).peers === 0) throw new Error('no peer yet')
  })
  return both
}

async function costOf(all: readonly Measured[]): Promise<readonly Cost[]> {
  await pause(SETTLE_MS)
  const before = all.map(({ pid }) => effortOf(pid))
  const startedMs = performance.now()
  await pause(WATCH_MS)
  const tookMs = performance.now() - startedMs
  return all.map(({ pid }, i) => {
    const now = effortOf(pid)
    const { cpuMs = 0, mainWakes = 0 } = before[i] ?? {}
    return {
      ...memoryOf(pid),
      cpuPercent: (100 * (now.cpuMs - cpuMs)) / tookMs,
      wakes: (1000 * (now.mainWakes - mainWakes)) / tookMs,
    }
  })
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function result(bare: readonly Cost[], built: readonly Cost[], sources: readonly Cost[]): Result {
  const mean = (costs: readonly Cost[], of: (cost: Cost) => number): number =>
    costs.reduce((sum, cost) => sum + of(cost), 0) / costs.length
  const rows = (what: string, costs: readonly Cost[]): Row[] => [
    row(
      `${what}: resident`,
      'MB',
      costs.map(({ rss }) => rss / MB),
    ),
    row(
      `${what}: proportional`,
      'MB',
      costs.map(({ pss }) => pss / MB),
    ),
    row(
      `${what}: processor`,
      '%',
      costs.map(({ cpuPercent }) => cpuPercent),
    ),
    row(
      `${what}: wake-ups of the main thread`,
      '/s',
      costs.map(({ wakes }) => wakes),
    ),
  ]
  const memory = mean(built, ({ rss }) => rss) / mean(bare, ({ rss }) => rss)
  const sourceMemory = mean(sources, ({ rss }) => rss) / mean(bare, ({ rss }) => rss)
  const cpu = mean(built, ({ cpuPercent }) => cpuPercent)
  return {
    name: 'footprint',
    about: 'connected pairs at rest, sensors every 10 s',
    rows: [
      ...rows('bare libp2p with mdns', bare),
      ...rows('kith up, built', built),
      ...rows('kith up, from sources', sources),
      row('built / bare, resident', '×', [memory]),
      row('sources / bare, resident', '×', [sourceMemory]),
    ],
    goals: [
      { text: `built at most ${MEMORY_GOAL} × bare, resident`, met: memory <= MEMORY_GOAL },
      { text: `built at most ${CPU_GOAL_PERCENT} % of a core`, met: cpu <= CPU_GOAL_PERCENT },
    ],
  }
}
