/**
 * Runs alone on a small file system of its own, whose folder is the argument, fills it for real, and
 * checks what each part does then. Prints the name of each check that held; throws at the first that
 * did not. Started by full-disk.test.ts.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import type { DatabaseSync } from 'node:sqlite'

import { Key } from 'interface-datastore'

import { MIGRATIONS } from '../../node/migrations.ts'
import { openBallast } from '../../node/storage/ballast.ts'
import { createWindowStore } from '../../node/storage/counters.ts'
import { openDatastore } from '../../node/storage/datastore.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { createFileAtomic, writeFileAtomic } from '../../node/storage/files.ts'
import { openOpStore } from '../../node/storage/ops.ts'
import { openPackStore, type PackStore } from '../../node/storage/packs.ts'
import { createPeerStore } from '../../node/storage/peers.ts'
import { openSensorChoices } from '../../node/storage/sensor-choices.ts'
import { NO_PREV, openPack } from '../../protocols/telemetry/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { virtualClock } from './clock.ts'
import { eventOf, makeHome, startDevice } from './device.ts'
import { genesisOf } from './members.ts'
import { CONTEXT, deviceOf, manyReadings, packOf, START_MS } from './telemetry.ts'

const MiB = 2 ** 20
const root = process.argv[2] ?? ''
const filler = join(root, 'filler')
const own = deviceOf('own')

function freeBytes(): number {
  const { bavail, bsize } = statfsSync(root)
  return bavail * bsize
}

/** Take all room but `rest` bytes, by what another program might write. */
function fill(rest = 0): void {
  rmSync(filler, { force: true })
  const bytes = freeBytes() - rest
  writeFileSync(filler, new Uint8Array(Math.max(0, bytes)))
}

function empty(): void {
  rmSync(filler, { force: true })
}

function append(store: PackStore): number {
  const make = (seq: number, prev: Uint8Array) =>
    packOf(own, { seq, prev, readings: manyReadings(50) })
  return store.appendOwn(own.key, make, START_MS).seq
}

async function check(name: string, run: () => void | Promise<void>): Promise<void> {
  await run()
  process.stdout.write(`${name}\n`)
}

function packs(): void {
  const path = join(root, 'packs.db')
  const db = openDatabase(path, MIGRATIONS)
  const ballast = openBallast(join(root, 'packs.ballast'))
  const store = openPackStore(db, ballast)
  const told: boolean[] = []
  store.onFull((full) => told.push(full))
  assert.equal(ballast.refill(), true)
  for (let i = 1; i <= 50; i++) append(store)
  fill(6 * MiB)
  for (let i = 51; i <= 1500; i++) assert.equal(append(store), i)
  const { first = 0, head } = store.bounds(own.key) ?? {}
  assert.equal(head, 1500)
  assert.ok(first > 50 && first < 1500, `oldest first: ${first}`)
  const kept = store.read(own.key, first, 2000)
  assert.equal(kept.length, 1500 - first + 1)
  let prev = NO_PREV
  for (const { seq, bytes } of kept) {
    const pack = openPack(bytes, CONTEXT, own.key)
    if (seq > first) assert.ok(equalBytes(pack.prev, prev), 'one chain')
    prev = pack.hash
  }
  assert.deepEqual(told, [true])
  assert.equal(existsSync(join(root, 'packs.ballast')), false)
  empty()
  store.prune({ receivedBeforeMs: 0, maxBytes: Infinity })
  assert.deepEqual(told, [true, false])
  assert.equal(existsSync(join(root, 'packs.ballast')), true)
  assertSound(db)
  db.close()
  for (const name of readdirSync(root)) rmSync(join(root, name))
}

function assertSound(db: DatabaseSync): void {
  const row = db.prepare('PRAGMA integrity_check').get()
  assert.deepEqual({ ...row }, { integrity_check: 'ok' })
}

async function others(): Promise<void> {
  const db = openDatabase(join(root, 'kith.db'), MIGRATIONS)
  const ops = openOpStore(db)
  const genesis = genesisOf('own')
  const windows = createWindowStore(db)
  const peers = createPeerStore(db)
  const choices = openSensorChoices(db)
  // Whatever room the log file of the database still has is used up first.
  const exhaust = (): void => {
    const big = db.prepare("INSERT OR REPLACE INTO libp2p VALUES ('big', zeroblob(3000000))")
    assert.throws(() => big.run())
  }
  const each: Readonly<Record<string, () => unknown>> = {
    'membership acts': () => ops.append(genesis.id, [genesis]),
    'pairing counters': () => windows.save([{ openedUptimeMs: 1, tries: 2 }]),
    'peers seen': () => peers.put(own.key, { seenMs: 1, address: '/ip6/::1', version: null }),
    'sensor choices': () => choices.set('load', true),
    'a new file': () => createFileAtomic(join(root, 'new'), new Uint8Array(MiB)),
    'a changed file': () => writeFileAtomic(join(root, 'new'), new Uint8Array(MiB).fill(1)),
  }
  for (const [name, write] of Object.entries(each)) {
    await check(name, async () => {
      db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
      fill()
      if (!name.endsWith('file')) exhaust()
      await assert.rejects(async () => await write())
      assert.equal(db.isTransaction, false)
      empty()
      await write()
    })
  }
  await check('what libp2p remembers', async () => {
    const clock = virtualClock()
    using store = openDatastore(db, clock)
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    fill()
    await store.put(new Key('/peer'), new Uint8Array(100_000))
    await clock.advance(5000)
    assert.equal((await store.get(new Key('/peer'))).length, 100_000)
    empty()
    await store.put(new Key('/other'), Uint8Array.of(1))
    await clock.advance(5000)
  })
  assert.equal(ops.loadAll().length, 1)
  assertSound(db)
  db.close()
  assert.deepEqual(
    readdirSync(root).filter((name) => name.endsWith('.tmp')),
    [],
  )
}

async function startOnFullDisk(): Promise<void> {
  for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true })
  const dir = join(root, 'device')
  const settings = { 'telemetry.interval': '1s', 'telemetry.sensors': '*' }
  {
    await using device = await startDevice(dir, settings)
    await makeHome(device)
  }
  fill()
  await using device = await startDevice(dir, settings)
  const before = await device.view.status()
  assert.equal(before.role, 'owner')
  const alarm = await eventOf(device, 'storage.full')
  assert.ok(alarm.id > 0)
  // It measures, keeps the newest, and answers.
  const seen: number[] = []
  for await (const { seq } of device.view.watch({}, AbortSignal.timeout(30_000))) {
    if (!seen.includes(seq)) seen.push(seq)
    if (seen.length === 3) break
  }
  assert.equal(seen.length, 3)
  assert.ok((await device.view.doctor()).some(({ check: name, ok }) => name === 'disk' && !ok))
}

async function main(): Promise<void> {
  await check('packs', packs)
  await others()
  await check('a start', startOnFullDisk)
}

await main()
