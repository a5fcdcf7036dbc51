/*
 *   oak (eth0) ──┐ "left" ┌── (eth0) elm          addresses without a link-local one; an interface
 *   oak (eth1) ──┘ "right"└── (eth1) elm          that comes late; interfaces that are not to be used
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'
import { linkLocalOf } from './netns.ts'
import { never } from './until.ts'

const NAMES = ['oak', 'elm']
const ONLINE_LIMIT_MS = 15_000
const READING_LIMIT_MS = 15_000
const WATCHED_MS = 3000

const at = (prefix: string, i: number): string => `${prefix}::${i + 1}/64`

for (const [what, prefix, next] of [
  ['a unique local prefix', 'fd4b:17:5e:1', 'fd4b:17:5e:2'],
  ['a global prefix', '2a01:4f8:c17:5e', '2a01:4f8:c17:5f'],
] as const) {
  describe(`interfaces with ${what} and no link-local address`, needs('namespaces'), () => {
    let lab: Lab

    before(async () => {
      lab = await startLab({
        lan: NAMES.map((device, i) => ({
          device,
          interface: 'eth0',
          addresses: [at(prefix, i)],
        })),
      })
      for (const name of NAMES) {
        const eth0 = { device: name, interface: 'eth0' }
        await lab.world.ip(name, 'link', 'set', 'eth0', 'addrgenmode', 'none')
        await lab.world.ip(
          name,
          'addr',
          'del',
          `${await linkLocalOf(lab.world, eth0)}/64`,
          'dev',
          'eth0',
        )
        assert.equal(await linkLocalOf(lab.world, eth0), undefined)
      }
    })
    after(async () => lab[Symbol.asyncDispose]())

    it('carry discovery, pairing and readings', async () => {
      await lab.makeHome()
      await lab.online(NAMES, ONLINE_LIMIT_MS)
      await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
    })

    it('take a new prefix while they run', async (t) => {
      for (const [i, name] of NAMES.entries()) {
        await lab.world.ip(name, 'addr', 'add', at(next, i), 'dev', 'eth0', 'nodad')
        await lab.world.ip(name, 'addr', 'del', at(prefix, i), 'dev', 'eth0')
      }
      const started = performance.now()
      await lab.until('oak uses the new prefix', ONLINE_LIMIT_MS, async () => {
        const row = await lab.row('oak', 'elm')
        return row?.state === 'online' && row.addrs.some((address) => address.includes(next))
      })
      t.diagnostic(`found after ${Math.round(performance.now() - started)} ms`)
      await lab.online(NAMES, ONLINE_LIMIT_MS)
      await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
    })
  })
}

describe('a device with two interfaces', needs('namespaces'), () => {
  let lab: Lab

  before(async () => {
    lab = await startLab(
      {
        left: NAMES.map((device) => ({ device, interface: 'eth0' })),
        right: NAMES.map((device) => ({ device, interface: 'eth1' })),
      },
      { settings: { oak: { 'mesh.interfaces': 'eth1' } } },
    )
    await lab.makeHome()
  })
  after(async () => lab[Symbol.asyncDispose]())

  async function hasNobody(): Promise<boolean> {
    const { peers } = await lab.device('oak').api.status()
    return peers === 0
  }

  it('uses the interfaces that it may use, and no other', async () => {
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    for (const name of NAMES) {
      const [other = ''] = NAMES.filter((one) => one !== name)
      const row = await lab.row(name, other)
      assert.ok(row && row.addrs.length > 0)
      for (const address of row.addrs) assert.match(address, /^\/ip6zone\/eth1\//)
    }
  })

  it('is alone where that interface is gone, though another is there', async () => {
    await lab.world.setLink('oak', 'eth1', 'down')
    await lab.until('oak has nobody', ONLINE_LIMIT_MS, hasNobody)
    await never('oak has somebody', WATCHED_MS, async () => !(await hasNobody()))
  })

  it('takes an interface into use that comes after the start', async (t) => {
    await Promise.all(NAMES.map((name) => lab.device(name).stop('SIGTERM')))
    await Promise.all(NAMES.map((name) => lab.device(name).start()))
    await never('oak has somebody', WATCHED_MS, async () => !(await hasNobody()))
    await lab.world.setLink('oak', 'eth1', 'up')
    const ms = await lab.online(NAMES, ONLINE_LIMIT_MS)
    t.diagnostic(`online ${Math.round(ms)} ms after the interface came`)
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
  })
})
