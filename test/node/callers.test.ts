import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { callersOf, localTimeAt } from '../../node/device/callers.ts'
import type { Asked } from '../../node/services/calls/index.ts'
import { ROLES, type Device, type HomeState } from '../../protocols/members/index.ts'
import { fingerprintOf, sha256 } from '../../protocols/identity/index.ts'
import { utf8 } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { naivelyAllows, type NaiveCall, type NaiveDevice } from '../helpers/naive-rights.ts'
import { deviceOf } from '../helpers/telemetry.ts'

const here = deviceOf('here')
const NO_POLICY = { policy: new Uint8Array() } as HomeState
const HERE = fingerprintOf(here.key)
const HOUR_MS = 3_600_000
const ZONES = ['Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Pacific/Chatham', 'UTC']
/** Clocks go forward and back in Berlin and New York; midnights; the turn of a year. */
const MOMENTS = [
  ['2027-03-28T01:00Z', '2027-10-31T01:00Z', '2027-03-14T07:00Z', '2027-11-07T06:00Z'],
  ['2027-06-11T22:00Z', '2027-01-03T23:00Z', '2026-12-31T23:00Z', '2027-07-05T04:00Z'],
]
  .flat()
  .map((text) => Date.parse(text))

const fields = ['level', 'mode']
const number = fc.oneof(
  fc.integer({ min: -3, max: 12 }),
  fc.constantFrom(0.5, 5.5, 10, -0, 1e21, 1e-7),
)
const word = fc.constantFrom('eco', 'off', 'true', '5', '-1', 'null')
const scalar = fc.oneof(number, word, fc.boolean(), fc.constant(null))
const args = fc.oneof(
  fc.constant(undefined),
  scalar,
  number,
  fc.dictionary(fc.constantFrom(...fields, 'x', 'constructor'), scalar, { maxKeys: 3 }),
  fc.array(scalar, { maxLength: 2 }),
  fc.constantFrom<unknown>(
    JSON.parse('{"__proto__":{"level":5}}'),
    { level: { level: 5 } },
    { level: [5] },
    '',
  ),
)

const two = (value: number): string => String(value).padStart(2, '0')
const clockText = fc
  .tuple(fc.integer({ min: 0, max: 23 }), fc.constantFrom(0, 0, 15, 30, 45, 59))
  .map(([hour, minute]) => two(hour) + two(minute))
const limit = fc.oneof(
  fc.constantFrom('-3..12', '-3..10', '0..5', '5..12', '5.5..5.5'),
  fc
    .tuple(fc.integer({ min: -3, max: 12 }), fc.integer({ min: 0, max: 8 }))
    .map(([min, more]) => `${min}..${min + more}`),
  fc
    .uniqueArray(fc.constantFrom('5', 'eco', 'off', 'true'), { minLength: 1, maxLength: 3 })
    .map((all) => all.toSorted().join('|')),
  fc.constantFrom('0..0.5', '5.5..6', '-0..1', '3..1', '1.0..2', 'b|a', '..', ''),
)
const limits = fc.oneof(
  { weight: 6, arbitrary: fc.constant('') },
  limit.map((one) => `;v=${one}`),
  limit.map((one) => `;level=${one}`),
  fc.tuple(limit, limit).map(([a, b]) => `;level=${a};mode=${b}`),
)
const times = fc.tuple(clockText, clockText).map(([from, to]) => `;t=${from}-${to}`)
const day = fc.integer({ min: 1, max: 7 })
const days = fc.oneof(
  day.map((one) => `;d=${one}`),
  fc.tuple(day, day).map(([from, to]) => `;d=${from}-${to}`),
)
const or = (one: fc.Arbitrary<string>) => fc.oneof({ weight: 1, arbitrary: fc.constant('') }, one)
const name = fc.constantFrom('on', 'toggle', 'level', 'o', 'door.open', 'toggle-all')
const pattern = fc.oneof(name, fc.constantFrom('*', 't*', '*o*', '*e', '**', '.x', 'o*n'))
const device = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(HERE, '*') },
  fc.constantFrom('abcd2345', 'lamp', ''),
)
const COUNTS = [';n=1', ';n=1', ';n=2', ';n=2', ';n=3', ';n=0', ';n=03', ';n=1000001']
const callCap = fc
  .tuple(
    fc.constantFrom('write', 'invoke', 'write', 'invoke', 'observe'),
    device,
    fc.oneof({ weight: 3, arbitrary: fc.constantFrom('*', 'to*', '*e*') }, pattern),
    or(fc.constantFrom(...COUNTS)),
    limits,
    or(times),
    or(days),
  )
  .map(([verb, who, ...rest]) => `${verb}:${who}/${rest.join('')}`)
