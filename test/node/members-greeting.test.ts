import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Op } from '../../protocols/members/index.ts'
import { Batch, grant, Have, rename, revoke } from '../../protocols/members/index.ts'
import { Hello, HELLO } from '../../protocols/hello/index.ts'
import { sha256 } from '../../protocols/identity/index.ts'
import { toHex, utf8, type Infer } from '../../protocols/wire/index.ts'
import { channelPair } from '../helpers/channels.ts'
import { virtualClock } from '../helpers/clock.ts'
import { Household } from '../helpers/household.ts'
import { as, genesisOf, grantBody, keyNamed, put, rawOp, setOf } from '../helpers/members.ts'

const genesis = genesisOf('ann')
const home = setOf(genesis)
const letIn = (name: string, role: 'owner' | 'member' | 'sensor' = 'member'): Op =>
  put(home, grant(as(home, 'ann'), { subject: keyNamed(name), role, name, paired: 'code' }))
const [bob, cid] = [letIn('bob'), letIn('cid', 'sensor')]

function codes(results: readonly PromiseSettledResult<void>[]): unknown[] {
  return results.map((one) =>
    one.status === 'fulfilled' ? 'done' : (one.reason as { code?: string }).code,
  )
}

/** What a device with these heads says, which reads them in its own way. */
function helloOf(heads: readonly Uint8Array[]): Infer<typeof Hello> {
  return {
    home: genesis.id,
    heads: [...heads],
    epoch: 0,
    state: sha256(utf8('another')),
    logs: [],
    power: 'powered',
    version: '1',
    features: [],
  }
}

