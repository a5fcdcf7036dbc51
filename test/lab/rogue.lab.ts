/*
 *      oak (eth0, port 4646) ─┐
 *      elm (eth0) ──────────  switch "lan"
 *      ash (eth0) ────────────┘   a member whose key a hostile program uses
 *
 * A member can cost its home some work, and nobody else a reading.
 */
import assert from 'node:assert/strict'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { startActor } from './actor.ts'
import { cpuBetween, startLab, type Lab } from './devices.ts'

const NAMES = ['oak', 'elm', 'ash']
const PORT = '4646'
const HOST = 'fd4b:17:5e:1::1'
const ONLINE_LIMIT_MS = 30_000
const READING_LIMIT_MS = 15_000
const RAGE_MS = 8000
const RAGE_LIMIT_MS = 90_000
const MAX_GROWTH_BYTES = 128 * 1024 * 1024
/** Readings come every second and wait for a second at most. */
const MAX_SILENCE_MS = 6000

describe('a member that turns on its home', needs('namespaces'), () => {
  let lab: Lab

  before(async () => {
    const quiet = { 'log.level': 'info', 'mesh.port': PORT }
    lab = await startLab(
      {
        lan: NAMES.map((device, i) => ({
          device,
          interface: 'eth0',
          addresses: [`fd4b:17:5e:1::${i + 1}/64`],
        })),
      },
      { settings: { oak: quiet, elm: quiet } },
    )
    await lab.makeHome()
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    await lab.device('ash').stop('SIGTERM')
  })
  after(async () => lab[Symbol.asyncDispose]())

  it('costs the others no reading and no connection, and memory within bounds', async (t) => {
    const oak = lab.device('oak')
    const elmId = (await lab.device('elm').api.status()).device.id
    const address = `/ip6/${HOST}/tcp/${PORT}/p2p/${(await oak.api.status()).device.id}`
    const keyFile = path.join(lab.device('ash').dataDir, 'identity.key')
    const first = await oak.usage()
    const rogue = startActor(lab.world, 'ash', 'rogue-member', [keyFile, address])
    assert.equal(await rogue.line(), 'ready')
    const started = performance.now()
    let slowestMs = 0
    let peak = 0
    await lab.until('it has raged long enough', RAGE_LIMIT_MS, async () => {
      const asked = performance.now()
      await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
      slowestMs = Math.max(slowestMs, performance.now() - asked)
      peak = Math.max(peak, (await oak.usage()).rssBytes)
      return performance.now() - started > RAGE_MS
    })
    const last = await oak.usage()
    const did = JSON.parse(await rogue.finish()) as Record<string, number>
    t.diagnostic(JSON.stringify(did))
    const cpu = Math.round(cpuBetween(first, last) * 100)
    const growth = peak - first.rssBytes
    t.diagnostic(
      `slowest reading ${Math.round(slowestMs)} ms, ${cpu} % CPU, ${Math.round(growth / 1024)} KiB more`,
    )
    assert.ok((did['greeted'] ?? 0) > 0, 'it was let in as a member')
    assert.ok((did['frames'] ?? 0) > 0 && (did['opened'] ?? 0) + (did['refused'] ?? 0) > 0)
    assert.ok(slowestMs < MAX_SILENCE_MS, `${slowestMs} ms without a reading`)
    assert.ok(growth < MAX_GROWTH_BYTES, `${growth} bytes`)
    const rows = await oak.api.devices()
    assert.equal(rows.find(({ id }) => id === elmId)?.state, 'online')
  })

  it('is an ordinary member again when it behaves', async () => {
    await lab.device('ash').start()
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    await lab.freshReading('oak', 'ash', READING_LIMIT_MS)
  })
})
