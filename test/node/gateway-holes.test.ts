import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { WhyView } from '../../node/api/view.ts'
import { whyText } from '../../node/cli/call-text.ts'
import { createHoles } from '../../node/device/gateway-holes.ts'
import { virtualClock } from '../helpers/clock.ts'
import { deviceOf } from '../helpers/telemetry.ts'

const { key: lamp } = deviceOf('lamp')

/** Holes of a log of which `packs` of `of` are here, as the test sets it. */
function holesOf() {
  const clock = virtualClock(0)
  const state: { progress: { packs: number; of: number } | undefined } = { progress: undefined }
  const holes = createHoles({ progress: () => state.progress }, clock)
  return { clock, state, holes }
}

describe('a hole in a log that a gateway hands out', () => {
  it('is waited for while its history comes, and for ten seconds after it stalls', async () => {
    const { clock, state, holes } = holesOf()
    state.progress = { packs: 1, of: 9 }
    for (const packs of [1, 2, 3]) {
      state.progress = { packs, of: 9 }
      assert.equal(holes.mayFill(lamp, 2), true)
      await clock.advance(9_999)
      assert.equal(holes.mayFill(lamp, 2), true)
    }
    await clock.advance(1)
    assert.equal(holes.mayFill(lamp, 2), false)
    assert.equal(holes.mayFill(lamp, 5), true)
  })

  it('is not waited for where nobody has more of the log', () => {
    const { state, holes } = holesOf()
    state.progress = { packs: 9, of: 9 }
    assert.equal(holes.mayFill(lamp, 2), false)
  })

  it('is waited for a while where it is not known who has more', async () => {
    const { clock, holes } = holesOf()
    assert.equal(holes.mayFill(lamp, 2), true)
    await clock.advance(10_000)
    assert.equal(holes.mayFill(lamp, 2), false)
  })

  it('tells once of each pack that came after it was given up, in order', () => {
    const { holes } = holesOf()
    holes.note({ device: lamp, seq: 3 })
    holes.give(lamp, { from: 2, to: 4 })
    for (const seq of [4, 5, 3, 3, 1]) holes.note({ device: lamp, seq })
    assert.deepEqual(holes.filled(deviceOf('door').key), [])
    assert.deepEqual(holes.filled(lamp), [3, 4])
    assert.deepEqual(holes.filled(lamp), [])
  })
})

describe('why a device did what a gateway asked for', () => {
  it('names the way by which it came', () => {
    const by = { id: '12D3KooWbridge', name: 'bridge' }
    const cause = { rule: 'broker', device: by, sensor: 'gateway:broker', seq: 0, at: 1, value: 5 }
    const row: WhyView = {
      id: 'ab',
      by,
      verb: 'write',
      name: 'level',
      args: 5,
      status: 'done',
      at: 1,
      cause,
      verified: true,
    }
    assert.match(
      whyText(row, 1),
      /by bridge: asked for from outside, through gateway:broker {2}done$/,
    )
    const rule = { ...cause, sensor: 'button', seq: 7 }
    assert.match(
      whyText({ ...row, cause: rule }, 1),
      /: rule broker because button = 5 \(reading 7/,
    )
  })
})
