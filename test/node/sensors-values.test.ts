import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { sizeGuard } from '../../node/machine/brokers.ts'
import { createBudget } from '../../node/machine/budget.ts'
import { jsonAt, valueFrom } from '../../node/machine/values.ts'
import { createGate } from '../../node/services/sensors/index.ts'
import { virtualClock } from '../helpers/clock.ts'

const PLAIN = { scale: 1, offset: 0 }

describe('a value from outside', () => {
  it('is a finite number or nothing, whatever comes', () => {
    fc.assert(
      fc.property(fc.anything(), (raw) => {
        try {
          assert.ok(Number.isFinite(valueFrom(raw, PLAIN)))
        } catch (error) {
          assert.ok(error instanceof RangeError)
        }
      }),
    )
    for (const raw of [NaN, Infinity, null, [], {}, [1], 1n, '']) {
      assert.throws(() => valueFrom(raw, PLAIN), RangeError)
    }
    assert.throws(() => valueFrom(1e308, { scale: 10, offset: 0 }), RangeError)
  })

  it('is what switches say, where the map knows it', () => {
    assert.equal(valueFrom(true, PLAIN), 1)
    assert.equal(valueFrom(false, { ...PLAIN, map: { false: 5 } }), 5)
    assert.equal(valueFrom(' ON ', { scale: 2, offset: 1, map: { ON: 1 } }), 3)
    assert.throws(() => valueFrom('toString', { ...PLAIN, map: { ON: 1 } }), RangeError)
  })

  it('is found in JSON by its pointer, and never in what all objects have', () => {
    const text = '{"a/b":{"m~n":[1,{"":2}]},"__proto__":{"x":3}}'
    const places: readonly (readonly [string, unknown])[] = [
      ['/a~1b/m~0n/0', 1],
      ['/a~1b/m~0n/1/', 2],
      ['/a~1b/m~0n/length', 2],
      ['/__proto__/x', 3],
      ['/constructor', undefined],
      ['/a~1b/toString', undefined],
      ['/none/none', undefined],
    ]
    for (const [pointer, value] of places) assert.deepEqual(jsonAt(text, pointer), value, pointer)
    assert.equal(jsonAt(' 7 ', ''), 7)
  })

  it('is not found in what is no JSON, without an end or too deep', () => {
    for (const text of ['', '{', 'NaN', '{"a":NaN}', "{'a':1}", '\0', '['.repeat(200_000)]) {
      assert.throws(() => jsonAt(text, '/a'), {
        name: 'RangeError',
        message: /^the answer is not JSON$/,
      })
    }
    const deep = `${'['.repeat(100_000)}1${']'.repeat(100_000)}`
    assert.equal(typeof jsonAt(deep, '/0/0'), 'object')
    assert.throws(() => valueFrom(jsonAt('{"a":1e999}', '/a'), PLAIN), RangeError)
  })
})

describe('dead band, resolution and heartbeat', () => {
  function kept(pace: Parameters<typeof createGate>[0], values: readonly number[], stepMs = 1000) {
    const gate = createGate(pace)
    return values.map((value, index) => gate.take(value, index * stepMs))
  }
  const no = undefined

  it('leave out nothing where nothing is said', () => {
    assert.deepEqual(kept({}, [1, 1, 1]), [1, 1, 1])
  })

  it('leave out what differs by less from the last one kept', () => {
    assert.deepEqual(kept({ deadband: 0.3 }, [20, 20.2, 20.3, 20.1, 20, 20]), [
      20,
      no,
      20.3,
      no,
      20,
      no,
    ])
    assert.deepEqual(kept({ deadband: 0 }, [1, 1, 2, 2, 1]), [1, no, 2, no, 1])
  })

  it('do not let a slow drift pass', () => {
    const drift = Array.from({ length: 100 }, (_, index) => index / 100)
    const passed = kept({ deadband: 0.25 }, drift).filter((value) => value !== undefined)
    assert.deepEqual(passed, [0, 0.25, 0.5, 0.75])
  })

  it('round to whole steps without digits that nobody measured', () => {
    assert.deepEqual(kept({ resolution: 0.1 }, [21.34, 21.26, 21.36, -0.04]), [21.3, no, 21.4, 0])
    assert.deepEqual(kept({ resolution: 50 }, [1024, 1026]), [1000, 1050])
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        assert.ok(Number.isFinite(createGate({ resolution: 1e-9 }).take(value, 0)))
      }),
    )
  })

  it('keep one that is the same again when the heartbeat is due', () => {
    const pace = { deadband: 1, heartbeatMs: 3000 }
    assert.deepEqual(kept(pace, [5, 5, 5, 5, 5, 9, 9, 9, 9]), [5, no, no, 5, no, 9, no, no, 9])
  })
})

describe('the guard of packets', () => {
  /** Type 3, a length as MQTT writes it, and so many bytes. */
  function packet(length: number): number[] {
    const header = [0x30]
    for (let left = length; ; left = Math.floor(left / 128)) {
      header.push(left < 128 ? left : (left % 128) | 0x80)
      if (left < 128) break
    }
    return [...header, ...Array.from({ length }, () => 0xff)]
  }

  it('sees the one that is too large, however the bytes are cut', () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 5 })
    fc.assert(
      fc.property(lengths, fc.array(fc.nat(400)), (sizes, cuts) => {
        let alarms = 0
        const guard = sizeGuard(200, () => alarms++)
        const bytes = Uint8Array.from(sizes.flatMap(packet))
        let at = 0
        for (const cut of [...cuts, bytes.length]) {
          guard(bytes.subarray(at, at + cut))
          at += cut
          if (alarms > 0) break
        }
        assert.equal(
          alarms > 0,
          sizes.some((size) => size > 200),
        )
      }),
    )
  })

  it('sees a length that does not end', () => {
    let alarms = 0
    sizeGuard(2 ** 40, () => alarms++)(Uint8Array.of(0x30, 0x80, 0x80, 0x80, 0x80, 0x80))
    assert.equal(alarms, 1)
  })
})

describe('a budget', () => {
  it('is so many bytes in each window', async () => {
    const clock = virtualClock()
    const budget = createBudget({ bytes: 10, windowMs: 1000 }, clock)
    assert.deepEqual(
      [budget.take(6), budget.take(5), budget.take(4), budget.take(1)],
      [true, false, true, false],
    )
    await clock.advance(1000)
    assert.equal(budget.take(10), true)
  })
})
