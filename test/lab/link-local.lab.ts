/*
 *      oak (eth0) ───┐
 *      elm (eth0) ───┼── switch "lan"     link-local addresses alone: no router, no prefix, no IPv4
 *      ash (eth0) ───┘
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'

const NAMES = ['oak', 'elm', 'ash']
const ONLINE_LIMIT_MS = 30_000
const READING_LIMIT_MS = 30_000

describe('a home on link-local addresses alone', needs('namespaces'), () => {
  let lab: Lab

  before(async () => {
    lab = await startLab({ lan: NAMES.map((device) => ({ device, interface: 'eth0' })) })
    await lab.makeHome()
  })
  after(async () => lab[Symbol.asyncDispose]())

  it('pairs, and every device finds every other', async (t) => {
    const ms = await lab.online(NAMES, ONLINE_LIMIT_MS)
    t.diagnostic(`all online ${Math.round(ms)} ms after the last was paired`)
    for (const from of NAMES) {
      const rows = await lab.device(from).api.devices()
      assert.deepEqual(rows.map(({ name }) => name).toSorted(), NAMES.toSorted())
      assert.equal(rows.find(({ name }) => name === 'oak')?.role, 'owner')
    }
  })

  it('shows addresses with the zone that they belong to', async () => {
    const row = await lab.row('oak', 'elm')
    assert.ok(row && row.addrs.length > 0)
    for (const address of row.addrs) assert.match(address, /fe80.*eth0|eth0.*fe80/)
  })

  it('streams signed readings from each to each', async () => {
    const pairs = NAMES.flatMap((at) => NAMES.filter((of) => of !== at).map((of) => ({ at, of })))
    const readings = await Promise.all(
      pairs.map(async ({ at, of }) => lab.freshReading(at, of, READING_LIMIT_MS)),
    )
    assert.deepEqual(
      readings.map(({ name }) => name),
      pairs.map(({ of }) => of),
    )
  })
})
