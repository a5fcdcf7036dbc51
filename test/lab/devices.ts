/**
 * Real Kith processes in network namespaces. What a person would do goes through the command line;
 * what a lab only looks at goes through the local API's client, over the same Unix socket, which
 * passes the walls of a network namespace. Every wait is bounded and fails with the last lines of
 * the devices' logs.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { createClient, type ApiClient } from '../../node/api/client.ts'
import type { DeviceRow, HistoryRow, Reading } from '../../node/api/view.ts'
import { startWorld, type Topology, type World } from './netns.ts'
import { until } from './until.ts'

const CLI = fileURLToPath(new URL('../../node/cli/main.ts', import.meta.url))
const GATEWAY = fileURLToPath(new URL('../../gateway/cli.ts', import.meta.url))
const LAUNCH = fileURLToPath(new URL('../../node/services/install/launch.ts', import.meta.url))
const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url))
const START_LIMIT_MS = 30_000
const COMMAND_LIMIT_MS = 60_000
const STOP_LIMIT_MS = 15_000
const KEPT_LOG_LINES = 4000
const SHOWN_LOG_LINES = 12
const PAGE_BYTES = 4096

/** Readings often enough to see a gap of a second or two. */
const SETTINGS = {
  'api.dashboard': 'false',
  'telemetry.interval': '1s',
  'telemetry.sensors': '*',
  'log.level': 'debug',
}

export interface LabDevice {
  readonly name: string
  readonly dataDir: string
  /** The local API; its calls fail while the device is down. */
  readonly api: ApiClient
  /** Resolves when the device answers. */
  start(options?: StartOptions): Promise<void>
  /** Resolves when the process is gone. */
  stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /** Run `kith ARGS --json` for this device; what it printed, one value for each line. */
  kith(args: readonly string[], input?: string): Promise<unknown[]>
  /** The last lines of its log. */
  lastLines(): string
  /** What it logged of late that matches. */
  logged(pattern: RegExp): readonly string[]
  /** Of the running process. @throws Error while it is down */
  usage(): Promise<Usage>
}

/** What a process has cost so far. */
export interface Usage {
  /** Monotonic time of this look. */
  readonly atMs: number
  readonly cpuMs: number
  readonly rssBytes: number
}

export interface LabOptions {
  /** Names in the topology that are no Kith devices. */
  readonly others?: readonly string[]
  /** Settings by device, over those that all have. */
  readonly settings?: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Settings files by device: for sensors, which have no flags. */
  readonly files?: Readonly<Record<string, string>>
  /** What `kith add` is told of a device besides its code and name. */
  readonly terms?: Readonly<Record<string, readonly string[]>>
  /** Releases of this name are Kith itself: every device runs under the launcher. */
  readonly launched?: string
  /** Devices that run `kith gateway up`. */
  readonly gateways?: readonly string[]
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>
}

export interface Lab extends AsyncDisposable {
  readonly world: World
  device(name: string): LabDevice
  /** Start all devices, make a home on the first and add the others to it. */
  makeHome(): Promise<void>
  /** Add a running device to the home of `owner`. */
  pair(owner: string, candidate: string): Promise<void>
  /** Wait until `check` gives something true. The failure shows every device's log. */
  until<T>(what: string, limitMs: number, check: () => Promise<T | undefined | false>): Promise<T>
  /** Wait until every device of `names` sees every other online; the milliseconds that it took. */
  online(names: readonly string[], limitMs: number): Promise<number>
  /** What `from` knows of `about`. */
  row(from: string, about: string): Promise<DeviceRow | undefined>
  /** Wait for a reading of `of` at `at`, made after the call and verified there. */
  freshReading(at: string, of: string, limitMs: number): Promise<Reading>
}

