import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { openDatabase } from '../../node/storage/db.ts'
import { migration, openPackStore, type PackStore } from '../../node/storage/packs.ts'
import type { BucketRow } from '../../node/storage/readings.ts'
import { anchorOf, MAX_SPANS, plan } from '../../node/storage/spans.ts'
import { NO_PREV, type Pack, type Reading } from '../../protocols/telemetry/index.ts'
import { deviceOf, packOf, reading } from '../helpers/telemetry.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
/** Midnight, UTC. */
const BASE = 1_800_057_600_000
const NOW = BASE + 4 * DAY
const signer = deviceOf('garden')

/** The plain way: every reading of a pack that was taken, in the order of time, number and place. */
interface Known {
  readonly sensor: string
  readonly atMs: number
  readonly place: number
  readonly value: number
}

function knownIn(packs: readonly Pack[]): Known[] {
  return packs
    .flatMap(({ seq, readings }) =>
      readings.flatMap(({ sensor, atMs, value }, i) =>
        typeof value === 'string'
          ? []
          : [{ sensor, atMs, place: seq * 512 + i, value: Number(value) }],
      ),
    )
    .toSorted((a, b) => a.atMs - b.atMs || a.place - b.place)
}

type Summary = Omit<BucketRow, 'kind' | 'unit' | 'everyMs'>

function naive(
  all: readonly Known[],
  query: { sinceMs: number; untilMs: number; everyMs: number },
) {
  const { sinceMs, untilMs, everyMs } = query
  const anchor = anchorOf(query)
  const end = anchor + Math.ceil((untilMs - anchor) / everyMs) * everyMs
  const groups = Map.groupBy(
    all.filter(({ atMs }) => atMs >= anchor && atMs < end && sinceMs < untilMs),
    ({ atMs, sensor }) => `${anchor + Math.floor((atMs - anchor) / everyMs) * everyMs} ${sensor}`,
  )
  return [...groups].map(([key, group]): Summary => {
    const [atMs, sensor = ''] = key.split(' ')
    const values = group.map(({ value }) => value)
    return {
      sensor,
      atMs: Number(atMs),
      min: Math.min(...values),
      mean: values.reduce((sum, value) => sum + value, 0) / values.length,
      max: Math.max(...values),
      last: values.at(-1) ?? Number.NaN,
      count: values.length,
    }
  })
}

function asked(store: PackStore, query: { sinceMs: number; untilMs: number; everyMs: number }) {
  return store.history(signer.key, query).flatMap((row) => (row.kind === 'bucket' ? [row] : []))
}

/** Same spans, in any order of sensors. */
function assertSame(found: readonly BucketRow[], wanted: readonly Summary[]): void {
  const order = (a: Summary, b: Summary): number =>
    a.atMs - b.atMs || (a.sensor < b.sensor ? -1 : 1)
  const plain = found.map(({ sensor, atMs, min, mean, max, last, count }) => {
    return { sensor, atMs, min, mean, max, last, count }
  })
  assert.deepEqual(plain.toSorted(order), wanted.toSorted(order))
}

const kinds: fc.Arbitrary<Pick<Reading, 'sensor' | 'value'>> = fc.oneof(
  fc.record({ sensor: fc.constantFrom('a', 'b'), value: fc.integer({ min: -50, max: 50 }) }),
  // Eighths: their sums are exact in any order.
  fc.record({
    sensor: fc.constantFrom('a', 'b'),
    value: fc.integer({ min: -1e7, max: 1e7 }).map((eighths) => eighths / 8),
  }),
  fc.record({ sensor: fc.constant('door'), value: fc.boolean() }),
  fc.record({ sensor: fc.constant('mode'), value: fc.constantFrom('on', 'off') }),
)
/** Coarse, so that moments coincide. */
const times = fc
  .oneof(fc.nat({ max: 8640 }), fc.constantFrom(0, 60, 61, 120, 4000))
  .map((step) => BASE + step * 30_000)
const readings = fc
  .tuple(kinds, times)
  .map(([value, atMs]): Reading => ({ ...value, unit: 'count', atMs }))

const logs: fc.Arbitrary<Pack[]> = fc
  .array(fc.array(readings, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 12 })
  .map((contents) => {
    const packs: Pack[] = []
    for (const [i, content] of contents.entries()) {
      const prev = packs.at(-1)?.hash ?? NO_PREV
      packs.push(packOf(signer, { seq: i + 1, prev, readings: content }))
    }
    return packs
  })

/** Packs as they arrive: in any order, some twice, some never. */
const arrivals = logs.chain((packs) =>
  fc.record({
    batches: fc.array(fc.subarray(packs), { minLength: 1, maxLength: 4 }),
    shuffled: fc.shuffledSubarray(packs),
  }),
)

