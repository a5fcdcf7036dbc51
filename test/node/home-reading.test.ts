import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { mayReadLog } from '../../node/device/rights.ts'
import { fingerprintOf } from '../../protocols/identity/index.ts'
import {
  reduce,
  ROLES,
  withGatewayRights,
  type Device,
  type Role,
} from '../../protocols/members/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { genesisOf, keyNamed, rawOp, setOf, type Content } from '../helpers/members.ts'

const genesis = genesisOf('ann')

/** Bob, whom `by` lets in with `role`. */
function bobAs(role: Role, expiresAtMs?: number): Device | undefined {
  const set = setOf(genesis)
  const terms = expiresAtMs === undefined ? {} : { expiresAtMs }
  const content: Content = {
    type: 'grant',
    body: { subject: keyNamed('bob'), role, name: 'bob', caps: [], paired: 'code', ...terms },
  }
  set.add(rawOp(set, { by: 'ann', content }).bytes)
  return reduce(set).devices.get(toHex(keyNamed('bob')))
}

const LAMP = fingerprintOf(keyNamed('lamp'))

const mayReadLogs = (
  device: Device | undefined,
  nowMs: number,
  policy: Uint8Array = new Uint8Array(),
): boolean => mayReadLog(device, LAMP, policy, nowMs)

describe('the logs of a home', () => {
  it('are for owners and members alone', () => {
    const readers = ROLES.filter((role) => mayReadLogs(bobAs(role), 0))
    assert.deepEqual(readers, ['owner', 'member'])
    assert.equal(mayReadLogs(undefined, 0), false)
  })

  it('are not for a member whose time is up, nor for one in quarantine', () => {
    const member = bobAs('member', 1000)
    assert.ok(member !== undefined)
    assert.deepEqual([mayReadLogs(member, 999), mayReadLogs(member, 1000)], [true, false])
    assert.equal(mayReadLogs({ ...member, quarantined: true }, 999), false)
  })

  it('are for a gateway where the policy gives it every sensor of the device, and it alone', () => {
    const bob = keyNamed('bob')
    const signed = (gateway: Uint8Array, ...caps: string[]): Uint8Array =>
      withGatewayRights(new Uint8Array(), gateway, { caps })
    const readers = (policy: Uint8Array): readonly Role[] =>
      ROLES.filter((role) => mayReadLogs(bobAs(role), 0, policy))
    const all = ['owner', 'member', 'gateway']
    assert.deepEqual(readers(signed(bob, `read:${LAMP}/*`)), all)
    assert.deepEqual(readers(signed(bob, 'read:*')), all)
    for (const policy of [
      signed(bob, `read:${LAMP}/temperature.*`, `invoke:${LAMP}/*`),
      signed(bob, `read:${fingerprintOf(keyNamed('door'))}/*`),
      signed(keyNamed('carol'), 'read:*'),
      Uint8Array.of(0xa1, 0x02),
    ]) {
      assert.deepEqual(readers(policy), ['owner', 'member'])
    }
    const ended = bobAs('gateway', 1000)
    const policy = signed(bob, 'read:*')
    assert.deepEqual(
      [mayReadLogs(ended, 999, policy), mayReadLogs(ended, 1000, policy)],
      [true, false],
    )
  })
})
