/*
 *      oak (eth0: fe80::, fd4b:…::1, 192.0.2.1) ──┐
 *                                                switch "lan"
 *      elm (eth0: fe80::, fd4b:…::2, 192.0.2.2) ──┘
 *
 * IPv4 beside IPv6 changes nothing: the mesh speaks IPv6.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'

const NAMES = ['oak', 'elm']
const ONLINE_LIMIT_MS = 30_000
const READING_LIMIT_MS = 30_000

describe('a home with IPv4 and IPv6', needs('namespaces'), () => {
  let lab: Lab

  before(async () => {
    lab = await startLab({
      lan: NAMES.map((device, i) => ({
        device,
        interface: 'eth0',
        addresses: [`fd4b:17:5e:1::${i + 1}/64`, `192.0.2.${i + 1}/24`],
      })),
    })
    await lab.makeHome()
  })
  after(async () => lab[Symbol.asyncDispose]())

  it('pairs and streams readings', async () => {
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
  })

  it('uses IPv6 between devices', async () => {
    for (const [from, about] of [
      ['oak', 'elm'],
      ['elm', 'oak'],
    ] as const) {
      const row = await lab.row(from, about)
      assert.ok(row && row.addrs.length > 0)
      for (const address of row.addrs) assert.ok(!address.includes('/ip4/'), address)
    }
  })

  it('goes on when IPv4 goes away', async () => {
    for (const name of NAMES) await lab.world.ip(name, '-4', 'addr', 'flush', 'dev', 'eth0')
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
    await lab.online(NAMES, ONLINE_LIMIT_MS)
  })
})
