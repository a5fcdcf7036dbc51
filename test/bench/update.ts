/**
 * What chunks of a release cost between two connected devices, checked and kept in memory or in files,
 * beside as many bytes through one stream of two bare libp2p nodes.
 */
import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { atMost, row, type Result } from './figures.ts'
import { startProcess } from './processes.ts'

const SIDE = fileURLToPath(new URL('./update-side.ts', import.meta.url))
const MEGABYTES = 256
const ROUNDS = 5
const GOAL = 1.5

interface Cost {
  readonly cpuMs: number
  readonly tookMs: number
}

/** Milliseconds of processor for a megabyte, of each end, and megabytes in a second. */
interface Moved {
  readonly sender: number
  readonly receiver: number
  readonly rate: number
}

const WAYS = {
  bare: { about: 'a bare libp2p stream', mode: 'bare', keep: 'memory' },
  memory: { about: 'chunks, kept in memory', mode: 'exchange', keep: 'memory' },
  files: { about: 'chunks, kept in files', mode: 'exchange', keep: 'files' },
} as const

type Way = keyof typeof WAYS

export async function benchUpdate(root: string): Promise<Result> {
  const ways = Object.keys(WAYS) as Way[]
  const found: Record<Way, Moved[]> = { bare: [], memory: [], files: [] }
  for (let round = 0; round < ROUNDS; round++) {
    for (const way of ways) found[way].push(await move(way, path.join(root, 'chunks')))
  }
  const total = (way: Way): number[] => found[way].map(({ sender, receiver }) => sender + receiver)
  const bare = total('bare')
  const ratio = (way: Way): number[] => total(way).map((cost, i) => cost / (bare[i] ?? Number.NaN))
  return {
    name: 'update',
    about: `${MEGABYTES} MB in chunks of 64 KiB from one device to another, two processes`,
    rows: [
      ...ways.flatMap((way) => [
        row(
          `${WAYS[way].about}: sender`,
          'ms/MB',
          found[way].map(({ sender }) => sender),
        ),
        row(
          `${WAYS[way].about}: receiver`,
          'ms/MB',
          found[way].map(({ receiver }) => receiver),
        ),
        row(
          `${WAYS[way].about}: speed`,
          'MB/s',
          found[way].map(({ rate }) => rate),
        ),
      ]),
      row('in memory / bare, processor of both', '×', ratio('memory')),
      row('in files / bare, processor of both', '×', ratio('files')),
    ],
    goals: [
      atMost(`in memory: processor ≤ ${GOAL} × bare`, ratio('memory'), GOAL),
      atMost(`in files: processor ≤ ${GOAL} × bare`, ratio('files'), GOAL),
    ],
  }
}

async function move(way: Way, root: string): Promise<Moved> {
  const { mode, keep } = WAYS[way]
  await mkdir(root, { recursive: true })
  const folder = (side: string): string => (keep === 'files' ? path.join(root, side) : keep)
  const argumentsOf = (where: string, side: string): string[] => [
    SIDE,
    mode,
    where,
    String(MEGABYTES),
    folder(side),
  ]
  try {
    await using from = startProcess(argumentsOf('listen', 'from'))
    const { address } = await from.next<{ address: string }>('listening')
    await using to = startProcess(argumentsOf(address, 'to'))
    const got = await to.next<Cost>('done')
    from.send({ type: 'cost' })
    const gave = await from.next<Cost>('cost')
    return {
      sender: gave.cpuMs / MEGABYTES,
      receiver: got.cpuMs / MEGABYTES,
      rate: MEGABYTES / (got.tookMs / 1000),
    }
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}
