import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { HomeState, Op } from '../../protocols/members/index.ts'
import { grant, MEMBERS, MembersError, rename, revoke } from '../../protocols/members/index.ts'
import { toHex, type Channel, type Message } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { Household } from '../helpers/household.ts'
import { as, genesisOf, keyNamed, put, setOf } from '../helpers/members.ts'

const genesis = genesisOf('ann')
const home = setOf(genesis)
const letIn = (name: string, role: 'owner' | 'member' | 'sensor' = 'member'): Op =>
  put(home, grant(as(home, 'ann'), { subject: keyNamed(name), role, name, paired: 'code' }))
const [bob, cid] = [letIn('bob'), letIn('cid', 'sensor')]

function named(name: string): (state: HomeState) => boolean {
  return (state) => [...state.devices.values()].some((device) => device.name === name)
}

const renaming = (who: string, to: string) => (context: Parameters<typeof rename>[0]) =>
  rename(context, keyNamed(who), to)
const removing = (who: string) => (context: Parameters<typeof revoke>[0]) =>
  revoke(context, { subject: keyNamed(who), reason: 'removed', lastSeq: 4 })

const RAW: Message<Uint8Array> = {
  name: 'raw',
  maxBytes: MEMBERS.maxFrameBytes,
  encode: (frame) => frame,
  encodePieces: (frame) => [frame],
  decode: (frame) => frame,
}

describe('an act', () => {
  it('is on disk before anybody is told, and nowhere where the disk refused it', async () => {
    await using house = new Household(genesis, virtualClock())
    const seen: (number | string)[] = []
    let full = false
    const a = await house.move('ann', {
      ops: [bob],
      deps: {
        store(added) {
          if (full) throw new Error('database or disk is full')
          seen.push(house.areConnected(a, b) ? a.mesh.opened(MEMBERS.id) : 'alone')
          a.store.append(genesis.id, added)
        },
      },
    })
    const b = await house.move('bob', { ops: [bob] })
    await house.meet(a, b)
    const told = b.knows(named('Bobby'))
    a.members.act(renaming('bob', 'Bobby'))
    assert.equal(a.onDisk, 3)
    await told
    assert.deepEqual(seen, [0])
    full = true
    const before = a.members.state
    assert.throws(() => a.members.act(renaming('bob', 'Robert')), /full/)
    assert.equal(a.members.state, before)
    assert.equal(a.members.ops.entries.length, 3)
    assert.deepEqual(await a.happened(), ['member.renamed'])
  })

  it('reaches those who are connected to one who was told', async () => {
    await using house = new Household(genesis, virtualClock())
    const ops = [bob, cid]
    const [a, b, c] = [
      await house.move('ann', { ops }),
      await house.move('bob', { ops }),
      await house.move('cid', { ops }),
    ]
    await house.meet(a, b)
    await house.meet(b, c)
    const told = c.knows(named('Cider'))
    a.members.act(renaming('cid', 'Cider'))
    await told
    assert.equal(c.onDisk, 4)
  })

  it('is told with those that follow it at once, one exchange at a time', async () => {
    await using house = new Household(genesis, virtualClock())
    const [a, b] = [
      await house.move('ann', { ops: [bob] }),
      await house.move('bob', { ops: [bob] }),
    ]
    await house.meet(a, b)
    const told = b.knows(named('name 19'))
    for (let i = 0; i < 20; i++) a.members.act(renaming('bob', `name ${i}`))
    await told
    assert.equal(b.onDisk, 22)
    assert.ok(a.mesh.opened(MEMBERS.id) <= 2, `${a.mesh.opened(MEMBERS.id)} exchanges`)
  })

  it('is told again where a connected device could not be told at first', async () => {
    const clock = virtualClock()
    await using house = new Household(genesis, clock)
    const [a, b] = [
      await house.move('ann', { ops: [bob] }),
      await house.move('bob', { ops: [bob] }),
    ]
    await house.meet(a, b)
    const told = b.knows(named('Bobby'))
    a.members.act(renaming('bob', 'Bobby'))
    house.breakStreams(a, b)
    await clock.advance(1000)
    await told
    assert.equal(b.onDisk, 3)
  })

  it('is refused where this device may not do it, and nothing is stored', async () => {
    await using house = new Household(genesis, virtualClock())
    const b = await house.move('bob', { ops: [bob] })
    assert.throws(
      () => b.members.act(renaming('ann', 'Nobody')),
      (error: MembersError) => error.code === 'MEMBERS_NOT_PERMITTED',
    )
    assert.equal(b.onDisk, 2)
  })

  it('can be tried without being done', async () => {
    await using house = new Household(genesis, virtualClock())
    const a = await house.move('ann', { ops: [bob] })
    const after = a.members.preview(removing('bob'))
    assert.equal(after.devices.size, 1)
    assert.deepEqual([a.onDisk, a.roles()], [2, ['ann owner', 'bob member']])
  })
})

