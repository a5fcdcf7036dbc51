/**
 * Small networks of network namespaces, without root: devices on switched segments, as data. One
 * holder process owns a user, mount and network namespace in which all others are made; it ends
 * when its standard input closes, so nothing is left behind however a test ends. Not a simulator:
 * the kernel's own IPv6 runs here, with duplicate address detection off so that addresses can be
 * used at once.
 */
import { execFile, spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { promisify } from 'node:util'

import { until } from './until.ts'

const execute = promisify(execFile)

/** One network interface of one device. */
export interface Port {
  readonly device: string
  /** Such as `eth0`. */
  readonly interface: string
  /** With their prefix lengths, beside the link-local address that every interface has. */
  readonly addresses?: readonly string[]
}

/** Segments by name: the interfaces that one switch joins. */
export type Topology = Readonly<Record<string, readonly Port[]>>

export interface Counters {
  readonly rxPackets: number
  readonly txPackets: number
  readonly rxBytes: number
  readonly txBytes: number
}

export interface World extends AsyncDisposable {
  readonly devices: readonly string[]
  /** Start a program in a device's namespace. It is killed with the world, or with this process. */
  spawn(device: string, command: readonly string[], options: SpawnOptions): ChildProcess
  /** `ip ARGS` in a device's namespace. */
  ip(device: string, ...args: readonly string[]): Promise<string>
  /** The interface as the device's own administrator switches it. */
  setLink(device: string, name: string, state: 'up' | 'down'): Promise<void>
  /** The cable: the other end of it, so that the device only sees the carrier go. */
  setCable(device: string, name: string, state: 'in' | 'out'): Promise<void>
  /** Make the cable slow, in both directions: kilobits of whole packets in a second. */
  throttle(device: string, name: string, kilobits: number): Promise<void>
  /** Move the named devices of a segment to a switch of their own. */
  partition(segment: string, devices: readonly string[]): Promise<void>
  /** All devices of a segment on one switch again. */
  heal(segment: string): Promise<void>
  counters(device: string, name: string): Promise<Counters>
}

interface Wired extends Port {
  readonly segment: number
  /** The end of the cable at the switch. */
  readonly plug: string
}

const SBIN = '/usr/local/sbin:/usr/sbin:/sbin'
const READY_LIMIT_MS = 10_000

/** The namespace of the switches; no device may be called so. */
const SWITCH = 'switch'

export async function startWorld(topology: Topology): Promise<World> {
  const holder = await startHolder()
  try {
    return await buildWorld(holder, topology)
  } catch (error) {
    holder.stdin?.end()
    throw error
  }
}

async function startHolder(): Promise<ChildProcess> {
  const script = 'mount -t tmpfs tmpfs /run && mkdir /run/netns && echo ready && exec cat'
  const holder = spawn('unshare', ['-Urnm', 'sh', '-ec', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: environment(),
  })
  const ended = once(holder, 'exit').then(([code]) => {
    throw new Error(`no namespaces: unshare ended with ${String(code)}`)
  })
  await Promise.race([once(holder.stdout, 'data'), ended])
  ended.catch(() => undefined)
  return holder
}

async function buildWorld(holder: ChildProcess, topology: Topology): Promise<World> {
  const names = Object.keys(topology)
  const wires = names.flatMap((name, segment) =>
    (topology[name] ?? []).map((port, index) => ({
      ...port,
      segment,
      plug: `s${segment}p${index}`,
    })),
  )
  const devices = [...new Set(wires.map(({ device }) => device))]
  const running = new Set<ChildProcess>()
  const inside = enter(holder)
  const run = async (...command: readonly string[]): Promise<string> => {
    const [file = '', ...args] = [...inside, ...command]
    return (await execute(file, args, { env: environment() })).stdout
  }
  const find = (device: string, name: string): Wired => {
    const wire = wires.find((one) => one.device === device && one.interface === name)
    if (wire === undefined) throw new Error(`${device} has no ${name}`)
    return wire
  }
  const move = (wire: Wired, bridge: string): Promise<string> =>
    run('ip', '-n', SWITCH, 'link', 'set', wire.plug, 'master', bridge)
  const portsOf = (segment: string): Wired[] =>
    wires.filter((wire) => wire.segment === names.indexOf(segment))

  await run('sh', '-ec', buildScript(names.length, devices, wires))
  const world: World = {
    devices,
    spawn(device, command, options) {
      const [file = '', ...args] = inside
      const there = ['ip', 'netns', 'exec', device, 'setpriv', '--pdeathsig', 'KILL']
      const child = spawn(file, [...args, ...there, ...command], {
        ...options,
        env: environment(options.env),
      })
      running.add(child)
      child.once('exit', () => running.delete(child))
      return child
    },
    ip: (device, ...args) => run('ip', '-n', device, ...args),
    async setLink(device, name, state) {
      await run('ip', '-n', device, 'link', 'set', find(device, name).interface, state)
      if (state === 'up') await run('sh', '-ec', addressLines(find(device, name)))
    },
    async setCable(device, name, state) {
      const plug = find(device, name).plug
      await run('ip', '-n', SWITCH, 'link', 'set', plug, state === 'in' ? 'up' : 'down')
    },
    async throttle(device, name, kilobits) {
      const { plug, interface: own } = find(device, name)
      // The queue before it is short, as in a good switch: what waits there can be overtaken by nothing.
      const limit = ['tbf', 'rate', `${kilobits}kbit`, 'burst', '4kb', 'limit', '16kb']
      for (const [where, dev] of [
        [SWITCH, plug],
        [device, own],
      ] as const) {
        await run('tc', '-n', where, 'qdisc', 'replace', 'dev', dev, 'root', ...limit)
      }
    },
    async partition(segment, apart) {
      for (const wire of portsOf(segment)) {
        if (apart.includes(wire.device)) await move(wire, `apart${wire.segment}`)
      }
    },
    async heal(segment) {
      for (const wire of portsOf(segment)) await move(wire, `br${wire.segment}`)
    },
    async counters(device, name) {
      const json = await run('ip', '-n', device, '-s', '-j', 'link', 'show', 'dev', name)
      return countersIn(json)
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...running].map((child) => end(child, () => child.kill('SIGKILL'))))
      await end(holder, () => holder.stdin?.end())
    },
  }
  await until('every interface has its link-local address', READY_LIMIT_MS, async () => {
    const found = await Promise.all(wires.map((wire) => linkLocalOf(world, wire)))
    return found.every((address) => address !== undefined)
  })
  return world
}

