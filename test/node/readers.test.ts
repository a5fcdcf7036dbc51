import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { guestsOf, isGiven, readersOf, termsOf, throughWhat } from '../../node/device/readers.ts'
import { fingerprintOf, type Signer } from '../../protocols/identity/index.ts'
import {
  ROLES,
  withGatewayRights,
  type Device,
  type HomeState,
  type Role,
} from '../../protocols/members/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { deviceOf } from '../helpers/telemetry.ts'

const here = deviceOf('here')
const HERE = fingerprintOf(here.key)
const NOW_MS = 1_800_000_000_000

function device(name: string, role: Role, changes: Partial<Device> = {}): Device {
  return {
    key: deviceOf(name).key,
    name,
    role,
    caps: [],
    expiresAtMs: undefined,
    grant: here.key,
    grantedAtMs: NOW_MS - 1000,
    paired: 'code',
    depth: 1,
    quarantined: false,
    ...changes,
  }
}

function stateWith(policy: Uint8Array): HomeState {
  return { policy } as HomeState
}

/** `here`, in a home with these devices. */
function inHome(
  devices: readonly Device[],
  quality: 'synced' | 'unset' = 'synced',
  policy: Uint8Array = new Uint8Array(),
) {
  const clock = virtualClock(NOW_MS)
  const signer: Signer = here
  const active = (): readonly Device[] =>
    devices.filter(({ expiresAtMs = Infinity }) => expiresAtMs > clock.now())
  return {
    clock,
    base: { clock, signer },
    home: { members: { active, state: stateWith(policy) }, time: { quality: () => quality } },
  }
}

const EMPTY = new Uint8Array()

const through = (one: Device, fingerprint: string, sensor: string): string | undefined =>
  throughWhat(one, { fingerprint, sensor }, EMPTY, NOW_MS)

const CAPS = [`read:${HERE}/load`, 'read:temperature.*']

describe('who may read a sensor', () => {
  it('is for each role and each sensor what the table and the caps say', () => {
    const sensors = ['load', 'load.5', 'temperature.cpu', 'temperature', 'door']
    const all = 'role role role role role'
    const none = '- - - - -'
    const expected: Record<Role, string> = {
      owner: all,
      member: all,
      sensor: none,
      gateway: none,
      guest: `${CAPS[0]} - ${CAPS[1]} - -`,
    }
    for (const role of ROLES) {
      const one = device('one', role, { caps: CAPS })
      const got = sensors.map((sensor) => through(one, HERE, sensor) ?? '-')
      assert.equal(got.join(' '), expected[role], role)
      const apart = { ...one, quarantined: true }
      const late = { ...one, expiresAtMs: NOW_MS }
      for (const sensor of sensors) {
        assert.equal(through(apart, HERE, sensor), undefined, role)
        assert.equal(through(late, HERE, sensor), undefined, role)
      }
    }
    const guest = device('guest', 'guest', { caps: CAPS })
    assert.equal(through(guest, 'abcd2345', 'load'), undefined)
    assert.equal(through(guest, 'abcd2345', 'temperature.cpu'), CAPS[1])
  })

  it('is listed by name, role and reason, without the device itself', () => {
    const { base, home } = inHome([
      { ...device('here', 'owner'), key: here.key },
      device('ann', 'owner'),
      device('bob', 'member'),
      device('attic', 'sensor'),
      device('bridge', 'gateway', { caps: CAPS }),
      device('visitor', 'guest', { caps: CAPS }),
      device('late', 'guest', { caps: CAPS, expiresAtMs: NOW_MS }),
    ])
    const family = [
      { name: 'ann', role: 'owner', through: 'role' },
      { name: 'bob', role: 'member', through: 'role' },
    ]
    assert.deepEqual(readersOf(base, home, 'load'), [
      ...family,
      { name: 'visitor', role: 'guest', through: CAPS[0] },
    ])
    assert.deepEqual(readersOf(base, home, 'door'), family)
  })

  it('is held to in the mesh as it is listed', () => {
    const visitor = device('visitor', 'guest', { caps: CAPS, expiresAtMs: NOW_MS + 60_000 })
    const { base, home, clock } = inHome([visitor, device('bob', 'member')])
    const guests = guestsOf(base, home)
    assert.deepEqual(
      [visitor.key, deviceOf('bob').key, deviceOf('stranger').key].map((key) => guests.has(key)),
      [true, false, false],
    )
    const grant = guests.grant(visitor.key)
    assert.ok(grant)
    for (const sensor of ['load', 'temperature.cpu', 'door', 'load.5']) {
      const listed = readersOf(base, home, sensor).some(({ name }) => name === 'visitor')
      assert.equal(grant.allows(sensor), listed, sensor)
    }
    assert.equal(grant.sinceMs, visitor.grantedAtMs - 600_000)
    clock.setWall(NOW_MS + 60_000)
    assert.equal(guests.grant(visitor.key), undefined)
    assert.equal(grant.allows('load'), false)
    assert.equal(guests.has(visitor.key), false)
  })

  it('is nobody with a grant that ends, where no clock can say when that is', () => {
    const visitor = device('visitor', 'guest', { caps: CAPS, expiresAtMs: NOW_MS + 1000 })
    const friend = device('friend', 'guest', { caps: CAPS })
    const { base, home } = inHome([visitor, friend], 'unset')
    const guests = guestsOf(base, home)
    assert.equal(guests.grant(visitor.key), undefined)
    assert.ok(guests.grant(friend.key))
  })
})

