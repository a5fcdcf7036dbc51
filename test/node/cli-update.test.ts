import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { NodeView, UpdatesState } from '../../node/api/view.ts'
import { argsFrom, healthFrom, installerFor, targetFrom } from '../../node/cli/update-options.ts'
import { NodeError } from '../../node/errors.ts'
import { startFakeDevice } from '../helpers/fake-device.ts'
import { UPDATES } from '../helpers/fake-updates.ts'
import { kith } from '../helpers/kith-process.ts'

async function run(args: readonly string[], over: Partial<NodeView> = {}) {
  await using device = await startFakeDevice(over)
  const done = await kith(['update', ...args], { dir: device.dir, env: { TZ: 'UTC' } })
  return { ...done, asked: device.view.asked }
}

/** Columns without the spaces between them. */
const squeezed = (text: string): string[] =>
  text
    .trim()
    .split('\n')
    .map((line) => line.trim().replaceAll(/ {2,}/g, ' | '))

function isUsage(error: unknown): boolean {
  return error instanceof NodeError && error.code === 'NODE_USAGE'
}

describe('kith update', () => {
  it('lists channels, releases, and which runs here', async () => {
    const { code, stdout } = await run(['list'])
    assert.equal(code, 0)
    assert.deepEqual(squeezed(stdout), [
      'Channel home, signed here, good until 2027-01-15 08:00:00',
      'NAME | VERSION | BUILD | INDEX',
      'app | 1.0.0 | 1 | 1111111111111111 | runs here',
      'app | 2.0.0 | 2 | 2222222222222222',
    ])
  })

  it('shows for each device phase, percent, from whom, and why', async () => {
    const { code, stdout } = await run(['status'])
    assert.equal(code, 0)
    const rows = squeezed(stdout.replaceAll(/\d+ \S+ ago|now/g, 'T'))
    assert.deepEqual(rows, [
      'DEVICE | NAME | RUNS | VERSION | PHASE | SINCE | FROM',
      'kitchen (this) | app | 1.0.0 (1) | 2.0.0 (2) | fetching 40 % | T | garden 2.0 MiB',
      'garden | app | - | 2.0.0 (2) | rolled-back | T | - | it was not well',
    ])
  })

  it('makes names that other devices chose harmless', async () => {
    const evil = 'a\u001B[2Jb'
    const [first] = UPDATES.devices
    const state = { ...UPDATES, devices: [{ ...first, deviceName: evil, why: evil }] }
    const over = { updates: async () => state as UpdatesState }
    const { stdout } = await run(['status'], over)
    assert.ok(!stdout.includes('\u001B'), stdout)
  })

  it('gives one JSON document', async () => {
    const { stdout } = await run(['status', '--json'])
    const { devices } = JSON.parse(stdout) as UpdatesState
    assert.deepEqual(devices, UPDATES.devices)
  })

  it('pauses everything, or one name; and goes on', async () => {
    const changes = async (...args: string[]) =>
      (await run(args)).asked.filter(([name]) => name === 'changeRollout').map((one) => one[1])
    assert.deepEqual(await changes('pause'), [{ pause: '*' }])
    assert.deepEqual(await changes('pause', 'app'), [{ pause: 'app' }])
    assert.deepEqual(await changes('resume', 'app'), [{ resume: 'app' }])
  })

  it('pins by version or build, and says where there is none', async () => {
    const { asked } = await run(['pin', 'app', '1.0.0'])
    assert.deepEqual(asked.at(-1), ['changeRollout', { pin: { name: 'app', build: 1 } }])
    const none = await run(['pin', 'app', '9'])
    assert.equal(none.code, 5)
    assert.match(none.stderr, /No channel lists app 9/)
  })

  it('changes rings, hours and groups in one act', async () => {
    const args = [
      '--ring',
      '1:1h',
      '--ring',
      '50%:10m',
      '--ring',
      '100%',
      '--window',
      '02:00-05:00',
    ]
    const { asked } = await run(['rollout', ...args, '--group', 'attic', '--devices', 'a,b'])
    assert.deepEqual(asked.at(-1), [
      'changeRollout',
      {
        rings: [
          { devices: 1, minHealthyMs: 3_600_000 },
          { percent: 50, minHealthyMs: 600_000 },
          { percent: 100, minHealthyMs: 0 },
        ],
        window: '02:00-05:00',
        group: { name: 'attic', devices: ['a', 'b'] },
      },
    ])
    assert.equal((await run(['rollout', '--ring', 'half'])).code, 2)
  })

  it('goes back only after a yes', async () => {
    const unasked = await run(['rollback', 'app'])
    assert.equal(unasked.code, 2)
    assert.ok(!unasked.asked.some(([name]) => name === 'rollbackUpdate'))
    const { code, asked } = await run(['rollback', 'app', '-y'])
    assert.equal(code, 0)
    assert.deepEqual(asked.at(-1), ['rollbackUpdate', 'app'])
  })

  it('trusts a channel no more only after a yes, and lets an ill build be tried again', async () => {
    const unasked = await run(['distrust', 'home'])
    assert.equal(unasked.code, 2)
    assert.ok(!unasked.asked.some(([name]) => name === 'distrustChannel'))
    assert.deepEqual((await run(['distrust', 'home', '-y'])).asked.at(-1), [
      'distrustChannel',
      'home',
    ])
    assert.equal((await run(['distrust', 'nobody', '-y'])).code, 5)
    const { code, asked } = await run(['forgive', 'app', '2.0.0'])
    assert.equal(code, 0)
    assert.deepEqual(asked.at(-1), ['forgiveUpdate', 'app', 2])
    assert.equal((await run(['forgive', 'app', '9'])).code, 5)
  })

  it('needs a version to publish, and does not take it for a question about its own', async () => {
    const { code, stderr } = await run(['publish', '.'])
    assert.equal(code, 2)
    assert.match(stderr, /--version/)
    const named = await run(['publish', '/nowhere/at/all', '--version', '1.2.3'])
    assert.doesNotMatch(named.stdout, /^\d/)
    assert.notEqual(named.code, 0)
    const own = await kith(['--version'])
    assert.match(own.stdout, /^\d+\.\d+\.\d+\n$/)
  })
})

