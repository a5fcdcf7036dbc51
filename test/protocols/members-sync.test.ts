import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import {
  Batch,
  CAPS,
  grant,
  Have,
  MEMBERS,
  type MembersError,
  reduce,
  sealOp,
  syncMembers,
  type Op,
  type OpSet,
  type SyncDeps,
} from '../../protocols/members/index.ts'
import { encodeCbor, messageOf, openChannel, type Channel } from '../../protocols/wire/index.ts'
import { channelPair } from '../helpers/channels.ts'
import { virtualClock } from '../helpers/clock.ts'
import {
  as,
  facts,
  genesisOf,
  grantBody,
  keyNamed,
  put,
  rawOp,
  setOf,
  signerNamed,
  START_MS,
} from '../helpers/members.ts'

const genesis = genesisOf()

interface Side {
  readonly stored: Op[]
  readonly deps: SyncDeps
}

function side(ops: OpSet): Side {
  const stored: Op[] = []
  const store = (batch: readonly Op[]): void => void stored.push(...batch)
  return { stored, deps: { ops, store, clock: virtualClock() } }
}

function add(set: OpSet, by: string, subject: string, role: 'owner' | 'sensor' = 'sensor'): void {
  put(set, grant(as(set, by), { subject: keyNamed(subject), role, name: subject, paired: 'code' }))
}

async function sync(a: Side, b: Side) {
  const [left, right] = await channelPair(MEMBERS)
  return Promise.all([syncMembers(left.channel, a.deps), syncMembers(right.channel, b.deps)])
}

/** Run our side against a peer that does as `misbehave` says, and give its error. */
async function against(
  ours: Side,
  misbehave: (channel: Channel, end: { close(): Promise<void> }) => Promise<void>,
): Promise<MembersError | Error> {
  const clock = virtualClock()
  const [left, right] = await channelPair(MEMBERS, clock)
  const outcome = syncMembers(left.channel, { ...ours.deps, clock }).then(
    () => assert.fail('it was accepted'),
    (error: Error) => {
      left.stream.abort(error)
      return error
    },
  )
  const { signal } = new AbortController()
  const lawless = openChannel(right.stream, { ...MEMBERS, maxFrames: 1_000_000 }, clock, signal)
  await misbehave(lawless, right.stream).catch(() => undefined)
  for (let i = 0; i < 8; i++) await clock.advance(10_000)
  return outcome
}

const have = { home: genesis.id, ids: [genesis.id] }

describe('the sync of members', () => {
  it('leaves both with the union, each having stored what was new', async () => {
    const common = setOf(genesis)
    add(common, 'ann', 'bob', 'owner')
    const [a, b] = [side(common.fork()), side(common.fork())]
    add(a.deps.ops as OpSet, 'ann', 'carl')
    add(b.deps.ops as OpSet, 'bob', 'dora')
    add(b.deps.ops as OpSet, 'bob', 'emma')
    const [left, right] = await sync(a, b)
    assert.deepEqual(left, { received: 2, sent: 1, refused: 0 })
    assert.deepEqual(right, { received: 1, sent: 2, refused: 0 })
    assert.equal(a.stored.length, 2)
    assert.deepEqual(facts(reduce(a.deps.ops as OpSet)), facts(reduce(b.deps.ops as OpSet)))
    assert.deepEqual(a.deps.ops.missingFor(b.deps.ops.have()), [])
  })

  it('sends nothing where both have the same', async () => {
    const set = setOf(genesis)
    const [left] = await sync(side(set.fork()), side(set.fork()))
    assert.deepEqual(left, { received: 0, sent: 0, refused: 0 })
  })

  it('brings a device that has nothing up to date, over many frames', async () => {
    const set = setOf(genesis)
    let own = genesis
    for (let i = 1; i < 400; i++) {
      own = sealOp(
        {
          v: 1,
          home: genesis.id,
          prev: [own.id],
          auth: genesis.id,
          seq: i,
          own: own.id,
          ts: START_MS,
          type: 'policy',
          body: { policy: new Uint8Array(1500) },
        },
        signerNamed('ann'),
      )
      set.add(own.bytes)
    }
    const empty = side(setOf(genesis))
    const [, taken] = await sync(side(set), empty)
    assert.equal(taken.received, 399)
    assert.equal((empty.deps.ops as OpSet).entries.length, 400)
  })

  it('never drops what it knows where the peer has less', async () => {
    const set = setOf(genesis)
    add(set, 'ann', 'bob')
    const [long, short] = [side(set), side(setOf(genesis))]
    await sync(long, short)
    assert.equal(set.entries.length, 2)
    assert.equal((short.deps.ops as OpSet).entries.length, 2)
  })

  it('stores a batch before it counts, and fails where it cannot be stored', async () => {
    const set = setOf(genesis)
    add(set, 'ann', 'bob')
    const [left, right] = await channelPair(MEMBERS)
    const broken = new RangeError('the disk is full')
    const failing = { ...side(setOf(genesis)).deps, store: () => Promise.reject(broken) }
    const ends = await Promise.allSettled([
      syncMembers(left.channel, failing),
      syncMembers(right.channel, side(set).deps),
    ])
    assert.equal(ends[0].status === 'rejected' && ends[0].reason, broken)
  })
})

