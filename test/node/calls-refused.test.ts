import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { STOCK } from '../../node/services/calls/stock.ts'
import { openReceipt, type Status } from '../../protocols/calls/index.ts'
import { seal } from '../../protocols/identity/index.ts'
import { encodeCbor, toHex } from '../../protocols/wire/index.ts'
import { callableHome, callBy, lamp, type CallableOptions } from '../helpers/callable.ts'
import { virtualClock } from '../helpers/clock.ts'
import { CONTEXT, deviceOf, HOME, START_MS } from '../helpers/telemetry.ts'
import { timeOf } from '../helpers/time.ts'

const forever = new AbortController().signal
const MINUTE = 60_000
const YEAR = 365 * 24 * 60 * MINUTE

async function pair(options: CallableOptions = {}) {
  const clock = virtualClock()
  const home = callableHome(clock)
  const thing = lamp()
  const device = await home.start('lamp', { thing, ...options })
  const caller = await home.start('button')
  home.connect('button', 'lamp')
  return { clock, home, thing, device, caller, to: device.key }
}

describe('a call is not executed', () => {
  const cases: readonly (readonly [string, Parameters<typeof callBy>[2], Status])[] = [
    ['when its time is over', { issuedMs: START_MS - MINUTE, ttlMs: 30_000 }, 'expired'],
    ['when it was issued years ago', { issuedMs: START_MS - 5 * YEAR }, 'expired'],
    ['when it was issued more than two minutes ahead', { issuedMs: START_MS + 121_000 }, 'expired'],
    ['when it was issued years ahead', { issuedMs: START_MS + 5 * YEAR }, 'expired'],
    ['when it is for another device', { to: deviceOf('other').key }, 'refused'],
  ]
  for (const [when, changes, status] of cases) {
    it(`${when}, and the same answer is given again`, async () => {
      const { caller, home, thing } = await pair()
      await using _ = home
      const { bytes } = callBy('button', 'lamp', changes)
      const receipt = await caller.ask('lamp', bytes)
      assert.equal(receipt.status, status)
      assert.ok(receipt.detail !== undefined)
      assert.deepEqual((await caller.ask('lamp', bytes)).bytes, receipt.bytes)
      assert.deepEqual(thing.done, [])
    })
  }

  it('when another device brings it than the one that signed it', async () => {
    const { caller, home, thing } = await pair()
    await using _ = home
    const receipt = await caller.ask('lamp', callBy('owner', 'lamp').bytes)
    assert.equal(receipt.status, 'refused')
    assert.deepEqual(thing.done, [])
  })

  it('when another call had its nonce', async () => {
    const { caller, home, thing } = await pair()
    await using _ = home
    const { bytes, nonce } = callBy('button', 'lamp')
    assert.equal((await caller.ask('lamp', bytes)).status, 'done')
    const other = callBy('button', 'lamp', { nonce, verb: 'write', name: 'on', args: true })
    assert.equal((await caller.ask('lamp', other.bytes)).status, 'refused')
    assert.deepEqual(thing.done, ['invoke toggle null'])
  })

  it('when its signature is wrong, and then the right one still is, once', async () => {
    const { caller, device, home, thing } = await pair()
    await using _ = home
    const { bytes } = callBy('button', 'lamp')
    const forged = Uint8Array.from(bytes)
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
    await assert.rejects(caller.ask('lamp', forged), { code: 'CALLS_BAD_CALL' })
    assert.deepEqual(thing.done, [])
    assert.equal(device.db.prepare('SELECT count(*) AS n FROM calls_executed').get()?.['n'], 0)
    assert.equal((await caller.ask('lamp', bytes)).status, 'done')
    assert.deepEqual(thing.done, ['invoke toggle null'])
  })

  it('when it is a read whose signature is wrong: it is not answered', async () => {
    const { caller, home } = await pair()
    await using _ = home
    const { bytes } = callBy('button', 'lamp', { verb: 'read', name: 'on' })
    const forged = Uint8Array.from(bytes)
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
    await assert.rejects(caller.ask('lamp', forged), { code: 'CALLS_BAD_CALL' })
    assert.equal((await caller.ask('lamp', bytes)).status, 'done')
  })

  it('when it is none at all', async () => {
    const { caller, home, thing } = await pair()
    await using _ = home
    const context = { kind: 'call', home: HOME } as const
    const signer = deviceOf('button')
    const none = [
      Uint8Array.of(0xff),
      new Uint8Array(10_240),
      seal(encodeCbor(new Map([[1, 2]])), context, signer).bytes,
      seal(callBy('button', 'lamp').bytes, context, signer).bytes,
      seal(callBy('button', 'lamp').bytes, { kind: 'receipt', home: HOME }, signer).bytes,
    ]
    for (const bytes of none) {
      await assert.rejects(caller.ask('lamp', bytes), { code: 'CALLS_BAD_CALL' })
    }
    assert.deepEqual(thing.done, [])
  })

  it('when its caller is not in the home, and when it was removed before it is begun', async () => {
    const { caller, home, thing, to } = await pair()
    await using _ = home
    const removed = (): unknown => home.removed.add(toHex(caller.key))
    let open = (): void => undefined
    thing.gate = new Promise((resolve) => (open = resolve))
    const { bytes } = callBy('button', 'lamp')
    const first = caller.ask('lamp', bytes)
    await new Promise((resolve) => setImmediate(resolve))
    open()
    assert.equal((await first).status, 'done')
    removed()
    const again = await caller.ask('lamp', callBy('button', 'lamp').bytes)
    assert.equal(again.status, 'denied')
    await assert.rejects(caller.calls.describe(to, forever), { code: 'CALLS_FORBIDDEN' })
    await assert.rejects(caller.calls.why(to, undefined, 1, forever), { code: 'CALLS_FORBIDDEN' })
    assert.equal(thing.done.length, 1)
  })

  it('when its caller is removed between the record and the act', async () => {
    const verdicts = [true, true, false]
    const { caller, home, thing } = await pair({
      rights: {
        isActive: () => verdicts.shift() ?? false,
        judge: () => ({ allow: true }),
        allows: () => () => true,
      },
    })
    await using _ = home
    verdicts.splice(0, verdicts.length, true)
    assert.equal((await caller.ask('lamp', callBy('button', 'lamp').bytes)).status, 'denied')
    assert.deepEqual(thing.done, [])
  })

  it('more often than its right counts, however many come at once', async () => {
    const { caller, home, thing } = await pair({
      rights: {
        isActive: () => true,
        judge: (_caller, _asked, used) =>
          used('cap') < 3 ? { allow: true, counted: 'cap' } : { allow: false, why: 'Used up.' },
        allows: () => () => true,
      },
    })
    await using _ = home
    const asked = Array.from({ length: 10 }, () =>
      caller.calls.call({ to: home.key('lamp'), verb: 'invoke', name: 'toggle' }, forever),
    )
    const statuses = (await Promise.all(asked)).map(({ receipt }) => receipt?.status)
    assert.equal(statuses.filter((status) => status === 'done').length, 3)
    assert.equal(statuses.filter((status) => status === 'denied').length, 7)
    assert.equal(thing.done.length, 3)
  })

  it('when it cannot be recorded: a full disk makes the device busy', async () => {
    const { caller, device, home, thing } = await pair()
    await using _ = home
    assert.equal((await caller.ask('lamp', callBy('button', 'lamp').bytes)).status, 'done')
    device.db.exec('PRAGMA max_page_count = 1')
    const asked = Array.from({ length: 64 }, () => callBy('button', 'lamp').bytes)
    const statuses: Status[] = []
    for (const bytes of asked) statuses.push((await caller.ask('lamp', bytes)).status)
    const done = statuses.filter((status) => status === 'done').length
    assert.equal(statuses.at(-1), 'busy')
    assert.equal(thing.done.length, done + 1)
    device.db.exec('PRAGMA max_page_count = 100000')
    assert.equal((await caller.ask('lamp', callBy('button', 'lamp').bytes)).status, 'done')
  })
})

