import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  createOpSet,
  MembersError,
  reduce,
  sealOp,
  type Op,
  type OpSet,
} from '../../protocols/members/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import {
  facts,
  genesisOf,
  grantBody,
  keyNamed,
  rawOp,
  revokeBody,
  setOf,
  signerNamed,
  START_MS,
  type Content,
  type RawOp,
} from '../helpers/members.ts'

const genesis = genesisOf('A')
const NAMES = ['A', 'B', 'C', 'D', 'E', 'F']
const GRANTED = ['owner', 'owner', 'member', 'sensor', 'guest'] as const
/** Signatures are checked elsewhere; here only the graph matters. */
const trusting = { verify: () => true }

/** One step of a random history, in numbers that are read modulo what there is. */
interface Step {
  readonly prev: readonly number[]
  readonly auth: number
  readonly act: number
  readonly subject: number
  readonly role: number
  readonly cut: number
}

const stepArb: fc.Arbitrary<Step> = fc.record({
  prev: fc.array(fc.nat(200), { minLength: 1, maxLength: 3 }),
  auth: fc.nat(200),
  act: fc.nat(9),
  subject: fc.nat(20),
  role: fc.nat(20),
  cut: fc.nat(3),
})
const stepsArb = (maxLength: number): fc.Arbitrary<Step[]> => fc.array(stepArb, { maxLength })

function pick<T>(from: readonly T[], number: number): T {
  const found = from[number % from.length]
  if (found === undefined) throw new RangeError('nothing to pick from')
  return found
}

function unique(ids: readonly Uint8Array[]): readonly Uint8Array[] {
  return [...new Map(ids.map((id) => [toHex(id), id])).values()]
}

const nameOf = (key: Uint8Array): string =>
  [...NAMES, 'kit', 'N'].find((name) => equalBytes(keyNamed(name), key)) ?? '?'

function contentOf(
  set: OpSet,
  { act, subject, role, cut }: Step,
  prev: readonly Uint8Array[],
): Content {
  const who = pick(NAMES, subject)
  if (act < 4) return grantBody(who, pick(GRANTED, role))
  if (act < 7) {
    const anywhere = set.entries.filter(({ op }) => prev.some((id) => set.isAncestor(op.id, id)))
    const cuts = [[], prev, [pick(anywhere, role).op.id], [pick(anywhere, subject).op.id]]
    return revokeBody(who, pick(cuts, cut))
  }
  if (act === 7) return { type: 'retire', body: {} }
  if (act === 8) return { type: 'recover', body: { subject: keyNamed(who), name: who } }
  return { type: 'rename', body: { subject: keyNamed(who), name: `${who}${role}` } }
}

/** Sign what a step says, by whoever holds the grant that it picks; undefined where sets refuse it. */
function take(set: OpSet, step: Step, only?: string): Op | undefined {
  const grants = set.entries.flatMap(({ gives }) => gives ?? [])
  const mine =
    only === undefined ? grants : grants.filter(({ subject }) => nameOf(subject) === only)
  if (mine.length === 0) return undefined
  const byKit = step.act === 8 || (only === undefined && step.auth % 7 === 0)
  const acting = byKit && only === undefined ? set.recovery : pick(mine, step.auth)
  if (acting === undefined) return undefined
  const prev = unique([...step.prev.map((n) => pick(set.entries, n).op.id), acting.id])
  const raw: RawOp = {
    by: nameOf(acting.subject),
    auth: acting.id,
    prev,
    content: contentOf(set, step, prev),
    ts: START_MS + step.auth,
  }
  const op = rawOp(set, raw)
  try {
    set.add(op.bytes)
    return op
  } catch (error) {
    if (error instanceof MembersError) return undefined
    throw error
  }
}

function play(steps: readonly Step[]): OpSet {
  const set = createOpSet(genesis.id, trusting)
  set.add(genesis.bytes)
  let auth = genesis.id
  for (const [by, subject] of [
    ['A', 'B'],
    ['B', 'C'],
    ['C', 'D'],
  ] as const) {
    const op = rawOp(set, { by, auth, content: grantBody(subject, 'owner') })
    set.add(op.bytes)
    auth = op.id
  }
  for (const step of steps) take(set, step)
  return set
}

