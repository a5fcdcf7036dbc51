/**
 * Brings up the demo's home: three real device processes, discovery, pairing with real codes. Every
 * step is what a person would do by hand; nothing is reached around.
 */
import { setTimeout as pause } from 'node:timers/promises'

import { createClient, type ApiClient } from '../../api/client.ts'
import type { Clock } from '../../env.ts'
import { NodeError } from '../../errors.ts'
import type { Scope } from '../../lifecycle.ts'
import { startDevice, type DemoDevice } from './device.ts'

export interface Member {
  readonly device: DemoDevice
  readonly client: ApiClient
  /** Peer id. */
  readonly id: string
}

export interface DemoHome {
  readonly hub: Member
  readonly others: readonly Member[]
  /** Devices that were paired in this run. */
  readonly paired: number
}

export interface DemoOptions {
  readonly root: string
  readonly clock: Clock
  /** Tell the person what happens. */
  readonly say: (line: string) => void
}

const HUB = 'hub'
const OTHERS = ['attic', 'cellar'] as const
const HOME_NAME = 'Demo home'

/** How long a process may take until it answers. */
const START_MS = 20_000
const POLL_MS = 50

/** Everything that the devices are told besides their names. */
const SETTINGS = {
  KITH_MESH_PORT: '0',
  KITH_API_PORT: '0',
  KITH_TELEMETRY_INTERVAL: '1s',
  KITH_TELEMETRY_SENSORS: 'load,cpu,memory.used,disk.available,temperature*,uptime',
  KITH_LOG_LEVEL: 'warn',
}

/** Start the devices, make a home on the hub, and pair the others with it. */
export async function startHome(options: DemoOptions, scope: Scope): Promise<DemoHome> {
  const { say } = options
  say('Starting three devices …')
  const [hub, ...others] = await Promise.all(
    [HUB, ...OTHERS].map((name) => startMember(name, SETTINGS, options, scope)),
  )
  if (hub === undefined) throw new NodeError('NODE_INTERNAL', 'The hub did not start.')
  await scope.use('stopping together', () => ({
    [Symbol.asyncDispose]: () => stopAll([hub, ...others]),
  }))
  await createHome(hub, options, scope)
  if (!(await hasMulticast(hub))) return startDirect({ hub, others }, options, scope)
  let paired = 0
  for (const other of others) {
    if ((await other.client.status()).home !== null) continue
    const { code } = await other.client.openPairing({})
    say(`${other.device.name} shows the code ${code}; the hub looks for it over IPv6 multicast …`)
    await hub.client.addDevice({ code, role: 'member' }, scope.signal)
    say(`${other.device.name} is in the home.`)
    paired += 1
  }
  return { hub, others, paired }
}

async function stopAll(members: readonly Member[]): Promise<void> {
  await Promise.all(members.map(({ device }) => device[Symbol.asyncDispose]()))
}

async function startMember(
  name: string,
  env: Readonly<Record<string, string>>,
  { root, clock }: DemoOptions,
  scope: Scope,
): Promise<Member> {
  const device = await scope.use(name, () => startDevice({ name, root, env, clock }))
  const client = createClient(device.socketPath, scope.signal)
  const id = await answer(device, client, clock, scope.signal)
  return { device, client, id }
}

/** The peer id of a device that has just been started, once it answers. */
async function answer(
  device: DemoDevice,
  client: ApiClient,
  clock: Clock,
  signal: AbortSignal,
): Promise<string> {
  let ended = false
  void device.ended.then(() => {
    ended = true
  })
  const until = clock.monotonic() + START_MS
  for (;;) {
    try {
      return (await client.status()).device.id
    } catch (error) {
      const waiting = error instanceof NodeError && error.code === 'NODE_NOT_RUNNING'
      if (!waiting || signal.aborted) throw error
    }
    if (ended || clock.monotonic() > until) {
      throw new NodeError('NODE_INTERNAL', `${device.name} did not start.`, {
        hint: device.lastLines(),
      })
    }
    await pause(POLL_MS, undefined, { signal })
  }
}

async function createHome({ client }: Member, { say }: DemoOptions, scope: Scope): Promise<void> {
  scope.signal.throwIfAborted()
  if ((await client.status()).home !== null) return
  // Nobody needs to get back into a demo: the kit is made for real, and forgotten.
  const { publicKey } = await client.recoveryKit()
  const { home } = await client.createHome({ name: HOME_NAME, recoveryKey: publicKey })
  say(`The hub made the home “${HOME_NAME}” (${home}) and owns it.`)
}

async function hasMulticast({ client }: Member): Promise<boolean> {
  const checks = await client.doctor()
  return checks.find(({ check }) => check === 'multicast')?.ok !== false
}

/**
 * Without multicast nothing finds anything by itself: pair by the QR code's text, which holds
 * addresses, then start all again knowing the addresses of each other.
 */
async function startDirect(
  { hub, others }: { hub: Member; others: readonly Member[] },
  options: DemoOptions,
  scope: Scope,
): Promise<DemoHome> {
  const { say } = options
  say('This machine has no network interface that carries multicast: using direct addresses.')
  let paired = 0
  for (const other of others) {
    if ((await other.client.status()).home !== null) continue
    const { qr } = await other.client.openPairing({})
    await hub.client.addDevice({ qr, role: 'member' }, scope.signal)
    say(`${other.device.name} is in the home, paired by its QR code.`)
    paired += 1
  }
  const { addrs } = await hub.client.status()
  const peers = addrs.join(',')
  const again: Member[] = []
  for (const other of others) {
    await other.device[Symbol.asyncDispose]()
    const env = { ...SETTINGS, KITH_MESH_PEERS: peers }
    again.push(await startMember(other.device.name, env, options, scope))
  }
  return { hub, others: again, paired }
}
