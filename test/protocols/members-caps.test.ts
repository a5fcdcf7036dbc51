import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import {
  CAPS,
  grant,
  MembersError,
  reduce,
  rename,
  type Op,
  type OpSet,
} from '../../protocols/members/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { as, genesisOf, grantBody, keyNamed, put, rawOp, setOf } from '../helpers/members.ts'

const genesis = genesisOf('ann')

const guest = grant(as(setOf(genesis), 'ann'), {
  subject: keyNamed('gus'),
  role: 'guest',
  name: 'gus',
  paired: 'code',
})
const base = [guest]

/** Retirements of the guest: each ignorant of the others, or built on the one before. */
function retirements(count: number, { chained = false, from = 0 } = {}): Op[] {
  const ops: Op[] = []
  for (let ts = from; ts < from + count; ts++) {
    const known = chained ? ops : []
    ops.push(
      rawOp(setOf(genesis, [...base, ...known]), {
        by: 'gus',
        auth: guest.id,
        prev: [known.at(-1)?.id ?? guest.id],
        ts,
        content: { type: 'retire', body: {} },
      }),
    )
  }
  return ops
}

/** Add what has room; how many of `ops` are kept afterwards. */
function offer(set: OpSet, ops: readonly Op[]): number {
  for (const { bytes } of ops) {
    try {
      set.add(bytes)
    } catch (error) {
      if (!(error instanceof MembersError) || error.code !== 'MEMBERS_FULL') throw error
    }
  }
  return ops.filter(({ id }) => set.get(id) !== undefined).length
}

describe('a device that keeps saying that it leaves', () => {
  it('takes the room of four ops, however many it signs', () => {
    const ops = retirements(50)
    const set = setOf(genesis, base)
    assert.equal(offer(set, ops), CAPS.maxRetirements)
    assert.equal(set.entries.length, 2 + CAPS.maxRetirements)
    assert.equal(reduce(set).removed.get(toHex(keyNamed('gus')))?.reason, 'retired')
    put(set, rename(as(set, 'ann'), undefined, 'Still ours'))
    assert.equal(reduce(set).name, 'Still ours')
  })

  it('cannot part two devices by telling each another history', () => {
    const count = CAPS.maxRetirements
    for (const chained of [false, true]) {
      const [near, far] = [setOf(genesis, base), setOf(genesis, base)]
      assert.equal(offer(near, retirements(count, { chained })), count)
      assert.equal(offer(far, retirements(count, { chained, from: count })), count)
      put(far, rename(as(far, 'ann'), undefined, 'Together'))
      const told = far.entries.map(({ op }) => op)
      assert.equal(offer(near, told), told.length)
      assert.equal(reduce(near).name, 'Together')
    }
  })

  it('has more of it kept only on the word of an owner', () => {
    const ops = retirements(CAPS.maxRetirements + 1)
    const set = setOf(genesis, base)
    offer(set, ops)
    const [last] = ops.slice(-1)
    assert.ok(last !== undefined)
    const knowing = setOf(genesis, [...base, last])
    const stranger = rawOp(knowing, {
      by: 'gus',
      auth: genesis.id,
      prev: [last.id],
      content: grantBody('eve', 'owner'),
    })
    assert.equal(set.add(stranger.bytes).status, 'waiting')
    assert.equal(set.get(last.id), undefined)
    const owner = rawOp(knowing, {
      by: 'ann',
      prev: [last.id],
      content: { type: 'rename', body: { name: 'Called for' } },
    })
    const result = set.add(owner.bytes)
    assert.deepEqual(result.status === 'added' && result.ops.map(({ hex }) => hex), [
      last.hex,
      owner.hex,
    ])
  })
})
