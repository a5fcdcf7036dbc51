import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, it } from 'node:test'

import type { CallMailbox } from '../../node/services/calls/index.ts'
import type { HeldView } from '../../node/services/calls/calls.ts'
import { openReceipt, type Call } from '../../protocols/calls/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { callableHome, callBy, lamp } from '../helpers/callable.ts'
import { virtualClock } from '../helpers/clock.ts'
import { CONTEXT, deviceOf, START_MS } from '../helpers/telemetry.ts'

const forever = new AbortController().signal
const temporary: string[] = []

afterEach(() => {
  for (const folder of temporary.splice(0)) rmSync(folder, { recursive: true, force: true })
})

async function sleeper() {
  const clock = virtualClock()
  const home = callableHome(clock)
  const thing = lamp()
  const device = await home.start('lamp', { thing })
  const deliver = async (...calls: readonly Call[]): Promise<string[]> => {
    const receipts = await device.calls.deliver(
      calls.map(({ bytes }) => bytes),
      home.key('holder'),
    )
    return receipts.map((bytes) => {
      const { call, status } = openReceipt(bytes, CONTEXT)
      return `${calls.findIndex(({ id }) => toHex(id) === toHex(call))} ${status}`
    })
  }
  return { clock, home, thing, device, deliver }
}

const level = (args: number, secondsLater: number, caller = 'button'): Call =>
  callBy(caller, 'lamp', {
    verb: 'write',
    name: 'level',
    args,
    issuedMs: START_MS + secondsLater * 1000,
  })

describe('calls that waited for a device', () => {
  it('are executed in order of issue, each with its receipt', async () => {
    const { deliver, home, thing } = await sleeper()
    await using _ = home
    const on = callBy('button', 'lamp', { verb: 'write', name: 'on', args: true })
    const later = callBy('owner', 'lamp', { issuedMs: START_MS + 2000 })
    const first = callBy('owner', 'lamp', { issuedMs: START_MS - 2000 })
    assert.deepEqual(await deliver(later, on, first), ['2 done', '1 done', '0 done'])
    assert.deepEqual(thing.done, ['invoke toggle null', 'write on true', 'invoke toggle null'])
    assert.deepEqual(await deliver(later, on, first), ['2 done', '1 done', '0 done'])
    assert.equal(thing.done.length, 3)
  })

  it('count by the last one where the description says so, for each caller', async () => {
    const { deliver, home, thing } = await sleeper()
    await using _ = home
    const statuses = await deliver(level(10, 0), level(30, 2), level(20, 1), level(50, 1, 'owner'))
    assert.deepEqual(statuses.toSorted(), ['0 superseded', '1 done', '2 superseded', '3 done'])
    assert.deepEqual(thing.done, ['write level 50', 'write level 30'])
  })

  it('do not count when a later one was executed before them', async () => {
    const { deliver, home, thing } = await sleeper()
    await using _ = home
    assert.deepEqual(await deliver(level(30, 5)), ['0 done'])
    const late = level(10, 1)
    assert.deepEqual(await deliver(late), ['0 superseded'])
    assert.deepEqual(await deliver(late), ['0 superseded'])
    assert.deepEqual(await deliver(level(40, 6)), ['0 done'])
    assert.deepEqual(thing.done, ['write level 30', 'write level 40'])
  })

  it('are not superseded by one that is not executed itself', async () => {
    const { deliver, home, thing } = await sleeper()
    await using _ = home
    const wrong = level(1000, 5)
    assert.deepEqual(await deliver(level(10, 0), wrong), ['0 done', '1 invalid'])
    assert.deepEqual(thing.done, ['write level 10'])
  })

  it('are cancelled by their own caller alone, in whatever order both come', async () => {
    const { deliver, home, thing } = await sleeper()
    await using _ = home
    const cancelOf = (call: Call, caller: string): Call =>
      callBy(caller, 'lamp', { verb: 'cancel', name: '', args: toHex(call.id) })
    const call = callBy('button', 'lamp')
    const others = cancelOf(call, 'owner')
    const own = cancelOf(call, 'button')
    assert.deepEqual(await deliver(others), ['0 done'])
    assert.deepEqual(await deliver(call, own), ['1 done', '0 cancelled'])
    assert.deepEqual(await deliver(call), ['0 cancelled'])
    assert.deepEqual(thing.done, [])
    const second = callBy('button', 'lamp')
    assert.deepEqual(await deliver(second), ['0 done'])
    assert.deepEqual(await deliver(cancelOf(second, 'button')), ['0 failed'])
  })

  it('that are none, or of removed devices, hold up nothing', async () => {
    const { device, home, thing } = await sleeper()
    await using _ = home
    home.removed.add(toHex(home.key('gone')))
    const calls = [Uint8Array.of(1), callBy('gone', 'lamp').bytes, callBy('button', 'lamp').bytes]
    const receipts = await device.calls.deliver(calls, home.key('holder'))
    const statuses = receipts.map((bytes) => openReceipt(bytes, CONTEXT).status)
    assert.deepEqual(statuses.toSorted(), ['denied', 'done'])
    assert.equal(thing.done.length, 1)
    home.removed.add(toHex(home.key('holder')))
    assert.deepEqual(
      await device.calls.deliver([callBy('button', 'lamp').bytes], home.key('holder')),
      [],
    )
  })

  it('are many, and still take little time', async () => {
    const { deliver, home } = await sleeper()
    await using _ = home
    const calls = Array.from({ length: 300 }, (_one, i) => level(i % 100, i / 100))
    const statuses = await deliver(...calls)
    assert.equal(statuses.filter((status) => status.endsWith('done')).length, 1)
    assert.equal(statuses.length, 300)
  })
})

