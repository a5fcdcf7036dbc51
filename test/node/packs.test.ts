import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, it } from 'node:test'

import { openDatabase } from '../../node/storage/db.ts'
import { migration, openPackStore, type PackStore } from '../../node/storage/packs.ts'
import {
  FLAGS,
  openPack,
  sealPack,
  type Pack,
  type Reading,
} from '../../protocols/telemetry/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import {
  chainOf,
  CONTEXT,
  deviceOf,
  HOME,
  manyReadings,
  packOf,
  reading,
  START_MS,
} from '../helpers/telemetry.ts'

const own = deviceOf('own')
const other = deviceOf('other')
const folders: string[] = []

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function tempFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kith-packs-'))
  folders.push(folder)
  return join(folder, 'kith.db')
}

function memoryStore(): PackStore {
  return openPackStore(openDatabase(':memory:', [migration]))
}

function append(store: PackStore, readings: readonly Reading[], nowMs = START_MS): Pack {
  const rest = { bootId: new Uint8Array(16), epoch: 0, clock: 'synced', readings } as const
  return store.appendOwn(
    own.key,
    (seq, prev) => sealPack({ ...rest, seq, prev, mono: seq, born: nowMs - seq }, HOME, own),
    nowMs,
  )
}

function give(store: PackStore, packs: readonly Pack[], receivedAtMs = START_MS): string[] {
  return store.insert(packs.map((pack) => ({ pack, receivedAtMs }))).map(({ verdict }) => verdict)
}

const all = { sinceMs: 0, untilMs: 2 * START_MS }

