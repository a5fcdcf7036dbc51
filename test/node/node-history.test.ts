import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import type { HistoryRow } from '../../node/api/view.ts'
import { systemRandom } from '../../node/env.ts'
import { NodeError } from '../../node/errors.ts'
import { MIGRATIONS } from '../../node/migrations.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { loadOrCreateSeed } from '../../node/storage/key-file.ts'
import { openOpStore } from '../../node/storage/ops.ts'
import { openPackStore } from '../../node/storage/packs.ts'
import { signerFromSeed } from '../../protocols/identity/index.ts'
import type { Pack, Reading } from '../../protocols/telemetry/index.ts'
import { folders, makeHome, startDevice, type TestDevice } from '../helpers/device.ts'
import { packOf } from '../helpers/telemetry.ts'

const forever = new AbortController().signal
const DATABASE = 'kith.db'

async function refusal(act: Promise<unknown>): Promise<NodeError> {
  const error: unknown = await act.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof NodeError, `not refused as it should be: ${String(error)}`)
  return error
}

async function all<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const row of rows) list.push(row)
  return list
}

/** A home whose own log holds these packs, by number; made while the device is stopped. */
async function withLog(
  dir: string,
  packs: ReadonlyMap<number, readonly Reading[]>,
): Promise<TestDevice> {
  const device = await startDevice(dir)
  await makeHome(device)
  await device.stop()
  const db = openDatabase(join(dir, DATABASE), MIGRATIONS)
  const { seed } = await loadOrCreateSeed(dir, systemRandom)
  const signer = signerFromSeed(seed.reveal())
  const home = openOpStore(db).home()
  assert.ok(home)
  const store = openPackStore(db)
  let last: Pack | undefined
  for (const [seq, readings] of packs) {
    const linked =
      last?.seq === seq - 1
        ? { prev: last.hash }
        : seq === 1
          ? {}
          : { prev: new Uint8Array(32).fill(seq) }
    last = packOf(signer, { home, seq, readings, ...linked })
    const [outcome] = store.insert([{ pack: last, receivedAtMs: Date.now() }])
    assert.equal(outcome?.verdict, 'accept')
  }
  db.close()
  return startDevice(dir)
}

const LONG_AGO_MS = Date.now() - 3_600_000

/** `count` readings of three sensors, three in each moment, ten seconds between packs. */
function three(pack: number, count: number): Reading[] {
  return Array.from({ length: count }, (_, i) => ({
    sensor: `s${i % 3}`,
    unit: 'count',
    value: pack * 1000 + i,
    atMs: LONG_AGO_MS + pack * 10_000 + Math.floor(i / 3),
  }))
}

function valuesOf(rows: readonly HistoryRow[]): number[] {
  return rows.flatMap((row) => ('gap' in row ? [] : [row.value]))
}

describe('readings without a date', () => {
  it('are told with the time since their start, until that is known', async () => {
    await using made = folders()
    const dir = await made.make()
    const first = await startDevice(dir)
    await makeHome(first)
    await first.stop()
    const db = openDatabase(join(dir, DATABASE), MIGRATIONS)
    const { seed } = await loadOrCreateSeed(dir, systemRandom)
    const signer = signerFromSeed(seed.reveal())
    const home = openOpStore(db).home()
    assert.ok(home)
    const store = openPackStore(db)
    const bootId = new Uint8Array(16).fill(9)
    const early = { home, bootId, clock: 'unset' as const, born: undefined }
    let prev: Uint8Array | undefined
    for (let seq = 1; seq <= 40; seq++) {
      const readings = [
        { sensor: 'load', unit: '/', value: seq, atMs: -500 },
        { sensor: 'heat', unit: 'Cel', value: -seq, atMs: 0 },
      ]
      const linked = prev === undefined ? {} : { prev }
      const pack = packOf(signer, { ...early, seq, ...linked, mono: seq * 1000, readings })
      store.insert([{ pack, receivedAtMs: Date.now() }])
      prev = pack.hash
    }
    db.close()
    const device = await startDevice(dir)
    const rows = await all(device.view.unplaced({ device: 'kitchen' }, forever))
    assert.deepEqual(
      rows.map(({ sensor, value, seq, unplaced }) => [sensor, value, seq, unplaced.sinceStartMs]),
      Array.from({ length: 40 }, (_, i) => i + 1).flatMap((seq) => [
        ['load', seq, seq, seq * 1000 - 500],
        ['heat', -seq, seq, seq * 1000],
      ]),
    )
    assert.equal(rows[0]?.unplaced.boot, '09'.repeat(16))
    assert.equal(rows[0]?.verified, true)
    const heat = await all(device.view.unplaced({ device: 'kitchen', sensor: 'heat' }, forever))
    assert.equal(heat.length, 40)
    const dated = await all(device.view.history({ device: 'kitchen' }, forever))
    assert.ok(!dated.some((row) => 'sensor' in row && row.sensor === 'heat'))
    await device.stop()
  })
})