describe('a hostile peer', () => {
  it('of another home learns nothing', async () => {
    let batch: unknown
    const error = await against(side(setOf(genesis)), async (channel) => {
      await channel.send(Have, { ...have, home: keyNamed('x') })
      await channel.receive(Have)
      batch = await channel.next(Batch)
    })
    assert.equal((error as MembersError).code, 'MEMBERS_WRONG_HOME')
    assert.equal(batch, undefined)
  })

  it('is cut off after 64 wrong ops; what was good before stays stored', async () => {
    const ours = side(setOf(genesis))
    const good = rawOp(setOf(genesis), { by: 'ann', content: grantBody('bob', 'owner') })
    const error = await against(ours, async (channel) => {
      await channel.send(Have, have)
      const wrong = Array.from({ length: 65 }, (_, i) => Uint8Array.of(i))
      await channel.send(Batch, { ops: [good.bytes, ...wrong], last: true })
    })
    assert.equal((error as MembersError).code, 'MEMBERS_PEER_FAULT')
    assert.equal(ours.stored.length, 1)
  })

  it('gets ops of unknown parents, strangers and other homes counted as refused, not kept', async () => {
    const ours = side(setOf(genesis))
    const other = setOf(genesis)
    const bob = rawOp(other, { by: 'ann', content: grantBody('bob', 'owner') })
    put(other, bob)
    const orphan = rawOp(other, { by: 'bob', auth: bob.id, content: grantBody('carl', 'owner') })
    const stranger = rawOp(setOf(genesis), { by: 'eve', content: grantBody('mal', 'owner') })
    const [left, right] = await channelPair(MEMBERS)
    const outcome = syncMembers(left.channel, ours.deps)
    await right.channel.send(Have, have)
    const foreign = genesisOf('mallory').bytes
    await right.channel.send(Batch, { ops: [orphan.bytes, stranger.bytes, foreign], last: true })
    assert.deepEqual(await outcome, { received: 0, sent: 0, refused: 3 })
    assert.equal((ours.deps.ops as OpSet).entries.length, 1)
    assert.equal((ours.deps.ops as OpSet).waiting, 1)
  })

  it('cannot go on for ever: not with empty batches, known ops, or one at a time', async () => {
    const frames: readonly [string, readonly Uint8Array[]][] = [
      ['MEMBERS_PEER_FAULT', []],
      ['MEMBERS_PEER_FAULT', Array.from({ length: 200 }, () => genesis.bytes)],
      ['WIRE_TOO_MANY_FRAMES', [genesis.bytes]],
    ]
    for (const [code, ops] of frames) {
      const error = await against(side(setOf(genesis)), async (channel) => {
        await channel.send(Have, have)
        for (let i = 0; i < MEMBERS.maxFrames; i++) await channel.send(Batch, { ops, last: false })
      })
      assert.equal((error as MembersError).code, code)
    }
  })

  it('cannot send an op that is too large, nor more ids than a peer may name', async () => {
    const loose = messageOf<unknown>(
      'loose',
      { toWire: (value) => value, fromWire: (value) => value },
      { maxBytes: MEMBERS.maxFrameBytes },
    )
    const large = new Map<number, unknown>([
      [1, [new Uint8Array(CAPS.maxOpBytes + 1)]],
      [2, true],
    ])
    const ids = Array.from({ length: CAPS.maxHave + 1 }, () => genesis.id)
    const many = new Map<number, unknown>([
      [1, genesis.id],
      [2, ids],
    ])
    assert.ok(encodeCbor(many).length < MEMBERS.maxFrameBytes)
    const first = await against(side(setOf(genesis)), async (channel) => {
      await channel.send(Have, have)
      await channel.send(loose, large)
    })
    const second = await against(side(setOf(genesis)), (channel) => channel.send(loose, many))
    assert.deepEqual(
      [first, second].map((error) => (error as MembersError).code),
      ['WIRE_MALFORMED', 'WIRE_MALFORMED'],
    )
  })

  it('cannot hold us by silence, nor by being just in time for ever', async () => {
    const silent = await against(side(setOf(genesis)), () => Promise.resolve())
    assert.equal((silent as MembersError).code, 'MEMBERS_TOO_SLOW')
    const ours = side(setOf(genesis))
    const clock = virtualClock()
    const [left, right] = await channelPair(MEMBERS, clock)
    const outcome = syncMembers(left.channel, { ...ours.deps, clock }).catch(
      (error: Error) => error,
    )
    await right.channel.send(Have, have)
    for (let i = 0; i < 7; i++) {
      await right.channel.send(Batch, { ops: [genesis.bytes], last: false })
      await clock.advance(9000)
    }
    assert.equal(((await outcome) as MembersError).code, 'MEMBERS_TOO_SLOW')
  })

  it('that leaves early is an error, not an end', async () => {
    const error = await against(side(setOf(genesis)), async (channel, end) => {
      await channel.send(Have, have)
      await end.close()
    })
    assert.equal((error as MembersError).code, 'WIRE_CLOSED')
  })
})