describe('a receipt that the disk does not take', () => {
  it('is given out all the same, and written when there is room', async () => {
    const clock = virtualClock()
    await using home = callableHome(clock)
    const thing = lamp()
    const device = await home.start('lamp', { thing })
    const caller = await home.start('button')
    home.connect('button', 'lamp')
    const executed = device.db.prepare('SELECT count(receipt) AS n FROM calls_executed')
    device.db.exec(`CREATE TRIGGER full BEFORE UPDATE ON calls_executed
      BEGIN SELECT RAISE(ABORT, 'full'); END`)
    const { bytes } = callBy('button', 'lamp')
    const receipt = await caller.ask('lamp', bytes)
    assert.equal(receipt.status, 'done')
    assert.equal(executed.get()?.['n'], 0)
    assert.deepEqual((await caller.ask('lamp', bytes)).bytes, receipt.bytes)
    device.db.exec('DROP TRIGGER full')
    await clock.advance(6000)
    assert.equal(executed.get()?.['n'], 1)
    assert.deepEqual((await caller.ask('lamp', bytes)).bytes, receipt.bytes)
    assert.equal(thing.done.length, 1)
  })
})

describe('where clocks are wrong', () => {
  it('a device without a clock trusts the connection, and executes once', async () => {
    const clock = virtualClock()
    await using home = callableHome(clock)
    const thing = lamp()
    const unset = timeOf(clock, { synced: () => false, newestSignedMs: () => START_MS + YEAR })
    const device = await home.start('lamp', { thing, time: unset })
    const caller = await home.start('button')
    home.connect('button', 'lamp')
    const { bytes } = callBy('button', 'lamp', { issuedMs: START_MS + 3 * YEAR })
    const receipt = await caller.ask('lamp', bytes)
    assert.deepEqual([receipt.status, receipt.clock], ['done', 'unset'])
    assert.deepEqual((await caller.ask('lamp', bytes)).bytes, receipt.bytes)
    const held = callBy('button', 'lamp')
    const [refused] = await device.calls.deliver([held.bytes], home.key('owner'))
    assert.equal(openReceipt(refused ?? new Uint8Array(), CONTEXT).status, 'refused')
    assert.equal(thing.done.length, 1)
  })

  for (const [years, direction] of [
    [-6, 'behind'],
    [6, 'ahead'],
  ] as const) {
    it(`a caller without a clock, years ${direction}, goes by the clock of the device`, async () => {
      const clock = virtualClock()
      await using home = callableHome(clock)
      const thing = lamp()
      await home.start('lamp', { thing })
      const wrong = virtualClock(START_MS + years * YEAR)
      const caller = await home.start('button', {
        clock: wrong,
        time: { quality: () => 'unset' },
      })
      home.connect('button', 'lamp')
      const asked = { to: home.key('lamp'), verb: 'invoke', name: 'toggle' } as const
      const record = await caller.calls.call(asked, forever)
      assert.equal(record.receipt?.status, 'done')
      assert.equal(record.issuedMs, START_MS)
      assert.equal((await caller.calls.call(asked, forever)).receipt?.status, 'done')
      assert.equal(thing.done.length, 2)
      assert.equal(caller.calls.list().length, 3, 'the first one, which was refused, is told too')
    })
  }

  it('a caller that trusts its wrong clock is told by the receipt', async () => {
    const clock = virtualClock()
    await using home = callableHome(clock)
    await home.start('lamp')
    const caller = await home.start('button', { clock: virtualClock(START_MS - 2 * YEAR) })
    home.connect('button', 'lamp')
    const asked = { to: home.key('lamp'), verb: 'invoke', name: 'toggle' } as const
    const { receipt, state } = await caller.calls.call(asked, forever)
    assert.deepEqual([state, receipt?.status, receipt?.atMs], ['expired', 'expired', START_MS])
  })
})

