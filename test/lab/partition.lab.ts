/*
 *      oak (owner) ──┐                       ┌── elm
 *                  switch "lan"  ╳  another switch
 *                                            └── ash
 *
 * While the home is in two, oak removes ash. Elm, on ash's side, cannot know. Then it heals.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'
import { never } from './until.ts'

const NAMES = ['oak', 'elm', 'ash']
const ONLINE_LIMIT_MS = 30_000
const NOTICE_LIMIT_MS = 60_000
const HEAL_LIMIT_MS = 30_000
const WATCHED_MS = 10_000

describe('a device removed while the home is in two', needs('namespaces'), () => {
  let lab: Lab
  let ash = ''

  before(async () => {
    lab = await startLab({ lan: NAMES.map((device) => ({ device, interface: 'eth0' })) })
    await lab.makeHome()
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    ash = (await lab.device('ash').api.status()).device.id
  })
  after(async () => lab[Symbol.asyncDispose]())

  async function isOnline(from: string): Promise<boolean> {
    const rows = await lab.device(from).api.devices()
    return rows.some(({ id, state }) => id === ash && state === 'online')
  }

  it('is still trusted by those who cannot have heard', async () => {
    await lab.world.partition('lan', ['elm', 'ash'])
    await lab.until('oak is alone', NOTICE_LIMIT_MS, async () => {
      const { peers } = await lab.device('oak').api.status()
      return peers === 0
    })
    await lab.device('oak').kith(['remove', ash, '--reason', 'lost'])
    assert.equal((await lab.row('oak', 'ash'))?.state ?? 'removed', 'removed')
    assert.equal(await isOnline('elm'), true)
  })

  it('is out everywhere once the home is one again', async () => {
    await lab.world.heal('lan')
    await lab.online(['oak', 'elm'], HEAL_LIMIT_MS)
    await lab.until('elm drops ash', HEAL_LIMIT_MS, async () => !(await isOnline('elm')))
    await lab.until('ash has nobody', NOTICE_LIMIT_MS, async () => {
      const { peers } = await lab.device('ash').api.status()
      return peers === 0
    })
  })

  it('stays out', async () => {
    await never('ash is back', WATCHED_MS, async () => {
      const { peers } = await lab.device('ash').api.status()
      return peers > 0 || (await isOnline('oak')) || (await isOnline('elm'))
    })
  })

  it('stays out after it has been started again', async () => {
    await lab.device('ash').stop('SIGTERM')
    await lab.device('ash').start()
    await never('ash is back', WATCHED_MS, async () => {
      const { peers } = await lab.device('ash').api.status()
      return peers > 0 || (await isOnline('oak')) || (await isOnline('elm'))
    })
    await lab.online(['oak', 'elm'], ONLINE_LIMIT_MS)
  })
})
