import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { CallRecord, WhyRow } from '../../node/services/calls/index.ts'
import { openCall, openReceipt } from '../../protocols/calls/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { AT_ONCE, callableHome, lamp } from '../helpers/callable.ts'
import { virtualClock } from '../helpers/clock.ts'
import { CONTEXT, deviceOf, START_MS } from '../helpers/telemetry.ts'

const forever = new AbortController().signal

async function pair() {
  const clock = virtualClock()
  const home = callableHome(clock)
  const thing = lamp()
  const callee = await home.start('lamp', { thing })
  const caller = await home.start('button')
  home.connect('button', 'lamp')
  const to = home.key('lamp')
  return { clock, home, thing, callee, caller, to }
}

describe('a call', () => {
  it('is executed, and its receipt says so under the signature of the device', async () => {
    const { caller, home, thing, to } = await pair()
    await using _ = home
    const record = await caller.calls.call({ to, verb: 'invoke', name: 'toggle' }, forever)
    assert.equal(record.state, 'executed')
    assert.deepEqual([record.receipt?.status, record.receipt?.result], ['done', true])
    assert.deepEqual(thing.done, ['invoke toggle null'])
    const bytes = record.receipt?.bytes ?? new Uint8Array()
    const expected = { call: record.id, caller: caller.key, callee: to }
    assert.equal(openReceipt(bytes, CONTEXT, expected).status, 'done')
  })

  it('writes and reads properties, with what fits the description', async () => {
    const { caller, home, thing, to } = await pair()
    await using _ = home
    const write = { to, verb: 'write', name: 'level', args: 40 } as const
    assert.equal((await caller.calls.call(write, forever)).receipt?.status, 'done')
    const read = await caller.calls.call({ to, verb: 'read', name: 'level' }, forever)
    assert.equal(read.receipt?.result, 40)
    assert.deepEqual(thing.done, ['write level 40'])
  })

  const wrong = [
    [{ verb: 'invoke', name: 'nothing' }, 'unknown'],
    [{ verb: 'invoke', name: 'toString' }, 'unknown'],
    [{ verb: 'invoke', name: 'constructor' }, 'unknown'],
    [{ verb: 'read', name: 'hasOwnProperty' }, 'unknown'],
    [{ verb: 'read', name: 'toggle' }, 'unknown'],
    [{ verb: 'read', name: 'secret' }, 'unknown'],
    [{ verb: 'write', name: 'power', args: 1 }, 'unknown'],
    [{ verb: 'write', name: 'level', args: 101 }, 'invalid'],
    [{ verb: 'write', name: 'level', args: '50; reboot' }, 'invalid'],
    [{ verb: 'write', name: 'level', args: { valueOf: 1 } }, 'invalid'],
    [{ verb: 'invoke', name: 'toggle', args: 1 }, 'invalid'],
    [{ verb: 'invoke', name: 'blink' }, 'invalid'],
    [{ verb: 'invoke', name: 'blink', args: { times: 3, more: 1 } }, 'invalid'],
    [{ verb: 'invoke', name: 'fail' }, 'failed'],
  ] as const
  for (const [asked, status] of wrong) {
    it(`to ${JSON.stringify(asked)} gets a receipt that says ${status}`, async () => {
      const { caller, home, thing, to } = await pair()
      await using _ = home
      const { receipt } = await caller.calls.call({ to, ...asked }, forever)
      assert.equal(receipt?.status, status)
      assert.ok((receipt?.detail ?? '').length > 0)
      assert.ok(!(receipt?.detail ?? '').includes('plug-in'))
      assert.deepEqual(thing.done, asked.name === 'fail' ? ['invoke fail null'] : [])
    })
  }

  it('whose receipt is signed wrongly counts as unknown, and the device is cut off', async () => {
    const clock = virtualClock()
    const home = callableHome(clock)
    await using _ = home
    const right = deviceOf('lamp')
    const { key } = right
    const sign = (bytes: Uint8Array): Uint8Array => right.sign(bytes).map((one) => one ^ 1)
    await home.start('lamp', { signer: { key, peerId: right.peerId, sign } })
    const caller = await home.start('button')
    home.connect('button', 'lamp')
    const refused: unknown[] = []
    const states: string[] = []
    caller.calls.events.on('refused', (facts) => refused.push(facts))
    caller.calls.events.on('call', ({ receipt, state }) =>
      states.push(`${state} ${receipt?.status ?? ''}`),
    )
    const wanted = { to: key, verb: 'invoke', name: 'toggle' } as const
    const { id } = await caller.calls.call(wanted, forever)
    await clock.advance(0)
    const record = caller.calls.find(toHex(id))
    assert.deepEqual([record.state, record.receipt], ['unknown', undefined])
    assert.deepEqual(states, ['sent ', 'unknown '])
    assert.deepEqual(refused, [{ device: key, code: 'IDENTITY_BAD_SIGNATURE' }])
    assert.equal(home.network.streams, 0)
  })

  it('is executed for whoever looks as soon as it is for whoever waits', async () => {
    const { caller, home, to } = await pair()
    await using _ = home
    const { id } = await caller.calls.call({ to, verb: 'invoke', name: 'toggle' }, forever)
    assert.equal(caller.calls.find(toHex(id)).state, 'executed')
    assert.deepEqual(
      caller.calls.list().map(({ state }) => state),
      ['executed'],
    )
  })

  it('that never ends gets a receipt that says timeout, and others go on meanwhile', async () => {
    const { caller, clock, home, to } = await pair()
    await using _ = home
    const hanging = caller.calls.call({ to, verb: 'invoke', name: 'hang' }, forever)
    const other = await caller.calls.call({ to, verb: 'invoke', name: 'toggle' }, forever)
    assert.equal(other.receipt?.status, 'done')
    await clock.advance(600)
    const { receipt } = await hanging
    assert.equal(receipt?.status, 'timeout')
    assert.match(receipt?.detail ?? '', /may still have acted/)
  })

  it('is refused as busy when too many of its kind never end', async () => {
    const { caller, clock, home, thing, to } = await pair()
    await using _ = home
    for (let i = 0; i < 40; i++) {
      const call = caller.calls.call({ to, verb: 'invoke', name: 'hang' }, forever)
      await clock.advance(600)
      assert.equal((await call).receipt?.status, i < 32 ? 'timeout' : 'busy')
    }
    assert.equal(thing.done.length, 32)
  })

  it('of one device starts after those that it made before', async () => {
    const { caller, home, thing, to } = await pair()
    await using _ = home
    const calls = Array.from({ length: 100 }, (_one, level) =>
      caller.calls.call({ to, verb: 'write', name: 'level', args: level }, forever),
    )
    await Promise.all(calls)
    assert.deepEqual(
      thing.done,
      Array.from({ length: 100 }, (_one, level) => `write level ${level}`),
    )
  })

  it('starts in its turn, also where a later one is verified first', async () => {
    const clock = virtualClock()
    await using home = callableHome(clock)
    const thing = lamp()
    const waiting: (() => void)[] = []
    const verifyLater: typeof AT_ONCE.verifyLater = (...signed) =>
      new Promise((resolve) => {
        waiting.unshift(() => void AT_ONCE.verifyLater(...signed).then(resolve))
      })
    await home.start('lamp', { thing, verifier: { ...AT_ONCE, verifyLater } })
    const caller = await home.start('button')
    home.connect('button', 'lamp')
    const to = home.key('lamp')
    const calls = [1, 2, 3, 4].map((level) =>
      caller.calls.call({ to, verb: 'write', name: 'level', args: level }, forever),
    )
    await clock.advance(10)
    assert.equal(waiting.length, 4)
    assert.deepEqual(thing.done, [])
    for (const verify of waiting) {
      verify()
      await clock.advance(10)
    }
    await Promise.all(calls)
    assert.deepEqual(
      thing.done,
      [1, 2, 3, 4].map((level) => `write level ${level}`),
    )
  })

  it('to the device itself is executed and accounted for like any other', async () => {
    const { callee, home, thing, to } = await pair()
    await using _ = home
    const record = await callee.calls.call({ to, verb: 'invoke', name: 'toggle' }, forever)
    assert.equal(record.receipt?.status, 'done')
    assert.equal(thing.done.length, 1)
    const [row] = await callee.calls.why(to, 'toggle', 10, forever)
    assert.deepEqual([row?.caller, row?.status], [to, 'done'])
  })

  it('that cannot be sent fails, and leaves nothing behind', async () => {
    const { caller, home } = await pair()
    await using _ = home
    const wanted = { to: home.key('nobody'), verb: 'invoke', name: 'toggle' } as const
    await assert.rejects(caller.calls.call(wanted, forever), /unreachable/)
    assert.deepEqual(caller.calls.list(), [])
  })

  it('is listed with what became of it, and found by the beginning of its id', async () => {
    const { caller, home, to } = await pair()
    await using _ = home
    const told: CallRecord[] = []
    const written = Promise.withResolvers<void>()
    caller.calls.events.on('call', (record) => {
      told.push(record)
      if (record.verb === 'write' && record.state !== 'sent') written.resolve()
    })
    const cause = { rule: 'r', device: to, sensor: 's', seq: 1, atMs: START_MS, value: 1 }
    const wanted = { to, verb: 'write', name: 'on', args: true, cause } as const
    const { id } = await caller.calls.call(wanted, forever)
    await caller.calls.call({ to, verb: 'read', name: 'on' }, forever)
    const [record, ...others] = caller.calls.list()
    assert.deepEqual(others, [])
    assert.deepEqual([record?.id, record?.state, record?.cause], [id, 'executed', cause])
    assert.equal(record?.receipt?.status, 'done')
    assert.deepEqual(caller.calls.find(toHex(id).slice(0, 7)).id, id)
    assert.throws(() => caller.calls.find('0'.repeat(64)), { code: 'NODE_NOT_FOUND' })
    assert.throws(() => caller.calls.find("' OR 1"), { code: 'NODE_NOT_FOUND' })
    await written.promise
    assert.deepEqual(
      told.filter((one) => toHex(one.id) === toHex(id)).map(({ state }) => state),
      ['sent', 'executed'],
    )
  })
})