describe('a flood of one member', () => {
  it('is bounded, and others are served', async () => {
    const clock = virtualClock()
    await using home = callableHome(clock)
    const thing = lamp()
    const device = await home.start('lamp', { thing })
    const caller = await home.start('button')
    const flooder = await home.start('flooder')
    home.connect('button', 'lamp')
    home.connect('flooder', 'lamp')
    // As if it had called so often; the bounds are what is tested.
    const fill = device.db.prepare(
      `INSERT INTO calls_executed
         (caller, nonce, id, verb, name, issued_ms, due_ms, acted, call, receipt)
       VALUES (?, randomblob(16), randomblob(32), 'invoke', 'toggle', 0, ?, 1, x'00', x'00')`,
    )
    device.db.exec('BEGIN')
    for (let i = 0; i < STOCK.perCaller - 1; i++) fill.run(flooder.key, START_MS + MINUTE)
    device.db.exec('COMMIT')
    const statuses: Status[] = []
    for (let i = 0; i < 5; i++) {
      statuses.push((await flooder.ask('lamp', callBy('flooder', 'lamp').bytes)).status)
    }
    assert.deepEqual(statuses, ['done', 'busy', 'busy', 'busy', 'busy'])
    assert.equal((await caller.ask('lamp', callBy('button', 'lamp').bytes)).status, 'done')
    await clock.advance(2 * MINUTE)
    const later = callBy('flooder', 'lamp', { issuedMs: START_MS + 2 * MINUTE })
    assert.equal((await flooder.ask('lamp', later.bytes)).status, 'done')
    await clock.advance(2 * MINUTE)
    const kept = device.db.prepare('SELECT count(*) AS n FROM calls_executed').get()?.['n']
    assert.ok(Number(kept) <= 1001, `${String(kept)} calls are kept of one affordance`)
  })
})
