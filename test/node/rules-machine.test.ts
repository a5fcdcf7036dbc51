import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import type { RuleSettings } from '../../node/config-rules.ts'
import {
  BUDGET,
  NEW_RULE,
  step,
  type RuleEvent,
  type RuleState,
} from '../../node/services/rules/index.ts'

type Rule = Pick<RuleSettings, 'when' | 'cooldownMs'>
interface Timed {
  readonly atMs: number
  readonly event: RuleEvent
}

const value = (one: number | string | boolean): RuleEvent => ({ kind: 'value', value: one })
const before = (one: number): RuleEvent => ({ kind: 'before', value: one })
const above: Rule = { when: { sensor: 'heat', above: 25 } }

/** When the rule fires; between events it is stepped when it asks to be. */
function firings(rule: Rule, events: readonly Timed[], lastMs = 10_000_000): number[] {
  const fired: number[] = []
  let state: RuleState = NEW_RULE
  let dueMs: number | undefined
  const take = (event: RuleEvent, atMs: number): void => {
    const next = step(rule, state, event, atMs)
    ;({ state, dueMs } = { dueMs: undefined, ...next })
    if (next.fires) fired.push(atMs)
  }
  for (const { atMs, event } of [...events, { atMs: lastMs, event: { kind: 'time' } as const }]) {
    if (dueMs !== undefined && dueMs <= atMs) take({ kind: 'time' }, dueMs)
    take(event, atMs)
  }
  return fired
}

/** One event a second, from second 0. */
function bySecond(rule: Rule, ...events: readonly RuleEvent[]): number[] {
  return firings(
    rule,
    events.map((event, i) => ({ event, atMs: i * 1000 })),
  ).map((atMs) => atMs / 1000)
}

describe('a rule', () => {
  it('fires when its condition begins to hold, not while it holds', () => {
    const seen = [20, 26, 27, 20, 26].map(value)
    assert.deepEqual(bySecond(above, ...seen), [1, 4])
  })

  it('does not fire for what the first value after a start finds', () => {
    assert.deepEqual(bySecond(above, value(30), value(31), value(20), value(30)), [3])
  })

  it('with each fires for every reading that is this one, the first too, but none from before', () => {
    const pressed: Rule = { when: { sensor: 'button', each: 'single' } }
    const seen = ['single', 'single', 'double', 'single'].map(value)
    assert.deepEqual(bySecond(pressed, ...seen), [0, 1, 3])
    const one: Rule = { when: { sensor: 'button', each: true } }
    assert.deepEqual(bySecond(one, before(1), value(1), value(0), value(1)), [1, 3])
  })

  it('does not fire again for what held before the start', () => {
    assert.deepEqual(bySecond(above, before(30), value(31), value(20), value(30)), [3])
  })

  it('fires for what began to hold while it was stopped', () => {
    assert.deepEqual(bySecond(above, before(20), value(30)), [1])
  })

  it('sees a change over a restart, and none in the first value of all', () => {
    const changes: Rule = { when: { sensor: 'door', changes: true } }
    assert.deepEqual(bySecond(changes, before(1), value(1), value(0), value(1)), [2, 3])
    assert.deepEqual(bySecond(changes, value(1), value(0)), [1])
  })

  it('does not fire again inside the hysteresis', () => {
    const rule: Rule = { when: { sensor: 'heat', above: 25, hysteresis: 1 } }
    assert.deepEqual(bySecond(rule, ...[20, 26, 24.5, 26, 24, 26].map(value)), [1, 5])
  })

  it('waits until its condition has held for as long as it says', () => {
    const rule: Rule = { when: { sensor: 'door', equals: 1, forMs: 5000 } }
    assert.deepEqual(bySecond(rule, value(0), value(1)), [6])
    assert.deepEqual(bySecond(rule, value(0), value(1), value(0), value(1)), [8])
  })

  it('waits anew when the device that measures went away meanwhile', () => {
    const rule: Rule = { when: { sensor: 'door', equals: 1, forMs: 5000 } }
    const gone: RuleEvent = { kind: 'gone' }
    assert.deepEqual(bySecond(rule, value(0), value(1), gone), [])
    assert.deepEqual(bySecond(rule, value(0), value(1), gone, value(1)), [8])
  })

  it('does not fire again because the device that measures came back', () => {
    const back = [value(20), value(30), { kind: 'gone' } as const, value(30)]
    assert.deepEqual(bySecond(above, ...back), [1])
  })

  it('drops what comes within its cooldown, and does not make up for it later', () => {
    const rule: Rule = { ...above, cooldownMs: 3000 }
    const seen = [20, 30, 20, 30, 30, 30, 20, 30].map(value)
    assert.deepEqual(bySecond(rule, ...seen), [1, 7])
  })

  it('has a budget: a burst, and then one firing in a second', () => {
    const rule: Rule = { when: { sensor: 'knob', changes: true } }
    const events = Array.from({ length: 10_000 }, (_, i) => ({ atMs: i, event: value(i) }))
    const fired = firings(rule, events)
    assert.equal(fired.length, BUDGET.burst + 9)
    const state = events.reduce(
      (was, { event, atMs }) => step(rule, was, event, atMs).state,
      NEW_RULE,
    )
    assert.equal(step(rule, state, value(-1), 9_999).held, 'budget')
  })

  it('has its whole budget again after a rest, and never more', () => {
    const rule: Rule = { when: { sensor: 'knob', changes: true } }
    const burst = (fromMs: number): Timed[] =>
      Array.from({ length: 50 }, (_, i) => ({ atMs: fromMs + i, event: value(fromMs + i) }))
    const fired = firings(rule, [...burst(0), ...burst(1_000_000)])
    assert.equal(fired.length, 2 * BUDGET.burst)
  })
})

