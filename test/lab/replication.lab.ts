/*
 *      hub (eth0) ──┐
 *      oak (eth0) ──┼── switch "lan" ── (eth0) ash
 *      elm (eth0) ──┘
 *
 * Every member keeps what it may read: any one of them can give the log of a device that is gone.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import type { HistoryRow } from '../../node/api/view.ts'
import { needs } from '../helpers/tools.ts'
import { historyOf, startLab, type Lab } from './devices.ts'

const ONLINE_LIMIT_MS = 30_000
const READING_LIMIT_MS = 30_000
const BACKFILL_LIMIT_MS = 30_000

function keysOf(rows: readonly HistoryRow[]): readonly string[] {
  return rows.map((row) =>
    'gap' in row ? `gap ${row.gap.from}` : `${row.at} ${row.seq} ${row.sensor} ${row.value}`,
  )
}

function isOrdered(rows: readonly HistoryRow[]): boolean {
  const times = rows.flatMap((row) => ('gap' in row ? [] : [row.at]))
  return times.every((at, i) => i === 0 || at >= (times[i - 1] ?? 0))
}

describe('logs that several devices keep', needs('namespaces'), () => {
  let lab: Lab
  const ids: Record<string, string> = {}

  before(async () => {
    lab = await startLab({
      lan: ['hub', 'oak', 'elm', 'ash'].map((device) => ({ device, interface: 'eth0' })),
    })
    await lab.makeHome()
    await lab.online(['hub', 'oak', 'elm', 'ash'], ONLINE_LIMIT_MS)
    for (const name of ['hub', 'oak', 'elm', 'ash']) {
      ids[name] = (await lab.device(name).api.status()).device.id
    }
  })
  after(async () => lab[Symbol.asyncDispose]())

  /** Wait until `at` has what `wanted` holds of `of`; returns all that it then has. */
  async function catchesUp(
    at: string,
    of: string,
    wanted: readonly HistoryRow[],
  ): Promise<readonly HistoryRow[]> {
    const keys = keysOf(wanted)
    return lab.until(`${at} has the log of ${of}`, BACKFILL_LIMIT_MS, async () => {
      const rows = await historyOf(lab.device(at), ids[of] ?? '')
      const there = new Set(keysOf(rows))
      return keys.every((key) => there.has(key)) ? rows : undefined
    })
  }

  it('loses nothing while one of three holders is left', async () => {
    await lab.device('elm').stop('SIGTERM')
    await lab.freshReading('hub', 'ash', READING_LIMIT_MS)
    await lab.freshReading('oak', 'ash', READING_LIMIT_MS)
    await lab.device('ash').stop('SIGKILL')
    const kept = await historyOf(lab.device('hub'), ids['ash'] ?? '')
    await catchesUp('oak', 'ash', kept)
    await lab.device('hub').stop('SIGKILL')
    await lab.device('elm').start()
    const rows = await catchesUp('elm', 'ash', kept)
    assert.equal(new Set(keysOf(rows)).size, rows.length, 'a reading came twice')
    assert.ok(isOrdered(rows))
    assert.ok(rows.every((row) => 'gap' in row || row.verified))
    assert.equal(rows.filter((row) => 'gap' in row).length, 0)
  })

  it('brings a partition together, complete, in order and once, with the original times', async () => {
    await lab.device('hub').start()
    await lab.device('ash').start()
    await lab.online(['hub', 'oak', 'elm', 'ash'], ONLINE_LIMIT_MS)
    await lab.world.partition('lan', ['elm', 'ash'])
    await lab.freshReading('oak', 'hub', READING_LIMIT_MS)
    await lab.freshReading('ash', 'elm', READING_LIMIT_MS)
    const [left, right] = await Promise.all([
      historyOf(lab.device('oak'), ids['hub'] ?? ''),
      historyOf(lab.device('ash'), ids['elm'] ?? ''),
    ])
    await lab.world.heal('lan')
    for (const [at, of, kept] of [
      ['ash', 'hub', left],
      ['oak', 'elm', right],
    ] as const) {
      const rows = await catchesUp(at, of, kept)
      assert.equal(new Set(keysOf(rows)).size, rows.length, 'a reading came twice')
      assert.ok(isOrdered(rows))
      assert.equal(rows.filter((row) => 'gap' in row).length, 0)
    }
  })
})
