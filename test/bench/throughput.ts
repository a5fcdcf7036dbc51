/** Signed readings end to end, in full packs, beside what the cryptography alone costs. */
import path from 'node:path'

import { systemRandom } from '../../node/env.ts'
import { createVerifier, signerFromSeed } from '../../protocols/identity/index.ts'
import { BOUNDS, NO_PREV, openPack, sealPack } from '../../protocols/telemetry/index.ts'
import { ratios, row, quantile, type Result } from './figures.ts'
import { connectPair, type ConnectedPair } from './pair.ts'

const ROUNDS = 5
const PACKS = 300
const GOAL_PER_SECOND = 50_000

interface Flood {
  readonly perSecond: number
  readonly deviceUs: number
  readonly followerUs: number
}

export async function benchThroughput(root: string): Promise<Result> {
  await using pair = await connectPair(path.join(root, 'throughput'), 4720)
  const floods: Flood[] = []
  const signUs: number[] = []
  const codecUs: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const flood = await runFlood(pair)
    const floor = floorUs()
    if (round === 0) continue
    floods.push(flood)
    signUs.push(floor.sign)
    codecUs.push(floor.codec)
  }
  const perSecond = floods.map((flood) => flood.perSecond)
  const device = floods.map(({ deviceUs }) => deviceUs)
  const follower = floods.map(({ followerUs }) => followerUs)
  return {
    name: 'throughput',
    about: `one device → one follower, packs of ${BOUNDS.maxReadings} readings, both on disk`,
    rows: [
      row('readings end to end', '/s', perSecond),
      row('processor time at the device', 'µs/reading', device),
      row('processor time at the follower', 'µs/reading', follower),
      row('floor: sign and verify', 'µs/reading', signUs),
      row('floor: that with hashes, encoding and decoding', 'µs/reading', codecUs),
      row(
        'device and follower / floor',
        '×',
        ratios(
          device.map((us, i) => us + (follower[i] ?? 0)),
          codecUs,
        ),
      ),
    ],
    goals: [
      {
        text: `at least ${GOAL_PER_SECOND.toLocaleString('en')} readings/s`,
        met: quantile(perSecond, 0.5) >= GOAL_PER_SECOND,
      },
    ],
  }
}

async function runFlood({ device, follower }: ConnectedPair): Promise<Flood> {
  const readings = PACKS * BOUNDS.maxReadings
  for (const side of [device, follower]) {
    side.send({ type: 'expect', readings })
    await side.next('ready')
  }
  device.send({ type: 'flood', packs: PACKS, size: BOUNDS.maxReadings })
  const { atMs: startedMs } = await device.next<{ atMs: number }>('started')
  const [made, kept] = await Promise.all([
    device.next<{ cpuMs: number }>('done'),
    follower.next<{ cpuMs: number; atMs: number }>('done'),
  ])
  return {
    perSecond: (1000 * readings) / (kept.atMs - startedMs),
    deviceUs: (1000 * made.cpuMs) / readings,
    followerUs: (1000 * kept.cpuMs) / readings,
  }
}

/** Microseconds for each reading: one signature and its check, and a pack made and opened. */
function floorUs(): { readonly sign: number; readonly codec: number } {
  const signer = signerFromSeed(systemRandom.bytes(32))
  const verifier = createVerifier()
  const home = systemRandom.bytes(32)
  const readings = Array.from({ length: BOUNDS.maxReadings }, (_, i) => ({
    sensor: `sensor.${i % 8}`,
    unit: 'Cel',
    value: 20 + (i % 100) / 10,
    atMs: 1_800_000_000_000 + Math.floor(i / 8),
  }))
  const rest = {
    bootId: systemRandom.bytes(16),
    seq: 1,
    prev: NO_PREV,
    epoch: 0,
    mono: 1,
    born: 1,
    readings,
  }
  const message = systemRandom.bytes(20_000)
  const sign = timeUs(() => verifier.verify(signer.key, message, signer.sign(message)))
  const codec = timeUs(() => {
    const { bytes } = sealPack({ ...rest, clock: 'synced' }, home, signer)
    openPack(bytes, { home, verifier })
  })
  return { sign: sign / BOUNDS.maxReadings, codec: codec / BOUNDS.maxReadings }
}

function timeUs(work: () => unknown): number {
  const TIMES = 100
  for (let i = 0; i < TIMES / 5; i++) work()
  const startedMs = performance.now()
  for (let i = 0; i < TIMES; i++) work()
  return (1000 * (performance.now() - startedMs)) / TIMES
}
