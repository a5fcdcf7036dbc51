import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { inspect } from 'node:util'

import fc from 'fast-check'

import { KEY_FILE, loadOrCreateSeed } from '../../node/storage/key-file.ts'
import { seededRandom } from '../helpers/random.ts'

let dir: string
let path: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kith-key-'))
  path = join(dir, KEY_FILE)
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const load = (seed = 'key') => loadOrCreateSeed(dir, seededRandom(seed))

describe('the key file', () => {
  it('is made at the first start, private, and is the same ever after', async () => {
    const first = await load('one')
    const second = await load('two')
    assert.deepEqual([first.created, second.created], [true, false])
    assert.equal(first.seed.reveal().length, 32)
    assert.deepEqual(second.seed.reveal(), first.seed.reveal())
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    assert.equal((await stat(path)).size, 72)
  })

  it('is not made anew beside a database or another copy of a key', async () => {
    for (const trace of ['kith.db', 'kith.db-wal', 'packs.sqlite', 'identity.key.bak']) {
      await writeFile(join(dir, trace), '')
      await assert.rejects(load(), {
        code: 'NODE_KEY_FILE',
        message: new RegExp(`is missing, though ${trace}`),
      })
      await assert.rejects(stat(path), { code: 'ENOENT' })
      await rm(join(dir, trace))
    }
  })

  it('is made in a folder that holds only settings and the lock', async () => {
    for (const name of ['config.toml', 'kith.lock', 'kith.pid', 'kith.sock'])
      await writeFile(join(dir, name), '')
    assert.equal((await load()).created, true)
  })

  it('is refused with any byte changed, added or lost', async () => {
    await load()
    const good = new Uint8Array(await readFile(path))
    await fc.assert(
      fc.asyncProperty(
        fc.nat(good.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (at, flip) => {
          const bad = good.slice()
          bad[at] = (bad[at] ?? 0) ^ flip
          await writeFile(path, bad)
          await assert.rejects(load(), { code: 'NODE_KEY_FILE', message: /is damaged/ })
        },
      ),
      { numRuns: 50 },
    )
    for (const bad of [
      new Uint8Array(),
      good.slice(0, 32),
      good.slice(0, -1),
      Uint8Array.of(...good, 0),
    ]) {
      await writeFile(path, bad)
      await assert.rejects(load(), { code: 'NODE_KEY_FILE' })
    }
    await writeFile(path, good)
    assert.equal((await load()).created, false)
  })

  it('is refused when others can read it, until that is mended as the hint says', async () => {
    await load()
    await chmod(path, 0o644)
    await assert.rejects(load(), { code: 'NODE_KEY_FILE', hint: new RegExp(`chmod 600 '${path}'`) })
    await chmod(path, 0o600)
    await load()
  })

  it('is refused behind a symbolic link', async () => {
    await load()
    await rename(path, join(dir, 'moved'))
    await symlink(join(dir, 'moved'), path)
    await assert.rejects(load(), { code: 'NODE_KEY_FILE', message: /is a symbolic link/ })
  })

  it('is refused in a folder that others can change', async () => {
    await chmod(dir, 0o777)
    await assert.rejects(load(), { code: 'NODE_DENIED' })
  })

  it('makes one identity of two first starts at once', async () => {
    const both = await Promise.allSettled([load('a'), load('b')])
    const made = both.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    const now = (await load()).seed.reveal()
    assert.ok(made.length > 0)
    for (const { seed } of made) assert.deepEqual(seed.reveal(), now)
  })

  it('never shows its seed in an error or a print', async () => {
    const { seed } = await load()
    const hex = Buffer.from(seed.reveal()).toString('hex')
    await chmod(path, 0o644)
    const error: unknown = await load().catch((thrown: unknown) => thrown)
    assert.ok(!`${inspect(error)}${inspect(seed)}`.includes(hex.slice(0, 16)))
    assert.equal(inspect({ seed }), '{ seed: [secret] }')
  })
})