/** As an owner would write it, and as a hand that slipped. */
const cap = fc.oneof(
  { weight: 9, arbitrary: callCap },
  { weight: 2, arbitrary: pattern.map((one) => `read:${one}`) },
  fc
    .tuple(callCap, fc.nat(70), fc.constantFrom(';', ' ', '=', '*', '5', '', '\n', 'é'))
    .map(([text, at, slip]) => text.slice(0, at) + slip + text.slice(at + 1)),
)

const CALLERS = ['ann', 'bob', 'guest', 'friend', 'late']
const rarely = fc.oneof({ weight: 40, arbitrary: fc.constant(false) }, fc.constant(true))
/** Hours from the beginning. */
const hours = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(undefined, 500) },
  fc.constantFrom(-1, 0, 24),
)
const calleeRole = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom('member', 'sensor', 'owner') },
  fc.constantFrom('gateway', 'guest'),
)
const devices = fc.tuple(
  ...['here', ...CALLERS].map((id, i) =>
    fc.record({
      id: fc.constant(id),
      role: i === 0 ? calleeRole : roleOf(i),
      caps: fc
        .uniqueArray(cap, { minLength: 3, maxLength: 6, size: 'max' })
        .map((all) => all.toSorted()),
      ends: i === 0 ? fc.constant(undefined) : hours,
      removed: rarely,
      quarantined: rarely,
    }),
  ),
)

function roleOf(i: number): fc.Arbitrary<(typeof ROLES)[number]> {
  return i > 2 ? fc.constant('guest') : fc.constantFrom(...ROLES)
}

const call = fc.record({
  caller: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom('guest', 'friend', 'late') },
    fc.constantFrom('here', ...CALLERS, 'stranger'),
  ),
  verb: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('write', 'invoke') },
    fc.constantFrom('read', 'observe', 'cancel'),
  ),
  name,
  args,
  /** Hours that passed. */
  later: fc.oneof(
    fc.constant(0),
    fc.integer({ min: 0, max: 24 }).map((one) => one / 4),
    fc.integer({ min: 0, max: 480 }).map((one) => one / 60),
  ),
  clockSet: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.constant(false)),
})

const scene = fc.record({
  zone: fc.constantFrom(...ZONES),
  startMs: fc
    .tuple(
      fc.constantFrom(...MOMENTS),
      fc.oneof(
        fc.integer({ min: -40, max: 40 }).map((one) => one * 15),
        fc.nat(99),
      ),
    )
    .map(([ms, more]) => ms + more * 60_000),
  devices,
  calls: fc.array(call, { minLength: 20, maxLength: 20 }),
})

function real(one: NaiveDevice): Device {
  return {
    key: deviceOf(one.id).key,
    name: one.id,
    role: one.role,
    caps: one.caps,
    expiresAtMs: one.endsMs,
    grant: sha256(utf8(one.id)),
    grantedAtMs: 0,
    paired: 'code',
    depth: 1,
    quarantined: one.quarantined,
  }
}

/** Answers of the device `here` to one call after another, in its time zone. */
function callee(home: readonly NaiveDevice[], startMs: number) {
  const clock = virtualClock(startMs)
  let quality: 'synced' | 'unset' = 'synced'
  const present = home.filter(({ removed }) => !removed).map(real)
  const active = (): readonly Device[] =>
    present.filter(({ expiresAtMs = Infinity }) => expiresAtMs > clock.now())
  const used = new Map<string, number>()
  const callers = callersOf(
    { clock, signer: here },
    { members: { active, state: NO_POLICY }, time: { quality: () => quality } },
  )
  return {
    callers,
    ask(one: NaiveCall, nowMs: number, clockSet = true) {
      clock.setWall(nowMs)
      quality = clockSet ? 'synced' : 'unset'
      const { caller, ...asked } = one
      const key = deviceOf(caller).key
      const verdict = callers.judge(key, asked as Asked, (what) => used.get(what) ?? 0)
      const counted = verdict.allow ? verdict.counted : undefined
      if (counted !== undefined) used.set(counted, (used.get(counted) ?? 0) + 1)
      return { ...verdict, offered: isOffered(callers.allows(key), one) }
    },
  }
}

function isOffered(
  allows: ReturnType<ReturnType<typeof callersOf>['allows']>,
  { verb, name: one }: NaiveCall,
): boolean {
  return verb !== 'cancel' && allows(verb, one)
}