describe('a removed device', () => {
  it('is told first, then cut', async () => {
    const clock = virtualClock()
    await using house = new Household(genesis, clock)
    const [a, b] = [
      await house.move('ann', { ops: [bob] }),
      await house.move('bob', { ops: [bob] }),
    ]
    await house.meet(a, b)
    const cut = a.disconnected()
    const told = b.knows(() => b.members.self === undefined)
    a.members.act(removing('bob'))
    await told
    await cut
    assert.equal(clock.monotonic(), 0)
    assert.deepEqual([a.mesh.allowed.has(toHex(b.key)), b.onDisk], [false, 3])
    assert.deepEqual(await b.happened(), ['member.removed'])
  })

  it('is told also where it was just being told something else', async () => {
    await using house = new Household(genesis, virtualClock())
    const [a, b] = [
      await house.move('ann', { ops: [bob] }),
      await house.move('bob', { ops: [bob] }),
    ]
    await house.meet(a, b)
    const cut = a.disconnected()
    a.members.act(renaming('bob', 'Bobby'))
    a.members.act(removing('bob'))
    await cut
    assert.equal(b.members.self, undefined)
  })

  it('is cut within two seconds where it does not listen', async () => {
    const clock = virtualClock()
    await using house = new Household(genesis, clock)
    const a = await house.move('ann', { ops: [bob] })
    const b = await house.move('bob', { ops: [bob], handler: () => new Promise(() => undefined) })
    await house.meet(a, b)
    a.members.act(removing('bob'))
    await clock.advance(2000)
    assert.equal(house.areConnected(a, b), false)
    assert.equal(a.mesh.allowed.has(toHex(b.key)), false)
    assert.notEqual(b.members.self, undefined)
  })

  it('is cut by those who hear of it from another', async () => {
    await using house = new Household(genesis, virtualClock())
    const ops = [bob, cid]
    const [a, b, c] = [
      await house.move('ann', { ops }),
      await house.move('bob', { ops }),
      await house.move('cid', { ops }),
    ]
    await house.meet(a, b)
    await house.meet(b, c)
    const cut = b.disconnected()
    a.members.act(removing('cid'))
    await cut
    assert.equal(house.areConnected(b, c), false)
    assert.equal(house.areConnected(a, b), true)
  })

  it('does not change what it may no longer change', async () => {
    await using house = new Household(genesis, virtualClock())
    const [a, b] = [
      await house.move('ann', { ops: [bob] }),
      await house.move('bob', { ops: [bob] }),
    ]
    await house.meet(a, b)
    const told = b.knows(() => b.members.self === undefined)
    a.members.act(removing('bob'))
    await told
    assert.throws(
      () => b.members.act((context) => rename(context, keyNamed('bob'), 'x')),
      MembersError,
    )
  })
})

describe('a guest', () => {
  it('is cut when its time ends, told or not, by the clock alone', async () => {
    const clock = virtualClock()
    await using house = new Household(genesis, clock)
    const set = setOf(genesis)
    const expiresAtMs = clock.now() + 3_600_000
    const guest = put(
      set,
      grant(as(set, 'ann'), {
        subject: keyNamed('bob'),
        role: 'guest',
        name: 'bob',
        paired: 'code',
        expiresAtMs,
      }),
    )
    const [a, b] = [
      await house.move('ann', { ops: [guest] }),
      await house.move('bob', { ops: [guest] }),
    ]
    await house.meet(a, b)
    let changes = 0
    a.members.events.on('change', () => changes++)
    await clock.advance(3_599_999)
    assert.deepEqual([house.areConnected(a, b), a.members.active().length], [true, 2])
    await clock.advance(1)
    assert.deepEqual([a.members.active().length, b.members.self, changes], [1, undefined, 1])
    await clock.advance(2000)
    assert.equal(house.areConnected(a, b), false)
    assert.equal(a.onDisk, 2)
  })

  it('with years left does not wake the device before', async () => {
    const clock = virtualClock()
    await using house = new Household(genesis, clock)
    const set = setOf(genesis)
    const guest = put(
      set,
      grant(as(set, 'ann'), {
        subject: keyNamed('bob'),
        role: 'guest',
        name: 'bob',
        paired: 'code',
        expiresAtMs: clock.now() + 40 * 86_400_000,
      }),
    )
    const a = await house.move('ann', { ops: [guest] })
    await clock.advance(39 * 86_400_000)
    assert.equal(a.members.active().length, 2)
    await clock.advance(86_400_000)
    assert.equal(a.members.active().length, 1)
  })
})

describe('a peer that sends what is wrong', () => {
  const garbage = async (channel: Channel): Promise<void> => {
    await channel.receive(RAW)
    await channel.send(RAW, Uint8Array.of(0xff, 1, 2))
  }

  it('changes nothing, and does not keep others from being told', async () => {
    const clock = virtualClock()
    await using house = new Household(genesis, clock)
    const ops = [bob, cid]
    const [a, c] = [await house.move('ann', { ops }), await house.move('cid', { ops })]
    const b = await house.move('bob', { ops, handler: garbage })
    await house.meet(a, b)
    await house.meet(a, c)
    const told = c.knows(named('Cider'))
    a.members.act(renaming('cid', 'Cider'))
    await told
    await clock.advance(600_000)
    assert.ok(a.mesh.opened(MEMBERS.id) <= 8, `${a.mesh.opened(MEMBERS.id)} exchanges`)
    assert.deepEqual(a.roles(), ['Cider sensor', 'ann owner', 'bob member'])
  })
})
