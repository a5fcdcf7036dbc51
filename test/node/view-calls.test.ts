import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { DeviceBase } from '../../node/device/base.ts'
import { createEmitter } from '../../node/events.ts'
import type { Home } from '../../node/device/home.ts'
import { offersOf } from '../../node/device/offers.ts'
import { deviceRows } from '../../node/device/rows.ts'
import { callsView } from '../../node/device/view-calls.ts'
import type { CallRecord, Calls, WantedCall } from '../../node/services/calls/index.ts'
import { descriptionText, type Receipt, type ThingModel } from '../../protocols/calls/index.ts'
import { fingerprintOf, peerIdOf } from '../../protocols/identity/index.ts'
import { presenceOf } from '../../protocols/mailbox/index.ts'
import type { Device } from '../../protocols/members/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { deviceOf } from '../helpers/telemetry.ts'

const NOW_MS = 1_800_000_000_000
const here = deviceOf('here')
const lamp = deviceOf('lamp')
const garden = deviceOf('garden')
const ID = new Uint8Array(32).fill(0xab)
const { signal } = new AbortController()

const MODEL: ThingModel = {
  title: 'lamp',
  properties: {
    on: { schema: { type: 'boolean' }, writable: true, readable: true, observable: true },
    setpoint: {
      schema: { type: 'number', minimum: 5, maximum: 30 },
      writable: true,
      readable: true,
      observable: true,
    },
    heat: { schema: { type: 'number' }, writable: false, readable: true, observable: true },
    secret: { schema: { type: 'string' }, writable: true, readable: false, observable: false },
  },
  actions: { toggle: {}, water: { input: { type: 'integer', maximum: 10 } } },
  events: {},
}

function member(key: Uint8Array, name: string): Device {
  const grant = { grant: key, grantedAtMs: NOW_MS, paired: 'code' as const }
  const rest = { caps: [], expiresAtMs: undefined, depth: 1, quarantined: false }
  return { key, name, role: 'member', ...grant, ...rest }
}

function receipt(more: Partial<Receipt>): Receipt {
  const ids = { call: ID, caller: here.key, callee: lamp.key, id: ID, bytes: ID }
  return { ...ids, status: 'done', atMs: NOW_MS, clock: 'synced', ...more }
}

interface Said {
  /** What becomes of a call. */
  readonly answer?: (wanted: WantedCall) => Partial<CallRecord>
  readonly wait?: Calls['wait']
  readonly describe?: Calls['describe']
  /** How long ago the garden was heard; it sleeps for ten minutes. */
  readonly heardMs?: number
}

/** This device with a lamp that is connected and a garden that sleeps. */
function inHome({ answer = () => ({}), wait, describe: told, heardMs = NOW_MS }: Said = {}) {
  const clock = virtualClock(NOW_MS)
  const wanted: WantedCall[] = []
  const record = (one: WantedCall): CallRecord => {
    const { to, verb, name, args, ttlMs = 30_000 } = one
    const asked = { id: ID, to, verb, name, args, ttlMs, issuedMs: NOW_MS, holders: [] }
    return { ...asked, state: 'executed', receipt: receipt({}), ...answer(one) }
  }
  const text = (key: Uint8Array): string => descriptionText(MODEL, { key })
  const calls: { -readonly [K in keyof Calls]?: Calls[K] } = {
    events: createEmitter(() => undefined),
    describe:
      told ?? (async (key) => ({ text: text(key), atMs: NOW_MS, live: equalBytes(key, lamp.key) })),
    call: async (one) => {
      wanted.push(one)
      return record(one)
    },
    wait: wait ?? (() => new Promise(() => undefined)),
    find: () => record({ to: garden.key, verb: 'write', name: 'on', args: true }),
    list: () => [record({ to: lamp.key, verb: 'invoke', name: 'toggle' })],
  }
  const devices = new Map(
    [member(here.key, 'here'), member(lamp.key, 'lamp'), member(garden.key, 'garden')].map(
      (device) => [toHex(device.key), device] as const,
    ),
  )
  const schedule = { mode: 'sleepy', periodMs: 600_000, slackMs: 30_000 } as const
  const home = {
    calls,
    members: {
      state: { devices, removed: new Map() },
      active: () => [...devices.values()],
      lastHello: () => undefined,
    },
    mesh: { peers: () => [{ key: lamp.key, address: 'a' }], addresses: () => [] },
    telemetry: { progress: () => undefined, isQuarantined: () => false },
    mailbox: {
      presence: (key: Uint8Array) =>
        presenceOf(equalBytes(key, garden.key) ? schedule : undefined, heardMs, false, clock.now()),
    },
  } as unknown as Home
  const base = {
    clock,
    signer: here,
    config: { device: { name: 'here' } },
    version: '1',
    peers: { get: () => undefined },
  } as unknown as DeviceBase
  return { clock, wanted, base, home, calls, view: callsView(base, () => home) }
}

