import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { callersOf } from '../../node/device/callers.ts'
import { fingerprintOf } from '../../protocols/identity/index.ts'
import {
  withGatewayRights,
  type Device,
  type HomeState,
  type Role,
} from '../../protocols/members/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { deviceOf } from '../helpers/telemetry.ts'

const here = deviceOf('here')
const bridge = deviceOf('bridge')
const HERE = fingerprintOf(here.key)
const NOTHING = new Uint8Array()

function device(key: Uint8Array, role: Role, caps: readonly string[] = []): Device {
  return {
    key,
    name: role,
    role,
    caps,
    expiresAtMs: undefined,
    grant: key,
    grantedAtMs: 0,
    paired: 'code',
    depth: 1,
    quarantined: false,
  }
}

/** What the device `here` answers to the bridge, under a policy. */
function askedUnder(policy: Uint8Array) {
  // What its grant says counts for nothing.
  const devices = [device(here.key, 'member'), device(bridge.key, 'gateway', ['invoke:*/*'])]
  const members = { active: () => devices, state: { policy } as HomeState }
  const time = { quality: () => 'synced' as const }
  const callers = callersOf({ clock: virtualClock(1e12), signer: here }, { members, time })
  return {
    may: (verb: 'write' | 'invoke' | 'read' | 'cancel', name: string, args?: number): boolean =>
      callers.judge(bridge.key, { verb, name, ...(args === undefined ? {} : { args }) }, () => 0)
        .allow,
    sees: callers.allows(bridge.key),
  }
}

describe('what a gateway may call', () => {
  it('is nothing before an owner signed it, whatever its grant says', () => {
    for (const policy of [
      NOTHING,
      Uint8Array.of(0xff),
      withGatewayRights(NOTHING, here.key, { caps: ['invoke:*/*'] }),
    ]) {
      const { may, sees } = askedUnder(policy)
      for (const verb of ['write', 'invoke', 'read', 'cancel'] as const) {
        assert.equal(may(verb, 'level', 5), false, verb)
      }
      assert.equal(sees('invoke', 'toggle'), false)
    }
  })

  it('is what the policy names, with its limits, and that is all that it sees', () => {
    const caps = [`write:${HERE}/level;v=0..50`, 'invoke:abcd2345/toggle']
    const { may, sees } = askedUnder(withGatewayRights(NOTHING, bridge.key, { caps }))
    assert.deepEqual([may('write', 'level', 5), may('write', 'level', 51)], [true, false])
    assert.deepEqual([may('write', 'mode', 5), may('invoke', 'toggle')], [false, false])
    assert.deepEqual([sees('write', 'level'), sees('invoke', 'toggle')], [true, false])
    assert.equal(may('read', 'level'), false)
  })
})
