import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { directoryOf, newestValue } from '../../node/device/rules.ts'
import { createEmitter } from '../../node/events.ts'
import type { MembersEvents } from '../../node/services/members/members.ts'
import type { HistoryRow } from '../../node/services/telemetry/telemetry.ts'
import { fingerprintOf, peerIdOf } from '../../protocols/identity/index.ts'
import type { Device } from '../../protocols/members/index.ts'
import { deviceOf } from '../helpers/telemetry.ts'

const lamp = deviceOf('lamp').key
const other = deviceOf('other').key
const forever = new AbortController().signal

function homeOf(...devices: readonly { key: Uint8Array; name: string }[]) {
  const events = createEmitter<MembersEvents>((error) => assert.fail(String(error)))
  let asked = 0
  let now = devices
  const members = {
    events,
    active: () => {
      asked++
      return now as unknown as readonly Device[]
    },
  }
  return {
    resolve: directoryOf(members, forever),
    asked: () => asked,
    change: (...next: readonly { key: Uint8Array; name: string }[]) => {
      now = next
      events.emit('change', {} as MembersEvents['change'])
    },
  }
}

describe('the names in a rule', () => {
  it('are whole names, fingerprints and peer ids, in any case', () => {
    const { resolve } = homeOf({ key: lamp, name: 'Küche' }, { key: other, name: 'lamp 2' })
    for (const name of ['Küche', 'KÜCHE', 'ku\u0308che', fingerprintOf(lamp), peerIdOf(lamp)]) {
      assert.deepEqual(resolve(name), lamp, name)
    }
    for (const name of ['', 'Küch', 'lamp', fingerprintOf(lamp).slice(0, 7)]) {
      assert.equal(resolve(name), undefined, name)
    }
  })

  it('mean nobody where two devices have them', () => {
    const { resolve } = homeOf({ key: lamp, name: 'lamp' }, { key: other, name: 'Lamp' })
    assert.equal(resolve('lamp'), undefined)
    assert.deepEqual(resolve(fingerprintOf(other)), other)
  })

  it('are looked up again when the home has changed, and not before', () => {
    const { resolve, change, asked } = homeOf({ key: lamp, name: 'lamp' })
    for (let i = 0; i < 10; i++) assert.deepEqual(resolve('lamp'), lamp)
    assert.equal(asked(), 1)
    change({ key: other, name: 'lamp' })
    assert.deepEqual(resolve('lamp'), other)
  })
})

describe('what a sensor said last', () => {
  const nowMs = 1_800_000_000_000

  /** A log that gives `limit` rows at once, oldest first. */
  function logOf(limit: number, ...readings: readonly [agoMs: number, value: number][]) {
    const rows = readings
      .map(([agoMs, value]) => ({ kind: 'reading', sensor: 'door', value, atMs: nowMs - agoMs }))
      .toSorted((a, b) => a.atMs - b.atMs)
    return {
      history: ({ sinceMs, untilMs }: { sinceMs: number; untilMs: number }) => {
        const found = rows.filter(({ atMs }) => atMs >= sinceMs && atMs < untilMs)
        return found.slice(0, limit) as unknown as HistoryRow[]
      },
    }
  }
  const about = { device: lamp, sensor: 'door', nowMs }

  it('is the newest, however many there are', () => {
    const readings = Array.from({ length: 25 }, (_, i): [number, number] => [i * 1000, i])
    assert.equal(newestValue(logOf(10, ...readings), about), 0)
    assert.equal(newestValue(logOf(10_000, ...readings), about), 0)
  })

  it('is looked for some days back, and then not known', () => {
    assert.equal(newestValue(logOf(10, [3 * 86_400_000, 4], [5 * 86_400_000, 5]), about), 4)
    assert.equal(newestValue(logOf(10, [9 * 86_400_000, 4]), about), undefined)
    assert.equal(newestValue(logOf(10), about), undefined)
  })
})
