import assert from 'node:assert/strict'
import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'

import { answersOf, type GatewayStatus } from '../../gateway/answers.ts'
import { startBridge, type Bridge } from '../../gateway/bridge.ts'
import { startGatewayDevice, type GatewayDevice } from '../../node/index.ts'
import { loadConfig } from '../../node/config.ts'
import { systemClock, systemRandom } from '../../node/env.ts'
import { folders, loopbackOf, makeHome, startDevice, type TestDevice } from '../helpers/device.ts'
import { mqttSink } from '../helpers/gateway.ts'
import { startBroker } from '../helpers/mosquitto.ts'
import { tree } from '../helpers/sensors.ts'
import { needs } from '../helpers/tools.ts'

const dirs = folders()
after(() => dirs[Symbol.asyncDispose]())

const never = new AbortController().signal
const LIMIT_MS = 30_000
const TAKEOVER_MS = 10_000

interface Gateway extends AsyncDisposable {
  readonly dir: string
  readonly device: GatewayDevice
  readonly bridge: Bridge
  readonly status: () => GatewayStatus
}

async function gatewayDevice(dir: string, peers: string): Promise<GatewayDevice> {
  const config = await loadConfig({
    env: {},
    homeDir: dir,
    hostName: 'gate',
    uid: 1000,
    dataDir: dir,
    flags: new Map([
      ['mesh.port', '0'],
      ['mesh.multicast', 'false'],
      ['mesh.peers', peers],
      ['telemetry.sensors', ''],
      ['log.level', 'silent'],
      ['api.dashboard', 'false'],
    ]),
  })
  return await startGatewayDevice(config, never)
}

async function gateway(dir: string, device: GatewayDevice): Promise<Gateway> {
  await using stack = new AsyncDisposableStack()
  stack.use(device)
  const { log } = device
  const deps = { device, clock: systemClock, random: systemRandom, log, dataDir: dir }
  const bridge = stack.use(
    await startBridge({ ...deps, rulesPath: join(dir, 'gateway.toml') }, never),
  )
  const answers = answersOf({ device, bridge, clock: systemClock })
  const all = stack.move()
  return {
    dir,
    device,
    bridge,
    status: () => answers['status']?.({}, never) as GatewayStatus,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

async function becomes(what: string, check: () => boolean, limitMs = LIMIT_MS): Promise<number> {
  const startMs = performance.now()
  while (!check()) {
    if (performance.now() - startMs > limitMs) throw new Error(`not in ${limitMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return performance.now() - startMs
}

/** The owner pushes, until it is disposed of. */
function counting(owner: TestDevice): Disposable {
  let value = 0
  const timer = setInterval(() => void owner.view.push([{ sensor: 'air', value: ++value }]), 50)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** Names of all that the owner has measured: `<device id>/<seq>/<index>`. */
async function namesOf({ view }: TestDevice): Promise<string[]> {
  const { id } = await view.device('kitchen')
  const names: string[] = []
  const sizes = new Map<number, number>()
  for await (const row of view.history({ device: id, since: 0 }, never)) {
    if ('gap' in row) throw new Error('a gap at the owner itself')
    const index = sizes.get(row.seq) ?? 0
    sizes.set(row.seq, index + 1)
    names.push(`${id}/${row.seq}/${index}`)
  }
  return names
}

describe('two gateways of one home', { timeout: 120_000, ...needs('mosquitto') }, () => {
  it('send one at a time, and the other goes on where the first one stopped', async (t) => {
    await using stack = new AsyncDisposableStack()
    const broker = stack.use(await startBroker(stack.use(tree())))
    const client = await broker.client()
    stack.defer(() => void client.end(true))
    await client.subscribeAsync('kith/kitchen/#')
    const got = new Map<string, number>()
    client.on('message', (topic, payload) => {
      // What waited comes apart from what is new.
      if (!/^kith\/kitchen(\/late)?$/.test(topic)) return
      const said = JSON.parse(payload.toString() || '{}') as { _id?: string; _i?: number[] }
      for (const i of said._i ?? []) {
        const id = `${said._id}/${i}`
        got.set(id, (got.get(id) ?? 0) + 1)
      }
    })

    const home = await dirs.make()
    await writeFile(join(home, 'config.toml'), '[sensor.air]\ntype = "push"\n')
    const owner = stack.use(await startDevice(home, { 'telemetry.max_wait': '100ms' }))
    await makeHome(owner)
    let peers = await loopbackOf(owner)
    const gateways: Gateway[] = []
    for (const name of ['attic', 'cellar']) {
      const dir = await dirs.make()
      await writeFile(
        join(dir, 'gateway.toml'),
        `${mqttSink(broker.port)}[[forward]]\nsink = "m"\n`,
      )
      const device = await gatewayDevice(dir, peers)
      // As under `kith up`: whoever is on this machine reaches its local API.
      await access(join(dir, 'kith.sock'))
      assert.equal(device.home(), undefined)
      const { qr } = await device.view.openPairing({})
      await owner.view.addDevice({ qr, role: 'gateway', name }, never)
      gateways.push(stack.use(await gateway(dir, device)))
      const { addrs } = await device.view.status()
      peers += `,${addrs.filter((one) => one.startsWith('/ip6/::1/')).join(',')}`
    }
    for (const name of ['attic', 'cellar']) await owner.view.signGatewayPolicy(name, ['read:*'])
    using numbers = counting(owner)
    const sending = (): Gateway[] =>
      gateways.filter(({ bridge }) => bridge.sinks.names().length > 0)
    await becomes('one sends', () => sending().length === 1 && got.size > 0)

    const [first] = sending()
    const second = gateways.find((one) => one !== first)
    assert.ok(first !== undefined && second !== undefined)
    const name = first.status().gateway
    await becomes('both know who', () =>
      gateways.every(({ status }) => status().sinks[0]?.holder === name),
    )
    await becomes('it runs', () => first.status().sinks[0]?.state === 'runs')
    assert.equal(second.status().sinks[0]?.state, 'stands-by')
    // What the other one has sent does not stay with this one.
    const many = got.size + 5
    await becomes('more came', () => got.size > many)
    await becomes('it is taken out', () => (second.status().sinks[0]?.waiting ?? 0) < 5)
    assert.equal(second.status().sinks[0]?.sent, 0)

    await first[Symbol.asyncDispose]()
    const before = got.size
    const tookMs = await becomes('it takes over', () => got.size > before, TAKEOVER_MS)
    assert.deepEqual(sending(), [second])
    numbers[Symbol.dispose]()
    const all = await namesOf(owner)
    await becomes('all is there', () => all.every((one) => got.has(one)))
    const twice = [...got.values()].filter((times) => times > 1).length
    t.diagnostic(`took over after ${Math.round(tookMs)} ms; ${twice} of ${got.size} came twice`)
    await assert.rejects(access(join(first.dir, 'kith.sock')))
  })
})
