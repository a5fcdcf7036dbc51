import assert from 'node:assert/strict'
import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterEach, beforeEach, describe, it } from 'node:test'

import {
  createFileAtomic,
  ensurePrivateFolder,
  readPrivateFile,
  writeFileAtomic,
} from '../../node/storage/files.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kith-files-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('atomic files', () => {
  it('replace the old content, hold their mode under any umask, and leave nothing else behind', async () => {
    const path = join(dir, 'f')
    const umask = process.umask(0o777)
    try {
      await writeFileAtomic(path, bytes('one'))
      await writeFileAtomic(path, bytes('two'), 0o640)
    } finally {
      process.umask(umask)
    }
    assert.equal(await readFile(path, 'utf8'), 'two')
    assert.equal((await stat(path)).mode & 0o777, 0o640)
    assert.deepEqual(await readdir(dir), ['f'])
  })

  it('replace a link and not what it points to', async () => {
    await writeFile(join(dir, 'target'), 'mine')
    await symlink(join(dir, 'target'), join(dir, 'f'))
    await writeFileAtomic(join(dir, 'f'), bytes('new'))
    assert.equal(await readFile(join(dir, 'target'), 'utf8'), 'mine')
  })

  it('clean up after a write that cannot be placed', async () => {
    await mkdir(join(dir, 'f'))
    await assert.rejects(writeFileAtomic(join(dir, 'f'), bytes('x')), { code: 'EISDIR' })
    assert.deepEqual(await readdir(dir), ['f'])
  })

  it('never replace where they are to be created', async () => {
    const path = join(dir, 'f')
    await createFileAtomic(path, bytes('first'))
    await assert.rejects(createFileAtomic(path, bytes('second')), { code: 'EEXIST' })
    assert.equal(await readFile(path, 'utf8'), 'first')
    assert.equal((await stat(path)).nlink, 1)
    assert.deepEqual(await readdir(dir), ['f'])
  })

  it('are made by one only of many at once', async () => {
    const path = join(dir, 'f')
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, (_, index) => createFileAtomic(path, bytes(String(index)))),
    )
    const winners = results.flatMap(({ status }, index) =>
      status === 'fulfilled' ? [String(index)] : [],
    )
    assert.deepEqual(winners, [await readFile(path, 'utf8')])
  })
})

describe('private folders', () => {
  it('are made for this user alone, whatever the umask', async () => {
    const umask = process.umask(0)
    try {
      await ensurePrivateFolder(join(dir, 'a', 'b'))
    } finally {
      process.umask(umask)
    }
    assert.equal((await stat(join(dir, 'a', 'b'))).mode & 0o777, 0o700)
  })

  it('are refused where others could exchange their files', async () => {
    for (const mode of [0o777, 0o770, 0o702]) {
      await chmod(dir, mode)
      await assert.rejects(ensurePrivateFolder(dir), {
        code: 'NODE_DENIED',
        hint: `Close it to them: chmod 700 '${dir}'`,
      })
    }
    await chmod(dir, 0o755)
    await ensurePrivateFolder(dir)
  })
})

describe('private files', () => {
  const cases: readonly [string, (path: string) => Promise<unknown>, RegExp][] = [
    ['readable by the group', (path) => chmod(path, 0o640), /mode 0640/],
    ['writable by others', (path) => chmod(path, 0o602), /mode 0602/],
    ['with a second name', (path) => link(path, `${path}2`), /hard link/],
    [
      'behind a symbolic link',
      async (path) => (await rm(path), symlink('/dev/zero', path)),
      /symbolic link/,
    ],
    ['that are folders', async (path) => (await rm(path), mkdir(path)), /is not a file/],
    ['longer than they can be', (path) => writeFile(path, 'x'.repeat(11)), /longer/],
  ]
  for (const [what, damage, why] of cases) {
    it(`are refused ${what}, with a hint`, async () => {
      const path = join(dir, 'secret')
      await writeFile(path, 'secret', { mode: 0o600 })
      assert.equal((await readPrivateFile(path, 10)).state, 'ok')
      await damage(path)
      const found = await readPrivateFile(path, 10)
      assert.ok(found.state === 'refused')
      assert.match(found.why, why)
      assert.ok(found.hint.length > 10)
    })
  }

  it('are told apart from missing ones', async () => {
    assert.deepEqual(await readPrivateFile(join(dir, 'none'), 10), { state: 'missing' })
  })
})