const bytesOf = (set: OpSet): readonly Uint8Array[] => set.entries.map(({ op }) => op.bytes)

const members = (set: OpSet): unknown => facts(reduce(set))

describe('the state of a home', () => {
  it('is the same in whatever order the ops arrive, none being left to wait', () => {
    let kept = 0
    fc.assert(
      fc.property(stepsArb(40), fc.infiniteStream(fc.nat(1_000_000)), (steps, dice) => {
        const set = play(steps)
        kept += set.entries.length
        const order = [...bytesOf(set)]
        for (let i = order.length - 1; i > 0; i--) {
          const j = Number(dice.next().value) % (i + 1)
          const [a, b] = [order[i], order[j]]
          if (a === undefined || b === undefined) continue
          order[i] = b
          order[j] = a
        }
        const other = createOpSet(genesis.id, trusting)
        for (const bytes of order) other.add(bytes)
        assert.equal(other.waiting, 0)
        assert.equal(other.entries.length, set.entries.length)
        assert.deepEqual(members(other), members(set))
        assert.deepEqual(other.heads(), set.heads())
      }),
      { numRuns: 220 },
    )
    assert.ok(kept > 1000, `only ${kept} ops were kept`)
  })

  it('does not change by anything that a key revoked with the kit signs later or dates back', () => {
    let tried = 0
    fc.assert(
      fc.property(stepsArb(25), stepsArb(12), fc.constantFrom(...NAMES), (steps, evil, victim) => {
        const set = play(steps)
        if (set.grantsTo(toHex(keyNamed(victim))).length === 0) return
        const cut = set.heads()
        if (cut.length > 16) return
        const auth = genesis.id
        set.add(rawOp(set, { by: 'kit', auth, content: revokeBody(victim, cut) }).bytes)
        const before = members(set)
        for (const step of evil) {
          if (take(set, step, victim) !== undefined) tried++
          assert.deepEqual(members(set), before)
        }
      }),
      { numRuns: 250 },
    )
    assert.ok(tried > 200, `only ${tried} hostile ops were kept`)
  })

  it('does not change by anything from a key that the founder revoked, whatever the cut', () => {
    let tried = 0
    const arb = [stepsArb(25), stepsArb(12), fc.constantFrom('B', 'C', 'D'), fc.boolean()] as const
    fc.assert(
      fc.property(...arb, (steps, evil, victim, keep) => {
        const set = play(steps.filter((step) => step.act !== 8))
        const heads = set.heads()
        if (heads.length > 16) return
        const op = rawOp(set, {
          by: 'A',
          auth: genesis.id,
          content: revokeBody(victim, keep ? heads : []),
        })
        try {
          set.add(op.bytes)
        } catch {
          return
        }
        const state = reduce(set)
        if (!state.isEffective(op.hex) || !state.removed.has(toHex(keyNamed(victim)))) return
        const before = members(set)
        for (const step of evil) {
          if (take(set, step, victim) !== undefined) tried++
          assert.deepEqual(members(set), before)
        }
      }),
      { numRuns: 400 },
    )
    assert.ok(tried > 200, `only ${tried} hostile ops were kept`)
  })

  it('never lets a grant win that does not know of the revocation by the kit', () => {
    let tried = 0
    fc.assert(
      fc.property(stepsArb(25), stepArb, fc.constantFrom('B', 'C', 'D'), (steps, late, victim) => {
        const set = play(steps)
        const cut = set.heads()
        if (cut.length > 16 || set.grantsTo(toHex(keyNamed(victim))).length === 0) return
        const known = set.entries.length
        set.add(rawOp(set, { by: 'kit', auth: genesis.id, content: revokeBody(victim, cut) }).bytes)
        const prev = unique([
          genesis.id,
          ...late.prev.map((n) => pick(set.entries.slice(0, known), n).op.id),
        ])
        const content = grantBody(victim, pick(GRANTED, late.role))
        set.add(rawOp(set, { by: 'A', auth: genesis.id, prev, content }).bytes)
        tried++
        assert.equal(reduce(set).devices.has(toHex(keyNamed(victim))), false)
      }),
      { numRuns: 200 },
    )
    assert.ok(tried > 100)
  })

  it('keeps the founder whatever owners below do, as long as neither kit nor founder act against it', () => {
    fc.assert(
      fc.property(stepsArb(40), (steps) => {
        const set = createOpSet(genesis.id, trusting)
        set.add(genesis.bytes)
        set.add(rawOp(set, { by: 'A', content: grantBody('B', 'owner') }).bytes)
        for (const step of steps) {
          for (const junior of ['B', 'C', 'D']) take(set, { ...step, act: step.act % 7 }, junior)
        }
        assert.equal(reduce(set).devices.get(toHex(keyNamed('A')))?.role, 'owner')
      }),
      { numRuns: 100 },
    )
  })
})