const questions = fc.record({
  sinceMs: fc.oneof(
    fc.integer({ min: BASE - DAY, max: BASE + 3 * DAY }),
    fc.nat({ max: 96 }).map((hours) => BASE - DAY + hours * HOUR),
    fc.constant(0),
  ),
  lengthMs: fc.integer({ min: 1, max: 4 * DAY }),
  everyMs: fc.constantFrom(
    ...[1, 5, 7, 10, 15, 60, 61, 90, 120, 1440].map((minutes) => minutes * MINUTE),
  ),
})

function storeOf(groups: readonly (readonly Pack[])[]): PackStore {
  const store = openPackStore(openDatabase(':memory:', [migration]))
  for (const group of groups) {
    store.insert(group.map((pack) => ({ pack, receivedAtMs: NOW })))
  }
  return store
}

describe('summaries of readings', () => {
  it('say what all the readings say, in whatever order and however often packs came', () => {
    fc.assert(
      fc.property(arrivals, questions, ({ batches, shuffled }, { lengthMs, ...question }) => {
        const store = storeOf([...batches, shuffled])
        const query = { ...question, untilMs: Math.max(question.sinceMs, BASE) + lengthMs }
        const taken = new Set([...batches.flat(), ...shuffled])
        assertSame(asked(store, query), naive(knownIn([...taken]), query))
      }),
      { numRuns: 150 },
    )
  })

  it('are the same from readings, from five minutes and from hours', () => {
    fc.assert(
      fc.property(logs, (packs) => {
        const store = storeOf([packs])
        // Not a multiple of anything: only readings answer.
        const fromReadings = { sinceMs: BASE + 1, untilMs: BASE + 4 * DAY, everyMs: DAY }
        const day = { sinceMs: BASE, untilMs: BASE + 4 * DAY, everyMs: DAY }
        assertSame(asked(store, day), naive(knownIn(packs), day))
        assertSame(asked(store, fromReadings), naive(knownIn(packs), fromReadings))
      }),
      { numRuns: 30 },
    )
  })

  it('stay when the readings have gone, and count each reading once where both answer', () => {
    fc.assert(
      fc.property(logs, fc.nat({ max: 12 }), questions, (packs, gone, { everyMs }) => {
        const store = openPackStore(openDatabase(':memory:', [migration]))
        for (const [i, pack] of packs.entries()) store.insert([{ pack, receivedAtMs: NOW + i }])
        store.prune({ receivedBeforeMs: NOW + gone, maxBytes: Infinity })
        const query = { sinceMs: BASE, untilMs: BASE + 4 * DAY, everyMs }
        const found = asked(store, query)
        if (everyMs % (5 * MINUTE) === 0) assertSame(found, naive(knownIn(packs), query))
        const counted = found.reduce((sum, { count }) => sum + count, 0)
        assert.equal(counted, knownIn(packs).length)
      }),
      { numRuns: 80 },
    )
  })

  it('stand in for shorter ones that have gone, in spans of their own length', () => {
    const store = storeOf([
      [
        packOf(signer, {
          readings: [0, 70, 130].map((minutes) =>
            reading({ value: minutes, atMs: BASE + minutes * MINUTE }),
          ),
        }),
      ],
    ])
    const query = { sinceMs: BASE, untilMs: BASE + 3 * HOUR, everyMs: 10 * MINUTE }
    const brief = () => asked(store, query).map((row) => [row.atMs - BASE, row.everyMs, row.count])
    const short = [
      [0, 10 * MINUTE, 1],
      [70 * MINUTE, 10 * MINUTE, 1],
      [130 * MINUTE, 10 * MINUTE, 1],
    ]
    assert.deepEqual(brief(), short)
    const limits = { receivedBeforeMs: 0, maxBytes: Infinity, hoursBeforeMs: 0 }
    assert.equal(store.prune({ ...limits, fiveMinutesBeforeMs: BASE + 2 * HOUR }), 2)
    assert.deepEqual(brief(), [[0, HOUR, 1], [HOUR, HOUR, 1], short[2]])
    assert.equal(store.prune({ ...limits, hoursBeforeMs: BASE + HOUR }), 1)
    assert.deepEqual(brief(), [[HOUR, HOUR, 1], short[2]])
  })

  it('of huge numbers stay numbers', () => {
    const values = [1e308, 1.7e308, -1.7e308, 1.5e308, 1.6e308, -1.2e308]
    const packs = values.map((value, i) => ({ value, atMs: BASE + i * MINUTE }))
    const store = storeOf([[packOf(signer, { readings: packs.map(reading) })]])
    for (const everyMs of [5 * MINUTE, HOUR, 7 * MINUTE, DAY]) {
      for (const row of asked(store, { sinceMs: BASE, untilMs: BASE + HOUR, everyMs })) {
        assert.ok(Number.isFinite(row.mean) && row.mean >= row.min && row.mean <= row.max)
      }
    }
  })

  it('leave out what came after proof of two histories, until an owner trusts the device', () => {
    const first = packOf(signer, { readings: [reading({ value: 1, atMs: BASE })] })
    const twin = packOf(signer, { readings: [reading({ value: 99, atMs: BASE })] })
    const next = packOf(signer, {
      seq: 2,
      prev: first.hash,
      readings: [reading({ value: 3, atMs: BASE + MINUTE })],
    })
    const store = storeOf([[first, twin, next]])
    const counts = () =>
      [MINUTE, 5 * MINUTE, HOUR].map((everyMs) => {
        const rows = asked(store, { sinceMs: BASE, untilMs: BASE + HOUR, everyMs })
        return rows.map(({ max, count }) => [max, count])
      })
    assert.deepEqual(counts(), [[[1, 1]], [[1, 1]], [[1, 1]]])
    store.release(signer.key)
    const both = [[3, 2]]
    assert.deepEqual(counts(), [
      [
        [1, 1],
        [3, 1],
      ],
      both,
      both,
    ])
    store.release(signer.key)
    assert.deepEqual(counts()[1], both)
  })
})

