/** Questions about a year of readings: one a minute from each of twenty sensors, packs and all. */
import { rmSync } from 'node:fs'
import path from 'node:path'

import { openDatabase } from '../../node/storage/db.ts'
import { migration, openPackStore, type PackStore } from '../../node/storage/packs.ts'
import { signerFromSeed } from '../../protocols/identity/index.ts'
import { sealPack, type Reading } from '../../protocols/telemetry/index.ts'
import { atMost, row, type Result } from './figures.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
/** Midnight, UTC. */
const END_MS = 1_800_057_600_000
const DAYS = 365
const SENSORS = 20
/** Minutes of all sensors in one pack. */
const PACK_MINUTES = 25
const ROUNDS = 9

export async function benchHistory(root: string): Promise<Result> {
  const file = path.join(root, 'history.db')
  const signer = signerFromSeed(new Uint8Array(32).fill(7))
  const db = openDatabase(file, [migration])
  try {
    db.exec('PRAGMA synchronous = OFF')
    const store = openPackStore(db)
    const startedMs = performance.now()
    const readings = fill(store, signer)
    const filledMs = performance.now() - startedMs
    const ask = (days: number, everyMs: number): number[] =>
      timesOf(() => {
        const query = { sinceMs: END_MS - days * DAY_MS, untilMs: END_MS, everyMs }
        return store.history(signer.key, query).length
      })
    const day = ask(1, 5 * MINUTE_MS)
    const dayOfMinutes = ask(1, MINUTE_MS)
    const month = ask(30, HOUR_MS)
    const year = ask(DAYS, DAY_MS)
    return {
      name: 'history',
      about: `a year of ${SENSORS} sensors, one reading a minute each, ${readings} in all`,
      rows: [
        row('a day, every 5 minutes', 'ms', day),
        row('a day, every minute (from readings)', 'ms', dayOfMinutes),
        row('30 days, every hour', 'ms', month),
        row('a year, every day', 'ms', year),
        row('keeping a reading, summaries included', 'µs', [(filledMs * 1000) / readings]),
        row('disk for each reading, 30 days of packs', 'bytes', [bytesOf(db) / readings]),
      ],
      goals: [atMost('a day in 50 ms', day, 50), atMost('a year in 200 ms', year, 200)],
    }
  } finally {
    db.close()
    rmSync(file, { force: true })
  }
}

/** As a device does over a year: packs older than 30 days go. Returns the number of readings. */
function fill(store: PackStore, signer: ReturnType<typeof signerFromSeed>): number {
  const minutes = (DAYS * DAY_MS) / MINUTE_MS
  const home = new Uint8Array(32).fill(1)
  const bootId = new Uint8Array(16)
  const bornMs = END_MS - (DAYS + 1) * DAY_MS
  for (let from = 0; from < minutes; from += PACK_MINUTES) {
    const length = Math.min(PACK_MINUTES, minutes - from)
    const readings: Reading[] = Array.from({ length: length * SENSORS }, (_, i) => {
      const minute = from + Math.floor(i / SENSORS)
      const value = Math.round(200 + 50 * Math.sin(minute / 229 + i)) / 10
      const atMs = END_MS - (minutes - minute) * MINUTE_MS
      return { sensor: `room-${i % SENSORS}.temperature`, unit: 'Cel', value, atMs }
    })
    const nowMs = readings.at(-1)?.atMs ?? END_MS
    const rest = { bootId, epoch: 0, clock: 'synced', readings } as const
    store.appendOwn(
      signer.key,
      (seq, prev) =>
        sealPack({ ...rest, seq, prev, mono: nowMs - bornMs, born: bornMs }, home, signer),
      nowMs,
    )
    store.prune({ receivedBeforeMs: nowMs - 30 * DAY_MS, maxBytes: Infinity })
  }
  return minutes * SENSORS
}

/** Milliseconds of each round; the first fills caches and does not count. */
function timesOf(ask: () => number): number[] {
  const took: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const startedMs = performance.now()
    if (ask() === 0) throw new Error('no answer')
    took.push(performance.now() - startedMs)
  }
  return took.slice(1)
}

function bytesOf(db: ReturnType<typeof openDatabase>): number {
  const read = (name: string): number =>
    (db.prepare(`PRAGMA ${name}`).get() as Record<string, number>)[name] ?? 0
  return (read('page_count') - read('freelist_count')) * read('page_size')
}
