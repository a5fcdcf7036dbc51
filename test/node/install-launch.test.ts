import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { countStart } from '../../node/services/install/launch.ts'
import type { Installs, Release } from '../../node/services/install/index.ts'
import { installsIn, NEVER, releaseOf } from '../helpers/installs.ts'
import { tarOf } from '../helpers/tars.ts'

const LAUNCHER = fileURLToPath(new URL('../../node/services/install/launch.ts', import.meta.url))

describe('a launcher', () => {
  let root = ''
  let home = ''
  let installs: Installs
  const one = releaseOf('1.0', 1)
  const two = releaseOf('2.0', 2)

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'kith-launch-'))
    home = join(root, 'installs/app')
    installs = installsIn(join(root, 'installs'), { launched: new Set(['app']) })
  })
  afterEach(() => rmSync(root, { recursive: true, force: true }))

  const stage = async (release: Release, program: string): Promise<void> => {
    const text = `import { appendFileSync } from 'node:fs'\nconst log = (text) => appendFileSync(${JSON.stringify(join(root, 'log'))}, text + '\\n')\n${program}`
    writeFileSync(join(root, 'archive'), tarOf([{ name: 'main.mjs', content: text }]))
    await installs.stage(release, join(root, 'archive'), NEVER)
  }
  /** Switched to by itself, and then gone. */
  const onTrial = async (release: Release, program: string): Promise<void> => {
    await stage(release, program)
    const stop = new AbortController()
    const health = { seconds: 1, withinSeconds: 9, reading: { sensor: 'cpu' } }
    const leaving = installsIn(join(root, 'installs'), {
      reading: () => {
        stop.abort(new Error('left'))
        return undefined
      },
    })
    await leaving.discard('app', NEVER)
    await leaving.stage({ ...release, health }, join(root, 'archive'), NEVER)
    await assert.rejects(leaving.switch('app', stop.signal), /left/)
  }
  const launch = (...options: readonly string[]) =>
    spawnSync(process.execPath, [LAUNCHER, ...options, home, 'main.mjs'], {
      encoding: 'utf8',
      timeout: 30_000,
    })
  const log = (): string[] => readFileSync(join(root, 'log'), 'utf8').trim().split('\n')

  it('starts what is installed and passes on how it ended', async () => {
    await stage(one, `log('one'); process.exitCode = 7`)
    await installs.switch('app', NEVER)
    assert.equal(launch().status, 7)
    assert.deepEqual(log(), ['one'])
  })

  it('leaves a version that does not come up, and starts the one before', async () => {
    await stage(one, `log('one')`)
    await installs.switch('app', NEVER)
    await onTrial(two, `log('two'); process.exitCode = 1`)
    assert.equal(launch().status, 0)
    assert.deepEqual(log(), ['two', 'two', 'two', 'one'])
    // What runs again tells the rest, and does not try it again.
    assert.equal((await installs.resume('app', NEVER))?.what, 'rolled-back')
    assert.deepEqual((await installs.state('app')).ill, [two.id])
    await assert.rejects(stage(two, ''), { code: 'INSTALL_ILL' })
  })

  it('starts again what asks for it', async () => {
    await stage(
      one,
      `import { existsSync } from 'node:fs'
      const again = !existsSync(${JSON.stringify(join(root, 'log'))})
      log('one'); process.exitCode = again ? 75 : 0`,
    )
    await installs.switch('app', NEVER)
    assert.equal(launch().status, 0)
    assert.deepEqual(log(), ['one', 'one'])
  })

  it('starts what it came with where nothing is installed, and where the first one is ill', async () => {
    const base = join(root, 'base')
    mkdirSync(base)
    writeFileSync(
      join(base, 'main.mjs'),
      `import { appendFileSync } from 'node:fs'
      appendFileSync(${JSON.stringify(join(root, 'log'))}, 'base\\n')`,
    )
    assert.equal(launch('--base', base).status, 0)
    await onTrial(one, `log('one'); process.exitCode = 1`)
    assert.equal(launch('--base', base).status, 0)
    assert.deepEqual(log(), ['base', 'one', 'one', 'one', 'base'])
  })

  it('ends one on trial that does not come up, and leaves one alone that is trusted', async () => {
    await stage(one, `log('one'); setTimeout(() => {}, 1_500)`)
    await installs.switch('app', NEVER)
    // Slower than the patience, but not on trial.
    assert.equal(launch('--patience', '0.2').status, 0)
    await onTrial(two, `log('two'); setInterval(() => {}, 1_000)`)
    await installs.state('app')
    const journal = join(home, 'journal.json')
    // Its check would be waited for as long as it says.
    writeFileSync(
      journal,
      readFileSync(journal, 'utf8').replaceAll('"withinSeconds":9', '"withinSeconds":0'),
    )
    assert.equal(launch('--patience', '0.2').status, 0)
    assert.deepEqual(log(), ['one', 'two', 'two', 'two', 'one'])
  })

  it('tells the program where it is, and is asked for both its folder and its program', async () => {
    await stage(one, `log(process.env.KITH_LAUNCHED)`)
    await installs.switch('app', NEVER)
    assert.equal(launch().status, 0)
    assert.deepEqual(log(), [home])
    const bare = spawnSync(process.execPath, [LAUNCHER, home], { encoding: 'utf8' })
    assert.equal(bare.status, 1)
    assert.match(bare.stderr, /ROOT PROGRAM/)
  })

  it('counts no start of what is not on trial', async () => {
    assert.equal(countStart(home), 'settled')
    await stage(one, '')
    assert.equal(countStart(home), 'settled')
    await installs.switch('app', NEVER)
    assert.equal(countStart(home), 'settled')
    await stage(two, '')
    for (let i = 0; i < 5; i++) assert.equal(countStart(home), 'settled')
    assert.equal((await installs.switch('app', NEVER)).what, 'installed')
  })
})
