import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { capsOfCalls, type CalledDevice } from '../../node/device/call-terms.ts'
import { readersOf, termsOf } from '../../node/device/readers.ts'
import type { ThingModel } from '../../protocols/calls/index.ts'
import { fingerprintOf, type Signer } from '../../protocols/identity/index.ts'
import { parseCap, type Device, type HomeState } from '../../protocols/members/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { deviceOf } from '../helpers/telemetry.ts'

const LAMP: ThingModel = {
  title: 'lamp',
  properties: {
    on: { schema: {}, readable: true, writable: true, observable: true },
    temperature: { schema: {}, readable: true, writable: false, observable: true },
  },
  actions: { toggle: {}, 'toggle-all': {} },
  events: { overheated: {} },
}

/** A lamp whose description is known, and a door that never told. */
function resolve(ref: string): CalledDevice {
  if (ref === 'lamp') return { fingerprint: 'lamplamp', model: LAMP }
  if (ref === 'my door/back') return { fingerprint: 'doordoor' }
  throw new Error(`no ${ref}`)
}

describe('what a guest may call, as an owner types it', () => {
  it('is written, invoked or observed as the description says', () => {
    const expected: Record<string, string[]> = {
      'lamp/on': ['write:lamplamp/on'],
      'lamp/toggle': ['invoke:lamplamp/toggle'],
      'lamp/overheated': ['observe:lamplamp/overheated'],
      'lamp/toggle*': ['invoke:lamplamp/toggle*'],
      'lamp/o*': ['write:lamplamp/o*', 'observe:lamplamp/o*'],
      'lamp/*': ['write:lamplamp/*', 'invoke:lamplamp/*', 'observe:lamplamp/*'],
      'lamp/on;v=true;t=0800-2200': ['write:lamplamp/on;v=true;t=0800-2200'],
      'lamp/toggle;n=3;d=6-7': ['invoke:lamplamp/toggle;n=3;d=6-7'],
      'my door/back/open;n=1': ['write:doordoor/open;n=1', 'invoke:doordoor/open;n=1'],
      '*/on': ['write:*/on', 'invoke:*/on'],
    }
    for (const [call, caps] of Object.entries(expected)) {
      assert.deepEqual(capsOfCalls([call], resolve), caps, call)
      for (const cap of caps) assert.notEqual(parseCap(cap), undefined, cap)
    }
    const all = capsOfCalls(['lamp/on', 'lamp/on', 'lamp/toggle'], resolve)
    assert.deepEqual(all, ['write:lamplamp/on', 'invoke:lamplamp/toggle'])
  })

  it('is refused where it says nothing, or something that the device has not', () => {
    const refused = [
      '',
      'lamp',
      '/on',
      'lamp/',
      'lamp/temperature',
      'lamp/off',
      'lamp/on;',
      'lamp/on;n=0',
      'lamp/overheated;n=1',
      'lamp/on;d=1;n=2',
      'lamp/on;v=2..1',
      `*/${'a'.repeat(60)}`,
    ]
    for (const call of refused) {
      assert.throws(() => capsOfCalls([call], resolve), { code: 'NODE_USAGE' }, call)
    }
    assert.throws(() => capsOfCalls(['door/open'], resolve), { message: 'no door' })
  })
})

const here = deviceOf('here')
const lamp = deviceOf('lamp')
const START_MS = 1_800_000_000_000

function device({ key }: Signer, name: string, role: Device['role'] = 'member'): Device {
  return {
    key,
    name,
    role,
    caps: [],
    expiresAtMs: undefined,
    grant: here.key,
    grantedAtMs: START_MS,
    paired: 'code',
    depth: 1,
    quarantined: false,
  }
}

describe('a grant to call', () => {
  const base = { clock: virtualClock(START_MS), signer: here }
  const guest = device(deviceOf('guest'), 'guest', 'guest')
  const members = { active: () => [device(here, 'here', 'owner'), device(lamp, 'Lamp'), guest] }
  const parts = { members, time: { quality: () => 'synced' as const } }
  const mark = fingerprintOf(lamp.key)

  it('names the device by its fingerprint, and stands beside what may be read', () => {
    const terms = { allow: ['read:temperature'], calls: ['lamp/toggle'], forMs: 1000 }
    assert.deepEqual(termsOf(base, parts, 'guest', terms), {
      caps: ['read:temperature', `write:${mark}/toggle`, `invoke:${mark}/toggle`],
      expiresAtMs: START_MS + 1000,
    })
    const offers = (key: Uint8Array) => (key === lamp.key ? LAMP : undefined)
    assert.deepEqual(termsOf(base, { ...parts, offers }, 'guest', { calls: [`${mark}/toggle`] }), {
      caps: [`invoke:${mark}/toggle`],
    })
    assert.deepEqual(termsOf(base, parts, 'guest', { allow: ['invoke:*/toggle;n=3'] }), {
      caps: ['invoke:*/toggle;n=3'],
    })
  })

  it('is for guests, of devices that are there, and within what a grant can name', () => {
    const many = Array.from({ length: 17 }, (_, i) => `lamp/a${i}`)
    const refused: [Device['role'], readonly string[], string][] = [
      ['member', ['lamp/toggle'], 'NODE_USAGE'],
      ['owner', ['lamp/toggle'], 'NODE_USAGE'],
      ['gateway', ['lamp/toggle'], 'NODE_USAGE'],
      ['guest', ['door/open'], 'NODE_NOT_FOUND'],
      ['guest', ['lamp'], 'NODE_USAGE'],
      ['guest', many, 'NODE_USAGE'],
    ]
    for (const [role, calls, code] of refused) {
      assert.throws(() => termsOf(base, parts, role, { calls }), { code }, `${role} ${calls[0]}`)
    }
  })

  it('lets nobody read a sensor', () => {
    const caps = ['invoke:*/load', 'observe:*/load', 'write:*/load']
    const state = { policy: new Uint8Array() } as HomeState
    const one = { members: { active: () => [{ ...guest, caps }], state } }
    assert.deepEqual(readersOf(base, one, 'load'), [])
    const more = [{ ...guest, caps: [...caps, 'read:load'] }]
    const reading = { members: { active: () => more, state } }
    assert.deepEqual(readersOf(base, reading, 'load'), [
      { name: 'guest', role: 'guest', through: 'read:load' },
    ])
  })
})
