import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { mayReadLogs } from '../../node/device/home.ts'
import { reduce, ROLES, type Device, type Role } from '../../protocols/members/index.ts'
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
})