/** Firings without cooldown and budget, found by looking at the whole past at every moment. */
function naive(
  { limit, hysteresis, forMs }: { limit: number; hysteresis: number; forMs: number },
  events: readonly Timed[],
  lastMs: number,
): number[] {
  const fired: number[] = []
  let holds: boolean | undefined
  let since: number | undefined
  const settle = (untilMs: number): void => {
    if (since === undefined || since + forMs > untilMs) return
    fired.push(since + forMs)
    since = undefined
  }
  for (const { atMs, event } of events) {
    settle(atMs)
    if (event.kind === 'gone') [holds, since] = [holds && since === undefined, undefined]
    if (event.kind === 'gone' || event.kind === 'time') continue
    const now = Number(event.value) > limit - (holds === true ? hysteresis : 0)
    const began = now && holds === false && event.kind === 'value'
    if (began || !now) since = began ? atMs : undefined
    holds = now
    settle(atMs)
  }
  settle(lastMs)
  return fired
}

const seeded = fc.tuple(
  fc.record({
    hysteresis: fc.constantFrom(0, 1, 3),
    forMs: fc.constantFrom(0, 500, 2000),
    start: fc.option(fc.integer({ min: 0, max: 10 }), { nil: undefined }),
  }),
  fc.array(
    fc.tuple(
      fc.integer({ min: 0, max: 1500 }),
      fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min: 0, max: 10 }).map(value) },
        fc.constant<RuleEvent>({ kind: 'gone' }),
        fc.constant<RuleEvent>({ kind: 'time' }),
      ),
    ),
    { maxLength: 60 },
  ),
)

function timed(
  start: number | undefined,
  steps: readonly (readonly [number, RuleEvent])[],
): Timed[] {
  let atMs = 0
  const events = steps.map(([waitMs, event]) => ({ atMs: (atMs += waitMs), event }))
  return start === undefined ? events : [{ atMs: 0, event: before(start) }, ...events]
}

describe('any history of a sensor', () => {
  it('fires a rule exactly when a look at the whole past says so', () => {
    fc.assert(
      fc.property(seeded, ([{ hysteresis, forMs, start }, steps]) => {
        const rule: Rule = { when: { sensor: 'heat', above: 5, hysteresis, forMs } }
        const events = timed(start, steps)
        const expected = naive({ limit: 5, hysteresis, forMs }, events, 10_000_000)
        // The budget is told of in tests of its own.
        fc.pre(expected.length <= BUDGET.burst)
        assert.deepEqual(firings(rule, events), expected)
      }),
      { numRuns: 2000 },
    )
  })

  it('never fires a rule more often than its cooldown and its budget allow', () => {
    const cooled = fc.tuple(seeded, fc.constantFrom(0, 300, 5000))
    fc.assert(
      fc.property(cooled, ([[{ start }, steps], cooldownMs]) => {
        const rule: Rule = { when: { sensor: 'heat', changes: true }, cooldownMs }
        const fast = steps.map(([waitMs, event]) => [Math.floor(waitMs / 30), event] as const)
        const fired = firings(rule, timed(start, fast))
        for (const [i, atMs] of fired.entries()) {
          const last = fired[i - 1]
          assert.ok(last === undefined || atMs - last >= cooldownMs)
          const inTime = fired.filter((one) => one > atMs - 1000 && one <= atMs)
          assert.ok(inTime.length <= BUDGET.burst + 1)
        }
      }),
    )
  })
})
