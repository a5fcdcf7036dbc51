/** A home of two devices in this process: an owner that measures, and a gateway beside a real broker. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import pino from 'pino'
import type { MqttClient } from 'mqtt'

import { startBridge, type Bridge } from '../../gateway/bridge.ts'
import { gatewayOf } from '../../node/device/gateway-door.ts'
import type { GatewayDevice } from '../../node/device/gateway.ts'
import { systemClock, systemRandom } from '../../node/env.ts'
import { loopbackOf, makeHome, startDevice, type Folders, type TestDevice } from './device.ts'
import { startBroker, type Broker } from './mosquitto.ts'
import { tree } from './sensors.ts'

const never = new AbortController().signal

export interface Said {
  readonly topic: string
  readonly text: string
}

export interface FarSide {
  readonly client: MqttClient
  readonly said: readonly Said[]
  /** The first message that `wanted` accepts, said or to come. */
  hears(wanted: (said: Said) => boolean): Promise<Said>
}

export interface GatewayHome extends AsyncDisposable {
  readonly owner: TestDevice
  readonly gate: TestDevice
  readonly device: GatewayDevice
  readonly bridge: Bridge
  readonly broker: Broker
  readonly far: FarSide
  /** What the gateway's own log said. */
  readonly log: readonly string[]
  /** The owner's fingerprint. */
  readonly fingerprint: string
  readonly level: string
  rules(text: string): Promise<void>
}

export function mqttSink(port: number): string {
  return `[sink.m]\ntype = "mqtt"\nbroker = "mqtt://[::1]:${port}"\n`
}

/** `rules`: what follows the sink `m` in gateway.toml. */
export async function gatewayHome(dirs: Folders, rules: string): Promise<GatewayHome> {
  await using stack = new AsyncDisposableStack()
  const files = stack.use(tree())
  const broker = stack.use(await startBroker(files))
  const far = await farSideOf(await broker.client())
  stack.defer(() => void far.client.end(true))
  const [dir, other] = [await dirs.make(), await dirs.make()]
  const level = join(dir, 'level')
  await writeFile(level, '1')
  const sensors = ['air', 'door'].map((name) => `[sensor.${name}]\ntype = "push"\n`).join('\n')
  const property = `[property.level]\ntype = "file"\npath = "${level}"\nvalue = "number"\n`
  await writeFile(join(dir, 'config.toml'), `${sensors}\n${property}`)
  const owner = stack.use(await startDevice(dir, { 'telemetry.max_wait': '1s' }))
  await makeHome(owner)
  const gate = stack.use(await startDevice(other, { 'mesh.peers': await loopbackOf(owner) }))
  const { qr } = await gate.view.openPairing({})
  await owner.view.addDevice({ qr, role: 'gateway', name: 'gate' }, never)
  const { fingerprint } = await owner.view.device('kitchen')
  const lines: string[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) })
  const stop = new AbortController()
  stack.defer(() => stop.abort(new Error('over')))
  const door = gatewayOf(gate.node, { version: '1.0.0', log }, stop.signal)
  const device = { ...door, ended: gate.reset, [Symbol.asyncDispose]: () => gate.stop() }
  const rulesPath = join(other, 'gateway.toml')
  const write = (text: string): Promise<void> =>
    writeFile(rulesPath, `${mqttSink(broker.port)}${text}`)
  await write(rules)
  const bridge = stack.use(
    await startBridge(
      { device, clock: systemClock, random: systemRandom, log, dataDir: other, rulesPath },
      stop.signal,
    ),
  )
  const parts = { owner, gate, device, bridge, broker, far, log: lines, fingerprint, level }
  const all = stack.move()
  return { ...parts, rules: write, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

async function farSideOf(client: MqttClient): Promise<FarSide> {
  const said: Said[] = []
  await client.subscribeAsync('#')
  client.on('message', (topic, payload) => void said.push({ topic, text: payload.toString() }))
  return {
    client,
    said,
    async hears(wanted) {
      for (;;) {
        const found = said.find(wanted)
        if (found !== undefined) return found
        await new Promise((resolve) => client.once('message', resolve))
      }
    },
  }
}
