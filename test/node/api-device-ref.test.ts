import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { resolveDevice } from '../../node/api/device-ref.ts'
import type { DeviceState } from '../../node/api/view.ts'
import { NodeError } from '../../node/errors.ts'

interface Row {
  readonly id: string
  readonly name: string
  readonly fingerprint: string
  readonly state: DeviceState
}

const row = (
  id: string,
  name: string,
  fingerprint: string,
  state: DeviceState = 'online',
): Row => ({ id, name, fingerprint, state })

const HOME = [
  row('12D3KooWaaa', 'Kitchen', 'abcd2345'),
  row('12D3KooWabb', 'Kitchenette', 'abxy2345'),
  row('12D3KooWccc', 'Garden', 'kkkk2345'),
  row('12D3KooWddd', 'Cellar', 'zzzz2345', 'removed'),
  row('12D3KooWeee', 'Cellar', 'yyyy2345'),
  row('12D3KooWfff', 'Attic', 'gard2345', 'removed'),
]

describe('a reference to a device', () => {
  const found: readonly [string, string][] = [
    ['Garden', 'kkkk2345'],
    ['garden', 'kkkk2345'],
    ['g', 'kkkk2345'],
    ['kkkk2345', 'kkkk2345'],
    ['kk', 'kkkk2345'],
    ['12D3KooWc', 'kkkk2345'],
    ['kitchen', 'abcd2345'],
    ['kitchene', 'abxy2345'],
    ['cellar', 'yyyy2345'],
    ['zzzz', 'zzzz2345'],
    ['attic', 'gard2345'],
  ]
  for (const [ref, fingerprint] of found) {
    it(`"${ref}" means ${fingerprint}`, () =>
      assert.equal(resolveDevice(ref, HOME).fingerprint, fingerprint))
  }

  for (const ref of ['k', 'kitch', 'ab', '12D3KooW', '12D3KooWa']) {
    it(`"${ref}" is ambiguous, and the candidates are listed`, () => {
      assert.throws(
        () => resolveDevice(ref, HOME),
        (error: unknown) =>
          error instanceof NodeError &&
          error.code === 'NODE_AMBIGUOUS' &&
          /Kitchen|Garden/.test(error.hint ?? ''),
      )
    })
  }

  for (const ref of ['', 'bathroom', '12d3koowa', 'Kitchenettes']) {
    it(`"${ref}" is nobody`, () =>
      assert.throws(() => resolveDevice(ref, HOME), { code: 'NODE_NOT_FOUND' }))
  }

  it('lists at most eight candidates and counts the rest', () => {
    const many = Array.from({ length: 20 }, (_, index) =>
      row(`id${index}`, `lamp${index}`, `f${index}`),
    )
    assert.throws(() => resolveDevice('lamp', many), { hint: /lamp7 \(f7\) and 12 more$/ })
  })

  const short = fc.string({ unit: fc.constantFrom('a', 'b', 'A'), maxLength: 3 })
  const rows = fc.array(
    fc.record({
      id: short,
      name: short,
      fingerprint: short,
      state: fc.constantFrom<DeviceState>('online', 'removed'),
    }),
    { maxLength: 6 },
  )
  const begins = (ref: string, one: Row): boolean =>
    one.id.startsWith(ref) ||
    one.fingerprint.startsWith(ref) ||
    one.name.toLowerCase().startsWith(ref.toLowerCase())

  it('never means a device that it does not begin, nor one of several equals, nor a removed one before a present one', () => {
    fc.assert(
      fc.property(short, rows, (ref, home) => {
        const fitting = ref === '' ? [] : home.filter((one) => begins(ref, one))
        const present = fitting.filter(({ state }) => state !== 'removed')
        const eligible = present.length > 0 ? present : fitting
        let result: Row | undefined
        let code: string | undefined
        try {
          result = resolveDevice(ref, home)
        } catch (error) {
          code = (error as NodeError).code
        }
        if (eligible.length === 0) assert.equal(code, 'NODE_NOT_FOUND')
        else if (eligible.length === 1) assert.equal(result, eligible[0])
        else {
          const whole = eligible.filter(
            (one) =>
              one.id === ref ||
              one.fingerprint === ref ||
              one.name.toLowerCase() === ref.toLowerCase(),
          )
          assert.equal(result, whole.length === 1 ? whole[0] : undefined)
        }
      }),
      { numRuns: 1000 },
    )
  })

  it('in full always finds a device whose names nobody shares', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.stringMatching(/^[a-c]{1,4}$/), { minLength: 1, maxLength: 8 }),
        (names) => {
          const home = names.map((name, index) => row(`ID${index}.`, name, `F${index}.`))
          for (const one of home) {
            for (const ref of [one.id, one.name, one.fingerprint])
              assert.equal(resolveDevice(ref, home), one)
          }
        },
      ),
    )
  })
})
