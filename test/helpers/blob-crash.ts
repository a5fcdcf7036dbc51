/**
 * Runs alone: uses a blob store in the folder of the first argument, and kills itself without a word
 * at the call of the file system whose number is the second: before it, or with a write half done.
 * Says what was done before it went on. Started by blobs-crash.test.ts.
 */
import files, { promises as fs, writeSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import process from 'node:process'
import { promisify } from 'node:util'

import { noiseOf } from './blobs.ts'

const folder = process.argv[2] ?? ''
const killAt = Number(process.argv[3])

type Call = (...args: unknown[]) => Promise<unknown>
const calls = ['mkdir', 'open', 'rm', 'utimes'] as const
const syncCalls = ['openSync', 'closeSync', 'renameSync'] as const
let count = 0

function die(): void {
  process.kill(process.pid, 'SIGKILL')
  // The signal may take a moment; nothing is to be done in it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

function counted(call: Call): Call {
  return async (...args) => {
    if (count++ === killAt) die()
    return await call(...args)
  }
}

for (const name of calls) {
  Object.assign(fs, { [name]: counted(fs[name].bind(fs) as Call) })
}
for (const name of syncCalls) {
  const call = files[name] as (...args: unknown[]) => unknown
  const countedCall = (...args: unknown[]): unknown => {
    if (count++ === killAt) die()
    return call(...args)
  }
  Object.assign(files, { [name]: countedCall })
}
const write = promisify(files.write)
type Write = (fd: number, bytes: Uint8Array, at: number, length: number) => Promise<unknown>
const writeOrHalf: Write = async (fd, bytes, at, length) => {
  if (count++ === killAt) {
    writeSync(fd, bytes, at, length >> 1)
    die()
  }
  return write(fd, bytes, at, length)
}
Object.assign(files, { write: Object.assign(() => undefined, { [promisify.custom]: writeOrHalf }) })
syncBuiltinESMExports()

/** A write that is cut in the middle, and a sync, count as well. */
const probe = await fs.open(folder, 'r')
type Method = (...args: unknown[]) => Promise<void>
const handles = Object.getPrototypeOf(probe) as Record<'writeFile' | 'sync', Method>
await probe.close()

function countedMethod(
  name: keyof typeof handles,
  first: (handle: typeof probe, args: readonly unknown[]) => Promise<unknown>,
): void {
  const method = handles[name]
  handles[name] = async function run(this: typeof probe, ...args) {
    if (count++ === killAt) {
      await first(this, args)
      die()
    }
    await method.apply(this, args)
  }
}

countedMethod('writeFile', async (handle, [bytes]) => {
  const whole = bytes as Uint8Array
  await handle.write(whole, 0, whole.length >> 1)
})
countedMethod('sync', async () => undefined)
count = 0

const { openBlobs } = await import('../../node/storage/blobs.ts')

function say(text: string): void {
  writeSync(1, `${text}\n`)
}

const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map((seed) => noiseOf(seed))
if (a === undefined || b === undefined || c === undefined || d === undefined || e === undefined) {
  throw new Error('five')
}
let nowMs = 0
const clock = { now: () => (nowMs += 10_000_000) }
const store = await openBlobs({ folder, maxBytes: 3_500, clock })
await store.put(a.chunk, a.blob)
say('put a')
await store.pin(a.chunk.hash, [a.chunk.hash, b.chunk.hash])
say('pin')
await store.put(b.chunk, b.blob)
say('put b')
await store.flush()
await store.put(c.chunk, c.blob)
say('put c')
await store.get(b.chunk.hash)
say('less c')
await store.put(d.chunk, d.blob)
say('put d')
say('less a')
await store.delete(a.chunk.hash)
await store.put(e.chunk, e.blob)
say('put e')
say('unpin')
await store.unpin(a.chunk.hash)
await store[Symbol.asyncDispose]()
say(`calls ${count}`)