const MONDAY_MS = Date.parse('2027-01-04T00:00Z')
const START_MS = 1_800_000_000_000
const HERE_DEVICE: NaiveDevice = {
  id: 'here',
  role: 'member',
  caps: [],
  endsMs: undefined,
  removed: false,
  quarantined: false,
}

function guestWith(caps: readonly string[], endsMs: number | undefined): NaiveDevice {
  return { ...HERE_DEVICE, id: 'guest', role: 'guest', caps, endsMs }
}

function inZone(zone: string, run: () => void): void {
  const before = process.env['TZ']
  process.env['TZ'] = zone
  try {
    run()
  } finally {
    if (before === undefined) delete process.env['TZ']
    else process.env['TZ'] = before
  }
}

describe('who may call a device', () => {
  it('is decided in 10,000 calls as a second, naive evaluator decides', () => {
    const seen = new Map<string, number>()
    fc.assert(
      fc.property(scene, ({ zone, startMs, devices: drawn, calls }) => {
        inZone(zone, () => {
          const home = drawn.map(({ ends, ...one }): NaiveDevice => {
            return { ...one, endsMs: ends === undefined ? undefined : startMs + ends * HOUR_MS }
          })
          const asked = callee(home, startMs)
          const accepted: string[] = []
          let nowMs = startMs
          for (const { later, clockSet, ...one } of calls) {
            nowMs += Math.round(later * 60) * 60_000
            const moment = { nowMs, clockSet, timeZone: zone }
            const ours = { devices: home, callee: { id: 'here', fingerprint: HERE } }
            const expected = naivelyAllows(ours, one, moment, accepted)
            const got = asked.ask(one, nowMs, clockSet)
            assert.equal(got.allow, expected, JSON.stringify({ one, moment, home }))
            if (got.allow && one.verb !== 'cancel') assert.ok(got.offered, 'allowed, not described')
            const what = got.allow ? (got.counted === undefined ? 'allowed' : 'counted') : got.why
            seen.set(what, (seen.get(what) ?? 0) + 1)
          }
        })
      }),
      { numRuns: 500 },
    )
    const all = [...seen.values()].reduce((sum, one) => sum + one, 0)
    assert.equal(all, 10_000)
    // A test that only ever sees one answer says nothing.
    const tally = JSON.stringify([...seen])
    assert.equal(seen.size, 9, tally)
    for (const count of seen.values()) assert.ok(count >= 10, tally)
    assert.ok((seen.get('allowed') ?? 0) > 800, tally)
  })

  it('is decided so at the very edges of one right', () => {
    const at = fc.tuple(fc.nat(6), fc.integer({ min: 0, max: 95 }), fc.constantFrom(-1, 0, 1))
    const edge = fc.record({
      zone: fc.constantFrom(...ZONES),
      from: fc.nat(12),
      more: fc.nat(6),
      off: fc.constantFrom(-0.5, 0, 0.5),
      first: fc.nat(95),
      length: fc.integer({ min: 1, max: 95 }),
      days: fc.tuple(day, day),
      at,
    })
    const seen = { yes: 0, no: 0 }
    fc.assert(
      fc.property(
        edge,
        ({ zone, from, more, off, first, length, days: [monday, friday], at: when }) => {
          const quarter = (n: number): string => {
            return two(Math.floor((n % 96) / 4)) + two((n % 4) * 15)
          }
          const time = `t=${quarter(first)}-${quarter(first + length)}`
          const week = monday === friday ? `d=${monday}` : `d=${monday}-${friday}`
          const home = [
            HERE_DEVICE,
            guestWith([`write:*/level;v=${from}..${from + more};${time};${week}`], undefined),
          ]
          const ours = { devices: home, callee: { id: 'here', fingerprint: HERE } }
          const [weekday, quarters, minute] = when
          const nowMs = MONDAY_MS + weekday * 24 * HOUR_MS + (quarters * 15 + minute) * 60_000
          inZone(zone, () => {
            for (const value of [from + off, from + more + off]) {
              const one: NaiveCall = { caller: 'guest', verb: 'write', name: 'level', args: value }
              const moment = { nowMs, clockSet: true, timeZone: zone }
              const expected = naivelyAllows(ours, one, moment, [])
              const told = JSON.stringify({ one, moment, home })
              assert.equal(callee(home, nowMs).ask(one, nowMs).allow, expected, told)
              seen[expected ? 'yes' : 'no']++
            }
          })
        },
      ),
      { numRuns: 2000 },
    )
    assert.ok(seen.yes > 300 && seen.no > 300, JSON.stringify(seen))
  })

  it('changes with the membership and the clock, from one call to the next', () => {
    const guest = guestWith(['invoke:*/toggle'], START_MS + HOUR_MS)
    const home = [HERE_DEVICE, guest]
    const asked = callee(home, START_MS)
    const toggle = { caller: 'guest', verb: 'invoke', name: 'toggle' } as const
    assert.equal(asked.ask(toggle, START_MS + HOUR_MS - 1).allow, true)
    assert.equal(asked.ask(toggle, START_MS + HOUR_MS).allow, false)
    assert.equal(asked.callers.isActive(deviceOf('guest').key), false)
    const removed = callee([HERE_DEVICE, { ...guest, removed: true }], START_MS)
    const verdict = removed.ask(toggle, START_MS)
    assert.ok(!verdict.allow)
    assert.equal(verdict.why, 'This device is not in the home.')
  })

  it('does not let a right with an end or a time be used while no clock can tell', () => {
    const toggle = { caller: 'guest', verb: 'invoke', name: 'toggle' } as const
    const may = (caps: readonly string[], endsMs: number | undefined, clockSet: boolean) =>
      callee([HERE_DEVICE, guestWith(caps, endsMs)], START_MS).ask(toggle, START_MS, clockSet).allow
    const end = START_MS + HOUR_MS
    assert.equal(may(['invoke:*/toggle'], undefined, false), true)
    assert.equal(may(['invoke:*/toggle;n=1'], undefined, false), true)
    for (const [caps, endsMs] of [
      [['invoke:*/toggle'], end],
      [['invoke:*/toggle;d=1-7'], undefined],
      [['invoke:*/toggle;t=0000-2359'], undefined],
    ] as const) {
      assert.equal(may(caps, endsMs, true), true)
      assert.equal(may(caps, endsMs, false), false)
    }
  })

  it('counts under the grant: a new one counts anew', () => {
    const key = deviceOf('guest').key
    const told: string[] = []
    for (const grant of [1, 2]) {
      const guest = real(guestWith(['invoke:*/toggle;n=1'], undefined))
      const again: Device = { ...guest, grant: new Uint8Array(32).fill(grant) }
      const members = { active: () => [real(HERE_DEVICE), again], state: NO_POLICY }
      const time = { quality: () => 'synced' as const }
      const callers = callersOf({ clock: virtualClock(START_MS), signer: here }, { members, time })
      const toggle = { verb: 'invoke', name: 'toggle' } as const
      const verdict = callers.judge(
        key,
        toggle,
        (what) => told.filter((one) => one === what).length,
      )
      assert.ok(verdict.allow && verdict.counted !== undefined)
      told.push(verdict.counted)
      const other = callers.judge(key, toggle, (what) => told.filter((one) => one === what).length)
      assert.deepEqual(other, { allow: false, why: 'The right was used as often as it may be.' })
    }
    assert.equal(new Set(told).size, 2)
  })

  it('lets a guest call off its own calls, and a device do what it likes with itself', () => {
    const asked = callee([HERE_DEVICE, guestWith([], undefined)], START_MS)
    assert.equal(asked.ask({ caller: 'guest', verb: 'cancel', name: '' }, START_MS).allow, true)
    assert.equal(asked.ask({ caller: 'guest', verb: 'invoke', name: 'a' }, START_MS).allow, false)
    const alone = callee([{ ...HERE_DEVICE, role: 'guest' }], START_MS)
    assert.equal(alone.ask({ caller: 'here', verb: 'invoke', name: 'a' }, START_MS).allow, true)
  })
})

describe('the local time of a device', () => {
  it('is that of its time zone, on both sides of a change of clocks', () => {
    const cases: [string, string, number, number][] = [
      ['Europe/Berlin', '2027-03-28T00:59Z', 119, 7],
      ['Europe/Berlin', '2027-03-28T01:00Z', 180, 7],
      ['Europe/Berlin', '2027-10-31T00:30Z', 150, 7],
      ['Europe/Berlin', '2027-10-31T01:30Z', 150, 7],
      ['Asia/Kolkata', '2027-01-03T18:30Z', 0, 1],
      ['UTC', '2027-01-03T23:59Z', 1439, 7],
      ['America/New_York', '2027-01-04T04:59Z', 1439, 7],
    ]
    for (const [zone, at, minute, weekday] of cases) {
      inZone(zone, () => {
        assert.deepEqual(localTimeAt(Date.parse(at)), { minute, weekday }, `${zone} ${at}`)
      })
    }
  })
})
