/*
 *      oak (owner) ──┐                       ┌── elm
 *                  switch "lan"  ╳  another switch
 *                                            └── ash, whose clock is an hour slow later on
 *
 * Oak removes ash while elm cannot hear of it. What ash signed after that is worth nothing to those
 * who know, however it reaches them; and ash, once it knows, says so itself.
 */
import assert from 'node:assert/strict'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import type { Reading } from '../../node/api/view.ts'
import { needs } from '../helpers/tools.ts'
import { historyOf, startLab, type Lab } from './devices.ts'
import { never } from './until.ts'

const NAMES = ['oak', 'elm', 'ash']
const ONLINE_LIMIT_MS = 30_000
const NOTICE_LIMIT_MS = 30_000
const READING_LIMIT_MS = 20_000
const WATCHED_MS = 3000
const SLOW_CLOCK = fileURLToPath(new URL('actors/slow-clock.mjs', import.meta.url))

describe('a removed device', needs('namespaces'), () => {
  let lab: Lab
  let folder = ''
  let ash = ''
  let lastAtOak = -1

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kith-removed-'))
    lab = await startLab({ lan: NAMES.map((device) => ({ device, interface: 'eth0' })) })
    await lab.makeHome()
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    ash = (await lab.device('ash').api.status()).device.id
    await lab.freshReading('oak', 'ash', READING_LIMIT_MS)
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function lastSeq(at: string): Promise<number> {
    const rows = await historyOf(lab.device(at), ash)
    return Math.max(-1, ...rows.filter((row) => !('gap' in row)).map((row) => (row as Reading).seq))
  }

  it('signs on where nobody could tell it', async () => {
    await lab.world.partition('lan', ['elm', 'ash'])
    await lab.until('oak is alone', NOTICE_LIMIT_MS, async () => {
      return (await lab.device('oak').api.status()).peers === 0
    })
    await lab.device('ash').stop('SIGTERM')
    await cp(lab.device('ash').dataDir, path.join(folder, 'before'), { recursive: true })
    await lab.device('ash').start()
    await lab.device('oak').kith(['remove', ash, '--reason', 'stolen'])
    lastAtOak = await lastSeq('oak')
    await lab.online(['elm', 'ash'], ONLINE_LIMIT_MS)
    await lab.until('elm has more of it than oak', READING_LIMIT_MS, async () => {
      return (await lastSeq('elm')) > lastAtOak
    })
  })

  it('is believed up to its removal and no further, whoever passes it on', async () => {
    await lab.world.heal('lan')
    await lab.online(['oak', 'elm'], ONLINE_LIMIT_MS)
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
    await never('oak takes a later reading', WATCHED_MS, async () => {
      return (await lastSeq('oak')) > lastAtOak
    })
  })

  it('says itself that it was removed, and publishes nothing more', async () => {
    const device = lab.device('ash')
    await lab.until('it knows', NOTICE_LIMIT_MS, async () => {
      const { role } = await device.api.status()
      return role === null
    })
    const [status] = (await device.kith(['status'])) as [{ role: unknown; peers: number }]
    assert.equal(status.role, null)
    assert.equal(status.peers, 0)
    const rows = (await device.kith(['devices'])).flat() as { self: boolean; state: string }[]
    assert.equal(rows.find(({ self }) => self)?.state, 'removed')
    const checks = (await device.api.doctor()).filter(({ ok }) => !ok)
    assert.ok(
      checks.some((check) => /was removed from its home/.test(JSON.stringify(check))),
      JSON.stringify(checks),
    )
    const last = await lastSeq('ash')
    await never('it signs another reading', WATCHED_MS, async () => (await lastSeq('ash')) > last)
  })

  it('stays out with the state and the clock of before', async (t) => {
    const device = lab.device('ash')
    await device.stop('SIGTERM')
    await rm(device.dataDir, { recursive: true })
    await cp(path.join(folder, 'before'), device.dataDir, { recursive: true })
    await device.start({ env: { NODE_OPTIONS: `--import=${SLOW_CLOCK}` } })
    await never('it is back', WATCHED_MS, async () => {
      const others = await Promise.all(['oak', 'elm'].map((name) => lab.device(name).api.devices()))
      const back = others.flat().some(({ id, state }) => id === ash && state === 'online')
      return back || (await lastSeq('oak')) > lastAtOak
    })
    const { role, peers } = await device.api.status()
    t.diagnostic(`with old state its role is ${role ?? 'none'}, and it has ${peers} peers`)
    await lab.online(['oak', 'elm'], ONLINE_LIMIT_MS)
  })
})
