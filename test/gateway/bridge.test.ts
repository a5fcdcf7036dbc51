import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, describe, it } from 'node:test'

import { answersOf } from '../../gateway/answers.ts'
import type { Preview } from '../../gateway/samples.ts'
import { systemClock } from '../../node/env.ts'
import { folders, startDevice } from '../helpers/device.ts'
import { gatewayHome, type GatewayHome } from '../helpers/gateway.ts'
import { needs } from '../helpers/tools.ts'

const dirs = folders()
after(() => dirs[Symbol.asyncDispose]())

const never = new AbortController().signal
const ALL = '[[forward]]\nsink = "m"\n'
const AIR = '[[forward]]\nsink = "m"\nsensors = ["air"]\n'

/** Measures again until `enough` resolves: what is not allowed yet is not delivered later. */
async function measuring<T>(home: GatewayHome, enough: Promise<T>): Promise<T> {
  let value = 0
  const push = (): void => {
    value++
    void home.owner.view.push([
      { sensor: 'air', value },
      { sensor: 'door', value: value + 1000 },
    ])
  }
  push()
  const again = setInterval(push, 200)
  try {
    return await enough
  } finally {
    clearInterval(again)
  }
}

const ofKitchen = ({ topic, text }: { topic: string; text: string }): boolean =>
  topic === 'kith/kitchen' && text !== ''

