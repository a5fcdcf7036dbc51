import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, it } from 'node:test'

import { beginStart, forgetDevice } from '../../node/storage/first-start.ts'

const NAMES = { key: 'the.key', database: 'the.db' }
let dir = ''

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kith-test-'))
})
afterEach(() => rm(dir, { recursive: true }))

const put = (name: string): Promise<void> => writeFile(join(dir, name), 'x')

it('leaves nothing behind once both files are there', async () => {
  const start = await beginStart(dir, NAMES)
  await put(NAMES.key)
  await put(NAMES.database)
  await start.done()
  assert.deepEqual((await readdir(dir)).toSorted(), ['the.db', 'the.key'])
})

it('goes on where a first start ended between key and database', async () => {
  await beginStart(dir, NAMES)
  await put(NAMES.key)
  await beginStart(dir, NAMES)
})

it('refuses a key whose database is gone, and changes nothing', async () => {
  const start = await beginStart(dir, NAMES)
  await put(NAMES.key)
  await put(NAMES.database)
  await start.done()
  await rm(join(dir, NAMES.database))
  await assert.rejects(beginStart(dir, NAMES), { code: 'NODE_DATABASE' })
  assert.deepEqual(await readdir(dir), ['the.key'])
})

it('ends a factory reset that was interrupted after the key was gone', async () => {
  await (await beginStart(dir, NAMES)).done()
  await forgetDevice(dir, NAMES)
  await put(NAMES.database)
  await beginStart(dir, NAMES)
  assert.deepEqual(await readdir(dir), ['first-start'])
})