describe('why something was done', () => {
  it('is told by the device, newest first, with signatures that hold', async () => {
    const { callee, caller, home, to } = await pair()
    await using _ = home
    const executed: WhyRow[] = []
    callee.calls.events.on('executed', (row) => executed.push(row))
    const cause = { rule: 'dusk', device: to, sensor: 'lux', seq: 7, atMs: START_MS, value: 3 }
    await caller.calls.call({ to, verb: 'write', name: 'on', args: true, cause }, forever)
    await caller.calls.call({ to, verb: 'invoke', name: 'toggle' }, forever)
    await caller.calls.call({ to, verb: 'read', name: 'on' }, forever)
    await caller.calls.call({ to, verb: 'write', name: 'level', args: 999 }, forever)
    const rows = await caller.calls.why(to, undefined, 10, forever)
    assert.deepEqual(
      rows.map(({ name, status, verb }) => [verb, name, status]),
      [
        ['invoke', 'toggle', 'done'],
        ['write', 'on', 'done'],
      ],
    )
    assert.deepEqual(rows[1]?.cause, cause)
    for (const { call, receipt } of rows) {
      assert.deepEqual(openCall(call.bytes, CONTEXT).caller, caller.key)
      openReceipt(receipt.bytes, CONTEXT, { call: call.id, caller: caller.key, callee: to })
    }
    assert.deepEqual(
      executed.map(({ name }) => name),
      ['on', 'toggle'],
    )
    const ofOn = await caller.calls.why(to, 'on', 10, forever)
    assert.deepEqual(
      ofOn.map(({ verb, name }) => `${verb} ${name}`),
      ['invoke toggle', 'write on'],
    )
    assert.equal((await caller.calls.why(to, 'toggle', 10, forever)).length, 1)
    assert.deepEqual(await caller.calls.why(to, 'level', 10, forever), [])
    assert.equal((await caller.calls.why(to, undefined, 1, forever)).length, 1)
  })

  it('is told of what the asker may use alone', async () => {
    const clock = virtualClock()
    await using home = callableHome(clock)
    await home.start('lamp', {
      rights: {
        isActive: () => true,
        judge: () => ({ allow: true }),
        allows: () => (right, name) => right === 'write' && name === 'on',
      },
    })
    const caller = await home.start('guest')
    home.connect('guest', 'lamp')
    const to = home.key('lamp')
    await caller.calls.call({ to, verb: 'write', name: 'on', args: true }, forever)
    await caller.calls.call({ to, verb: 'write', name: 'level', args: 5 }, forever)
    const rows = await caller.calls.why(to, undefined, 10, forever)
    assert.deepEqual(
      rows.map(({ name }) => name),
      ['on'],
    )
  })
})