describe('the own log', () => {
  it('goes on with number and link after a restart', () => {
    const file = tempFile()
    const db = openDatabase(file, [migration])
    const first = append(openPackStore(db), [reading()])
    db.close()
    const again = openDatabase(file, [migration])
    const second = append(openPackStore(again), [reading()])
    assert.equal(second.seq, 2)
    assert.ok(equalBytes(second.prev, first.hash))
    again.close()
  })

  it('goes on with its number when retention took every older pack', () => {
    const store = memoryStore()
    for (let i = 0; i < 5; i++) append(store, [reading()])
    assert.equal(store.prune({ receivedBeforeMs: Infinity, maxBytes: Infinity }), 4)
    assert.deepEqual(store.bounds(own.key), { first: 5, head: 5 })
    assert.equal(append(store, [reading()]).seq, 6)
  })

  it('is announced once it is on disk, and not where making the pack failed', () => {
    const file = tempFile()
    const db = openDatabase(file, [migration])
    const store = openPackStore(db)
    const seen: number[] = []
    store.onNew((device) => {
      const reader = openDatabase(file, [migration])
      seen.push(openPackStore(reader).read(device, 1, 10).length)
      reader.close()
    })
    append(store, [reading()])
    assert.throws(() => append(store, [reading({ value: Number.NaN })]))
    append(store, [reading()])
    assert.deepEqual(seen, [1, 2])
    db.close()
  })

  it('has kept what was acknowledged when the process is killed', () => {
    const file = tempFile()
    const root = new URL('../../', import.meta.url).href
    const script = `
      import { openDatabase } from '${root}node/storage/db.ts'
      import { migration, openPackStore } from '${root}node/storage/packs.ts'
      import { chainOf, deviceOf } from '${root}test/helpers/telemetry.ts'
      import { writeSync } from 'node:fs'
      const store = openPackStore(openDatabase(process.argv[1], [migration]))
      for (const pack of chainOf(deviceOf('other'), 20)) {
        store.insert([{ pack, receivedAtMs: ${START_MS} }])
        writeSync(1, pack.seq + ' ')
        if (pack.seq === 12) process.kill(process.pid, 'SIGKILL')
      }`
    const args = ['--input-type=module-typescript', '-e', script, file]
    const { signal, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    assert.equal(signal, 'SIGKILL', stderr)
    const acknowledged = Number(stdout.trim().split(' ').at(-1))
    const db = openDatabase(file, [migration])
    const store = openPackStore(db)
    assert.equal(acknowledged, 12)
    assert.equal(store.head(other.key), acknowledged)
    const packs = store.read(other.key, 1, 100)
    for (const { bytes } of packs) openPack(bytes, CONTEXT, other.key)
    assert.equal(packs.length, acknowledged)
    db.close()
  })
})

describe('the logs of others', () => {
  it('are taken once, in any order, with gaps named and filled', () => {
    const store = memoryStore()
    const [a, b, c, d] = chainOf(other, 4)
    assert.ok(a && b && c && d)
    assert.deepEqual(give(store, [a, d, a]), ['accept', 'accept', 'known'])
    assert.deepEqual(store.gaps(other.key), [{ from: 2, to: 3 }])
    assert.deepEqual(
      store
        .history(other.key, all)
        .map((row) => (row.kind === 'gap' ? [row.from, row.to] : row.kind)),
      ['reading', [2, 3], 'reading'],
    )
    assert.deepEqual(give(store, [c, b]), ['accept', 'accept'])
    assert.deepEqual(store.gaps(other.key), [])
    const kept = store.read(other.key, 1, 10)
    assert.deepEqual(
      kept.map(({ seq }) => seq),
      [1, 2, 3, 4],
    )
    assert.deepEqual(
      kept.map(({ bytes }) => Buffer.from(bytes)),
      [a, b, c, d].map(({ bytes }) => Buffer.from(bytes)),
    )
  })

  it('keep what they know across a restart', () => {
    const file = tempFile()
    const [a, b, c] = chainOf(other, 3)
    assert.ok(a && b && c)
    const db = openDatabase(file, [migration])
    give(openPackStore(db), [a, c, packOf(other, { readings: [reading({ value: 7 })] })])
    db.close()
    const again = openDatabase(file, [migration])
    const store = openPackStore(again)
    assert.deepEqual(store.gaps(other.key), [{ from: 2, to: 2 }])
    assert.equal(store.forks(other.key).length, 1)
    const [kept] = store.insert([{ pack: b, receivedAtMs: START_MS }])
    assert.ok(kept?.verdict === 'accept')
    assert.equal(kept.flags, FLAGS.late | FLAGS.quarantined)
    again.close()
  })

  it('keep both packs as proof of two histories, once, until an owner decides', () => {
    const store = memoryStore()
    const [a, b] = chainOf(other, 2)
    assert.ok(a && b)
    const twin = packOf(other, { readings: [reading({ value: 7 })] })
    give(store, [a])
    const found = store.insert([twin, twin].map((pack) => ({ pack, receivedAtMs: START_MS })))
    assert.deepEqual(
      found.map((one) => one.verdict === 'fork' && one.fresh),
      [true, false],
    )
    const [proof] = store.forks(other.key)
    assert.deepEqual(
      proof && [proof.seq, proof.kept, proof.other].map(plain),
      [1, a.bytes, twin.bytes].map(plain),
    )
    store.release(other.key)
    const [next] = store.insert([{ pack: b, receivedAtMs: START_MS }])
    assert.equal(next?.verdict === 'accept' && next.flags, 0)
  })

  it('keep the receiver’s time where the device’s clock lies', () => {
    const store = memoryStore()
    const lie = reading({ atMs: START_MS + 3650 * 86_400_000 })
    give(store, [packOf(other, { readings: [lie] })])
    const [row] = store.history(other.key, all)
    assert.ok(row?.kind === 'reading')
    assert.deepEqual([row.atMs, row.flags], [START_MS, FLAGS.clockImplausible])
  })
})

describe('history', () => {
  it('summarises numbers by span, and leaves text out', () => {
    const store = memoryStore()
    const values = [3, 1, 2, 10].map((value, i) => reading({ value, atMs: START_MS + i * 400 }))
    append(store, [...values, { sensor: 'load', value: 'high', atMs: START_MS }])
    const span = { sinceMs: START_MS, untilMs: START_MS + 2000, everyMs: 1000, sensor: 'load' }
    assert.deepEqual(store.history(own.key, span), [
      {
        kind: 'bucket',
        sensor: 'load',
        unit: 'count',
        atMs: START_MS,
        everyMs: 1000,
        min: 1,
        mean: 2,
        max: 3,
        last: 2,
        count: 3,
      },
      {
        kind: 'bucket',
        sensor: 'load',
        unit: 'count',
        atMs: START_MS + 1000,
        everyMs: 1000,
        min: 10,
        mean: 10,
        max: 10,
        last: 10,
        count: 1,
      },
    ])
  })

  it('gives values of every kind as they were, for the sensors and the time asked for', () => {
    const store = memoryStore()
    const given = [
      { sensor: 'door.open', value: false, atMs: START_MS },
      { sensor: 'door.open', value: true, atMs: START_MS + 1 },
      { sensor: 'mode', value: '', atMs: START_MS + 2 },
      reading({ atMs: START_MS + 3, value: 0.1 }),
    ]
    append(store, given)
    const rows = store.history(own.key, all).map((row) => row.kind === 'reading' && row.value)
    assert.deepEqual(rows, [false, true, '', 0.1])
    const some = store.history(own.key, { ...all, sensor: 'door.*', untilMs: START_MS + 1 })
    assert.deepEqual(
      some.map((row) => row.kind === 'reading' && row.value),
      [false],
    )
    assert.equal(store.history(own.key, { ...all, limit: 2 }).length, 2)
    assert.deepEqual(store.history(other.key, all), [])
  })

  it('refuses a question with too many spans', () => {
    const store = memoryStore()
    append(store, [reading()])
    assert.throws(
      () => store.history(own.key, { ...all, untilMs: START_MS + 20_000, everyMs: 1 }),
      { code: 'NODE_USAGE' },
    )
  })
})

describe('retention', () => {
  it('takes the oldest first, by age, with their readings, and never the newest of a log', () => {
    const store = memoryStore()
    for (const [i, pack] of chainOf(other, 4).entries()) give(store, [pack], START_MS + i)
    append(store, [reading()], START_MS)
    assert.equal(store.prune({ receivedBeforeMs: START_MS + 2, maxBytes: Infinity }), 2)
    assert.equal(store.prune({ receivedBeforeMs: START_MS + 2, maxBytes: Infinity }), 0)
    assert.equal(store.bounds(other.key)?.first, 3)
    assert.equal(store.history(other.key, all).length, 2)
    assert.equal(store.read(own.key, 1, 9).length, 1)
    assert.deepEqual(give(store, chainOf(other, 1)), ['known'])
  })

  it('takes the oldest first, by room', () => {
    const store = memoryStore()
    for (let i = 0; i < 150; i++) append(store, manyReadings(50))
    const limits = { receivedBeforeMs: 0, maxBytes: 300_000 }
    let rounds = 0
    while (store.prune(limits) > 0) rounds++
    assert.ok(rounds > 1)
    const { first = 0 } = store.bounds(own.key) ?? {}
    assert.ok(first > 60 && first < 150, `${first}`)
  })

  it('makes room on a full disk, and keeps the newest', () => {
    const db = openDatabase(':memory:', [migration])
    db.exec('PRAGMA max_page_count = 100')
    const store = openPackStore(db)
    for (let i = 1; i <= 300; i++) assert.equal(append(store, manyReadings(50)).seq, i)
    const { first, head } = store.bounds(own.key) ?? { first: 0, head: 0 }
    assert.equal(head, 300)
    assert.ok(first > 200)
    assert.equal(store.history(own.key, { ...all, limit: 1 }).length, 1)
  })

  it('says so where nothing can be removed, and goes on once there is room', () => {
    const db = openDatabase(':memory:', [migration])
    db.exec('PRAGMA max_page_count = 1')
    const store = openPackStore(db)
    assert.throws(() => append(store, manyReadings(500)), { code: 'NODE_DATABASE' })
    assert.equal(store.head(own.key), 0)
    db.exec('PRAGMA max_page_count = 1000')
    assert.equal(append(store, manyReadings(500)).seq, 1)
    assert.deepEqual(
      store.heads().map(({ seq }) => seq),
      [1],
    )
  })
})

function plain(value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value
}