describe('what is said about a release', () => {
  it('is for what is named, sorted, none twice', () => {
    assert.deepEqual(targetFrom(['hardware=pi-5,arch=arm64', 'hardware=pi-4,hardware=pi-5']), {
      hardware: ['pi-4', 'pi-5'],
      arch: ['arm64'],
      groups: [],
      requires: [],
    })
    assert.deepEqual(targetFrom(['requires=base:2.0']).requires, [{ name: 'base', version: '2.0' }])
    for (const bad of ['hardware', 'colour=red']) assert.throws(() => targetFrom([bad]), isUsage)
  })

  it('has checks of its health, bounded', () => {
    assert.equal(healthFrom([]), undefined)
    assert.deepEqual(healthFrom(['http=8080/ok', 'reading=load:0..4', 'for=5s', 'within=1m']), {
      http: { port: 8080, path: '/ok' },
      reading: { sensor: 'load', min: 0, max: 4 },
      seconds: 5,
      withinSeconds: 60,
    })
    for (const bad of ['http=x', 'reading=load:a..b', 'for=soon', 'luck=1']) {
      assert.throws(() => healthFrom([bad]), isUsage)
    }
  })

  it('is installed by what it is, where nobody says', () => {
    assert.equal(installerFor('app', undefined, true), 'tree')
    assert.equal(installerFor('a.deb', undefined, false), 'deb')
    assert.equal(installerFor('a.raucb', undefined, false), 'rauc')
    assert.throws(() => installerFor('a.bin', undefined, false), isUsage)
    assert.throws(() => installerFor('a', 'magic', true), isUsage)
    assert.deepEqual(argsFrom(['unit=app.service', 'x=a=b']), { unit: 'app.service', x: 'a=b' })
    assert.throws(() => argsFrom(['unit']), isUsage)
  })
})