describe('a description', () => {
  it('is asked of the device, and known when it is gone', async () => {
    const { caller, clock, home, to } = await pair()
    await using _ = home
    const first = await caller.calls.describe(to, forever)
    assert.equal(first.live, true)
    assert.equal(JSON.parse(first.text).title, 'Lamp')
    await clock.advance(1000)
    home.network.disconnect(caller.key, to)
    assert.deepEqual(await caller.calls.describe(to, forever), { ...first, live: false })
    await assert.rejects(caller.calls.describe(home.key('nobody'), forever))
  })
})

describe('observing', () => {
  it('tells the value of a property and each one after it, until it is stopped', async () => {
    const { caller, home, thing, to } = await pair()
    await using _ = home
    const stop = new AbortController()
    const seen: unknown[] = []
    for await (const { value } of caller.calls.observe(to, 'level', stop.signal)) {
      seen.push(value)
      if (seen.length === 4) break
      thing.change('level', seen.length * 10, 'property')
    }
    assert.deepEqual(seen, [0, 10, 20, 30])
  })

  it('ends when the right to it ends', async () => {
    const { caller, home, thing, to } = await pair()
    await using _ = home
    const values = caller.calls.observe(to, 'level', forever)[Symbol.asyncIterator]()
    await values.next()
    home.removed.add(toHex(caller.key))
    thing.change('level', 5, 'property')
    await assert.rejects(values.next(), { code: 'CALLS_FORBIDDEN' })
  })

  for (const name of ['secret', 'toggle', 'nothing', 'toString']) {
    it(`is refused for ${name}, which cannot be observed`, async () => {
      const { caller, home, to } = await pair()
      await using _ = home
      const values = caller.calls.observe(to, name, forever)[Symbol.asyncIterator]()
      await assert.rejects(values.next(), { code: 'CALLS_UNKNOWN' })
    })
  }
})
