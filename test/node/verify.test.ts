import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { verifyExport, type ExportVerdict } from '../../node/verify.ts'
import { homeText, sha256, type Signer } from '../../protocols/identity/index.ts'
import {
  grant,
  MembersError,
  permits,
  reduce,
  regrant,
  retire,
  revoke,
  type HomeState,
  type OpSet,
} from '../../protocols/members/index.ts'
import {
  encodeExportItem,
  NO_PREV,
  sealPack,
  type ExportItem,
  type Pack,
} from '../../protocols/telemetry/index.ts'
import { concatBytes, toHex } from '../../protocols/wire/index.ts'
import {
  as,
  genesisOf,
  grantBody,
  keyNamed,
  put,
  rawOp,
  revokeBody,
  setOf,
  signerNamed,
} from '../helpers/members.ts'
import { reading, START_MS } from '../helpers/telemetry.ts'
import { Home } from '../independent/home.ts'
import { verifyIndependently } from '../independent/verify-export.ts'

const ann = signerNamed('ann')
const bob = signerNamed('bob')
const clock = { clock: 'synced', mono: 60_000, born: START_MS - 60_000 } as const

/** A home of ann, with bob as its sensor. */
function homeOfTwo(): OpSet {
  const ops = setOf(genesisOf())
  put(ops, grant(as(ops, 'ann'), { subject: bob.key, role: 'sensor', name: 'bob', paired: 'code' }))
  return ops
}

interface Place {
  readonly seq: number
  readonly prev?: Uint8Array | undefined
  readonly value?: number
}

function pack(ops: OpSet, by: Signer, { seq, prev = NO_PREV, value = seq }: Place): Pack {
  const readings = [reading({ value, atMs: START_MS }), reading({ value: 0, atMs: START_MS + 1 })]
  const rest = { bootId: new Uint8Array(16), epoch: 0, ...clock, readings }
  return sealPack({ ...rest, seq, prev }, ops.home, by)
}

function chain(ops: OpSet, by: Signer, length: number): Pack[] {
  const packs: Pack[] = []
  for (let seq = 1; seq <= length; seq++)
    packs.push(pack(ops, by, { seq, prev: packs.at(-1)?.hash }))
  return packs
}

interface Log {
  readonly by: Signer
  readonly packs: readonly Pack[]
  readonly from?: number
  readonly to?: number
}

function fileOf(ops: OpSet, logs: readonly Log[]): Uint8Array {
  const header = { part: 'kith-export-v1', home: ops.home, by: ann.key, exportedAtMs: START_MS }
  const items: ExportItem[] = [
    { ...header } as ExportItem,
    ...ops.entries.map(({ op }) => op.bytes),
  ]
  for (const { by, packs, from, to } of logs) {
    const first = from ?? packs[0]?.seq ?? 0
    items.push({ part: 'log', device: by.key, from: first, to: to ?? packs.at(-1)?.seq ?? 0 })
    items.push(...packs.map(({ bytes }) => bytes))
  }
  const body = concatBytes(...items.map(encodeExportItem))
  return concatBytes(
    body,
    encodeExportItem({ part: 'end', items: items.length, hash: sha256(body) }),
  )
}

async function* whole(file: Uint8Array): AsyncGenerator<Uint8Array> {
  yield file
}

/** Without names and places in the file, which the second verifier does not tell. */
function shared(verdict: ExportVerdict) {
  const { ok, complete, ops, packs, readings, gaps, forks, refused } = verdict
  const logs = verdict.logs.map((log) => {
    const { device, role, from, to } = log
    const counts = { packs: log.packs, readings: log.readings, forks: log.forks }
    return { device, role, from, to, ...counts, gaps: log.gaps, refused: log.refused }
  })
  return { ok, complete, ops, packs, readings, gaps, forks, refused, logs }
}

/** Both verifiers, who must agree. */
async function both(file: Uint8Array): Promise<ExportVerdict> {
  const verdict = await verifyExport(whole(file))
  assert.deepEqual(await verifyIndependently(file), shared(verdict))
  return verdict
}

function brief({ ok, packs, gaps, forks, refused }: ExportVerdict) {
  return { ok, packs, gaps, forks, refused }
}

const fine = { ok: true, gaps: 0, forks: 0, refused: 0 }