/** A mailbox that keeps what it is given. */
function mailbox() {
  const held: Parameters<CallMailbox['hold']>[0][] = []
  let cancels = true
  const box: CallMailbox = {
    isSleeper: () => true,
    deliversByMs: () => START_MS + 600_000,
    async hold(call) {
      held.push(call)
      const holders = [deviceOf('button').key, deviceOf('holder').key]
      return { state: 'held', holders, deliversByMs: START_MS + 600_000 }
    },
    cancel: () => Promise.resolve(cancels),
  }
  return { box, held, letCancel: (may: boolean) => void (cancels = may) }
}

describe('a call to a device that sleeps', () => {
  it('is held, and its receipt comes back', async () => {
    const clock = virtualClock()
    await using home = callableHome(clock)
    const { box, held } = mailbox()
    const caller = await home.start('button', { mailbox: () => box })
    const device = await home.start('lamp')
    const asked = { to: device.key, verb: 'write', name: 'level', args: 5 } as const
    const record = await caller.calls.call(asked, forever)
    assert.deepEqual(
      [record.state, record.holders.length, record.deliversByMs],
      ['held', 2, START_MS + 600_000],
    )
    assert.equal(record.ttlMs, 600_000 + 3_600_000)
    const waiting = caller.calls.wait(record.id, forever)
    const [call] = held
    const view: HeldView = { state: 'delivered', holders: [] }
    caller.calls.moved(record.id, view)
    assert.equal(caller.calls.find(toHex(record.id)).state, 'delivered')
    const [receipt] = await device.calls.deliver([call?.bytes ?? new Uint8Array()], device.key)
    const bytes = receipt ?? new Uint8Array()
    const forged = Uint8Array.from(bytes)
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
    caller.calls.settled(forged)
    assert.equal(caller.calls.find(toHex(record.id)).state, 'delivered')
    caller.calls.settled(bytes)
    caller.calls.settled(bytes)
    const { receipt: got, state } = await waiting
    assert.deepEqual([state, got?.status], ['executed', 'done'])
    caller.calls.moved(record.id, { state: 'unknown', holders: [] })
    assert.equal(caller.calls.find(toHex(record.id)).state, 'executed')
  })

  it('is held again when the device restarts before the mailbox has it', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'kith-calls-'))
    temporary.push(dir)
    const clock = virtualClock()
    await using home = callableHome(clock)
    const never: CallMailbox = { ...mailbox().box, hold: () => new Promise(() => undefined) }
    const first = await home.start('button', { dir, mailbox: () => never })
    const asked = { to: home.key('lamp'), verb: 'invoke', name: 'toggle' } as const
    void first.calls.call(asked, forever)
    await clock.advance(10)
    first.kill()
    const { box, held } = mailbox()
    const second = await home.start('button', { dir, mailbox: () => box })
    await clock.advance(10)
    assert.equal(held.length, 1)
    assert.deepEqual(
      second.calls.list().map(({ state }) => state),
      ['held'],
    )
  })

  it('can be cancelled while it is here, and by another call where others have it', async () => {
    const clock = virtualClock()
    await using home = callableHome(clock)
    const { box, held, letCancel } = mailbox()
    const caller = await home.start('button', { mailbox: () => box })
    const asked = { to: home.key('lamp'), verb: 'invoke', name: 'toggle' } as const
    const first = await caller.calls.call(asked, forever)
    assert.equal((await caller.calls.cancel(first.id, forever)).state, 'cancelled')
    letCancel(false)
    const second = await caller.calls.call(asked, forever)
    assert.equal((await caller.calls.cancel(second.id, forever)).state, 'held')
    assert.equal(held.length, 3)
    const device = await home.start('lamp')
    const bytes = held.slice(1).map((one) => one.bytes)
    for (const receipt of await device.calls.deliver(bytes, device.key))
      caller.calls.settled(receipt)
    const found = caller.calls.find(toHex(second.id))
    assert.deepEqual([found.state, found.receipt?.status], ['cancelled', 'cancelled'])
  })

  it('is not kept when the mailbox has no room', async () => {
    const clock = virtualClock()
    await using home = callableHome(clock)
    const full: CallMailbox = { ...mailbox().box, hold: () => Promise.reject(new Error('full')) }
    const caller = await home.start('button', { mailbox: () => full })
    const asked = { to: home.key('lamp'), verb: 'invoke', name: 'toggle' } as const
    await assert.rejects(caller.calls.call(asked, forever), /full/)
    assert.deepEqual(caller.calls.list(), [])
  })
})