describe('greeting a device', () => {
  it('only exchanges hellos where both know the same', async () => {
    await using house = new Household(genesis, virtualClock())
    const [a, b] = [
      await house.move('ann', { ops: [bob] }),
      await house.move('bob', { ops: [bob] }),
    ]
    assert.deepEqual(codes(await house.meet(a, b)), ['done', 'done'])
    assert.equal(a.members.lastHello(b.key)?.version, '1.0.0')
    assert.equal(a.members.lastHello(keyNamed('cid')), undefined)
    assert.deepEqual(await a.happened(), [])
  })

  it('brings both up to date, on disk, where they know different things', async () => {
    await using house = new Household(genesis, virtualClock())
    const ours = setOf(genesis, [bob])
    const theirs = setOf(genesis, [bob])
    const mine = put(ours, rename(as(ours, 'ann'), undefined, 'Oak Road'))
    const retired = put(
      theirs,
      rawOp(theirs, {
        by: 'bob',
        auth: bob.id,
        content: { type: 'retire', body: {} },
      }),
    )
    const owner = await house.move('ann', { ops: [bob, mine] })
    const leaver = await house.move('bob', { ops: [bob, retired] })
    await house.meet(owner, leaver)
    for (const mate of [owner, leaver]) {
      assert.equal(mate.onDisk, 4)
      assert.equal(mate.members.state.name, 'Oak Road')
      assert.deepEqual(mate.roles(), ['ann owner'])
      assert.deepEqual([...mate.store.loadAll()].slice(0, 2), [genesis.bytes, bob.bytes])
    }
    assert.equal(leaver.members.self, undefined)
  })

  it('tells what was decided while it greeted, once they are connected', async () => {
    await using house = new Household(genesis, virtualClock())
    const decide = { during: (): void => undefined }
    const about = () => {
      decide.during()
      return { logs: [], power: 'powered' as const, version: '1.0.0', features: [] }
    }
    const a = await house.move('ann', { ops: [bob], deps: { about } })
    const b = await house.move('bob', { ops: [bob] })
    decide.during = () => {
      decide.during = () => undefined
      a.members.act((context) => rename(context, undefined, 'Oak Road'))
    }
    assert.deepEqual(codes(await house.meet(a, b)), ['done', 'done'])
    await b.knows(({ name }) => name === 'Oak Road')
  })

  it('lets a new device in that its owner granted elsewhere, as the greeting brings the grant', async () => {
    await using house = new Household(genesis, virtualClock())
    const old = await house.move('bob', { ops: [bob] })
    const fresh = await house.move('cid', { ops: [bob, cid] })
    assert.deepEqual(codes(await house.meet(old, fresh)), ['done', 'done'])
    assert.equal(old.onDisk, 3)
    assert.deepEqual(await old.happened(), ['member.added'])
    assert.equal(old.mesh.allowed.has(toHex(fresh.key)), true)
  })

  it('refuses a device of another home', async () => {
    const clock = virtualClock()
    await using house = new Household(genesis, clock)
    await using other = new Household(genesisOf('bob'), clock)
    const a = await house.move('ann')
    const b = await other.move('bob')
    assert.deepEqual(codes(await house.meet(a, b)), ['HELLO_WRONG_HOME', 'HELLO_WRONG_HOME'])
    assert.equal(a.onDisk, 1)
  })

  it('refuses a device that is no member after the sync, and tells it why by what it sent', async () => {
    await using house = new Household(genesis, virtualClock())
    const set = setOf(genesis, [bob])
    const out = put(set, revoke(as(set, 'ann'), { subject: keyNamed('bob'), reason: 'lost' }))
    const a = await house.move('ann', { ops: [bob, out] })
    const b = await house.move('bob', { ops: [bob] })
    const [ours] = await house.meet(a, b)
    assert.equal(
      ours?.status === 'rejected' && (ours.reason as { code: string }).code,
      'HELLO_NOT_A_MEMBER',
    )
    assert.equal(a.members.lastHello(b.key), undefined)
    assert.equal(b.members.self, undefined)
    assert.equal(b.onDisk, 3)
    assert.deepEqual(await b.happened(), ['member.removed'])
  })

  it('reports a device that reads the same ops differently', async () => {
    await using house = new Household(genesis, virtualClock())
    const a = await house.move('ann', { ops: [bob] })
    const [near, far] = await channelPair(HELLO)
    const greeting = a.members.greeting.run(near.channel, keyNamed('bob'))
    await far.channel.send(Hello, helloOf(a.members.state.heads))
    await greeting
    assert.deepEqual(await a.happened(), ['members.disagree'])
  })

  it('counts what came only once the disk took it, and then writes it without being sent it again', async () => {
    await using house = new Household(genesis, virtualClock())
    let full = true
    const a = await house.move('ann', { ops: [bob, cid] })
    const b = await house.move('bob', {
      ops: [bob],
      deps: {
        store(added) {
          if (full) throw new Error('database or disk is full')
          b.store.append(genesis.id, added)
        },
      },
    })
    const [, theirs] = await house.meet(a, b)
    assert.equal(theirs?.status, 'rejected')
    assert.deepEqual([b.onDisk, b.roles()], [2, ['ann owner', 'bob member']])
    full = false
    assert.deepEqual(codes(await house.meet(a, b)), ['done', 'done'])
    assert.deepEqual([b.onDisk, b.roles()], [3, ['ann owner', 'bob member', 'cid sensor']])
    assert.deepEqual(await b.happened(), ['member.added'])
  })
})

describe('greeting a device that was misled', () => {
  it('with ops by a stranger among good ones, gives us the good ones', async () => {
    await using house = new Household(genesis, virtualClock())
    const set = setOf(genesis, [bob])
    const forged = rawOp(set, { by: 'eve', content: grantBody('eve', 'owner') })
    const a = await house.move('ann', { ops: [bob] })
    const [near, far] = await channelPair(HELLO)
    const greeting = a.members.greeting.run(near.channel, keyNamed('bob'))
    await far.channel.send(Hello, helloOf(home.heads()))
    await far.channel.send(Have, { home: genesis.id, ids: [...home.heads()] })
    await far.channel.send(Batch, {
      ops: [forged.bytes, utf8('no op at all'), cid.bytes],
      last: true,
    })
    await greeting
    assert.deepEqual(a.roles(), ['ann owner', 'bob member', 'cid sensor'])
    assert.deepEqual(a.store.loadAll().at(-1), cid.bytes)
    assert.equal(a.onDisk, 3)
  })
})
