import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  NEW_CONDITION,
  stepCondition,
  watchCondition,
  type SensorValue,
} from '../../node/condition.ts'
import type { ConditionSettings } from '../../node/config-rules.ts'
import { virtualClock } from '../helpers/clock.ts'

/** For each value, a second apart, whether the condition came with it. */
function run(when: Partial<ConditionSettings>, values: readonly SensorValue[]): boolean[] {
  let state = NEW_CONDITION
  return values.map((value, i) => {
    const step = stepCondition({ sensor: 'a', ...when }, state, { atMs: i * 1000, value })
    state = step.state
    return step.came
  })
}

describe('a condition on a sensor', () => {
  it('comes when a value begins to be the one, and not while it stays', () => {
    assert.deepEqual(run({ equals: 1 }, [0, 1, 1, 0, 1]), [false, true, false, false, true])
    assert.deepEqual(run({ equals: true }, [0, 1, true]), [false, true, false])
    assert.deepEqual(run({ equals: 'open' }, ['shut', 'open', 1]), [false, true, false])
    assert.deepEqual(run({ each: 1 }, [0, 1, 1, 0, 1]), [false, true, true, false, true])
  })

  it('comes with the first value where that one holds', () => {
    assert.deepEqual(run({ above: 3 }, [4, 5]), [true, false])
  })

  it('comes above and below a limit, not at it, and again only past the hysteresis', () => {
    assert.deepEqual(run({ above: 25 }, [25, 25.1, 25, 26]), [false, true, false, true])
    const wide = { above: 25, hysteresis: 0.5 }
    assert.deepEqual(run(wide, [26, 24.6, 26, 24.5, 26]), [true, false, false, false, true])
    assert.deepEqual(run({ below: 5, hysteresis: 1 }, [4, 5.9, 4, 6, 4]), [
      true,
      false,
      false,
      false,
      true,
    ])
  })

  it('comes at every change, and the first value is none', () => {
    assert.deepEqual(run({ changes: true }, [1, 1, 2, 1]), [false, false, true, true])
  })

  it('is never above or below a limit as a text', () => {
    assert.deepEqual(run({ above: 1 }, ['high']), [false])
    assert.deepEqual(run({ below: 1 }, ['low']), [false])
  })

  it('comes once it has held for its time, told by time alone or by the value that ends it', () => {
    const when = { equals: 1, forMs: 2000 }
    assert.deepEqual(run(when, [1, 1, 0, 1, 1, 1, 1]), [
      false,
      false,
      true,
      false,
      false,
      true,
      false,
    ])
    assert.deepEqual(run(when, [1, 0, 1, 0]), [false, false, false, false])
    const first = stepCondition({ sensor: 'a', ...when }, NEW_CONDITION, { atMs: 0, value: 1 })
    assert.equal(first.dueMs, 2000)
    assert.equal(stepCondition({ sensor: 'a', ...when }, first.state, { atMs: 1999 }).came, false)
    assert.equal(stepCondition({ sensor: 'a', ...when }, first.state, { atMs: 2000 }).came, true)
  })

  it('comes as often as it begins to hold, whatever the values are', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -10, max: 10, noNaN: true })), (values) => {
        const began = values.filter((value, i) => value > 2 && !((values[i - 1] ?? 0) > 2)).length
        assert.equal(run({ above: 2 }, values).filter(Boolean).length, began)
      }),
    )
  })

  it('is watched by itself while no value comes', async () => {
    const clock = virtualClock()
    const came: SensorValue[] = []
    const when = { sensor: 'a', above: 10, forMs: 5000 }
    using watch = watchCondition(when, clock, (value) => came.push(value))
    watch.take(11)
    await clock.advance(3000)
    watch.take(12)
    await clock.advance(1000)
    assert.deepEqual(came, [])
    await clock.advance(1001)
    assert.deepEqual(came, [12])
    watch.take(9)
    watch.take(11)
    watch[Symbol.dispose]()
    await clock.advance(60_000)
    assert.deepEqual(came, [12])
  })
})
