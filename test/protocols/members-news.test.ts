import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import {
  checkpoint,
  grant,
  isCheckpointDue,
  membersAt,
  mostSenior,
  newestWordMs,
  reduce,
  rename,
  retire,
  type OpSet,
} from '../../protocols/members/index.ts'
import { as, genesisOf, keyNamed, put, setOf, START_MS } from '../helpers/members.ts'

const DAY_MS = 86_400_000
const after = (days: number): number => START_MS + days * DAY_MS

function home(): OpSet {
  const set = setOf(genesisOf('ann'))
  const letIn = (by: string, name: string, role: 'owner' | 'sensor') =>
    put(set, grant(as(set, by), { subject: keyNamed(name), role, name, paired: 'code' }))
  letIn('ann', 'bob', 'owner')
  letIn('bob', 'oda', 'owner')
  letIn('ann', 'cid', 'sensor')
  return set
}

const isDue = (set: OpSet, nowMs: number): boolean => isCheckpointDue(set, reduce(set), nowMs)
const newest = (set: OpSet, nowMs: number): number => newestWordMs(set, reduce(set), nowMs)

describe('a checkpoint', () => {
  it('is due a week after genesis, and after the last where something changed', () => {
    const set = home()
    assert.equal(isDue(set, after(7) - 1), false)
    assert.equal(isDue(set, after(7)), true)
    put(set, checkpoint(as(set, 'bob', after(7))))
    put(set, rename(as(set, 'ann', after(8)), undefined, 'House'))
    assert.equal(isDue(set, after(14) - 1), false)
    assert.equal(isDue(set, after(14)), true)
  })

  it('is due after three weeks where nothing changed', () => {
    const set = home()
    put(set, checkpoint(as(set, 'bob', after(7))))
    assert.equal(isDue(set, after(28) - 1), false)
    assert.equal(isDue(set, after(28)), true)
  })

  it('is neither put off nor brought on by one from the future', () => {
    const set = home()
    put(set, checkpoint(as(set, 'bob', after(9000))))
    assert.equal(isDue(set, after(7)), true)
    put(set, checkpoint(as(set, 'ann', after(7))))
    assert.equal(isDue(set, after(8)), false)
  })

  it('is made by the owner nearest to genesis', () => {
    const devices = membersAt(reduce(home()), START_MS)
    const of = (...names: readonly string[]): string | undefined =>
      mostSenior(devices.filter(({ name }) => names.includes(name)))?.name
    assert.equal(of('cid', 'oda', 'bob', 'ann'), 'ann')
    assert.equal(of('cid', 'oda', 'bob'), 'bob')
    assert.equal(of('cid'), undefined)
  })
})

describe('the newest word of an owner', () => {
  it('is the newest op that is no retirement and not from the future', () => {
    const set = home()
    put(set, rename(as(set, 'ann', after(3)), undefined, 'House'))
    put(set, retire(as(set, 'cid', after(20))))
    put(set, rename(as(set, 'bob', after(9000)), undefined, 'Home'))
    assert.equal(newest(set, after(40)), after(3))
    put(set, checkpoint(as(set, 'ann', after(30))))
    assert.equal(newest(set, after(40)), after(30))
    assert.equal(newest(set, after(9000)), after(9000))
  })
})
