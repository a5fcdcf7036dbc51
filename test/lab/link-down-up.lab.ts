/*
 *      oak (eth0) ───┐
 *                  switch "lan"     elm's cable is pulled and put back; then elm's own
 *      elm (eth0) ───┘              interface is switched off and on
 */
import { after, before, describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'

const NAMES = ['oak', 'elm']
const ONLINE_LIMIT_MS = 30_000
const NOTICE_LIMIT_MS = 60_000
const READING_LIMIT_MS = 40_000

describe('a device whose link comes and goes', needs('namespaces'), () => {
  let lab: Lab

  before(async () => {
    lab = await startLab({ lan: NAMES.map((device) => ({ device, interface: 'eth0' })) })
    await lab.makeHome()
    await lab.online(NAMES, ONLINE_LIMIT_MS)
  })
  after(async () => lab[Symbol.asyncDispose]())

  /** The milliseconds until oak no longer counts elm as connected. */
  async function noticed(): Promise<number> {
    const started = performance.now()
    await lab.until('oak notices that elm is gone', NOTICE_LIMIT_MS, async () => {
      const { peers } = await lab.device('oak').api.status()
      return peers === 0
    })
    return performance.now() - started
  }

  it('is back soon after its cable is', async (t) => {
    await lab.world.setCable('elm', 'eth0', 'out')
    t.diagnostic(`noticed after ${Math.round(await noticed())} ms`)
    await lab.world.setCable('elm', 'eth0', 'in')
    const back = await lab.online(NAMES, ONLINE_LIMIT_MS)
    t.diagnostic(`online ${Math.round(back)} ms after the cable was back`)
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
  })

  it('is back soon after its interface is', async (t) => {
    await lab.world.setLink('elm', 'eth0', 'down')
    t.diagnostic(`noticed after ${Math.round(await noticed())} ms`)
    await lab.world.setLink('elm', 'eth0', 'up')
    const back = await lab.online(NAMES, ONLINE_LIMIT_MS)
    t.diagnostic(`online ${Math.round(back)} ms after the interface was back`)
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
  })
})