interface Step {
  readonly by: string
  readonly about: string
  readonly act: 'grant' | 'revoke' | 'retire' | 'regrant' | 'raw grant' | 'raw revoke'
  readonly role: 'owner' | 'member' | 'sensor' | 'guest'
  readonly at: number
  readonly cut: number
}

/** What an honest device, or one with its own program, would sign; what is refused is nothing. */
function play(ops: OpSet, { by, about, act, role, at, cut }: Step): void {
  const subject = keyNamed(about)
  const wanted = { subject, role, name: about, paired: 'code' } as const
  const entry = (index: number) => ops.entries[index % ops.entries.length]?.op.id ?? ops.home
  const auth = ops.grantsTo(toHex(keyNamed(by))).at(-1)?.id ?? ops.home
  const raw = { by, auth, prev: [entry(at)] }
  const make = {
    grant: () => [grant(as(ops, by), wanted)],
    revoke: () => [revoke(as(ops, by), { subject, reason: 'removed', lastSeq: at })],
    retire: () => [retire(as(ops, by), at)],
    regrant: () => regrant(as(ops, by), wanted),
    'raw grant': () => [rawOp(ops, { ...raw, content: grantBody(about, role) })],
    'raw revoke': () => [rawOp(ops, { ...raw, content: revokeBody(about, [entry(cut)]) })],
  }[act]
  try {
    put(ops, ...make())
  } catch (error) {
    if (!(error instanceof MembersError)) throw error
  }
}

function placeIn({ devices, removed }: HomeState, name: string): unknown {
  const live = devices.get(toHex(keyNamed(name)))
  const gone = removed.get(toHex(keyNamed(name)))
  if (live !== undefined) {
    return { role: live.role, lastSeq: permits(live.role, 'publish') ? Infinity : 0 }
  }
  return gone === undefined ? undefined : { role: 'removed', lastSeq: gone.lastSeq ?? 0 }
}

