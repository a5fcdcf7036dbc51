/*
 *      oak (eth0) ── switch "left" ── (eth0) hub (eth1) ── switch "right" ── (eth0) ash
 *
 * The hub does not forward packets: oak and ash can only hear of each other through it.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'

const ONLINE_LIMIT_MS = 30_000
const HEARD_LIMIT_MS = 30_000
const READING_LIMIT_MS = 60_000

describe('a home on two segments', needs('namespaces'), () => {
  let lab: Lab

  before(async () => {
    lab = await startLab({
      left: [
        { device: 'hub', interface: 'eth0' },
        { device: 'oak', interface: 'eth0' },
      ],
      right: [
        { device: 'hub', interface: 'eth1' },
        { device: 'ash', interface: 'eth0' },
      ],
    })
    await lab.makeHome()
  })
  after(async () => lab[Symbol.asyncDispose]())

  it('is joined by the device that is on both', async () => {
    await lab.online(['hub', 'oak'], ONLINE_LIMIT_MS)
    await lab.online(['hub', 'ash'], ONLINE_LIMIT_MS)
  })

  it('knows its members across the segments, though they cannot connect', async () => {
    for (const [from, about] of [
      ['oak', 'ash'],
      ['ash', 'oak'],
    ] as const) {
      await lab.until(`${from} knows ${about}`, HEARD_LIMIT_MS, () => lab.row(from, about))
      const row = await lab.row(from, about)
      assert.notEqual(row?.state, 'online')
      assert.equal(row?.role, 'member')
    }
  })

  it('passes readings on, as their signers made them', async () => {
    await Promise.all([
      lab.freshReading('oak', 'ash', READING_LIMIT_MS),
      lab.freshReading('ash', 'oak', READING_LIMIT_MS),
    ])
  })
})