describe('devices that sleep', () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, 'asleep'],
    [629_000, 'asleep'],
    [631_000, 'late'],
    [1_829_000, 'late'],
    [1_831_000, 'lost'],
  ]
  for (const [ago, state] of cases) {
    it(`are ${state} ${ago / 1000} s after they were heard, with the time they are due`, () => {
      const { base, home } = inHome({ heardMs: NOW_MS - ago })
      const rows = new Map(deviceRows(base, home).map((row) => [row.name, row]))
      assert.equal(rows.get('garden')?.state, state)
      assert.equal(rows.get('garden')?.dueAt, NOW_MS - ago + 600_000)
      assert.deepEqual([rows.get('lamp')?.state, rows.get('lamp')?.dueAt], ['online', undefined])
    })
  }
})

describe('a call of this device', () => {
  it('is asked of the service as it was meant, and told with names', async () => {
    const cause = { rule: 'r', device: lamp.key, sensor: 's', seq: 1, atMs: NOW_MS, value: 1 }
    const { view, wanted } = inHome({
      answer: () => ({ cause, receipt: receipt({ result: { was: false } }) }),
    })
    const target = { ref: 'lamp', name: 'toggle' }
    const call = await view.invokeAction(target, { a: 1 }, { ttlMs: 5000 }, signal)
    const asked = { verb: 'invoke', name: 'toggle', args: { a: 1 }, ttlMs: 5000 }
    assert.deepEqual(wanted, [{ ...asked, to: lamp.key }])
    const lampName = { id: peerIdOf(lamp.key), name: 'lamp' }
    assert.deepEqual(call, {
      id: 'ab'.repeat(32),
      device: lampName,
      verb: 'invoke',
      name: 'toggle',
      args: { a: 1 },
      state: 'executed',
      issuedAt: NOW_MS,
      expiresAt: NOW_MS + 5000,
      holders: [],
      receipt: { status: 'done', result: { was: false }, at: NOW_MS, clock: 'synced' },
      cause: { rule: 'r', device: lampName, sensor: 's', seq: 1, at: NOW_MS, value: 1 },
    })
  })

  const refused: readonly (readonly [Receipt['status'], string, RegExp])[] = [
    ['denied', 'NODE_DENIED', /lamp does not let this device do that: No right\.$/],
    ['unknown', 'NODE_NOT_FOUND', /lamp has no "onn" for that/],
    ['invalid', 'NODE_USAGE', /lamp does not take that for onn/],
    ['timeout', 'NODE_TIMEOUT', /onn of lamp did not end in time/],
    ['expired', 'NODE_TIMEOUT', /came to lamp too late/],
    ['failed', 'NODE_CONFLICT', /lamp: onn did not work: No right\.$/],
    ['busy', 'NODE_CONFLICT', /busy/],
    ['superseded', 'NODE_CONFLICT', /later call/],
  ]
  for (const [status, code, message] of refused) {
    it(`that is ${status} is thrown as ${code}`, async () => {
      const { view } = inHome({
        answer: () => ({ receipt: receipt({ status, detail: 'No right.' }) }),
      })
      const asking = view.writeProperty({ ref: 'lamp', name: 'onn' }, true, {}, signal)
      await assert.rejects(asking, (error: Error & { code: string; hint?: string }) => {
        assert.equal(error.code, code)
        assert.match(error.message, message)
        if (status === 'unknown') assert.match(error.hint ?? '', /^Did you mean on\? /)
        return true
      })
    })
  }

  it('that nobody answered is no success, and may have been done', async () => {
    const { view } = inHome({ answer: () => ({ state: 'unknown', receipt: undefined }) })
    await assert.rejects(view.readProperty('lamp', 'on', {}, signal), {
      code: 'NODE_TIMEOUT',
      hint: /may have done it all the same: kith calls shows call abababab/,
    })
  })
})