describe('the limits of summaries', () => {
  it('make room from the oldest, readings first, then short spans, then hours', () => {
    const db = openDatabase(':memory:', [migration])
    const store = openPackStore(db)
    let prev = NO_PREV
    for (let seq = 1; seq <= 60; seq++) {
      const spread = Array.from({ length: 400 }, (_, i) =>
        reading({ sensor: `s${i % 20}`, atMs: BASE - 300 * DAY + (seq * 20 + i / 20) * 5 * HOUR }),
      )
      const pack = packOf(signer, { seq, prev, readings: spread })
      store.insert([{ pack, receivedAtMs: BASE }])
      prev = pack.hash
    }
    const count = (level: number): number =>
      (db.prepare('SELECT count(*) AS n FROM rollups WHERE level = ?').get(level) as { n: number })
        .n
    const [short, hours] = [count(5), count(60)]
    const until = (maxBytes: number): void => {
      while (store.prune({ receivedBeforeMs: 0, maxBytes }) > 0) continue
    }
    until(2_500_000)
    assert.ok((store.bounds(signer.key)?.first ?? 0) > 1)
    assert.deepEqual([count(5), count(60)], [short, hours])
    until(1_500_000)
    assert.equal(store.bounds(signer.key)?.first, 60)
    assert.ok(count(5) < short)
    assert.equal(count(60), hours)
    until(400_000)
    assert.equal(count(5), 0)
    assert.ok(count(60) < hours)
    const rows = asked(store, { sinceMs: 0, untilMs: BASE + DAY, everyMs: DAY })
    assert.ok(rows.length > 0, 'the newest stays')
  })
})

describe('the plan of an answer', () => {
  const always = (): number => -Infinity
  const levels = (everyMs: number, sinceMs = BASE): readonly number[] =>
    plan({ sinceMs, untilMs: sinceMs + 100 * everyMs, everyMs }, 0, always).map(
      ({ level }) => level,
    )

  it('takes the coarsest rows that give the spans exactly', () => {
    assert.deepEqual(levels(1000), [0])
    assert.deepEqual(levels(7 * MINUTE), [0])
    assert.deepEqual(levels(15 * MINUTE), [5])
    assert.deepEqual(levels(HOUR), [60])
    assert.deepEqual(levels(DAY), [60])
    // A time zone of five and a half hours.
    assert.deepEqual(levels(DAY, BASE + 5.5 * HOUR), [5])
  })

  it('begins a day at the asked midnight, and else with a whole span or hour', () => {
    const anchor = (sinceMs: number, everyMs: number): number =>
      anchorOf({ sinceMs, untilMs: NOW, everyMs }) - BASE
    assert.equal(anchor(BASE + 2 * HOUR, DAY), 2 * HOUR)
    assert.equal(anchor(BASE + 2 * HOUR + 1, DAY), 2 * HOUR)
    assert.equal(anchor(BASE + 17 * MINUTE, 5 * MINUTE), 15 * MINUTE)
  })

  it('skips the time before the oldest row, and refuses too many spans', () => {
    const query = { sinceMs: 0, untilMs: BASE + HOUR, everyMs: 5 * MINUTE }
    assert.equal(plan(query, BASE, always)[0]?.sinceMs, BASE)
    assert.throws(() => plan(query, BASE - MAX_SPANS * 5 * MINUTE, always), { code: 'NODE_USAGE' })
    assert.deepEqual(plan(query, NOW, always), [])
  })
})
