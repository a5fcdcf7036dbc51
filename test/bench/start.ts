/** From the start of a process to being of use to a peer that runs already. */
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { createClient } from '../../node/api/client.ts'
import { atMost, ratios, row, type Result } from './figures.ts'
import { kithUp, makePair, socketOf, untilUp, type Form, type PairOnDisk } from './home.ts'
import { startProcess } from './processes.ts'

export const BARE_PEER = fileURLToPath(new URL('./bare-peer.ts', import.meta.url))

const ROUNDS = 7
const GOAL = 1.5

export async function benchStart(root: string): Promise<Result> {
  const pair = await makePair(path.join(root, 'start'))
  await using listener = startProcess([BARE_PEER, 'listen'])
  const { address } = await listener.next<{ address: string }>('listening')
  await using follower = kithUp(pair.follower, 'built')
  await untilUp(() => createClient(socketOf(pair.follower), AbortSignal.timeout(1000)).status())
  void follower
  const took: Record<Form | 'bare', number[]> = { built: [], sources: [], bare: [] }
  // One round more than counts: the first fills caches of files and compiled code.
  for (let round = 0; round <= ROUNDS; round++) {
    took.bare.push(await bare(address, listener))
    took.built.push(await kith(pair, 'built'))
    took.sources.push(await kith(pair, 'sources'))
  }
  const [bareMs, builtMs, sourcesMs] = [took.bare, took.built, took.sources].map((all) =>
    all.slice(1),
  ) as [number[], number[], number[]]
  const built = ratios(builtMs, bareMs)
  return {
    name: 'start',
    about: 'process start → first verified reading at a running peer (multicast discovery)',
    rows: [
      row('bare libp2p pair, address known: process start → connected', 'ms', bareMs),
      row('kith up, built', 'ms', builtMs),
      row('kith up, from sources', 'ms', sourcesMs),
      row('built / bare', '×', built),
      row('sources / bare', '×', ratios(sourcesMs, bareMs)),
    ],
    goals: [atMost(`built at most ${GOAL} × a bare libp2p pair`, built, GOAL)],
  }
}

async function bare(address: string, listener: ReturnType<typeof startProcess>): Promise<number> {
  await using dialler = startProcess([BARE_PEER, 'dial', address])
  await listener.next('connected')
  return performance.now() - dialler.startedMs
}

async function kith({ device, follower }: PairOnDisk, form: Form): Promise<number> {
  const stop = new AbortController()
  const client = createClient(socketOf(follower), stop.signal)
  const readings = client.watch({ device: device.id }, stop.signal)
  const next = readings[Symbol.asyncIterator]().next()
  const startedAt = Date.now()
  await using started = kithUp(device, form)
  try {
    let found = await next
    while (found.done !== true && found.value.at < startedAt) {
      found = await readings[Symbol.asyncIterator]().next()
    }
    return performance.now() - started.startedMs
  } finally {
    stop.abort()
  }
}