describe('a call for a device that sleeps', () => {
  const held = () => ({ state: 'held', receipt: undefined, deliversByMs: NOW_MS + 1 }) as const

  it('is checked before it waits: names and arguments that the device will refuse', async () => {
    const { view, wanted } = inHome({ answer: held })
    const cases = [
      [() => view.writeProperty({ ref: 'garden', name: 'setpiont' }, 20, {}, signal), /setpoint/],
      [() => view.writeProperty({ ref: 'garden', name: 'heat' }, 20, {}, signal), /./],
      [() => view.readProperty('garden', 'secret', {}, signal), /./],
    ] as const
    for (const [ask, hint] of cases) {
      await assert.rejects(ask, { code: 'NODE_NOT_FOUND', hint })
    }
    const tooHot = view.writeProperty({ ref: 'garden', name: 'setpoint' }, 31, {}, signal)
    await assert.rejects(tooHot, { code: 'NODE_USAGE' })
    await assert.rejects(view.invokeAction({ ref: 'garden', name: 'water' }, 11, {}, signal), {
      code: 'NODE_USAGE',
    })
    assert.deepEqual(wanted, [])
  })

  it('is told as held where others keep it soon, else as it stands', async () => {
    for (const state of ['held', 'queued'] as const) {
      const { view, clock, calls } = inHome({ answer: () => ({ state, receipt: undefined }) })
      const { call } = calls
      assert.ok(call)
      calls.call = async (wanted, until) => ({ ...(await call(wanted, until)), state: 'queued' })
      let seen = ''
      const target = { ref: 'garden', name: 'on' }
      const asking = view
        .writeProperty(target, true, {}, signal)
        .then((told) => (seen = told.state))
      await clock.advance(999)
      assert.equal(seen, state === 'held' ? 'held' : '')
      await clock.advance(1)
      await asking
      assert.equal(seen, state)
    }
  })

  it('says when it will be delivered', async () => {
    const { view, wanted } = inHome({ answer: held })
    const call = await view.writeProperty({ ref: 'garden', name: 'setpoint' }, 21, {}, signal)
    assert.deepEqual([call.state, call.deliversBy], ['held', NOW_MS + 1])
    assert.deepEqual(
      wanted.map(({ name, args }) => [name, args]),
      [['setpoint', 21]],
    )
  })

  it('is sent unchecked where nothing is known of the device', async () => {
    const { view, wanted } = inHome({
      answer: held,
      describe: () => Promise.reject(new Error('never said anything')),
    })
    await view.invokeAction({ ref: 'garden', name: 'anything' }, undefined, {}, signal)
    assert.equal(wanted.length, 1)
  })

  it('is waited for as long as was asked, and no longer', async () => {
    const { view, clock } = inHome({
      answer: held,
      wait: (_id, until) =>
        new Promise((_resolve, reject) => {
          until.addEventListener('abort', () => reject(until.reason as Error))
        }),
    })
    let answered = false
    const waiting = view.callById('abab', { waitMs: 1000 }, signal).then((call) => {
      answered = true
      return call
    })
    await clock.advance(999)
    assert.equal(answered, false)
    await clock.advance(1)
    assert.equal((await waiting).state, 'held')
  })

  it('is told as soon as its receipt is here', async () => {
    const { view } = inHome({
      answer: ({ name }) => (name === 'water' ? held() : {}),
      wait: async () => ({
        id: ID,
        to: garden.key,
        verb: 'invoke',
        name: 'water',
        state: 'executed',
        issuedMs: NOW_MS,
        ttlMs: 1000,
        holders: [lamp.key],
        receipt: receipt({ status: 'denied' }),
      }),
    })
    const target = { ref: 'garden', name: 'water' }
    await assert.rejects(view.invokeAction(target, 3, { waitMs: 1000 }, signal), {
      code: 'NODE_DENIED',
    })
  })
})

describe('the description of a device', () => {
  it('comes with the values that can be read, and without those that cannot', async () => {
    const { view, wanted } = inHome({
      answer: ({ name }) =>
        name === 'heat'
          ? { receipt: receipt({ status: 'failed' }) }
          : { receipt: receipt({ result: name }) },
    })
    const told = await view.description('lamp', { values: true }, signal)
    assert.deepEqual(told.values, [
      { name: 'on', value: 'on', at: NOW_MS },
      { name: 'setpoint', value: 'setpoint', at: NOW_MS },
    ])
    assert.deepEqual(
      wanted.map(({ verb }) => verb),
      ['read', 'read', 'read'],
    )
    assert.equal(told.description['@type'], 'Thing')
    const asleep = await view.description('garden', { values: true }, signal)
    assert.deepEqual([asleep.live, asleep.values], [false, undefined])
  })

  it('is refused where it is no safe JSON', async () => {
    const text = '{"title":"x","__proto__":{"properties":{}}}'
    const { view } = inHome({ describe: async () => ({ text, atMs: NOW_MS, live: true }) })
    await assert.rejects(view.description('lamp', {}, signal), { code: 'CALLS_BAD_JSON' })
  })

  it('says what a grant can name', async () => {
    const { base, home } = inHome()
    const offers = await offersOf(base, home, ['lamp/toggle;n=3', 'nobody/on', '*/on', 'garden/x'])
    assert.deepEqual(Object.keys(offers(lamp.key)?.actions ?? {}), ['toggle', 'water'])
    assert.equal(offers(here.key), undefined)
    assert.notEqual(offers(garden.key), undefined)
    assert.equal(fingerprintOf(lamp.key).length, 8)
  })
})
