import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { openReceipt } from '../../protocols/calls/index.ts'
import { fromHex, toHex } from '../../protocols/wire/index.ts'
import { callableHome, callBy, lamp } from '../helpers/callable.ts'
import { virtualClock } from '../helpers/clock.ts'
import { CONTEXT, START_MS } from '../helpers/telemetry.ts'
import { timeOf } from '../helpers/time.ts'

const forever = new AbortController().signal
const KILLED = fileURLToPath(new URL('../helpers/killed-callee.ts', import.meta.url))
const temporary: string[] = []

afterEach(() => {
  for (const folder of temporary.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function tempFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kith-calls-'))
  temporary.push(folder)
  return folder
}

describe('a call is executed once', () => {
  const places = [
    ['before-begin', 0, 'done', 1],
    ['after-begin', 0, 'failed', 0],
    ['before-act', 0, 'failed', 0],
    ['after-act', 1, 'failed', 1],
    ['before-finish', 1, 'failed', 1],
    ['after-finish', 1, 'done', 1],
    ['after-answer', 1, 'done', 1],
  ] as const
  for (const [place, before, status, after] of places) {
    it(`at most, when the device is killed ${place.replace('-', ' ')}`, () => {
      const dir = tempFolder()
      const acted = join(dir, 'acted')
      const call = callBy('button', 'lamp')
      const run = (where: string) =>
        spawnSync(
          process.execPath,
          [KILLED, join(dir, 'lamp.db'), where, acted, toHex(call.bytes)],
          { encoding: 'utf8', timeout: 30_000 },
        )
      const count = (): number =>
        existsSync(acted) ? readFileSync(acted, 'utf8').trim().split('\n').length : 0
      const killed = run(place)
      assert.equal(killed.signal, 'SIGKILL', killed.stderr)
      assert.equal(count(), before)
      const again = run('nowhere')
      const receipt = openReceipt(fromHex(again.stdout), CONTEXT)
      assert.equal(receipt.status, status)
      if (status === 'failed') assert.match(receipt.detail ?? '', /may have acted/)
      assert.equal(count(), after)
      if (place === 'after-answer') assert.equal(again.stdout, killed.stdout)
      assert.equal(run('nowhere').stdout, again.stdout, 'the same receipt for ever')
      assert.equal(count(), after)
    })
  }

  it('when it comes again and again, also after a restart, with one receipt', async () => {
    const dir = tempFolder()
    const thing = lamp()
    await using home = callableHome(virtualClock())
    const caller = await home.start('button')
    const call = callBy('button', 'lamp')
    const receipts = new Set<string>()
    for (let start = 0; start < 3; start++) {
      await using _lamp = await home.start('lamp', { dir, thing })
      home.connect('button', 'lamp')
      const asked = [1, 2, 3].map(() => caller.ask('lamp', call.bytes))
      for (const { bytes } of await Promise.all(asked)) receipts.add(toHex(bytes))
      home.network.disconnect(caller.key, home.key('lamp'))
    }
    assert.equal(receipts.size, 1)
    assert.deepEqual(thing.done, ['invoke toggle null'])
  })

  it('when its caller is killed after sending it, and learns what became of it', async () => {
    const dir = tempFolder()
    const clock = virtualClock()
    await using home = callableHome(clock)
    const thing = lamp()
    const { promise, resolve: open } = Promise.withResolvers<void>()
    thing.gate = promise
    await home.start('lamp', { thing })
    const first = await home.start('button', { dir })
    home.connect('button', 'lamp')
    const asked = { to: home.key('lamp'), verb: 'invoke', name: 'toggle' } as const
    void first.calls.call(asked, forever).catch(() => undefined)
    await clock.advance(10)
    assert.equal(thing.done.length, 1)
    assert.equal(first.calls.list().length, 1)
    home.network.disconnect(first.key, home.key('lamp'))
    first.kill()
    open()
    await clock.advance(10)
    const second = await home.start('button', { dir })
    const [sent] = second.calls.list()
    assert.equal(sent?.state, 'sent')
    home.connect('button', 'lamp')
    await clock.advance(5000)
    const record = await second.calls.wait(sent?.id ?? new Uint8Array(), forever)
    assert.deepEqual([record.state, record.receipt?.status], ['executed', 'done'])
    assert.equal(thing.done.length, 1)
  })

  it('however often the stream breaks', async () => {
    const clock = virtualClock()
    await using home = callableHome(clock)
    const thing = lamp()
    const { promise, resolve: open } = Promise.withResolvers<void>()
    thing.gate = promise
    const { key: to } = await home.start('lamp', { thing })
    const caller = await home.start('button')
    home.connect('button', 'lamp')
    const call = caller.calls.call({ to, verb: 'invoke', name: 'toggle' }, forever)
    for (let i = 0; i < 4; i++) {
      await clock.advance(500)
      home.network.breakStreams(caller.key, to)
      await clock.advance(1500)
    }
    open()
    assert.equal((await call).receipt?.status, 'done')
    assert.equal(thing.done.length, 1)
  })

  it('or nobody knows: without an answer in its time its state is unknown', async () => {
    const clock = virtualClock()
    await using home = callableHome(clock)
    const thing = lamp()
    thing.gate = new Promise(() => undefined)
    const { key: to } = await home.start('lamp', { thing })
    const caller = await home.start('button')
    home.connect('button', 'lamp')
    const call = caller.calls.call({ to, verb: 'invoke', name: 'toggle' }, forever)
    await clock.advance(100)
    home.network.disconnect(caller.key, to)
    await clock.advance(10 * 60_000)
    assert.equal((await call).state, 'unknown')
  })

  it('though the clock of the device goes back after it was forgotten', async () => {
    const clock = virtualClock()
    await using home = callableHome(clock)
    const thing = lamp()
    const device = await home.start('lamp', { thing, time: timeOf(clock, { synced: () => false }) })
    const caller = await home.start('button')
    home.connect('button', 'lamp')
    const call = callBy('button', 'lamp')
    assert.equal((await caller.ask('lamp', call.bytes)).status, 'done')
    // Enough others for it to leave the history, and a clock that was far ahead meanwhile.
    device.db.exec('UPDATE calls_executed SET acted = 0')
    clock.setWall(START_MS + 3_600_000)
    await clock.advance(120_000)
    assert.equal(device.db.prepare('SELECT count(*) AS n FROM calls_executed').get()?.['n'], 0)
    clock.setWall(START_MS)
    assert.equal((await caller.ask('lamp', call.bytes)).status, 'expired')
    assert.equal(thing.done.length, 1)
  })
})
