import assert from 'node:assert/strict'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { systemClock } from '../../node/env.ts'
import {
  createInstaller,
  type Installs,
  type InstallsDeps,
  type Release,
} from '../../node/services/install/index.ts'
import {
  filesOf,
  installsIn,
  listing,
  listingOf,
  NEVER,
  releaseOf,
  writeTree,
} from '../helpers/installs.ts'
import { tarOf } from '../helpers/tars.ts'

const well = { seconds: 1, withinSeconds: 5, command: ['/bin/true'] }
const ill = { seconds: 1, withinSeconds: 1, command: ['/bin/false'] }

describe('a tree', () => {
  let root = ''
  let dir = ''
  let installs: Installs

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'kith-install-'))
    dir = join(root, 'installs')
    installs = installsIn(dir)
  })
  afterEach(() => rmSync(root, { recursive: true, force: true }))

  const put = async (release: Release, on = installs) => {
    await on.stage(release, writeTree(join(root, 'archive'), release.version), NEVER)
    return on.switch(release.name, NEVER)
  }
  const running = (): string => readFileSync(join(dir, 'app/current/VERSION'), 'utf8')
  const versions = (): string[] => readdirSync(join(dir, 'app/versions')).toSorted()
  const one = releaseOf('1.0', 1)
  const two = releaseOf('2.0', 2)

  it('is unpacked beside the one that runs, and runs when it is told to', async () => {
    assert.deepEqual(await put(one), { what: 'installed', release: one })
    await installs.stage(two, writeTree(join(root, 'archive'), '2.0'), NEVER)
    assert.equal(running(), '1.0')
    assert.deepEqual(await installs.switch('app', NEVER), { what: 'installed', release: two })
    assert.deepEqual(listing(join(dir, 'app/current')), listingOf('2.0'))
    assert.equal(readlinkSync(join(dir, 'app/current')), 'versions/2.0-2')
  })

  it('keeps two versions', async () => {
    for (const release of [one, two, releaseOf('3.0', 3)]) await put(release)
    assert.deepEqual(versions(), ['2.0-2', '3.0-3'])
    const { installed, previous, trial } = await installs.state('app')
    assert.deepEqual([installed?.version, previous?.version, trial], ['3.0', '2.0', undefined])
    assert.deepEqual(readdirSync(join(dir, 'app')).toSorted(), [
      'current',
      'journal.json',
      'versions',
    ])
  })

  it('is restarted by the command of the release, for the new version and for the way back', async () => {
    const log = join(root, 'restarts')
    const script = join(root, 'restart')
    writeFileSync(script, `#!/bin/sh\ncat ${dir}/app/current/VERSION >> ${log}; echo >> ${log}\n`, {
      mode: 0o755,
    })
    const args = { restart: script }
    await put({ ...one, args })
    await put({ ...two, args, health: ill })
    assert.equal(readFileSync(log, 'utf8'), '1.0\n2.0\n1.0\n')
  })

  it('that is ill is left by itself, once, and never tried again', async () => {
    await put({ ...one, health: well })
    const outcome = await put({ ...two, health: ill })
    assert.equal(outcome.what, 'rolled-back')
    assert.match('why' in outcome ? outcome.why : '', /false ended with 1/)
    assert.equal(running(), '1.0')
    assert.deepEqual(versions(), ['1.0-1'])
    await assert.rejects(put(two), { code: 'INSTALL_ILL' })
    assert.equal(running(), '1.0')
    await installs.forgive('app', two.id)
    assert.equal((await put(two)).what, 'installed')
  })

  it('that was the first and ill leaves nothing', async () => {
    assert.equal((await put({ ...one, health: ill })).what, 'rolled-back')
    assert.deepEqual(readdirSync(join(dir, 'app')).toSorted(), ['journal.json', 'versions'])
    assert.deepEqual(versions(), [])
  })

  it('whose restart fails is left', async () => {
    await put(one)
    const outcome = await put({ ...two, args: { restart: '/nowhere/restart' } }).catch(
      (error: Error) => error,
    )
    // The way back restarts too, and cannot; the old version is the one to run all the same.
    assert.ok(outcome instanceof Error)
    assert.equal(running(), '1.0')
    const again = await installsIn(dir, { site: () => ({ restart: {} }) }).resume('app', NEVER)
    assert.equal(again?.what, 'rolled-back')
    assert.deepEqual(versions(), ['1.0-1'])
  })

  it('is left by hand, and not installed again by itself', async () => {
    await put(one)
    await put(two)
    const outcome = await installs.rollback('app', NEVER)
    assert.deepEqual(outcome, { what: 'rolled-back', release: two, why: 'by hand' })
    assert.equal(running(), '1.0')
    await assert.rejects(put(two), { code: 'INSTALL_ILL' })
    await assert.rejects(installs.rollback('app', NEVER), { code: 'INSTALL_NO_WAY_BACK' })
  })

  it('that is hostile changes nothing', async () => {
    await put(one)
    const before = listing(dir)
    writeFileSync(
      join(root, 'archive'),
      tarOf([...filesOf('2.0'), { name: '../../evil', content: 'x' }]),
    )
    await assert.rejects(installs.stage(two, join(root, 'archive'), NEVER), {
      code: 'INSTALL_ARCHIVE',
    })
    assert.deepEqual(listing(dir), before)
    assert.equal(existsSync(join(dir, 'evil')), false)
  })

  it('is one at a time for a name', async () => {
    await put(one)
    const file = writeTree(join(root, 'archive'), '2.0')
    const first = installs.stage(two, file, NEVER)
    await assert.rejects(installs.stage(releaseOf('3.0', 3), file, NEVER), { code: 'INSTALL_BUSY' })
    await first
    await installs.discard('app', NEVER)
    await assert.rejects(installs.switch('app', NEVER), { code: 'INSTALL_NOT_STAGED' })
    assert.deepEqual(versions(), ['1.0-1'])
  })

  it('with a name that leads elsewhere is refused', async () => {
    for (const name of ['..', '../x', 'a/b', '', '.hidden']) {
      await assert.rejects(put(releaseOf('1.0', 1, { name })), { code: 'INSTALL_ARGUMENTS' })
    }
    await assert.rejects(put({ ...one, args: { unit: '--force.service' } }), {
      code: 'INSTALL_ARGUMENTS',
    })
    await assert.rejects(put({ ...one, args: { restart: 'reboot' } }), {
      code: 'INSTALL_ARGUMENTS',
    })
  })

  it('with a damaged journal changes nothing', async () => {
    await put(one)
    for (const text of ['', '{}', '[1]', '{"v":1,"ill":[],"trial":{}}', '{"v":1,"ill":[3]}']) {
      writeFileSync(join(dir, 'app/journal.json'), text)
      await assert.rejects(put(two), { code: 'INSTALL_JOURNAL' })
    }
    assert.equal(running(), '1.0')
  })

  describe('on trial', () => {
    /** Ends like a power cut: nothing more is done. */
    const cutShort = async (release: Release, more: Partial<InstallsDeps> = {}): Promise<void> => {
      const stop = new AbortController()
      const on = installsIn(dir, {
        ...more,
        reading: () => {
          stop.abort(new Error('off'))
          return undefined
        },
      })
      await on.stage(release, writeTree(join(root, 'archive'), release.version), NEVER)
      await assert.rejects(on.switch('app', stop.signal), /off/)
    }
    const watched = { ...two, health: { seconds: 1, withinSeconds: 9, reading: { sensor: 'cpu' } } }

    it('is judged after a start', async () => {
      await put(one)
      await cutShort(watched)
      assert.equal(running(), '2.0')
      const on = installsIn(dir, { reading: () => ({ value: 1, ageMs: 0 }) })
      assert.deepEqual(await on.resume('app', NEVER), { what: 'installed', release: watched })
      assert.equal(await on.resume('app', NEVER), undefined)
    })

    it('that never gets through a start is left with the fourth', async () => {
      await put(one)
      await cutShort(watched)
      for (let i = 0; i < 3; i++) {
        const stop = new AbortController()
        const on = installsIn(dir, {
          reading: () => {
            stop.abort(new Error('crash'))
            return undefined
          },
        })
        await assert.rejects(on.resume('app', stop.signal), /crash/)
        assert.equal(running(), '2.0')
      }
      const outcome = await installs.resume('app', NEVER)
      assert.match(outcome !== undefined && 'why' in outcome ? outcome.why : '', /started 3 times/)
      assert.equal(running(), '1.0')
      await assert.rejects(put(watched), { code: 'INSTALL_ILL' })
    })

    it('admits no other release, and is not left by hand', async () => {
      await put(one)
      await cutShort(watched)
      await assert.rejects(put(releaseOf('3.0', 3)), { code: 'INSTALL_BUSY' })
      await assert.rejects(installs.rollback('app', NEVER), { code: 'INSTALL_BUSY' })
    })

    it('that somebody else left counts as ill', async () => {
      await put(one)
      await cutShort(watched)
      const site = { root: join(dir, 'app'), clock: systemClock }
      await createInstaller(one, site).revert({ release: two, previous: one, signal: NEVER })
      assert.equal((await installs.resume('app', NEVER))?.what, 'rolled-back')
      assert.deepEqual((await installs.state('app')).ill, [two.id])
    })
  })

  it('is well where its port answers, and ill where it does not', async () => {
    const server = createServer((question, answer) => {
      answer.statusCode = question.url === '/health' ? 204 : 500
      answer.end()
    })
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = server.address() as AddressInfo
      const health = { seconds: 1, withinSeconds: 3, http: { port, path: '/health' } }
      assert.equal((await put({ ...one, health })).what, 'installed')
      const bad = { seconds: 1, withinSeconds: 1, http: { port, path: '/other' } }
      const outcome = await put({ ...two, health: bad })
      assert.match('why' in outcome ? outcome.why : '', /answers 500/)
    } finally {
      server.close()
    }
  })
})