describe('two verifiers, who share no line, agree on an export', () => {
  it('that is good', async () => {
    const ops = homeOfTwo()
    const logs = [
      { by: bob, packs: chain(ops, bob, 5) },
      { by: ann, packs: chain(ops, ann, 3) },
    ]
    const verdict = await both(fileOf(ops, logs))
    assert.deepEqual(brief(verdict), { ...fine, packs: 8 })
    assert.deepEqual(
      [verdict.home, verdict.homeName, verdict.readings, verdict.ops],
      [homeText(ops.home), 'Garden Street', 16, 2],
    )
    assert.deepEqual(
      verdict.logs.map(({ name, role }) => [name, role]),
      [
        ['bob', 'sensor'],
        ['ann', 'owner'],
      ],
    )
    const none = await both(fileOf(ops, [{ by: bob, packs: [] }]))
    assert.deepEqual(brief(none), { ...fine, packs: 0 })
  })

  it('with gaps at its beginning, inside and at its end, each by number', async () => {
    const ops = homeOfTwo()
    const packs = chain(ops, bob, 9)
    const kept = packs.filter(({ seq }) => ![1, 2, 5, 7, 8, 9].includes(seq))
    const verdict = await both(fileOf(ops, [{ by: bob, packs: kept, from: 1, to: 9 }]))
    assert.deepEqual(brief(verdict), { ...fine, packs: 3, gaps: 3 })
    assert.deepEqual(verdict.logs[0]?.gaps, [
      { from: 1, to: 2 },
      { from: 5, to: 5 },
      { from: 7, to: 9 },
    ])
  })

  it('with two histories, by number and by link', async () => {
    const ops = homeOfTwo()
    const [one, two, three] = chain(ops, bob, 3)
    assert.ok(one !== undefined && two !== undefined && three !== undefined)
    const twin = pack(ops, bob, { seq: 2, prev: one.hash, value: 99 })
    const beside = await both(fileOf(ops, [{ by: bob, packs: [one, two, twin, three] }]))
    assert.deepEqual(brief(beside), { ...fine, ok: false, packs: 4, forks: 1 })
    const after = pack(ops, bob, { seq: 3, prev: twin.hash })
    const linked = await both(fileOf(ops, [{ by: bob, packs: [one, two, after] }]))
    assert.deepEqual(brief(linked), { ...fine, ok: false, packs: 3, forks: 1 })
  })

  it('after a removal: up to the last number, and no further', async () => {
    const ops = homeOfTwo()
    const packs = chain(ops, bob, 4)
    put(ops, revoke(as(ops, 'ann'), { subject: bob.key, reason: 'stolen', lastSeq: 2 }))
    const verdict = await both(fileOf(ops, [{ by: bob, packs }]))
    assert.deepEqual(brief(verdict), { ok: false, packs: 2, gaps: 1, forks: 0, refused: 2 })
    assert.equal(verdict.problems[0]?.code, 'TELEMETRY_AFTER_REMOVAL')
    const upTo = await both(fileOf(ops, [{ by: bob, packs: packs.slice(0, 2) }]))
    assert.deepEqual(brief(upTo), { ...fine, packs: 2 })
  })

  it('of strangers, guests, other homes and other devices', async () => {
    const ops = homeOfTwo()
    const eve = signerNamed('eve')
    const guest = { subject: keyNamed('gus'), role: 'guest', name: 'gus', paired: 'code' } as const
    put(ops, grant(as(ops, 'ann'), guest))
    const elsewhere = setOf(genesisOf('eve'))
    const cases: readonly Log[] = [
      { by: eve, packs: chain(ops, eve, 1) },
      { by: signerNamed('gus'), packs: chain(ops, signerNamed('gus'), 1) },
      { by: bob, packs: chain(elsewhere, bob, 1) },
      { by: bob, packs: chain(ops, ann, 1) },
    ]
    for (const log of cases) {
      const verdict = await both(fileOf(ops, [log]))
      assert.deepEqual(brief(verdict), { ok: false, packs: 0, gaps: 1, forks: 0, refused: 1 })
    }
  })

  it('out of order, doubled, or outside of what it says it holds', async () => {
    const ops = homeOfTwo()
    const [one, two, three] = chain(ops, bob, 3)
    assert.ok(one !== undefined && two !== undefined && three !== undefined)
    for (const log of [
      { by: bob, packs: [two, one, three], from: 1, to: 3 },
      { by: bob, packs: [one, two, two, three] },
      { by: bob, packs: [one, two, three], from: 1, to: 2 },
    ]) {
      const verdict = await both(fileOf(ops, [log]))
      assert.deepEqual([verdict.ok, verdict.refused], [false, 1])
    }
  })

  it('that was cut off, anywhere', async () => {
    const ops = homeOfTwo()
    const file = fileOf(ops, [{ by: bob, packs: chain(ops, bob, 3) }])
    const headerBytes = 100
    for (let length = headerBytes; length < file.length; length += 17) {
      const verdict = await both(file.subarray(0, length))
      assert.deepEqual([verdict.ok, verdict.complete], [false, false])
    }
    assert.equal((await both(concatBytes(file, file.subarray(0, 1)))).ok, false)
  })

  it('that was damaged, anywhere', async () => {
    const ops = homeOfTwo()
    const file = fileOf(ops, [{ by: bob, packs: chain(ops, bob, 3) }])
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: file.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        async (at, change) => {
          const damaged = file.slice()
          damaged[at] = (damaged[at] ?? 0) ^ change
          const verdict = await verifyExport(whole(damaged)).catch(() => undefined)
          const other = await verifyIndependently(damaged)
          assert.equal(verdict?.ok ?? false, false)
          assert.equal(other.ok, false)
          if (verdict?.complete === false) assert.equal(other.complete, false)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('of a home with any past, about everyone in it', async () => {
    const names = ['ann', 'bob', 'cat', 'dan', 'kit']
    const step: fc.Arbitrary<Step> = fc.record({
      by: fc.constantFrom(...names),
      about: fc.constantFrom(...names),
      act: fc.constantFrom('grant', 'revoke', 'retire', 'regrant', 'raw grant', 'raw revoke'),
      role: fc.constantFrom('owner', 'member', 'sensor', 'guest'),
      at: fc.nat({ max: 20 }),
      cut: fc.nat({ max: 20 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
        const ops = setOf(genesisOf())
        for (const one of steps) play(ops, one)
        const home = new Home(ops.home)
        for (const { op } of ops.entries) await home.add(op.bytes)
        const state = reduce(ops)
        for (const name of names) {
          assert.deepEqual(home.placeOf(keyNamed(name)), placeIn(state, name), name)
        }
      }),
      { numRuns: 300 },
    )
  })
})
