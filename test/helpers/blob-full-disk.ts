/**
 * Runs alone on a small file system of its own, whose folder is the argument, and fills it for real.
 * Prints the name of each check that held. Started by blobs-crash.test.ts.
 */
import assert from 'node:assert/strict'
import { readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

import { openBlobs, type BlobStore } from '../../node/storage/blobs.ts'
import { noiseOf, type TestBlob } from './blobs.ts'

const root = process.argv[2] ?? ''
const folder = join(root, 'blobs')
const filler = join(root, 'filler')
const KiB = 1024
const clock = { now: () => 1_800_000_000_000 }

function free(): number {
  const { bavail, bsize } = statfsSync(root)
  return bavail * bsize
}

function fill(rest: number): void {
  rmSync(filler, { force: true })
  writeFileSync(filler, new Uint8Array(Math.max(0, free() - rest)))
}

function blobs(count: number, from: string): TestBlob[] {
  return Array.from({ length: count }, (_, i) => noiseOf(`${from}${i}`, 64 * KiB))
}

function assertNothingHalf(): void {
  assert.deepEqual(readdirSync(join(folder, 'tmp')), [])
}

async function putAll(store: BlobStore, all: readonly TestBlob[]): Promise<void> {
  for (const { chunk, blob } of all) await store.put(chunk, blob)
}

async function check(name: string, run: () => Promise<void>): Promise<void> {
  await run()
  process.stdout.write(`${name}\n`)
}

await check('old ones make room', async () => {
  const old = blobs(20, 'old')
  const store = await openBlobs({ folder, maxBytes: Infinity, clock })
  await putAll(store, old)
  fill(100 * KiB)
  const fresh = blobs(10, 'new')
  await putAll(store, fresh)
  for (const { chunk, raw } of fresh) {
    assert.deepEqual(Buffer.from((await store.get(chunk.hash))?.bytes ?? []), Buffer.from(raw))
  }
  assert.ok(old.filter(({ chunk }) => store.has(chunk.hash)).length < 20)
  assertNothingHalf()
  await store[Symbol.asyncDispose]()
})

await check('pinned ones stay, and it says so', async () => {
  const store = await openBlobs({ folder, maxBytes: Infinity, clock })
  const kept = blobs(10, 'new')
  await store.pin(
    new Uint8Array(32),
    kept.map(({ chunk }) => chunk.hash),
  )
  const more = blobs(40, 'more')
  const hashes = more.map(({ chunk }) => chunk.hash)
  await store.pin(new Uint8Array(32).fill(1), hashes)
  fill(0)
  await assert.rejects(store.pin(new Uint8Array(32).fill(2), hashes), { code: 'BLOBS_DISK_FULL' })
  await assert.rejects(putAll(store, more), { code: 'BLOBS_DISK_FULL' })
  for (const { chunk } of kept) assert.ok(await store.get(chunk.hash))
  assertNothingHalf()
  rmSync(filler)
  const one = noiseOf('after', 64 * KiB)
  await store.put(one.chunk, one.blob)
  await store[Symbol.asyncDispose]()
})

await check('others keep their room', async () => {
  rmSync(folder, { recursive: true, force: true })
  const minFreeBytes = 4096 * KiB
  const store = await openBlobs({ folder, maxBytes: Infinity, minFreeBytes, clock })
  fill(minFreeBytes + 1024 * KiB)
  const all = blobs(60, 'room')
  await putAll(store, all)
  assert.ok(free() >= minFreeBytes - 64 * KiB, `${free()}`)
  assert.ok(store.has(all.at(-1)?.chunk.hash ?? new Uint8Array()))
  await store[Symbol.asyncDispose]()
})