describe('a gateway', { timeout: 120_000, ...needs('mosquitto') }, () => {
  it('connects to nothing before an owner has signed, and then lets out what is signed', async () => {
    await using home = await gatewayHome(dirs, AIR)
    const { owner, bridge, far, device } = home
    const answers = answersOf({ device, bridge, clock: systemClock })
    await becomes(() => device.devices().some(({ self, state }) => !self && state === 'online'))
    // The home answers it, which is no reason for anything to leave.
    await device.describe('kitchen', never)
    const preview = (await answers['policy']?.({}, never)) as Preview
    assert.deepEqual(preview.wanted, ['read:air'])
    assert.match(preview.sinks[0]?.samples.map(({ to }) => to).join() ?? '', /kith\/kitchen/)
    assert.deepEqual(bridge.sinks.names(), [])
    // A sink that is connected says so at once.
    assert.deepEqual(far.said, [])
    assert.ok(home.log.some((line) => line.includes('a rule is not in force')))
    const before = bridge.policy().refusals[0]
    assert.deepEqual(before?.sign, ['read:air'])

    await owner.view.signGatewayPolicy('gate', ['read:air'])
    const { text } = await measuring(home, far.hears(ofKitchen))
    const state = JSON.parse(text) as Record<string, unknown>
    assert.equal(typeof state['air'], 'number')
    assert.equal('door' in state, false)
    assert.deepEqual(bridge.policy().refusals, [])
    const status = answers['status']?.({}, never) as {
      signed: string[]
      sinks: { state: string }[]
    }
    assert.deepEqual(status.signed, ['read:air'])
    assert.equal(status.sinks[0]?.state, 'runs')
    const days = bridge.egress()
    assert.ok(days.some(({ sink, bytes }) => sink === 'm' && bytes > 0))
  })

  it('narrows with its file at once, and a broken file changes nothing', async () => {
    await using home = await gatewayHome(dirs, ALL)
    const { owner, bridge, far } = home
    await owner.view.signGatewayPolicy('gate', ['read:*'])
    await measuring(
      home,
      far.hears(({ text }) => text.includes('"door"')),
    )
    await home.rules('[[forward]]\nsink = "m"\nsensor = ["air"]\n')
    await becomes(() => bridge.rules.fault() !== undefined)
    assert.match(bridge.rules.fault() ?? '', /gateway\.toml:6: .*sensors/)
    assert.equal(bridge.rules.now().forward[0]?.sensors[0], '*')

    await home.rules(AIR)
    await becomes(() => bridge.rules.now().forward[0]?.sensors[0] === 'air')
    assert.equal(bridge.rules.fault(), undefined)
    const { id } = await owner.view.device('kitchen')
    assert.equal(bridge.policy().mayLeave('m', { deviceId: id, sensor: 'door' }), false)
    // What was on its way has gone; from here on the door stays in.
    await becomes(() => bridge.outbox.state().every(({ items }) => items === 0))
    const from = far.said.length
    const fresh = (): readonly { topic: string; text: string }[] => far.said.slice(from)
    await measuring(
      home,
      becomes(() => fresh().filter(ofKitchen).length >= 3),
    )
    const last = JSON.parse(fresh().findLast(ofKitchen)?.text ?? '{}') as { door?: number }
    const first = JSON.parse(fresh().find(ofKitchen)?.text ?? '{}') as { door?: number }
    assert.equal(last.door, first.door)

    // Without a rule the sink is gone, and with what an owner takes back as well.
    await home.rules('')
    await becomes(() => bridge.sinks.names().length === 0)
    await home.rules(AIR)
    await becomes(() => bridge.sinks.names().length === 1)
    await owner.view.signGatewayPolicy('gate', [])
    await becomes(() => bridge.sinks.names().length === 0)
    assert.match(bridge.policy().refusals[0]?.why ?? '', /No owner has signed/)
  })

  it('asks for what is signed under its own role, and tells through which sink', async () => {
    const downlink = '[[downlink]]\nsink = "m"\ndevice = "kitchen"\nwrite = ["level"]\n'
    await using home = await gatewayHome(dirs, downlink)
    const { owner, bridge, far, fingerprint } = home
    await owner.view.signGatewayPolicy('gate', [`write:${fingerprint}/level;v=0..50`])
    await far.hears(({ topic }) => topic === 'kith/bridge/state')
    await becomes(() => bridge.sinks.names().length === 1)
    await far.hears(({ topic }) => topic === 'kith/kitchen/availability')
    await far.client.publishAsync('kith/kitchen/set', '{"level":7}')
    const done = await far.hears(({ topic }) => topic === 'kith/kitchen/response')
    const { status, call } = JSON.parse(done.text) as { status: string; call: string }
    assert.equal(status, 'done', done.text)
    assert.equal((await readFile(home.level, 'utf8')).trim(), '7')
    const why = await owner.view.why('kitchen', {}, never)
    assert.match(JSON.stringify(why.find(({ id }) => id === call)), /gateway:m/)
    // Beyond the limit that was signed it is the device itself that refuses.
    await far.client.publishAsync('kith/kitchen/set', '{"level":70}')
    await far.hears(({ topic, text }) => topic.endsWith('/response') && text.includes('failed'))
    await far.client.publishAsync('kith/kitchen/set', '{"other":70}')
    await far.hears(({ topic, text }) => topic.endsWith('/response') && text.includes('refused'))
    assert.equal((await readFile(home.level, 'utf8')).trim(), '7')
  })

  it('takes back what it told of a device that an owner removes', async () => {
    await using home = await gatewayHome(dirs, ALL)
    const { owner, far, bridge } = home
    await owner.view.signGatewayPolicy('gate', ['read:*'])
    await using attic = await startDevice(await dirs.make())
    const { qr } = await attic.view.openPairing({})
    const name = 'attic'
    await owner.view.addDevice({ qr, role: 'member', name }, never)
    const topic = `kith/${name}/availability`
    await far.hears((said) => said.topic === topic && said.text !== '')
    await owner.view.remove(name, {})
    await far.hears((said) => said.topic === topic && said.text === '')
    const told = bridge.directory.for('m', bridge.policy(), home.device.devices())
    assert.ok(told.every((one) => one.name !== name))
    assert.deepEqual(bridge.sinks.names(), ['m'])
  })
})

async function becomes(holds: () => boolean): Promise<void> {
  while (!holds()) await systemClock.sleep(20, never)
}
