import assert from 'node:assert/strict'
import { lookup } from 'node:dns/promises'
import { connect } from 'node:net'
import { after, describe, it } from 'node:test'

import { createDrill } from '../../gateway/drill.ts'
import { cutResolver } from '../../gateway/resolver.ts'
import { systemClock } from '../../node/env.ts'
import { folders } from '../helpers/device.ts'
import { gatewayHome } from '../helpers/gateway.ts'
import { needs } from '../helpers/tools.ts'

const dirs = folders()
after(() => dirs[Symbol.asyncDispose]())

const never = new AbortController().signal

async function becomes(holds: () => boolean): Promise<void> {
  while (!holds()) await systemClock.sleep(20, never)
}

describe('the names of the outside', () => {
  it('lead nowhere while they are cut, those of the home still do, and all do after', async () => {
    {
      using resolver = cutResolver()
      const failed = await new Promise((resolve) => {
        connect(9, 'cloud.example').once('error', (error) => resolve(error.message))
      })
      assert.match(String(failed), /not resolved while the outside is cut/)
      await assert.rejects(lookup('other.example'), { code: 'ENOTFOUND' })
      assert.ok((await lookup('localhost')).address.length > 0)
      assert.deepEqual([...resolver.asked], ['cloud.example', 'other.example'])
    }
    assert.ok((await lookup('localhost')).address.length > 0)
  })
})

describe('a drill', { timeout: 60_000, ...needs('mosquitto') }, () => {
  it('cuts the sinks, finds what goes on at home, and lets go', async () => {
    await using home = await gatewayHome(dirs, '[[forward]]\nsink = "m"\n')
    const { owner, device, bridge, far } = home
    await owner.view.signGatewayPolicy('gate', ['read:*', 'write:*/level'])
    await becomes(() => bridge.sinks.names().length === 1)
    await far.hears(({ topic }) => topic === 'kith/bridge/state')
    const drill = createDrill({ device, bridge, clock: systemClock })
    await assert.rejects(drill({ ms: 1 }, never), { code: 'NODE_USAGE' })
    let value = 0
    const again = setInterval(() => void owner.view.push([{ sensor: 'air', value: value++ }]), 100)
    const running = drill({ ms: 4000 }, never)
    await assert.rejects(drill({ ms: 4000 }, never), { code: 'NODE_CONFLICT' })
    await far.hears(({ topic, text }) => topic === 'kith/bridge/state' && text === 'offline')
    const { stopped, worked } = await running
    clearInterval(again)
    assert.equal(stopped.length, 1, JSON.stringify(stopped))
    assert.match(stopped[0] ?? '', /^sink m: [1-9]\d* more wait on disk/)
    assert.deepEqual(worked.toSorted(), [
      'kitchen: it answers when it is called',
      'kitchen: new readings of air',
    ])
    // What waited leaves now.
    await becomes(() => bridge.outbox.state().every(({ items }) => items === 0))
    assert.deepEqual(bridge.sinks.names(), ['m'])
  })

  it('finds the device that is not there any more', async () => {
    await using home = await gatewayHome(dirs, '[[forward]]\nsink = "m"\n')
    const { owner, device, bridge } = home
    await owner.view.signGatewayPolicy('gate', ['read:*'])
    await becomes(() => device.devices().some(({ self, state }) => !self && state === 'online'))
    const running = createDrill({ device, bridge, clock: systemClock })({ ms: 3000 }, never)
    await owner.stop()
    const { stopped, worked } = await running
    assert.ok(stopped.includes('kitchen: it is not there any more'), JSON.stringify(stopped))
    assert.deepEqual(worked, [])
  })
})
