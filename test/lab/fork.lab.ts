/*
 *      hub (eth0) ──┐
 *      oak (eth0) ──┼── switch "lan"
 *      ash (eth0) ──┘
 *
 * Ash's folder is copied while it is off, as a thief or a careless backup would; then both lives go
 * on. Elm joins late.
 */
import assert from 'node:assert/strict'
import { cp, rm } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { historyOf, startLab, type Lab } from './devices.ts'

const ONLINE_LIMIT_MS = 30_000
const READING_LIMIT_MS = 30_000
const ALARM_LIMIT_MS = 30_000
const BACKFILL_LIMIT_MS = 30_000

describe('a device that was copied', needs('namespaces'), () => {
  let lab: Lab

  before(async () => {
    lab = await startLab({
      lan: ['hub', 'oak', 'ash'].map((device) => ({ device, interface: 'eth0' })),
    })
    await lab.makeHome()
    await lab.online(['hub', 'oak', 'ash'], ONLINE_LIMIT_MS)
    await lab.freshReading('hub', 'ash', READING_LIMIT_MS)
  })
  after(async () => lab[Symbol.asyncDispose]())

  it('is found out by its two histories, and every member raises the alarm', async () => {
    const ash = lab.device('ash')
    const copy = `${ash.dataDir}.copy`
    await ash.stop('SIGTERM')
    await cp(ash.dataDir, copy, { recursive: true })
    await ash.start()
    await lab.freshReading('oak', 'ash', READING_LIMIT_MS)
    await ash.stop('SIGTERM')
    await rm(ash.dataDir, { recursive: true })
    await cp(copy, ash.dataDir, { recursive: true })
    await ash.start()
    await lab.until('every member raises the alarm', ALARM_LIMIT_MS, async () => {
      const rows = await Promise.all(['hub', 'oak'].map((name) => lab.row(name, 'ash')))
      return rows.every((row) => row?.quarantined === true)
    })
  })

  it('counts again once an owner trusts it', async () => {
    await lab.device('hub').kith(['trust', 'ash'])
    await lab.until('the alarm ends everywhere', ALARM_LIMIT_MS, async () => {
      const rows = await Promise.all(['hub', 'oak'].map((name) => lab.row(name, 'ash')))
      return rows.every((row) => row?.quarantined === false)
    })
  })
})

describe('a device that joins late', needs('namespaces'), () => {
  it('has the whole history of the others, and news while it catches up', async () => {
    await using lab = await startLab({
      lan: ['hub', 'oak', 'elm'].map((device) => ({ device, interface: 'eth0' })),
    })
    for (const name of ['hub', 'oak', 'elm']) await lab.device(name).start()
    await lab
      .device('hub')
      .kith([
        'home',
        'create',
        'Lab',
        '--device-name',
        'hub',
        '--recovery-out',
        `${lab.device('hub').dataDir}/kit`,
      ])
    await lab.pair('hub', 'oak')
    await lab.online(['hub', 'oak'], ONLINE_LIMIT_MS)
    for (let i = 0; i < 3; i++) await lab.freshReading('hub', 'oak', READING_LIMIT_MS)
    const oak = (await lab.device('oak').api.status()).device.id
    const kept = await historyOf(lab.device('hub'), oak)
    await lab.pair('hub', 'elm')
    await lab.online(['hub', 'oak', 'elm'], ONLINE_LIMIT_MS)
    await lab.freshReading('elm', 'oak', READING_LIMIT_MS)
    const keys = (rows: typeof kept): Set<string> =>
      new Set(rows.flatMap((row) => ('gap' in row ? [] : [`${row.at} ${row.seq} ${row.sensor}`])))
    const rows = await lab.until('elm has all of it', BACKFILL_LIMIT_MS, async () => {
      const found = await historyOf(lab.device('elm'), oak)
      const there = keys(found)
      return [...keys(kept)].every((key) => there.has(key)) ? found : undefined
    })
    assert.equal(rows.filter((row) => 'gap' in row).length, 0)
    assert.equal((await lab.row('elm', 'oak'))?.quarantined, false)
  })
})