export async function startLab(
  topology: Topology,
  { others = [], settings = {}, files = {}, terms = {}, launched, gateways = [] }: LabOptions = {},
): Promise<Lab> {
  const folder = await mkdtemp(path.join(tmpdir(), 'kith-lab-'))
  const world = await startWorld(topology)
  const stop = new AbortController()
  const devices = new Map<string, LabDevice>()
  for (const name of world.devices.filter((one) => !others.includes(one))) {
    const dataDir = path.join(folder, name)
    const file = files[name]
    if (file !== undefined) {
      await mkdir(dataDir, { mode: 0o700 })
      await writeFile(path.join(dataDir, 'config.toml'), file)
    }
    const isGateway = gateways.includes(name)
    const own = { ...SETTINGS, ...settings[name] }
    const place = { name, dataDir, launched, isGateway, settings: own }
    devices.set(name, createDevice(world, place, stop.signal))
  }
  const lab: Lab = {
    world,
    device(name) {
      const device = devices.get(name)
      if (device === undefined) throw new Error(`no device ${name}`)
      return device
    },
    async makeHome() {
      await Promise.all([...devices.values()].map((device) => device.start()))
      const [first = '', ...more] = devices.keys()
      const named = ['--device-name', first, '--recovery-out', path.join(folder, 'kit')]
      await lab.device(first).kith(['home', 'create', 'Lab', ...named])
      for (const other of more) await lab.pair(first, other)
    },
    pair: (owner, candidate) =>
      pair(lab.device(owner), lab.device(candidate), terms[candidate] ?? []),
    until: (what, limitMs, check) => until(what, limitMs, check, () => logs([...devices.values()])),
    online: (names, limitMs) => online(lab, names, limitMs),
    async row(from, about) {
      const rows = await lab.device(from).api.devices()
      return rows.find(({ name }) => name === about)
    },
    freshReading: (at, of, limitMs) => freshReading(lab, { at, of, limitMs }),
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('the lab is over'))
      await Promise.allSettled([...devices.values()].map((device) => device.stop('SIGTERM')))
      await world[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    },
  }
  return lab
}

interface Place {
  readonly name: string
  readonly launched: string | undefined
  readonly isGateway: boolean
  readonly dataDir: string
  readonly settings: Readonly<Record<string, string>>
}