describe('history', () => {
  it('gives each of thousands of readings once, in order, and each gap once in its place', async () => {
    await using made = folders()
    const packs = new Map([1, 2, 3, 4, 6, 7, 9].map((seq) => [seq, three(seq, 510)] as const))
    await using device = await withLog(await made.make(), packs)
    const rows = await all(device.view.history({ device: 'kitchen' }, forever))
    const wanted = [...packs.values()].flatMap((readings) => readings.map(({ value }) => value))
    assert.deepEqual(valuesOf(rows), wanted)
    const gaps = rows.flatMap((row, i) => ('gap' in row ? [{ i, ...row.gap }] : []))
    const [after4, at6] = [packs.get(4)?.at(-1)?.atMs, packs.get(6)?.[0]?.atMs]
    const [after7, at9] = [packs.get(7)?.at(-1)?.atMs, packs.get(9)?.[0]?.atMs]
    assert.deepEqual(gaps, [
      { i: 4 * 510, from: after4, to: at6 },
      { i: 6 * 510 + 1, from: after7, to: at9 },
    ])
  })

  it('asks for one sensor, a time and averages', async () => {
    await using made = folders()
    const packs = new Map([
      [1, three(1, 6)],
      [2, three(2, 6)],
    ])
    await using device = await withLog(await made.make(), packs)
    const ask = (query: object): Promise<HistoryRow[]> =>
      all(device.view.history({ device: 'kitchen', ...query }, forever))
    assert.deepEqual(valuesOf(await ask({ sensor: 's1' })), [1001, 1004, 2001, 2004])
    assert.deepEqual(
      valuesOf(await ask({ sensor: 's1', since: LONG_AGO_MS + 20_000 })),
      [2001, 2004],
    )
    assert.deepEqual(valuesOf(await ask({ sensor: 's1', until: LONG_AGO_MS + 10_001 })), [1001])
    const means = await ask({ sensor: 's1', since: LONG_AGO_MS, everyMs: 10_000 })
    assert.deepEqual(valuesOf(means), [1002.5, 2002.5])
    assert.equal((await refusal(ask({ device: 'nobody' }))).code, 'NODE_NOT_FOUND')
  })

  it('keeps a moment with more readings than a page together', async () => {
    await using made = folders()
    const moment = (seq: number): Reading[] =>
      Array.from({ length: 512 }, (_, i) => ({
        sensor: `s${i}`,
        value: seq * 1000 + i,
        atMs: LONG_AGO_MS,
      }))
    const later = [{ sensor: 'late', value: 1, atMs: LONG_AGO_MS + 1 }]
    const packs = new Map([
      [1, moment(1)],
      [2, moment(2)],
      [3, moment(3)],
      [4, later],
    ])
    await using device = await withLog(await made.make(), packs)
    const rows = await all(device.view.history({ device: 'kitchen' }, forever))
    assert.equal(new Set(valuesOf(rows)).size, 3 * 512 + 1)
    assert.equal(rows.length, 3 * 512 + 1)
  })
})
