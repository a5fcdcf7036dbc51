import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'

import type { NodeView } from '../../node/api/view.ts'
import { readingText } from '../../node/cli/print.ts'
import { startFakeDevice, type FakeDevice } from '../helpers/fake-device.ts'
import { CODE, DEVICES, READINGS } from '../helpers/fake-view.ts'
import { kith } from '../helpers/kith-process.ts'

const cleanup: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step()
})

async function device(over: Partial<NodeView> = {}): Promise<FakeDevice> {
  const fake = await startFakeDevice(over, { port: 0 })
  cleanup.push(async () => fake[Symbol.asyncDispose]())
  return fake
}

describe('guests on the command line', () => {
  it('are added and changed with what they may read and for how long', async () => {
    const { dir, view } = await device()
    const rights = ['--allow', 'read:temperature.*', '--allow', 'read:abcd2345/door', '--for', '2h']
    const added = await kith(['add', '-', '--role', 'guest', ...rights], {
      dir,
      input: `${CODE}\n`,
    })
    const changed = await kith(['grant', 'garden', 'guest', ...rights], { dir })
    assert.deepEqual([added.code, changed.code], [0, 0], added.stderr + changed.stderr)
    const terms = { allow: ['read:temperature.*', 'read:abcd2345/door'], forMs: 7_200_000 }
    assert.deepEqual(view.asked, [
      ['addDevice', { code: CODE, role: 'guest', ...terms }],
      ['grant', 'garden', 'guest', terms],
    ])
    const wrong = await kith(['grant', 'garden', 'guest', '--for', 'soon'], { dir })
    assert.equal(wrong.code, 2)
  })

  it('stand beside the sensors that they can read', async () => {
    const { dir } = await device()
    const [text, json] = await Promise.all([
      kith(['sensors'], { dir }),
      kith(['sensors', '--json'], { dir }),
    ])
    assert.match(text.stdout, /READERS/)
    assert.match(text.stdout, /kitchenette, visitor \(guest\)/)
    const [row] = JSON.parse(json.stdout) as { readers: unknown[] }[]
    assert.deepEqual(row?.readers, [
      { name: 'kitchenette', role: 'member', through: 'role' },
      { name: 'visitor', role: 'guest', through: 'read:temperature' },
    ])
  })

  it('see readings marked as told', () => {
    const [reading] = READINGS
    assert.ok(reading)
    assert.match(readingText({ ...reading, verified: false, source: 'extract' }), / as told$/)
    assert.match(readingText({ ...reading, verified: false }), /NOT VERIFIED$/)
  })
})

describe('a log that is being caught up, on the command line', () => {
  it('is told by show, by the devices as JSON, and once by watch', async () => {
    const rows = DEVICES.map((row) =>
      row.name === 'garden' ? { ...row, log: { packs: 120, of: 8640 } } : row,
    )
    const garden = rows.find(({ name }) => name === 'garden')
    assert.ok(garden)
    const { dir } = await device({ devices: async () => rows, device: async () => garden })
    const [show, devices] = await Promise.all([
      kith(['show', 'garden'], { dir }),
      kith(['devices', '--json'], { dir }),
    ])
    assert.match(show.stdout, /log +120 of 8640 packs, catching up/)
    const shown = JSON.parse(devices.stdout) as { name: string; log?: unknown }[]
    assert.deepEqual(
      shown.flatMap(({ log }) => log ?? []),
      [{ packs: 120, of: 8640 }],
    )
    const watch = await kith(['watch'], { dir, onLine: (_line, kill) => kill('SIGINT') })
    assert.match(watch.stderr, /The log of garden: 120 of 8640 packs, catching up\./)
    assert.equal(watch.stderr.split('catching up').length, 2)
  })
})
