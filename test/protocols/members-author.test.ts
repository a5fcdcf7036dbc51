import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { grant, rename, revoke, type OpSet } from '../../protocols/members/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import {
  as,
  genesisOf,
  grantBody,
  keyNamed,
  put,
  rawOp,
  rolesIn,
  setOf,
} from '../helpers/members.ts'

const genesis = genesisOf()

function add(
  set: OpSet,
  by: string,
  subject: string,
  role: 'owner' | 'member' | 'sensor',
): Uint8Array {
  const wanted = { subject: keyNamed(subject), role, name: subject, paired: 'code' } as const
  return put(set, grant(as(set, by), wanted)).id
}

/** ann founded the home and made bob an owner; dora is bob's sensor. */
function family(): OpSet {
  const set = setOf(genesis)
  add(set, 'ann', 'bob', 'owner')
  add(set, 'bob', 'dora', 'sensor')
  return set
}

const idOf = (set: OpSet, holder: string): Uint8Array => {
  const found = set.grantsTo(toHex(keyNamed(holder))).at(-1)
  assert.ok(found)
  return found.id
}

describe('authors', () => {
  it('refuse what would have no effect, with the reason', () => {
    const set = family()
    const bob = { subject: keyNamed('bob'), role: 'sensor', name: 'b', paired: 'code' } as const
    const stranger = { subject: keyNamed('nobody'), reason: 'lost' } as const
    assert.throws(() => grant(as(set, 'ann'), bob), { code: 'MEMBERS_ALREADY_MEMBER' })
    assert.throws(() => revoke(as(set, 'ann'), stranger), { code: 'MEMBERS_UNKNOWN_DEVICE' })
    assert.throws(() => rename(as(set, 'ann'), keyNamed('nobody'), 'x'), {
      code: 'MEMBERS_UNKNOWN_DEVICE',
    })
    assert.throws(() => rename(as(set, 'dora'), keyNamed('ann'), 'x'), {
      code: 'MEMBERS_NOT_PERMITTED',
    })
    assert.throws(() => grant(as(set, 'kit'), { ...bob, subject: keyNamed('eve') }), {
      code: 'MEMBERS_NOT_PERMITTED',
    })
    assert.throws(() => rename(as(set, 'ann'), undefined, ' '), { code: 'MEMBERS_BAD_OP' })
    assert.equal(set.entries.length, 3)
  })

  it('stop at eight grants between genesis and a device', () => {
    const set = setOf(genesis)
    let by = 'ann'
    for (let depth = 1; depth <= 8; depth++) {
      add(set, by, `d${depth}`, 'owner')
      by = `d${depth}`
    }
    const ninth = { subject: keyNamed('d9'), role: 'owner', name: 'd9', paired: 'code' } as const
    assert.throws(() => grant(as(set, by), ninth), { code: 'MEMBERS_TOO_DEEP' })
    const raw = rawOp(set, { by, auth: idOf(set, by), content: grantBody('d9', 'owner') })
    assert.throws(() => set.add(raw.bytes), { code: 'MEMBERS_TOO_DEEP' })
  })

  it('can still act when a removed key has made more heads than fit into one op', () => {
    const set = family()
    const auth = idOf(set, 'bob')
    put(set, revoke(as(set, 'ann'), { subject: keyNamed('bob'), reason: 'stolen' }))
    for (let i = 0; i < 40; i++) {
      put(
        set,
        rawOp(set, { by: 'bob', auth, prev: [auth], ts: i, content: grantBody('eve', 'owner') }),
      )
    }
    assert.ok(set.heads().length > 16)
    add(set, 'ann', 'carl', 'member')
    assert.deepEqual(rolesIn(set), ['ann owner', 'carl member', 'dora sensor'])
  })
})