describe('a gateway', () => {
  const bridge = device('bridge', 'gateway', { caps: CAPS })
  const signed = (...caps: string[]): Uint8Array => withGatewayRights(EMPTY, bridge.key, { caps })

  it('reads nothing before an owner signed what, whatever its grant says', () => {
    const { base, home } = inHome([bridge])
    assert.deepEqual(readersOf(base, home, 'load'), [])
    const guests = guestsOf(base, home)
    assert.deepEqual([guests.has(bridge.key), guests.isGateway(bridge.key)], [false, true])
    assert.equal(guests.grant(bridge.key), undefined)
  })

  it('reads what the policy names, and no more when it is named no more', () => {
    const { base, home } = inHome([bridge], 'synced', signed(`read:${HERE}/load`))
    const guests = guestsOf(base, home)
    const grant = guests.grant(bridge.key)
    assert.ok(grant)
    assert.deepEqual([grant.allows('load'), grant.allows('door')], [true, false])
    assert.deepEqual(readersOf(base, home, 'load'), [
      { name: 'bridge', role: 'gateway', through: `read:${HERE}/load` },
    ])
    const elsewhere = inHome([bridge], 'synced', signed('read:abcd2345/load', 'invoke:*/load'))
    assert.equal(guestsOf(elsewhere.base, elsewhere.home).grant(bridge.key), undefined)
    const removed = inHome([], 'synced', signed('read:*'))
    assert.equal(guestsOf(removed.base, removed.home).grant(bridge.key), undefined)
    const broken = inHome([bridge], 'synced', Uint8Array.of(0xff))
    assert.equal(guestsOf(broken.base, broken.home).grant(bridge.key), undefined)
  })
})

describe('what a grant says beside the role', () => {
  it('is caps for guests and an end for all but owners, and refused otherwise', () => {
    const { base, home } = inHome([])
    assert.deepEqual(termsOf(base, home, 'guest', { allow: [...CAPS, ...CAPS], forMs: 1000 }), {
      caps: CAPS,
      expiresAtMs: NOW_MS + 1000,
    })
    assert.deepEqual(termsOf(base, home, 'member', {}), { caps: [] })
    const many = Array.from({ length: 33 }, (_, i) => `read:s${i}`)
    const refused: [Role, Parameters<typeof termsOf>[3]][] = [
      ['member', { allow: CAPS }],
      ['owner', { allow: CAPS }],
      ['gateway', { allow: CAPS }],
      ['owner', { forMs: 1000 }],
      ['guest', { allow: ['temperature'] }],
      ['guest', { allow: ['read:Kitchen/temperature'] }],
      ['guest', { allow: many }],
    ]
    for (const [role, terms] of refused) {
      assert.throws(() => termsOf(base, home, role, terms), { code: 'NODE_USAGE' }, role)
    }
    const { home: blind } = inHome([], 'unset')
    assert.throws(() => termsOf(base, blind, 'guest', { forMs: 1000 }), { code: 'NODE_CONFLICT' })
  })

  it('is given once where a device has it, but an end is set anew', () => {
    const one = device('one', 'guest', { caps: ['read:a', 'read:b'] })
    assert.equal(isGiven(one, { role: 'guest', caps: ['read:b', 'read:a'] }), true)
    assert.equal(isGiven(one, { role: 'guest', caps: ['read:a'] }), false)
    assert.equal(isGiven(one, { role: 'member', caps: ['read:a', 'read:b'] }), false)
    assert.equal(isGiven(undefined, { role: 'guest' }), false)
    const wanted = { role: 'guest', caps: one.caps, expiresAtMs: 1 } as const
    assert.equal(isGiven(one, wanted), false)
    assert.equal(isGiven({ ...one, expiresAtMs: 1 }, wanted), false)
  })
})