function createDevice(
  world: World,
  { name, dataDir, launched, isGateway, settings }: Place,
  signal: AbortSignal,
): LabDevice {
  const log: string[] = []
  let child: ChildProcess | undefined
  const running = (): boolean => child?.exitCode === null && child.signalCode === null
  const socket = path.join(dataDir, 'kith.sock')
  const api = createClient(socket, signal)

  const device: LabDevice = {
    name,
    dataDir,
    api,
    async start({ env } = {}) {
      const sets = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`])
      const program =
        launched === undefined ? [CLI] : launcher(path.join(dataDir, 'installed', launched))
      const words = isGateway ? [GATEWAY, 'gateway', 'up'] : [...program, 'up']
      const command = [process.execPath, ...words, '--data-dir', dataDir, '--json', ...sets]
      child = world.spawn(name, command, {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, ...env },
      })
      keepLog(child, log)
      await until(
        `${name} answers`,
        START_LIMIT_MS,
        async () => {
          if (!running()) throw new Error(`${name} ended with ${child?.exitCode}`)
          return (await api.status()).device.id !== ''
        },
        () => logs([device]),
      )
    },
    async stop(how) {
      if (child === undefined || !running()) return
      const ended = once(child, 'exit')
      const force = setTimeout(() => child?.kill('SIGKILL'), STOP_LIMIT_MS)
      child.kill(how)
      await ended
      clearTimeout(force)
    },
    kith: async (args, input) => {
      const full = [
        args[0] === 'gateway' ? GATEWAY : CLI,
        '--data-dir',
        dataDir,
        '--json',
        '--yes',
        ...args,
      ]
      return linesOf(await run(process.execPath, full, input, () => logs([device])))
    },
    lastLines: () => log.slice(-SHOWN_LOG_LINES).join('\n'),
    logged: (pattern) => log.filter((line) => pattern.test(line)),
    usage: () => usageOf(running() ? child?.pid : undefined),
  }
  return device
}

function launcher(root: string): string[] {
  return [LAUNCH, '--base', CHECKOUT, root, path.relative(CHECKOUT, CLI)]
}

/** From /proc; the kernel counts a hundred ticks in a second (USER_HZ). */
async function usageOf(pid: number | undefined): Promise<Usage> {
  if (pid === undefined) throw new Error('not running')
  const [stat, statm] = await Promise.all([
    readFile(`/proc/${pid}/stat`, 'utf8'),
    readFile(`/proc/${pid}/statm`, 'utf8'),
  ])
  // The name in brackets may hold anything; user and system time are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = Number(fields[11]) + Number(fields[12])
  return {
    atMs: performance.now(),
    cpuMs: ticks * 10,
    rssBytes: Number(statm.split(' ')[1]) * PAGE_BYTES,
  }
}

/** The share of one core between two looks. */
export function cpuBetween(before: Usage, after: Usage): number {
  return (after.cpuMs - before.cpuMs) / (after.atMs - before.atMs)
}

function keepLog(child: ChildProcess, log: string[]): void {
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue
    createInterface({ input: stream }).on('line', (line) => {
      log.push(line.slice(0, 400))
      log.splice(0, log.length - KEPT_LOG_LINES)
    })
  }
}

function logs(devices: readonly LabDevice[]): string {
  return devices.map((device) => `\n--- ${device.name}\n${device.lastLines()}`).join('')
}

async function run(
  program: string,
  args: readonly string[],
  input: string | undefined,
  detail: () => string,
): Promise<string> {
  const running = promisify(execFile)(program, args, { timeout: COMMAND_LIMIT_MS })
  running.child.stdin?.end(input ?? '')
  try {
    return (await running).stdout
  } catch (error) {
    const { stderr = '', code } = error as { stderr?: string; code?: number | string }
    const words = args.slice(1).join(' ')
    throw new Error(`kith ${words}: exit ${code}\n${stderr}${detail()}`, { cause: error })
  }
}

function linesOf(text: string): unknown[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown)
}

/** `kith pair` there, `kith add` here with the code on standard input. */
async function pair(
  owner: LabDevice,
  candidate: LabDevice,
  terms: readonly string[],
): Promise<void> {
  const args = [CLI, '--data-dir', candidate.dataDir, '--json', 'pair']
  const waiting = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(waiting, 'exit')
  const lines = createInterface({ input: waiting.stdout })[Symbol.asyncIterator]()
  const limit = setTimeout(() => waiting.kill(), COMMAND_LIMIT_MS)
  try {
    const first = await lines.next()
    if (first.done === true) throw new Error(`no pairing code${logs([candidate])}`)
    const { code } = JSON.parse(first.value) as { code: string }
    const named = ['--code-file', '-', '--name', candidate.name]
    await owner.kith(['add', ...named, ...terms], `${code}\n`)
    const second = await lines.next()
    const paired = second.done !== true && (JSON.parse(second.value) as { paired?: boolean }).paired
    if (paired !== true) throw new Error(`not paired${logs([owner, candidate])}`)
    await ended
  } finally {
    clearTimeout(limit)
    waiting.kill()
  }
}

async function online(lab: Lab, names: readonly string[], limitMs: number): Promise<number> {
  const started = performance.now()
  await lab.until(`${names.join(', ')} see each other`, limitMs, async () => {
    for (const from of names) {
      const rows = await lab.device(from).api.devices()
      const there = rows.filter(({ self, state }) => self || state === 'online')
      const missing = names.filter((name) => !there.some((row) => row.name === name))
      if (missing.length > 0) throw new Error(`${from} does not see ${missing.join(', ')}`)
    }
    return true
  })
  return performance.now() - started
}

async function freshReading(
  lab: Lab,
  { at, of, limitMs }: { at: string; of: string; limitMs: number },
): Promise<Reading> {
  const id = (await lab.device(of).api.status()).device.id
  const since = Date.now()
  const readings = lab.device(at)
  return lab.until(`${at} has a new reading of ${of}`, limitMs, async () => {
    const found = (await historyOf(readings, id, since)).filter((row) => !('gap' in row))
    return (found as Reading[]).find((reading) => reading.verified && reading.at >= since)
  })
}

/** All rows that `device` keeps of the device `id`, from `since` on. */
export async function historyOf(
  device: LabDevice,
  id: string,
  since = 0,
): Promise<readonly HistoryRow[]> {
  const stop = AbortSignal.timeout(COMMAND_LIMIT_MS)
  const rows: HistoryRow[] = []
  for await (const row of device.api.history({ device: id, since }, stop)) rows.push(row)
  return rows
}