/** Do what makes `child` end, unless it has, and wait for it. */
async function end(child: ChildProcess, how: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  how()
  await ended
}

function enter(holder: ChildProcess): string[] {
  const flags = ['--user', '--net', '--mount', '--preserve-credentials']
  return ['nsenter', '--target', String(holder.pid), ...flags, '--']
}

function environment(extra: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return { ...extra, PATH: `${process.env['PATH'] ?? ''}${path.delimiter}${SBIN}` }
}

/** Shell, because one process is ten times faster here than one for every line. */
function buildScript(
  segments: number,
  devices: readonly string[],
  wires: readonly Wired[],
): string {
  const set = (name: string, file: string, value: number): string =>
    `ip netns exec ${name} sh -c 'echo ${value} > /proc/sys/net/ipv6/conf/${file}'`
  const lines = [`ip netns add ${SWITCH}`, set(SWITCH, 'default/disable_ipv6', 1)]
  for (let i = 0; i < segments; i++) {
    for (const bridge of [`br${i}`, `apart${i}`]) {
      lines.push(
        `ip -n ${SWITCH} link add ${bridge} type bridge mcast_snooping 0 forward_delay 0`,
        `ip -n ${SWITCH} link set ${bridge} up`,
      )
    }
  }
  for (const device of devices) {
    lines.push(
      `ip netns add ${device}`,
      set(device, 'default/accept_dad', 0),
      set(device, 'default/dad_transmits', 0),
      set(device, 'default/router_solicitations', 0),
      `ip -n ${device} link set lo up`,
    )
  }
  for (const wire of wires) {
    const far = `peer name ${wire.interface} netns ${wire.device}`
    lines.push(
      `ip link add ${wire.plug} netns ${SWITCH} type veth ${far}`,
      `ip -n ${SWITCH} link set ${wire.plug} master br${wire.segment} up`,
      `ip -n ${wire.device} link set ${wire.interface} up`,
      addressLines(wire),
    )
  }
  return lines.filter((line) => line !== '').join('\n')
}

/** IPv6 addresses go away with the link, so they are set again each time. */
function addressLines({ device, interface: name, addresses = [] }: Port): string {
  return addresses
    .map((address) => {
      const flags = address.includes(':') ? ' nodad' : ''
      return `ip -n ${device} addr replace ${address} dev ${name}${flags}`
    })
    .join('\n')
}

interface AddressJson {
  readonly addr_info: readonly { readonly local?: string; readonly tentative?: boolean }[]
}

/** The link-local address of an interface, without its zone. */
export async function linkLocalOf(
  world: World,
  { device, interface: name }: Port,
): Promise<string | undefined> {
  const json = await world.ip(device, '-6', '-j', 'addr', 'show', 'dev', name, 'scope', 'link')
  const found = (JSON.parse(json) as readonly Partial<AddressJson>[]).flatMap(
    (one) => one.addr_info ?? [],
  )
  // `ip` leaves empty objects where it filtered.
  return found.find(({ local, tentative }) => local !== undefined && tentative !== true)?.local
}

function countersIn(json: string): Counters {
  interface Stats {
    readonly packets: number
    readonly bytes: number
  }
  const [link] = JSON.parse(json) as readonly { stats64: { rx: Stats; tx: Stats } }[]
  if (link === undefined) throw new Error('no such interface')
  const { rx, tx } = link.stats64
  return { rxPackets: rx.packets, txPackets: tx.packets, rxBytes: rx.bytes, txBytes: tx.bytes }
}
