import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import {
  grant,
  MEMBERS,
  MembersError,
  reduce,
  rename,
  revoke,
  syncMembers,
  type Op,
  type OpSet,
} from '../../protocols/members/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { channelPair } from '../helpers/channels.ts'
import { virtualClock } from '../helpers/clock.ts'
import { as, facts, genesisOf, keyNamed, put, rolesIn, setOf } from '../helpers/members.ts'
import { seededRandom } from '../helpers/random.ts'

const genesis = genesisOf('d0')
const clock = virtualClock()

interface Device {
  readonly name: string
  readonly ops: OpSet
  readonly disk: Op[]
}

function device(name: string, ops: OpSet): Device {
  return { name, ops: ops.fork(), disk: ops.entries.map(({ op }) => op) }
}

async function sync(a: Device, b: Device): Promise<void> {
  const [left, right] = await channelPair(MEMBERS)
  const run = (channel: typeof left.channel, { ops, disk }: Device) =>
    syncMembers(channel, { ops, clock, store: (batch) => void disk.push(...batch) })
  await Promise.all([run(left.channel, a), run(right.channel, b)])
}

/** Meet until nobody learns anything new. */
async function gossip(devices: readonly Device[]): Promise<void> {
  for (let round = 0; round < 2; round++) {
    for (const [i, one] of devices.entries()) {
      const next = devices[(i + 1) % devices.length]
      if (next !== undefined && next !== one) await sync(one, next)
    }
  }
}

function numbers(seed: string): (below: number) => number {
  const random = seededRandom(seed)
  return (below) => {
    const [a = 0, b = 0] = random.bytes(2)
    return (a * 256 + b) % below
  }
}

/** What an owner with this device would do now; acts that are refused are none. */
function actAtRandom(
  { name, ops, disk }: Device,
  below: (n: number) => number,
  names: readonly string[],
): void {
  const subject = keyNamed(names[below(names.length)] ?? 'd0')
  const role = (['owner', 'member', 'sensor'] as const)[below(3)] ?? 'member'
  const context = as(ops, name)
  try {
    const act = below(3)
    const op =
      act === 0
        ? revoke(context, { subject, reason: 'removed' })
        : act === 1
          ? grant(context, { subject, role, name: `n${below(9)}`, paired: 'code' })
          : rename(context, subject, `n${below(9)}`)
    put(ops, op)
    disk.push(op)
  } catch (error) {
    if (!(error instanceof MembersError)) throw error
  }
}

describe('a home in partitions', () => {
  for (const seed of ['1', '2', '3', '4']) {
    it(`converges after acts on all sides and a heal (seed ${seed})`, async () => {
      const below = numbers(seed)
      const names = ['d0', 'd1', 'd2', 'd3', 'd4', 'd5']
      const start = setOf(genesis)
      for (const name of names.slice(1)) {
        put(
          start,
          grant(as(start, 'd0'), { subject: keyNamed(name), role: 'owner', name, paired: 'code' }),
        )
      }
      const devices = names.map((name) => device(name, start))
      for (let round = 0; round < 6; round++) {
        for (let i = 0; i < 6; i++) {
          const actor = devices[below(devices.length)]
          if (actor !== undefined) actAtRandom(actor, below, names)
        }
        const cut = 1 + below(names.length - 1)
        await gossip(devices.slice(0, cut))
        await gossip(devices.slice(cut))
      }
      await gossip(devices)
      const [first, ...others] = devices
      assert.ok(first)
      assert.ok(first.ops.entries.length > 12, `${first.ops.entries.length} ops`)
      for (const other of others)
        assert.deepEqual(facts(reduce(other.ops)), facts(reduce(first.ops)))
      for (const { ops, disk } of devices) {
        const stored = setOf(genesis, disk)
        assert.deepEqual(stored.heads(), ops.heads(), 'what is on disk is what is known')
      }
    })
  }

  it('keeps an owner out who was removed on one side, whatever it did on the other', async () => {
    const start = setOf(genesis)
    const wanted = (name: string, role: 'owner' | 'member') =>
      ({ subject: keyNamed(name), role, name, paired: 'code' }) as const
    put(start, grant(as(start, 'd0'), wanted('phone', 'owner')))
    put(start, grant(as(start, 'd0'), wanted('hub', 'owner')))
    const [d0, hub, phone] = ['d0', 'hub', 'phone'].map((name) => device(name, start))
    assert.ok(d0 && hub && phone)
    put(d0.ops, revoke(as(d0.ops, 'd0'), { subject: keyNamed('phone'), reason: 'stolen' }))
    put(phone.ops, grant(as(phone.ops, 'phone'), wanted('mallory', 'owner')))
    put(phone.ops, rename(as(phone.ops, 'phone'), undefined, 'Mine'))
    await sync(phone, hub)
    assert.ok(rolesIn(hub.ops).includes('mallory owner'), 'that side cannot know yet')
    await sync(d0, hub)
    await sync(hub, phone)
    for (const { ops } of [d0, hub, phone]) {
      const state = reduce(ops)
      assert.deepEqual(rolesIn(ops), ['d0 owner', 'hub owner'])
      assert.equal(state.name, 'Garden Street')
      assert.equal(state.removed.get(toHex(keyNamed('phone')))?.reason, 'stolen')
      assert.equal(state.epoch, 1)
    }
  })
})
