/*
 *      oak (eth0) ───┐
 *                  switch "lan"     elm is killed at random moments, without any warning
 *      elm (eth0) ───┘
 *
 * A reading that elm has once shown, or that oak has once had from it, is never lost, and nothing
 * in elm's log is missing or there twice with different values. KITH_LAB_SEED repeats a run.
 */
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { setTimeout as moment } from 'node:timers/promises'

import type { HistoryRow, Reading } from '../../node/api/view.ts'
import { seededRandom } from '../helpers/random.ts'
import { needs } from '../helpers/tools.ts'
import { historyOf, startLab, type Lab } from './devices.ts'

const NAMES = ['oak', 'elm']
const ROUNDS = 6
const LONGEST_LIFE_MS = 4000
const ONLINE_LIMIT_MS = 40_000
const READING_LIMIT_MS = 60_000

function readingsIn(rows: readonly HistoryRow[]): Reading[] {
  return rows.filter((row): row is Reading => !('gap' in row))
}

/** Readings by what names them, with what they say. */
function byName(rows: readonly HistoryRow[]): Map<string, number> {
  return new Map(
    readingsIn(rows).map(({ sensor, at, seq, value }) => [`${seq}/${sensor}/${at}`, value]),
  )
}

describe('a device that is killed again and again', needs('namespaces'), () => {
  const seed = process.env['KITH_LAB_SEED'] ?? String(randomInt(2 ** 32))
  const random = seededRandom(seed)
  let lab: Lab
  let elm = ''

  before(async () => {
    lab = await startLab({ lan: NAMES.map((device) => ({ device, interface: 'eth0' })) })
    await lab.makeHome()
    elm = (await lab.device('elm').api.status()).device.id
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
  })
  after(async () => lab[Symbol.asyncDispose]())

  it('loses no reading that anybody has seen', async (t) => {
    t.diagnostic(`KITH_LAB_SEED=${seed}`)
    const seen = new Map<string, number>()
    for (let round = 0; round < ROUNDS; round++) {
      const [high = 0, low = 0] = random.bytes(2)
      await moment(((high * 256 + low) / 65_536) * LONGEST_LIFE_MS)
      for (const name of NAMES) {
        for (const [key, value] of byName(await historyOf(lab.device(name), elm))) {
          seen.set(key, value)
        }
      }
      await lab.device('elm').stop('SIGKILL')
      await lab.device('elm').start()
      const kept = byName(await historyOf(lab.device('elm'), elm))
      for (const [key, value] of seen) assert.equal(kept.get(key), value, `round ${round}: ${key}`)
    }
    t.diagnostic(`${seen.size} readings over ${ROUNDS} kills`)
    assert.ok(seen.size > 0)
  })

  it('is whole for those who follow it', async () => {
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
    const own = byName(await historyOf(lab.device('elm'), elm))
    const rows = await historyOf(lab.device('oak'), elm)
    assert.deepEqual(
      rows.filter((row) => 'gap' in row),
      [],
    )
    assert.ok(readingsIn(rows).every(({ verified }) => verified))
    for (const [key, value] of byName(rows)) assert.equal(own.get(key) ?? value, value, key)
  })
})
