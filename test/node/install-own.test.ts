/* The program that installs itself: the process ends where others would be restarted, and the next one judges. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { createInstaller, type Installs } from '../../node/services/install/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { installsIn, NEVER, releaseOf, writeTree } from '../helpers/installs.ts'

describe('a program that installs itself', () => {
  let root = ''
  let installs: Installs
  let reached = 0
  let ended = 0
  const clock = virtualClock()
  const one = releaseOf('1.0', 1)
  const two = releaseOf('2.0', 2, { args: { restart: '/bin/false' } })

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'kith-own-'))
    ;[reached, ended] = [3, 0]
    installs = installsIn(root, {
      clock,
      launched: new Set(['app']),
      installer: (release, site) =>
        createInstaller(release, site, { again: () => void ended++, reached: () => reached }),
    })
  })
  afterEach(() => rmSync(root, { recursive: true, force: true }))

  const running = (): string => readFileSync(join(root, 'app/current/VERSION'), 'utf8')

  async function whileTimeGoesOn<T>(pending: Promise<T>): Promise<T> {
    const stop = new AbortController()
    const over = (): void => stop.abort()
    void pending.then(over, over)
    while (!stop.signal.aborted) await clock.advance(500)
    return pending
  }

  async function put(release: typeof one): Promise<string> {
    await installs.stage(release, writeTree(join(root, 'archive'), release.version), NEVER)
    return (await installs.switch('app', NEVER)).what
  }

  async function settled(release: typeof one): Promise<void> {
    assert.equal(await put(release), 'restarting')
    assert.equal((await installs.resume('app', NEVER))?.what, 'installed')
  }

  it('ends, is judged by the version that starts next, and listens to no restart of its release', async () => {
    assert.equal(await put(one), 'restarting')
    assert.deepEqual([ended, running()], [1, '1.0'])
    assert.equal((await installs.resume('app', NEVER))?.what, 'installed')
    await settled(two)
    assert.deepEqual([ended, running()], [2, '2.0'])
  })

  it('stays where it comes to others late, and is left where it reaches nobody', async () => {
    await settled(one)
    assert.equal(await put(two), 'restarting')
    reached = 0
    const late = installs.resume('app', NEVER)
    for (let i = 0; i < 30; i++) await clock.advance(1_000)
    reached = 1
    assert.equal((await whileTimeGoesOn(late))?.what, 'installed')

    const three = releaseOf('3.0', 3)
    assert.equal(await put(three), 'restarting')
    reached = 0
    const never = installs.resume('app', NEVER)
    assert.deepEqual(await whileTimeGoesOn(never), {
      what: 'rolled-back',
      release: three,
      why: 'it reaches no other device',
    })
    assert.equal(running(), '2.0')
    assert.equal(ended, 4, 'the ill one ends too')
    assert.deepEqual((await installs.state('app')).ill, [three.id])
  })

  it('that was alone before needs nobody', async () => {
    reached = 0
    await settled(one)
    assert.equal(
      realpathSync(join(root, 'app/current')),
      realpathSync(join(root, 'app/versions/1.0-1')),
    )
  })

  it('is a tree, and nothing else', async () => {
    const file = writeTree(join(root, 'archive'), '1.0')
    const other = releaseOf('1.0', 1, { installer: 'oci' })
    await assert.rejects(installs.stage(other, file, NEVER), { code: 'INSTALL_ARGUMENTS' })
  })
})
