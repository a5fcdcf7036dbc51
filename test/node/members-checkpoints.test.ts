import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import pino from 'pino'

import { keepCheckpoints } from '../../node/services/members/checkpoints.ts'
import type { ClockTrust } from '../../node/timekeeper.ts'
import { grant, rename, type Op } from '../../protocols/members/index.ts'
import { virtualClock, type VirtualClock } from '../helpers/clock.ts'
import { Household, type Housemate } from '../helpers/household.ts'
import { as, genesisOf, keyNamed, put, setOf, START_MS } from '../helpers/members.ts'

const DAY_MS = 86_400_000
const genesis = genesisOf('ann')
const home = setOf(genesis)
const letIn = (name: string, role: 'owner' | 'member'): Op =>
  put(home, grant(as(home, 'ann'), { subject: keyNamed(name), role, name, paired: 'code' }))
const ops = [letIn('bob', 'owner'), letIn('cid', 'member')]

function checkpointsOf({ members }: Housemate): readonly string[] {
  return members.ops.entries
    .filter(({ op }) => op.payload.type === 'checkpoint')
    .map(({ op }) => members.state.devices.get(Buffer.from(op.signer).toString('hex'))?.name ?? '')
}

interface World {
  readonly clock: VirtualClock
  readonly house: Household
  readonly move: (name: string, quality?: ClockTrust) => Promise<Housemate>
}

async function inHouse(act: (world: World) => Promise<void>): Promise<void> {
  const clock = virtualClock(START_MS)
  const stop = new AbortController()
  await using house = new Household(genesis, clock)
  const log = pino({ level: 'silent' })
  const running: Promise<void>[] = []
  await act({
    clock,
    house,
    async move(name, quality = 'synced') {
      const mate = await house.move(name, { ops })
      const time = { quality: () => quality }
      running.push(keepCheckpoints({ ...mate, time, clock, log }, stop.signal))
      return mate
    },
  })
  stop.abort(new Error('done'))
  await Promise.all(running)
}

describe('checkpoints', () => {
  it('are made by the most senior owner that is on, for all, once a week at most', () =>
    inHouse(async ({ clock, house, move }) => {
      const [ann, bob, cid] = [await move('ann'), await move('bob'), await move('cid')]
      await house.meet(ann, bob)
      await house.meet(ann, cid)
      await house.meet(bob, cid)
      await clock.advance(7 * DAY_MS - 1)
      assert.deepEqual(checkpointsOf(ann), [])
      await clock.advance(DAY_MS)
      for (const mate of [ann, bob, cid]) assert.deepEqual(checkpointsOf(mate), ['ann'])
      ann.members.act((context) => rename(context, undefined, 'House'))
      await clock.advance(5 * DAY_MS)
      assert.equal(checkpointsOf(cid).length, 1)
      await clock.advance(2 * DAY_MS)
      assert.deepEqual(checkpointsOf(cid), ['ann', 'ann'])
      await clock.advance(20 * DAY_MS)
      assert.equal(checkpointsOf(cid).length, 2)
      await clock.advance(2 * DAY_MS)
      assert.equal(checkpointsOf(cid).length, 3)
    }))

  it('are made by a junior owner where the senior one is off', () =>
    inHouse(async ({ clock, house, move }) => {
      const [bob, cid] = [await move('bob'), await move('cid')]
      await house.meet(bob, cid)
      await clock.advance(8 * DAY_MS)
      assert.deepEqual(checkpointsOf(cid), ['bob'])
    }))

  it('are not made by a device that is no owner, or knows no time', () =>
    inHouse(async ({ clock, house, move }) => {
      const [ann, cid] = [await move('ann', 'unset'), await move('cid')]
      await house.meet(ann, cid)
      await clock.advance(30 * DAY_MS)
      assert.deepEqual(checkpointsOf(ann), [])
      assert.deepEqual(checkpointsOf(cid), [])
    }))

  it('go on after the disk refused one', () =>
    inHouse(async ({ clock, house }) => {
      let full = true
      const ann = await house.move('ann', {
        ops,
        deps: {
          store() {
            if (full) throw new Error('database or disk is full')
          },
        },
      })
      const stop = new AbortController()
      const time = { quality: () => 'synced' as const }
      const log = pino({ level: 'silent' })
      const kept = keepCheckpoints({ ...ann, time, clock, log }, stop.signal)
      await clock.advance(8 * DAY_MS)
      assert.deepEqual(checkpointsOf(ann), [])
      full = false
      await clock.advance(DAY_MS)
      assert.deepEqual(checkpointsOf(ann), ['ann'])
      stop.abort(new Error('done'))
      await kept
    }))
})
