import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { joinIncidents } from '../../node/device/incidents.ts'
import { createEmitter } from '../../node/events.ts'
import { createJournal } from '../../node/journal.ts'
import type { MembersEvents } from '../../node/services/members/members.ts'
import { grant, MEMBERS, rename, revoke, type Op } from '../../protocols/members/index.ts'
import { Batch, Have } from '../../protocols/members/messages.ts'
import { peerIdOf } from '../../protocols/identity/index.ts'
import type { Channel, Message } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { Household, type Housemate } from '../helpers/household.ts'
import { as, genesisOf, grantBody, keyNamed, put, rawOp, setOf } from '../helpers/members.ts'

const genesis = genesisOf('ann')
const home = setOf(genesis)
const letIn = (name: string, role: 'owner' | 'member'): Op =>
  put(home, grant(as(home, 'ann'), { subject: keyNamed(name), role, name, paired: 'code' }))
const ops = [letIn('bob', 'member'), letIn('oda', 'owner')]

const RAW: Message<Uint8Array> = {
  name: 'raw',
  maxBytes: MEMBERS.maxFrameBytes,
  encode: (frame) => frame,
  encodePieces: (frame) => [frame],
  decode: (frame) => frame,
}

/** A handler of someone who sends these instead of what it has. */
function sending(...batch: readonly Uint8Array[]): (channel: Channel) => Promise<void> {
  return async (channel) => {
    await channel.receive(Have)
    await channel.send(Have, { home: genesis.id, ids: [] })
    await channel.send(Batch, { ops: [...batch], last: true })
    await channel.receive(Batch)
  }
}

/** What ann refuses of bob, who answers in his own way, as `whom code`, each as it comes. */
async function refusals(handler: (channel: Channel) => Promise<void>): Promise<readonly string[]> {
  await using house = new Household(genesis, virtualClock())
  const ann = await house.move('ann', { ops })
  const bob = await house.move('bob', { ops, handler })
  await house.meet(ann, bob)
  const heard = hear(ann)
  const over = new Promise<void>((resolve) => {
    void bob.mesh.serve(MEMBERS, async (channel) => {
      await handler(channel).finally(() => setImmediate(resolve))
    })
  })
  ann.members.act((context) => rename(context, keyNamed('bob'), 'Bobby'))
  await over
  return heard
}

function hear({ members }: Housemate): string[] {
  const heard: string[] = []
  const names = new Map(['ann', 'bob', 'oda'].map((name) => [peerIdOf(keyNamed(name)), name]))
  members.events.on('refused', ({ device, code }) => {
    heard.push(`${names.get(peerIdOf(device))} ${code}`)
  })
  return heard
}

describe('what a member sends that no honest one does', () => {
  it('is told of it: what is malformed, forged, of another home or not its to do', async () => {
    const honest = put(home, rename(as(home, 'ann'), undefined, 'House')).bytes
    const forged = Uint8Array.from(honest)
    forged.set([(forged.at(-1) ?? 0) ^ 1], forged.length - 1)
    const other = setOf(genesisOf('eve'))
    const foreign = rawOp(other, { by: 'eve', content: grantBody('bob', 'owner') })
    const presumed = rawOp(setOf(genesis, ops), {
      by: 'bob',
      auth: ops[0]?.id ?? new Uint8Array(),
      content: grantBody('eve', 'owner'),
    })
    assert.deepEqual(
      await refusals(
        sending(Uint8Array.of(1, 2, 3), forged, foreign.bytes, presumed.bytes, honest),
      ),
      [
        'bob MEMBERS_BAD_OP',
        'bob MEMBERS_BAD_SIGNATURE',
        'bob MEMBERS_WRONG_HOME',
        'bob MEMBERS_NOT_PERMITTED',
      ],
    )
  })

  it('is told of it where it breaks the exchange off', async () => {
    const garbage = Array.from({ length: 70 }, (_, i) => Uint8Array.of(i))
    const many = await refusals(sending(...garbage))
    assert.equal(many.filter((one) => one === 'bob MEMBERS_BAD_OP').length, 65)
    assert.equal(many.at(-1), 'bob MEMBERS_PEER_FAULT')
    const malformed = async (channel: Channel): Promise<void> => {
      await channel.receive(RAW)
      await channel.send(RAW, Uint8Array.of(0xff, 1, 2))
    }
    assert.deepEqual(await refusals(malformed), ['bob WIRE_MALFORMED'])
  })

  it('says nothing of one that goes away, or has nothing new', async () => {
    const gone = async (channel: Channel): Promise<void> => {
      await channel.receive(Have)
      throw new Error('gone')
    }
    assert.deepEqual(await refusals(gone), [])
    assert.deepEqual(await refusals(sending()), [])
  })
})

describe('an act of a removed key', () => {
  it('is told of it once, and not of whoever passed it on', async () => {
    const known = setOf(genesis, ops)
    const late = rawOp(known, {
      by: 'oda',
      auth: ops[1]?.id ?? new Uint8Array(),
      content: grantBody('eve', 'owner'),
    })
    const gone = put(
      known,
      revoke(as(known, 'ann'), { subject: keyNamed('oda'), reason: 'removed' }),
    )
    await using house = new Household(genesis, virtualClock())
    const ann = await house.move('ann', { ops: [...ops, gone] })
    const bob = await house.move('bob', { ops: [...ops, late] })
    const heard = hear(ann)
    await house.meet(ann, bob)
    assert.deepEqual(heard, ['oda MEMBERS_REMOVED_KEY'])
    assert.ok(ann.members.ops.get(late.id) !== undefined, 'it is kept as evidence')
    await house.meet(ann, bob)
    assert.equal(heard.length, 1)
  })

  it('is not told of where it only leaves, or still counted when it was made', async () => {
    const known = setOf(genesis, ops)
    const before = put(known, rename(as(known, 'oda'), undefined, 'Oda’s'))
    const left = rawOp(known, {
      by: 'oda',
      auth: ops[1]?.id ?? new Uint8Array(),
      content: { type: 'retire', body: {} },
    })
    const gone = put(
      known,
      revoke(as(known, 'ann'), { subject: keyNamed('oda'), reason: 'removed' }),
    )
    await using house = new Household(genesis, virtualClock())
    const ann = await house.move('ann', { ops: [...ops, before, gone] })
    const bob = await house.move('bob', { ops: [...ops, before, left] })
    const heard = [hear(ann), hear(bob)]
    await house.meet(ann, bob)
    assert.deepEqual(heard, [[], []])
  })
})

describe('incidents', () => {
  it('count what membership refuses as attacks of that device', () => {
    const fail = (error: unknown): never => {
      throw error
    }
    const attacks: unknown[] = []
    const members = { events: createEmitter<MembersEvents>(fail), self: undefined }
    const quiet = { events: createEmitter(fail) }
    const incidents = {
      ...quiet,
      attack: (...facts: unknown[]) => attacks.push(facts),
      refresh: () => undefined,
    }
    const base = {
      journal: createJournal(virtualClock()),
      marker: {},
      packs: { onFull: () => () => undefined },
    }
    const stop = new AbortController()
    joinIncidents(
      base as never,
      { calls: quiet, incidents, members, mesh: quiet, telemetry: quiet } as never,
      stop.signal,
    )
    members.events.emit('refused', { device: keyNamed('bob'), code: 'MEMBERS_BAD_OP' })
    stop.abort()
    assert.deepEqual(attacks, [['MEMBERS_BAD_OP', keyNamed('bob')]])
  })
})
