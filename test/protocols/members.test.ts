import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import {
  checkpoint,
  cutBefore,
  grant,
  isExpired,
  mayAct,
  membersAt,
  recover,
  reduce,
  regrant,
  rename,
  retire,
  revoke,
  setPolicy,
  succeed,
  type OpSet,
} from '../../protocols/members/index.ts'
import { toHex, utf8 } from '../../protocols/wire/index.ts'
import {
  as,
  facts,
  genesisOf,
  grantBody,
  keyNamed,
  put,
  rawOp,
  revokeBody,
  rolesIn,
  setOf,
  signerNamed,
  START_MS,
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

describe('a home', () => {
  it('begins with its founder as the only owner', () => {
    const state = reduce(setOf(genesis))
    const [founder] = state.devices.values()
    assert.equal(state.name, 'Garden Street')
    assert.equal(state.epoch, 0)
    assert.deepEqual(state.home, genesis.id)
    assert.deepEqual([founder?.name, founder?.role, founder?.depth], ['ann', 'owner', 0])
  })

  it('takes devices in, with the role, name and caps of their grant', () => {
    const set = family()
    const wanted = {
      subject: keyNamed('gus'),
      role: 'guest',
      name: 'Gus',
      caps: ['porch/light', 'gate'],
      expiresAtMs: START_MS + 1000,
      paired: 'qr',
    } as const
    put(set, grant(as(set, 'bob'), wanted))
    assert.deepEqual(rolesIn(set), ['Gus guest', 'ann owner', 'bob owner', 'dora sensor'])
    const gus = reduce(set).devices.get(toHex(keyNamed('gus')))
    assert.deepEqual(gus?.caps, ['gate', 'porch/light'])
    assert.equal(gus.depth, 2)
  })

  it('ends a guest by the clock of who asks, not by the set', () => {
    const set = family()
    const end = START_MS + 1000
    const wanted = {
      subject: keyNamed('gus'),
      role: 'guest',
      name: 'Gus',
      expiresAtMs: end,
      paired: 'qr',
    } as const
    put(set, grant(as(set, 'ann'), wanted))
    const state = reduce(set)
    const gus = state.devices.get(toHex(keyNamed('gus')))
    assert.ok(gus)
    assert.equal(isExpired(gus, end - 1), false)
    assert.equal(mayAct(gus, 'read', end - 1), true)
    assert.equal(mayAct(gus, 'read', end), false)
    assert.equal(membersAt(state, end - 1).length, 4)
    assert.equal(membersAt(state, end).length, 3)
  })

  it('lets owners rename devices and the home, and set the policy', () => {
    const set = family()
    put(set, rename(as(set, 'bob'), keyNamed('dora'), 'Shed'))
    put(set, rename(as(set, 'ann'), undefined, 'Summer House'))
    put(set, setPolicy(as(set, 'ann'), utf8('policy')))
    const state = reduce(set)
    assert.equal(state.devices.get(toHex(keyNamed('dora')))?.name, 'Shed')
    assert.equal(state.name, 'Summer House')
    assert.deepEqual(state.policy, utf8('policy'))
  })

  it('takes the name that the senior owner gave where two named at once', () => {
    const set = family()
    const prev = set.heads()
    const name = (by: string, value: string, auth?: Uint8Array) =>
      rawOp(set, {
        by,
        prev,
        ...(auth === undefined ? {} : { auth }),
        content: { type: 'rename', body: { subject: keyNamed('dora'), name: value } },
      })
    put(set, name('bob', 'by bob', idOf(set, 'bob')), name('ann', 'by ann'))
    assert.equal(reduce(set).devices.get(toHex(keyNamed('dora')))?.name, 'by ann')
  })

  it('keeps the newest checkpoint of an owner', () => {
    const set = family()
    const before = reduce(set)
    put(set, checkpoint(as(set, 'bob', START_MS + 5)))
    const { checkpoint: found, hash } = reduce(set)
    assert.deepEqual(found?.stateHash, before.hash)
    assert.deepEqual(hash, before.hash)
    assert.equal(found.timeMs, START_MS + 5)
  })
})

describe('revocation', () => {
  it('removes a device, counts an epoch and remembers the last telemetry that counts', () => {
    const set = family()
    const wanted = { subject: keyNamed('dora'), reason: 'lost', lastSeq: 41 } as const
    put(set, revoke(as(set, 'bob'), wanted))
    const state = reduce(set)
    const gone = state.removed.get(toHex(keyNamed('dora')))
    assert.deepEqual(rolesIn(set), ['ann owner', 'bob owner'])
    assert.equal(state.epoch, 1)
    assert.deepEqual([gone?.name, gone?.reason, gone?.lastSeq], ['dora', 'lost', 41])
  })

  it('counts telemetry by the newest removal of a device that had been let in again', () => {
    const set = family()
    const subject = keyNamed('dora')
    put(set, revoke(as(set, 'bob'), { subject, reason: 'lost', lastSeq: 4 }))
    put(set, grant(as(set, 'bob'), { subject, role: 'member', name: 'dora', paired: 'code' }))
    put(set, revoke(as(set, 'bob'), { subject, reason: 'removed', lastSeq: 100 }))
    const gone = reduce(set).removed.get(toHex(subject))
    assert.deepEqual([gone?.reason, gone?.lastSeq], ['removed', 100])
  })

  it('beats a grant that does not know of it, and yields to one that does', () => {
    const set = family()
    const prev = set.heads()
    const auth = idOf(set, 'bob')
    put(set, revoke(as(set, 'ann'), { subject: keyNamed('dora'), reason: 'removed' }))
    put(set, rawOp(set, { by: 'bob', auth, prev, content: grantBody('dora', 'member') }))
    assert.deepEqual(rolesIn(set), ['ann owner', 'bob owner'])
    add(set, 'bob', 'dora', 'member')
    assert.deepEqual(rolesIn(set), ['ann owner', 'bob owner', 'dora member'])
  })

  it('keeps what the removed owner did before, and undoes it with an earlier cut', () => {
    const kept = family()
    put(kept, revoke(as(kept, 'ann'), { subject: keyNamed('bob'), reason: 'lost' }))
    assert.deepEqual(rolesIn(kept), ['ann owner', 'dora sensor'])
    const undone = family()
    const wanted = {
      subject: keyNamed('bob'),
      reason: 'stolen',
      cut: [idOf(undone, 'bob')],
    } as const
    put(undone, revoke(as(undone, 'ann'), wanted))
    assert.deepEqual(rolesIn(undone), ['ann owner'])
  })

  it('undoes what was done under a grant that an earlier cut undoes, down the whole chain', () => {
    const set = family()
    const before = idOf(set, 'bob')
    add(set, 'bob', 'mallory', 'owner')
    add(set, 'mallory', 'eve', 'owner')
    add(set, 'eve', 'spy', 'sensor')
    assert.equal(rolesIn(set).length, 6)
    const wanted = { subject: keyNamed('bob'), reason: 'stolen', cut: [before] } as const
    put(set, revoke(as(set, 'ann'), wanted))
    assert.deepEqual(rolesIn(set), ['ann owner'])
  })

  it('leaves nothing to what a removed owner signs later or dates back', () => {
    const set = family()
    const early = set.heads()
    const auth = idOf(set, 'bob')
    put(set, revoke(as(set, 'ann'), { subject: keyNamed('bob'), reason: 'stolen' }))
    const before = facts(reduce(set))
    for (const prev of [early, set.heads(), [auth]]) {
      for (const content of [grantBody('eve', 'owner'), revokeBody('dora', [])]) {
        const at = prev === early || content.type === 'grant' ? prev : early
        put(set, rawOp(set, { by: 'bob', auth, prev: at, content }))
        assert.deepEqual(facts(reduce(set)), before)
      }
    }
    assert.ok(set.entries.length > 6)
  })

  it('does not let a junior owner put out the senior one, nor a sibling', () => {
    const set = family()
    add(set, 'ann', 'carl', 'owner')
    const auth = idOf(set, 'bob')
    for (const subject of ['ann', 'carl']) {
      const op = rawOp(set, { by: 'bob', auth, content: revokeBody(subject, []) })
      assert.throws(() => set.add(op.bytes), { code: 'MEMBERS_NOT_PERMITTED' })
      assert.throws(() => revoke(as(set, 'bob'), { subject: keyNamed(subject), reason: 'lost' }), {
        code: 'MEMBERS_NOT_PERMITTED',
      })
    }
  })

  it('does not let a junior owner demote a senior one or a sibling by a lesser grant', () => {
    const set = family()
    const early = set.heads()
    add(set, 'ann', 'carl', 'owner')
    const auth = idOf(set, 'bob')
    put(set, rawOp(set, { by: 'bob', auth, content: grantBody('ann', 'guest') }))
    put(set, rawOp(set, { by: 'bob', auth, prev: early, content: grantBody('carl', 'guest') }))
    assert.deepEqual(rolesIn(set), ['ann owner', 'bob owner', 'carl owner', 'dora sensor'])
  })

  it('gives a device with several grants the least power, and its key no more than that', () => {
    const set = setOf(genesis)
    add(set, 'ann', 'bob', 'owner')
    const prev = set.heads()
    const senior = rawOp(set, { by: 'ann', prev, content: grantBody('dora', 'sensor') })
    const auth = idOf(set, 'bob')
    const junior = rawOp(set, { by: 'bob', auth, prev, content: grantBody('dora', 'owner') })
    put(set, junior, senior)
    assert.deepEqual(rolesIn(set), ['ann owner', 'bob owner', 'dora sensor'])
    const own = set.grantsTo(toHex(keyNamed('dora'))).find(({ role }) => role === 'owner')
    assert.ok(own)
    put(set, rawOp(set, { by: 'dora', auth: own.id, content: grantBody('eve', 'member') }))
    assert.deepEqual(rolesIn(set), ['ann owner', 'bob owner', 'dora sensor'])
  })

  it('changes a role by revoking and granting anew', () => {
    const set = family()
    const wanted = {
      subject: keyNamed('dora'),
      role: 'member',
      name: 'dora',
      paired: 'direct',
    } as const
    put(set, ...regrant(as(set, 'ann'), wanted))
    assert.deepEqual(rolesIn(set), ['ann owner', 'bob owner', 'dora member'])
    assert.equal(reduce(set).removed.size, 0)
  })
})

describe('a stolen founder', () => {
  it('is undone by the kit from the theft on, and replaced', () => {
    const set = family()
    const theftMs = START_MS + 1000
    put(set, revoke(as(set, 'ann', theftMs), { subject: keyNamed('bob'), reason: 'removed' }))
    const mallory = {
      subject: keyNamed('mallory'),
      role: 'owner',
      name: 'm',
      paired: 'code',
    } as const
    put(set, grant(as(set, 'ann', theftMs + 1), mallory))
    assert.deepEqual(rolesIn(set), ['ann owner', 'dora sensor', 'm owner'])
    const cut = cutBefore(set, keyNamed('ann'), theftMs)
    put(set, revoke(as(set, 'kit'), { subject: keyNamed('ann'), reason: 'stolen', cut }))
    put(set, recover(as(set, 'kit'), keyNamed('ann2'), 'ann2'))
    assert.deepEqual(rolesIn(set), ['ann2 owner', 'bob owner', 'dora sensor'])
    assert.equal(reduce(set).epoch, 1)
    // The new owner has the founder's reach: bob is below.
    put(set, revoke(as(set, 'ann2'), { subject: keyNamed('bob'), reason: 'removed' }))
    assert.deepEqual(rolesIn(set), ['ann2 owner', 'dora sensor'])
  })

  it('cannot put out the owner that the kit made, nor the kit', () => {
    const set = family()
    put(set, recover(as(set, 'kit'), keyNamed('ann2'), 'ann2'))
    for (const subject of ['ann2', 'kit']) {
      const op = rawOp(set, { by: 'ann', content: revokeBody(subject, []) })
      assert.throws(() => set.add(op.bytes), /may not|no such device/)
    }
    const own = rawOp(set, { by: 'ann', content: grantBody('kit', 'guest') })
    assert.throws(() => set.add(own.bytes), { code: 'MEMBERS_BAD_OP' })
  })
})

describe('leaving and handing over', () => {
  it('lets a sensor retire, though it may sign nothing else', () => {
    const set = family()
    const auth = idOf(set, 'dora')
    const other = rawOp(set, { by: 'dora', auth, content: grantBody('eve', 'guest') })
    assert.throws(() => set.add(other.bytes), { code: 'MEMBERS_NOT_PERMITTED' })
    put(set, retire(as(set, 'dora'), 7))
    const gone = reduce(set).removed.get(toHex(keyNamed('dora')))
    assert.deepEqual([gone?.reason, gone?.lastSeq], ['retired', 7])
    assert.throws(() => retire(as(set, 'dora')), { code: 'MEMBERS_NOT_PERMITTED' })
  })

  it('undoes the retirement that a thief signed, together with the thief', () => {
    const set = family()
    const thief = rawOp(set, {
      by: 'bob',
      auth: idOf(set, 'bob'),
      prev: [idOf(set, 'bob')],
      content: { type: 'retire', body: {} },
    })
    put(set, thief)
    assert.deepEqual(
      rolesIn(set),
      ['ann owner'],
      'the backdated retirement undoes the grant of dora',
    )
    const cut = [idOf(set, 'dora')]
    put(set, revoke(as(set, 'ann'), { subject: keyNamed('bob'), reason: 'stolen', cut }))
    assert.deepEqual(rolesIn(set), ['ann owner', 'dora sensor'])
  })

  it('hands the seat to a successor, with name, reach and what was done', () => {
    const set = family()
    put(set, succeed(as(set, 'ann'), signerNamed('ann2')))
    assert.deepEqual(rolesIn(set), ['ann owner', 'bob owner', 'dora sensor'])
    const state = reduce(set)
    assert.equal(state.devices.has(toHex(keyNamed('ann'))), false)
    assert.equal(state.removed.get(toHex(keyNamed('ann')))?.reason, 'replaced')
    assert.throws(() => rename(as(set, 'ann'), undefined, 'x'), { code: 'MEMBERS_NOT_PERMITTED' })
    put(set, revoke(as(set, 'ann2'), { subject: keyNamed('bob'), reason: 'removed' }))
    assert.deepEqual(rolesIn(set), ['ann owner', 'dora sensor'])
  })

  it('needs the new key to agree to a succession', () => {
    const set = family()
    const proof = signerNamed('mallory').sign(utf8('anything'))
    const op = rawOp(set, {
      by: 'ann',
      content: { type: 'successor', body: { subject: keyNamed('ann2'), proof } },
    })
    assert.throws(() => set.add(op.bytes), { code: 'MEMBERS_BAD_OP' })
  })

  it('lets neither heir inherit where the old key named two, until someone above decides', () => {
    const set = family()
    const other = set.fork()
    const first = succeed(as(set, 'bob'), signerNamed('bob2'))
    const second = succeed(as(other, 'bob'), signerNamed('thief'))
    put(set, first, second)
    assert.deepEqual(rolesIn(set), ['ann owner', 'dora sensor'])
    assert.equal(reduce(set).equivocations.length, 1)
    const wanted = { subject: keyNamed('bob'), reason: 'stolen', cut: [first.id] } as const
    put(set, revoke(as(set, 'ann'), wanted))
    assert.deepEqual(rolesIn(set), ['ann owner', 'bob owner', 'dora sensor'])
    assert.ok(reduce(set).devices.has(toHex(keyNamed('bob2'))))
  })
})

describe('equivocation', () => {
  it('is proven by two ops of one signer and seq, and quarantines all but owners', () => {
    const set = family()
    const prev = set.heads()
    const op = (by: string, ts: number) =>
      rawOp(set, {
        by,
        prev,
        auth: idOf(set, by),
        ts,
        content: { type: 'policy', body: { policy: utf8('p') } },
      })
    put(set, op('bob', 1), op('bob', 2))
    const state = reduce(set)
    assert.equal(state.equivocations.length, 1)
    assert.deepEqual(state.equivocations[0]?.signer, keyNamed('bob'))
    assert.equal(state.devices.get(toHex(keyNamed('bob')))?.quarantined, false)
    // Granted anew as a member by someone who has seen the proof: clean.
    const wanted = {
      subject: keyNamed('bob'),
      role: 'member',
      name: 'bob',
      paired: 'direct',
    } as const
    put(set, ...regrant(as(set, 'ann'), wanted))
    assert.equal(reduce(set).devices.get(toHex(keyNamed('bob')))?.quarantined, false)
    // A second pair, of which that grant knows nothing.
    const auth = set.grantsTo(toHex(keyNamed('bob')))[0]?.id ?? genesis.id
    const late = (ts: number) =>
      rawOp(set, { by: 'bob', prev: [auth], auth, ts, content: grantBody('eve', 'owner') })
    put(set, late(3), late(4))
    const caught = reduce(set).devices.get(toHex(keyNamed('bob')))
    assert.ok(caught)
    assert.equal(caught.quarantined, true)
    assert.equal(mayAct(caught, 'publish', START_MS), false)
    assert.equal(mayAct(caught, 'sync', START_MS), true)
  })
})
