import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { lockFolder } from '../../node/storage/lock.ts'

const LOCK = new URL('../../node/storage/lock.ts', import.meta.url).href

let dir: string
const children: ChildProcess[] = []
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kith-lock-'))
})
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await rm(dir, { recursive: true, force: true })
})

/** Another process that takes the lock, says so, and holds it until it is killed. */
async function holder(): Promise<ChildProcess> {
  const code = `
    const { lockFolder } = await import(${JSON.stringify(LOCK)})
    const lock = await lockFolder(process.argv[1])
    console.log('held')
    setInterval(() => lock, 1e6)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code, dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  await new Promise((resolve) => child.stdout?.once('data', resolve))
  return child
}

function ended(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve) => child.once('close', resolve))
}

describe('the lock on a data folder', () => {
  it('refuses a second process and names the first', async () => {
    const child = await holder()
    await assert.rejects(lockFolder(dir), {
      code: 'NODE_LOCKED',
      message: new RegExp(`already running on ${dir}: process ${child.pid}\\.`),
      hint: /--data-dir/,
    })
  })

  it('is free at once when its holder was killed', async () => {
    const child = await holder()
    const end = ended(child)
    child.kill('SIGKILL')
    await end
    await using lock = await lockFolder(dir)
    assert.ok(lock)
    await assert.rejects(lockFolder(dir), { message: new RegExp(`process ${process.pid}\\.`) })
  })

  it('is free again when it is given back, twice if need be', async () => {
    const lock = await lockFolder(dir)
    await lock[Symbol.asyncDispose]()
    await lock[Symbol.asyncDispose]()
    await using again = await lockFolder(dir)
    await lock[Symbol.asyncDispose]()
    assert.ok(again)
    await assert.rejects(lockFolder(dir), { code: 'NODE_LOCKED' })
  })

  it('leaves no journal or other file that grows', async () => {
    await using lock = await lockFolder(dir)
    assert.ok(lock)
    assert.deepEqual((await readdir(dir)).toSorted(), ['kith.lock', 'kith.pid'])
  })
})
