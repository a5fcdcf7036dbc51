import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import pino from 'pino'

import type { EventView, NodeView } from '../../node/api/view.ts'
import { loadConfig } from '../../node/config.ts'
import { systemClock, systemRandom } from '../../node/env.ts'
import { startNode, type DeviceNode } from '../../node/node.ts'

/** Devices run on free ports, without multicast, and measure nothing unless asked to. */
const QUIET: readonly (readonly [string, string])[] = [
  ['mesh.port', '0'],
  ['mesh.multicast', 'false'],
]

export interface TestDevice extends AsyncDisposable {
  readonly view: NodeView
  readonly node: DeviceNode
  readonly dir: string
  /** Resolves when the device asked to be ended after a reset. */
  readonly reset: Promise<void>
  stop(): Promise<void>
}

/** Folders that go with the test. */
export interface Folders extends AsyncDisposable {
  make(): Promise<string>
}

export function folders(): Folders {
  const made: string[] = []
  return {
    async make() {
      const dir = await mkdtemp(join(tmpdir(), 'kith-device-'))
      made.push(dir)
      return dir
    },
    async [Symbol.asyncDispose]() {
      for (const dir of made) await rm(dir, { recursive: true, force: true })
    },
  }
}

/** A whole device in this process. `settings` are as in `--set`. */
export async function startDevice(
  dir: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<TestDevice> {
  const config = await loadConfig({
    env: {},
    homeDir: dir,
    hostName: 'kitchen',
    uid: 1000,
    dataDir: dir,
    flags: new Map([...QUIET, ...Object.entries(settings)]),
  })
  const reset = Promise.withResolvers<void>()
  const node: DeviceNode = await startNode(
    {
      config,
      version: '1.0.0',
      clock: systemClock,
      random: systemRandom,
      log: pino({ level: 'silent' }),
      onReset: () => reset.resolve(),
    },
    new AbortController().signal,
  )
  const stop = (): Promise<void> => Promise.resolve(node[Symbol.asyncDispose]())
  return { view: node.view, node, dir, reset: reset.promise, stop, [Symbol.asyncDispose]: stop }
}

/** A home on this device; gives the text of its recovery kit. */
export async function makeHome({ view }: TestDevice, name = 'Oak Road'): Promise<string> {
  const { groups, publicKey } = await view.recoveryKit()
  await view.createHome({ name, recoveryKey: publicKey })
  return groups.join(' ')
}

/** Pair `fresh` by its QR code; it then knows the home but not where `owner` is. */
export async function addByQr(owner: TestDevice, fresh: TestDevice, role: 'owner' | 'member') {
  const { qr } = await fresh.view.openPairing({})
  return owner.view.addDevice({ qr, role }, new AbortController().signal)
}

/** Addresses of a device on this machine, for `mesh.peers`. */
export async function loopbackOf({ view }: TestDevice): Promise<string> {
  const { addrs } = await view.status()
  return addrs.filter((address) => address.startsWith('/ip6/::1/')).join(',')
}

/** The first event that `wanted` accepts, kept or to come. */
export async function eventOf(
  { view }: TestDevice,
  type: string,
  wanted: (event: EventView) => boolean = () => true,
): Promise<EventView> {
  const stop = new AbortController()
  for await (const event of view.events(0, stop.signal)) {
    if (event.type === type && wanted(event)) return event
  }
  throw new Error('the journal has ended')
}