describe('size', () => {
  it('reduces 2,000 ops well under 100 ms', () => {
    const set = createOpSet(genesis.id, trusting)
    set.add(genesis.bytes)
    let own = genesis
    const devices = Array.from({ length: 60 }, (_, i) => `device ${i}`)
    for (const name of devices) signerNamed(name)
    for (let i = 0; i < 1999; i++) {
      const subject = pick(devices, i)
      const round = Math.floor(i / devices.length)
      const content = round % 2 === 0 ? grantBody(subject, 'sensor') : revokeBody(subject, [own.id])
      const header = { v: 1, home: genesis.id, prev: [own.id], auth: genesis.id, ts: START_MS }
      const op = sealNext(header, own, content)
      set.add(op.bytes)
      own = op
    }
    assert.equal(set.entries.length, 2000)
    reduce(set)
    const took = [0, 1, 2].map(() => {
      const from = performance.now()
      reduce(set)
      return performance.now() - from
    })
    assert.ok(Math.min(...took) < 100, `${Math.min(...took)} ms`)
  })

  it('keeps at most 2,000 ops of one key, and still takes those of the kit', () => {
    const set = createOpSet(genesis.id, trusting)
    set.add(genesis.bytes)
    let own = genesis
    const header = { v: 1, home: genesis.id, auth: genesis.id, ts: START_MS }
    const rename: Content = { type: 'rename', body: { name: 'again' } }
    for (let i = 1; i < 2000; i++) {
      own = sealNext({ ...header, prev: [own.id] }, own, rename)
      set.add(own.bytes)
    }
    const over = sealNext({ ...header, prev: [own.id] }, own, rename)
    assert.throws(() => set.add(over.bytes), { code: 'MEMBERS_FULL' })
    const kit = rawOp(set, { by: 'kit', auth: genesis.id, content: revokeBody('A', []) })
    assert.equal(set.add(kit.bytes).status, 'added')
    assert.equal(reduce(set).devices.size, 0)
  })

  it('lets 256 ops wait for parents, and takes them once the parents come', () => {
    const full = setOf(genesis)
    const bob = rawOp(full, { by: 'A', content: grantBody('B', 'owner') })
    full.add(bob.bytes)
    const late = Array.from({ length: 300 }, (_, i) =>
      rawOp(full, {
        by: 'B',
        auth: bob.id,
        ts: i,
        prev: [bob.id],
        content: { type: 'rename', body: { name: 'x' } },
      }),
    )
    const set = setOf(genesis)
    for (const { bytes } of late) assert.equal(set.add(bytes).status, 'waiting')
    assert.equal(set.waiting, 256)
    const result = set.add(bob.bytes)
    assert.equal(result.status === 'added' && result.ops.length, 257)
    assert.equal(set.waiting, 0)
  })
})

type Header = Pick<
  Extract<Op['payload'], { type: 'rename' }>,
  'v' | 'home' | 'prev' | 'auth' | 'ts'
>

function sealNext(header: Header, own: Op, content: Content): Op {
  return sealOp({ ...header, seq: own.payload.seq + 1, own: own.id, ...content }, signerNamed('A'))
}
