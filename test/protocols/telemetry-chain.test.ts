import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  BOUNDS,
  EMPTY_LOG,
  FLAGS,
  gapsOf,
  headOf,
  judge,
  type Judgement,
  type LogState,
  type Pack,
} from '../../protocols/telemetry/index.ts'
import { chainOf, deviceOf, packOf, reading, START_MS } from '../helpers/telemetry.ts'

const device = deviceOf('chain')
const chain = chainOf(device, 12)

/** A log that keeps what is accepted, as a store does. */
function openLog(nowMs = START_MS + 60_000, lastSeq?: number) {
  const kept = new Map<number, Pack>()
  let state: LogState = EMPTY_LOG
  return {
    kept,
    state: () => state,
    offer(pack: Pack): Judgement {
      const hashAt = (seq: number): Uint8Array | undefined => kept.get(seq)?.hash
      const judgement = judge(state, pack, { receivedAtMs: nowMs, lastSeq, hashAt })
      if (judgement.verdict === 'accept') kept.set(pack.seq, pack)
      if ('state' in judgement) state = judgement.state
      return judgement
    },
  }
}

function at(seq: number): Pack {
  const pack = chain[seq - 1]
  assert.ok(pack)
  return pack
}

describe('the chain of one log', () => {
  it('ends the same whatever the order, the repeats and the losses', () => {
    const arrivals = fc.array(fc.integer({ min: 1, max: chain.length }), { maxLength: 40 })
    fc.assert(
      fc.property(arrivals, (seqs) => {
        const log = openLog()
        const seen = new Set<number>()
        for (const seq of seqs) {
          const { verdict } = log.offer(at(seq))
          assert.equal(verdict, seen.has(seq) ? 'known' : 'accept')
          seen.add(seq)
        }
        const head = Math.max(0, ...seen)
        assert.equal(headOf(log.state()), head)
        const missing = gapsOf(log.state()).flatMap(({ from, to }) =>
          Array.from({ length: to - from + 1 }, (_, i) => from + i),
        )
        const expected = Array.from({ length: head }, (_, i) => i + 1).filter((n) => !seen.has(n))
        assert.deepEqual(missing, expected)
        assert.equal(log.state().quarantined, false)
      }),
    )
  })

  it('finds every second history, by number or by link, in any order', () => {
    const forkAt = fc.integer({ min: 1, max: chain.length })
    const order = fc.shuffledSubarray(chain, { minLength: chain.length })
    fc.assert(
      fc.property(forkAt, order, fc.nat(chain.length), (seq, packs, when) => {
        const log = openLog()
        const other = packOf(device, {
          seq,
          prev: at(seq).prev,
          readings: [reading({ value: -1 })],
        })
        const verdicts = packs.toSpliced(when, 0, other).map((pack) => log.offer(pack).verdict)
        assert.ok(verdicts.includes('fork'))
        assert.equal(log.state().quarantined, true)
      }),
    )
  })

  it('names a gap when it opens, and takes late packs that fit both sides', () => {
    const log = openLog()
    log.offer(at(1))
    assert.deepEqual((log.offer(at(5)) as { gap?: unknown }).gap, { from: 2, to: 4 })
    const late = log.offer(at(3))
    assert.ok(late.verdict === 'accept')
    assert.equal(late.flags, FLAGS.late)
    assert.equal(late.gap, undefined)
    assert.deepEqual(gapsOf(log.state()), [
      { from: 2, to: 2 },
      { from: 4, to: 4 },
    ])
  })

  it('refuses a late pack that the next one does not link to', () => {
    const log = openLog()
    for (const seq of [1, 2, 4]) log.offer(at(seq))
    const forged = packOf(device, { seq: 3, prev: at(2).hash, readings: [reading({ value: 9 })] })
    assert.deepEqual(log.offer(forged).verdict, 'fork')
  })

  it('refuses the next pack where it links to another past', () => {
    const log = openLog()
    log.offer(at(1))
    const next = log.offer(packOf(device, { seq: 2, prev: at(5).hash }))
    assert.ok(next.verdict === 'fork')
    assert.equal(next.against, 1)
  })

  it('keeps what follows a fork apart', () => {
    const log = openLog()
    log.offer(at(1))
    log.offer(packOf(device, { readings: [reading({ value: 5 })] }))
    const next = log.offer(at(2))
    assert.ok(next.verdict === 'accept')
    assert.equal(next.flags, FLAGS.quarantined)
  })

  it('refuses what a device made after its removal, and takes what it made before', () => {
    const log = openLog(undefined, 2)
    assert.equal(log.offer(at(2)).verdict, 'accept')
    assert.deepEqual(log.offer(at(3)), { verdict: 'refuse', code: 'TELEMETRY_AFTER_REMOVAL' })
  })

  it('bounds a jump of the number', () => {
    const log = openLog()
    const far = packOf(device, { seq: BOUNDS.maxSeqJump + 1, prev: at(1).hash })
    assert.deepEqual(log.offer(far), { verdict: 'refuse', code: 'TELEMETRY_SEQ_JUMP' })
    log.offer(at(1))
    assert.equal(log.offer(far).verdict, 'accept')
  })

  it('keeps account of a bounded number of runs', () => {
    const log = openLog()
    for (let i = 0; i <= BOUNDS.maxSegments; i++) {
      log.offer(packOf(device, { seq: 2 + 2 * i, prev: at(1).hash }))
    }
    assert.equal(log.state().segments.length, BOUNDS.maxSegments)
    assert.equal(log.offer(at(1)).verdict, 'known')
  })

  it('flags times that cannot be right, and files the readings under its own time', () => {
    const nowMs = START_MS
    const decade = 10 * 365 * 86_400_000
    for (const lie of [decade, -decade, 8_640_000_000_000_000 - START_MS]) {
      const log = openLog(nowMs)
      const readings = [0, 250, 1000].map((ms) => reading({ atMs: START_MS + lie - 1000 + ms }))
      const judged = log.offer(packOf(device, { readings }))
      assert.ok(judged.verdict === 'accept')
      assert.equal(judged.flags, FLAGS.clockImplausible)
      assert.deepEqual(judged.times, [nowMs - 1000, nowMs - 750, nowMs])
    }
  })

  it('believes a clock within its bounds, and says when the device does not', () => {
    for (const off of [BOUNDS.maxAheadMs, -BOUNDS.maxBehindMs]) {
      const judged = openLog(START_MS).offer(
        packOf(device, { clock: 'unsynced', readings: [reading({ atMs: START_MS + off })] }),
      )
      assert.ok(judged.verdict === 'accept')
      assert.equal(judged.flags, FLAGS.clockUnsynced)
      assert.deepEqual(judged.times, [START_MS + off])
    }
  })
})
