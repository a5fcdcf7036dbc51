/** One reading from `publish` to the follower's event, beside a round trip over a bare stream. */
import { mkdtemp, rm } from 'node:fs/promises'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout } from 'node:timers/promises'

import { systemRandom } from '../../node/env.ts'
import { createVerifier, signerFromSeed } from '../../protocols/identity/index.ts'
import { quantile, ratios, row, type Result } from './figures.ts'
import { connectPair, type ConnectedPair } from './pair.ts'
import { startProcess, type Measured } from './processes.ts'
import { BARE_PEER } from './start.ts'

const ROUNDS = 5
const SINGLES = 200
/** On a busy machine the last ones take longer than the pause between two. */
const SETTLE_MS = 1000
/** A frame with a pack of one reading, within a few bytes. */
const FRAME_BYTES = 480
const GOAL = 3
/** A file system in memory, where a write is on "disk" at once. */
const IN_MEMORY = '/dev/shm'

interface Percentiles {
  readonly p50: number[]
  readonly p99: number[]
}

export async function benchLatency(root: string): Promise<Result> {
  const memory = await mkdtemp(path.join(IN_MEMORY, 'kith-bench-'))
  try {
    await using listener = startProcess([BARE_PEER, 'listen'])
    const { address } = await listener.next<{ address: string }>('listening')
    await using dialler = startProcess([BARE_PEER, 'dial', address])
    await listener.next('connected')
    await using onDisk = await connectPair(path.join(root, 'latency'), 4730)
    await using inMemory = await connectPair(memory, 4740)
    return await measure(root, dialler, { onDisk, inMemory })
  } finally {
    await rm(memory, { recursive: true, force: true })
  }
}

async function measure(
  root: string,
  dialler: Measured,
  { onDisk, inMemory }: Readonly<Record<'onDisk' | 'inMemory', ConnectedPair>>,
): Promise<Result> {
  const [echo, disk, free] = [empty(), empty(), empty()]
  const publish: number[] = []
  const floor: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const echoed = await echoes(dialler)
    const [stored, direct] = [await singles(onDisk), await singles(inMemory)]
    if (round === 0) continue
    note(echo, echoed)
    note(disk, stored.tookMs)
    note(free, direct.tookMs)
    floor.push(quantile(echoed, 0.5) / 2 + signAndVerifyMs() + 2 * commitMs(root))
    publish.push(quantile(stored.publishMs, 0.5))
  }
  const ratio = ratios(disk.p50, echo.p50)
  return {
    name: 'latency',
    about: `publish → event at the follower, ${ROUNDS} × ${SINGLES} single readings`,
    rows: [
      row(`echo of ${FRAME_BYTES} bytes over an open libp2p stream, p50`, 'ms', echo.p50),
      row('the same, p99', 'ms', echo.p99),
      row('half of that, one signature made and checked, two commits', 'ms', floor),
      row('reading, on disk at both ends before it shows, p50', 'ms', disk.p50),
      row('the same, p99', 'ms', disk.p99),
      row('of it, until the device has signed and stored it, p50', 'ms', publish),
      row('reading, both data folders in memory, p50', 'ms', free.p50),
      row('the same, p99', 'ms', free.p99),
      row('on disk / the sum of what it cannot do without, p50', '×', ratios(disk.p50, floor)),
      row('on disk / echo, p50', '×', ratio),
      row('in memory / echo, p50', '×', ratios(free.p50, echo.p50)),
    ],
    goals: [{ text: `p50 at most ${GOAL} × the round trip`, met: quantile(ratio, 0.5) <= GOAL }],
  }
}

function signAndVerifyMs(): number {
  const signer = signerFromSeed(systemRandom.bytes(32))
  const verifier = createVerifier()
  const message = systemRandom.bytes(FRAME_BYTES)
  return medianMs(() => verifier.verify(signer.key, message, signer.sign(message)))
}

/** One row of a frame's size, on disk when the statement returns. */
function commitMs(root: string): number {
  using db = new DatabaseSync(path.join(root, 'commit.db'))
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  db.exec('CREATE TABLE IF NOT EXISTS rows (bytes BLOB)')
  const insert = db.prepare('INSERT INTO rows VALUES (?)')
  return medianMs(() => insert.run(systemRandom.bytes(FRAME_BYTES)))
}

function medianMs(work: () => unknown): number {
  const tookMs = Array.from({ length: SINGLES }, () => {
    const startedMs = performance.now()
    work()
    return performance.now() - startedMs
  })
  return quantile(tookMs, 0.5)
}

function empty(): Percentiles {
  return { p50: [], p99: [] }
}

function note(into: Percentiles, tookMs: readonly number[]): void {
  into.p50.push(quantile(tookMs, 0.5))
  into.p99.push(quantile(tookMs, 0.99))
}

async function echoes(dialler: Measured): Promise<readonly number[]> {
  dialler.send({ count: SINGLES, bytes: FRAME_BYTES })
  return (await dialler.next<{ tookMs: readonly number[] }>('echoed')).tookMs
}

type Sent = readonly (readonly [seq: number, startedMs: number, publishedMs: number])[]
type Arrivals = readonly (readonly [seq: number, atMs: number])[]

interface Singles {
  readonly tookMs: readonly number[]
  /** Until the device had signed and stored it. */
  readonly publishMs: readonly number[]
}

/** @throws Error where a reading did not arrive */
async function singles({ device, follower }: ConnectedPair): Promise<Singles> {
  device.send({ type: 'single', count: SINGLES })
  const { sent } = await device.next<{ sent: Sent }>('sent')
  await setTimeout(SETTLE_MS)
  follower.send({ type: 'arrivals' })
  const { arrivals } = await follower.next<{ arrivals: Arrivals }>('arrivals')
  const arrivedAt = new Map(arrivals)
  return {
    tookMs: sent.map(([seq, startedMs]) => {
      const arrived = arrivedAt.get(seq)
      if (arrived === undefined) throw new Error(`pack ${seq} did not arrive`)
      return arrived - startedMs
    }),
    publishMs: sent.map(([, startedMs, publishedMs]) => publishedMs - startedMs),
  }
}
