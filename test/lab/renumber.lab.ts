/*
 *      oak (eth0: fd4b:…::1) ───┐
 *                             switch "lan"     elm changes every address that it has, the
 *      elm (eth0: fd4b:…::2) ───┘              link-local one included
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'

const NAMES = ['oak', 'elm']
const ONLINE_LIMIT_MS = 30_000
const BACK_LIMIT_MS = 60_000
const READING_LIMIT_MS = 60_000
const NEW_ADDRESSES = ['fe80::5eed:2/64', 'fd4b:17:5e:2::2/64']

describe('a device that changes its addresses', needs('namespaces'), () => {
  let lab: Lab

  before(async () => {
    lab = await startLab({
      lan: NAMES.map((device, i) => ({
        device,
        interface: 'eth0',
        addresses: [`fd4b:17:5e:1::${i + 1}/64`],
      })),
    })
    await lab.makeHome()
    await lab.online(NAMES, ONLINE_LIMIT_MS)
  })
  after(async () => lab[Symbol.asyncDispose]())

  it('is found again under its new ones', async (t) => {
    await lab.world.ip('elm', '-6', 'addr', 'flush', 'dev', 'eth0')
    for (const address of NEW_ADDRESSES) {
      await lab.world.ip('elm', 'addr', 'add', address, 'dev', 'eth0', 'nodad')
    }
    const started = performance.now()
    await lab.until('oak and elm use a new address', BACK_LIMIT_MS, async () => {
      const row = await lab.row('oak', 'elm')
      return row?.state === 'online' && row.addrs.some((address) => /5eed:2|5e:2::2/.test(address))
    })
    t.diagnostic(`found after ${Math.round(performance.now() - started)} ms`)
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    const row = await lab.row('oak', 'elm')
    assert.equal(row?.state, 'online')
  })
})
