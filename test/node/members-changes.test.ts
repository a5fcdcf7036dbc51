import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { HomeState, Op } from '../../protocols/members/index.ts'
import { grant, recover, reduce, regrant, rename, revoke } from '../../protocols/members/index.ts'
import { peerIdOf } from '../../protocols/identity/index.ts'
import { describeChanges } from '../../node/services/members/changes.ts'
import {
  as,
  genesisOf,
  keyNamed,
  put,
  rawOp,
  setOf,
  signerNamed,
  START_MS,
} from '../helpers/members.ts'

const genesis = genesisOf('ann')
const home = setOf(genesis)
const letIn = (name: string, role: 'owner' | 'member' | 'sensor' = 'member'): Op =>
  put(home, grant(as(home, 'ann'), { subject: keyNamed(name), role, name, paired: 'code' }))
const [bob, cid] = [letIn('bob'), letIn('cid', 'sensor')]

describe('the events of a change', () => {
  const base = setOf(genesis, [bob, cid])
  const after = (...ops: readonly Op[]): HomeState => reduce(setOf(genesis, [bob, cid, ...ops]))
  const told = (...ops: readonly Op[]): unknown[] =>
    describeChanges(reduce(base), after(...ops)).map(({ type, data }) => [
      type,
      data['name'] ?? null,
      data['role'] ?? data['reason'] ?? null,
      data['was'] ?? null,
    ])
  const context = as(base, 'ann')

  it('name what happened to whom', () => {
    const subject = keyNamed('bob')
    assert.deepEqual(told(), [])
    assert.deepEqual(told(rename(context, undefined, 'Oak')), [['home.renamed', 'Oak', null, null]])
    assert.deepEqual(told(rename(context, subject, 'Bo')), [
      ['member.renamed', 'Bo', 'member', 'bob'],
    ])
    assert.deepEqual(told(revoke(context, { subject, reason: 'stolen' })), [
      ['member.removed', 'bob', 'stolen', null],
    ])
    assert.deepEqual(
      told(...regrant(context, { subject, role: 'sensor', name: 'Bo', paired: 'code' })),
      [
        ['member.role', 'Bo', 'sensor', 'member'],
        ['member.renamed', 'Bo', 'sensor', 'bob'],
      ],
    )
    const kit = { ...context, signer: signerNamed('kit') }
    assert.deepEqual(told(recover(kit, keyNamed('dan'), 'dan')), [
      ['member.added', 'dan', 'owner', null],
    ])
  })

  it('name each device once that is caught with two histories', () => {
    const auth = { ann: genesis.id, bob: bob.id, cid: cid.id }
    const leaving = (by: keyof typeof auth, ts: number): Op =>
      rawOp(base, { by, auth: auth[by], content: { type: 'retire', body: {} }, ts })
    const names = ['ann', 'bob', 'cid'] as const
    const twice = names.map((by) => [leaving(by, START_MS), leaving(by, START_MS + 1)])
    for (const [first, second] of [
      [0, 1],
      [1, 0],
      [1, 2],
      [2, 0],
    ] as const) {
      const before = after(...(twice[first] ?? []))
      const both = after(...(twice[first] ?? []), ...(twice[second] ?? []))
      const caught = describeChanges(before, both).filter(
        ({ type }) => type === 'members.equivocation',
      )
      assert.deepEqual(
        caught.map(({ data }) => data['device']),
        [peerIdOf(keyNamed(names[second]))],
      )
    }
  })
})
