/** Updates in a home: which devices take them, what the owners' policy says, and who is told. */
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readdir } from 'node:fs/promises'
import { freemem, machine } from 'node:os'
import { basename, join, resolve } from 'node:path'
import process from 'node:process'

import { peerIdOf } from '../../protocols/identity/index.ts'
import { permits, type Device } from '../../protocols/members/index.ts'
import { parseWindow, updatePolicyIn, type UpdatePolicy } from '../../protocols/update/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import type { Logger } from '../log.ts'
import { openTree } from '../release/index.ts'
import { createInstaller, createInstalls, type Installs } from '../services/install/index.ts'
import { startExchange } from '../services/update/exchange.ts'
import { startPublisher, type Publisher } from '../services/update/publisher.ts'
import { quietAt } from '../services/update/quiet.ts'
import {
  startUpdates,
  type Installing,
  type Updates,
  type UpdatesDeps,
} from '../services/update/update.ts'
import { openBlobs, type BlobStore } from '../storage/blobs.ts'
import { updateFolders, type UpdateFolders } from '../update-folders.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import { siteOf } from './update-site.ts'

export interface HomeUpdates extends AsyncDisposable {
  readonly updates: Updates
  readonly publisher: Publisher
  readonly blobs: BlobStore
  readonly policy: () => UpdatePolicy
  /** A build, by the id of its release, may be tried again here. */
  readonly forgive: (name: string, id: string) => Promise<void>
}

/** What others keep free on the disk of the store. */
const MIN_FREE_BYTES = 256 * 1024 * 1024
const MAX_MODEL = 64

/** A home whose updates are loaded. */
export interface UpdatingHome extends Omit<Home, 'updates'> {
  readonly updates: HomeUpdates
}

type Parts = Pick<Home, 'members' | 'mesh' | 'time' | 'telemetry'>

export async function updatesOf(
  base: DeviceBase,
  home: Parts,
  signal: AbortSignal,
): Promise<HomeUpdates> {
  const { config, clock } = base
  const folders = updateFolders(config.paths, config.update.folder)
  const log = base.log.child({ part: 'update' })
  const blobs = await openBlobs({
    folder: folders.chunks,
    maxBytes: config.update.max_bytes,
    minFreeBytes: MIN_FREE_BYTES,
    clock,
  })
  const policy = policyOf(base, home)
  const installs = installing(base, home, folders.installed)
  const updates = await startUpdates(
    serviceDeps(base, home, { folders, blobs, policy, log, installs }),
    signal,
  ).catch(async (error: unknown) => {
    await blobs[Symbol.asyncDispose]()
    throw error
  })
  const publisher = startPublisher(
    {
      ...folders,
      channels: updates.channels,
      clock,
      log,
      timestampDays: (channel) =>
        policy().channels.find(({ name }) => name === channel)?.timestampDays,
    },
    signal,
  )
  void publisher.renew()
  return {
    updates,
    publisher,
    blobs,
    policy,
    forgive: installs.forgive,
    async [Symbol.asyncDispose]() {
      await updates[Symbol.asyncDispose]()
      await blobs[Symbol.asyncDispose]()
    },
  }
}

interface Own extends Pick<HomeUpdates, 'blobs' | 'policy'> {
  readonly folders: UpdateFolders
  readonly log: Logger
  readonly installs: Installing
}

function serviceDeps(
  base: DeviceBase,
  home: Parts,
  { folders, blobs, policy, log, installs }: Own,
): UpdatesDeps {
  const { config, clock, random, signer, verifier } = base
  const { members, mesh, time } = home
  const takes = (key: Uint8Array): boolean => takesUpdates(members.active(), key)
  const quietHours = config.update.quiet_hours.map((hours) => parseWindow(hours))
  const minute = (): number => minuteOf(clock.now())
  const uploadLimit = (): number | undefined => {
    if (quietAt(quietHours, minute()).now) return 0
    return config.update.upload_limit === 0 ? undefined : config.update.upload_limit
  }
  const common = { home: members.home, verifier, clock, log, blobs }
  return {
    ...common,
    folder: folders.state,
    workFolder: folders.work,
    signer,
    time: () => ({ nowMs: clock.now(), floorMs: time.floorMs(), quality: time.quality() }),
    policy,
    devices: () =>
      members.active().flatMap(({ key, role }) => (permits(role, 'update') ? [key] : [])),
    exchange: (parts, until) =>
      startExchange(
        { ...common, ...parts, mesh, random, uploadLimit, allows: takes, isMember: takes },
        until,
      ),
    installs,
    facts: {
      hardware: [...modelLabels(), ...config.update.hardware],
      arch: [...new Set([process.arch, machine()])],
      busy: () => existsSync(folders.busy),
      minute,
      quietHours,
      memoryBytes: () => Math.floor(freemem() / 4),
    },
    installing: config.update.install,
  }
}

/** What one part tells the others. */
export function joinUpdates(
  { journal }: DeviceBase,
  { members, incidents, updates: { updates } }: UpdatingHome,
  signal: AbortSignal,
): void {
  members.events.on(
    'change',
    () => {
      updates.exchange.again()
      void updates.look()
    },
    signal,
  )
  updates.events.on('attack', ({ code, peer }) => incidents.attack(code, peer), signal)
  updates.events.on('refused', ({ code }) => incidents.attack(code), signal)
  updates.events.on(
    'rolledBack',
    () => incidents.record({ kind: 'update-rolled-back', code: 'UPDATE_ILL' }),
    signal,
  )
  updates.events.on(
    'fetching',
    ({ name, version, build, percent = 0, bytesPerSecond, fetch }) =>
      journal.record('update.fetching', {
        name,
        version,
        build,
        percent,
        bytesPerSecond: Math.round(bytesPerSecond),
        peers: fetch.peers,
      }),
    signal,
  )
  updates.events.on(
    'report',
    ({ device, name, version, build, phase, code }) =>
      journal.record('update.report', {
        device: peerIdOf(device),
        deviceName: members.state.devices.get(toHex(device))?.name ?? '',
        name,
        version,
        build,
        phase,
        ...(code === undefined ? {} : { code }),
      }),
    signal,
  )
}

function takesUpdates(active: readonly Device[], key: Uint8Array): boolean {
  const device = active.find((one) => equalBytes(one.key, key))
  return device !== undefined && permits(device.role, 'update')
}

/** A policy that cannot be read allows nothing. */
function policyOf({ log }: DeviceBase, { members }: Pick<Home, 'members'>): () => UpdatePolicy {
  let [read, policy] = [new Uint8Array(), updatePolicyIn(new Uint8Array())]
  return () => {
    const { policy: bytes } = members.state
    if (equalBytes(bytes, read)) return policy
    try {
      policy = updatePolicyIn(bytes)
    } catch (err) {
      log.warn({ err }, 'the policy about updates cannot be read')
      policy = updatePolicyIn(new Uint8Array())
    }
    read = bytes.slice()
    return policy
  }
}

function installing(
  { config, clock, launched }: DeviceBase,
  { telemetry, mesh }: Pick<Home, 'telemetry' | 'mesh'>,
  dir: string,
): Installing & Pick<Installs, 'forgive'> {
  const self = launched === undefined ? undefined : nameOf(launched.root, dir)
  const own =
    launched === undefined
      ? undefined
      : { again: launched.again, reached: () => mesh.peers().length }
  const installs: Installs = createInstalls({
    dir,
    clock,
    ...(self === undefined ? {} : { launched: new Set([self]) }),
    installer: (release, site) =>
      createInstaller(release, site, basename(site.root) === self ? own : undefined),
    site: (name) => siteOf(config, name),
    reading(sensor) {
      const found = telemetry.sensors().find(({ name }) => name === sensor)
      if (typeof found?.value !== 'number' || found.atMs === undefined) return undefined
      return { value: found.value, ageMs: Math.max(0, clock.now() - found.atMs) }
    },
  })
  return {
    ...installs,
    async names() {
      const entries = await readdir(dir, { withFileTypes: true }).catch(() => [])
      return entries.filter((one) => one.isDirectory()).map(({ name }) => name)
    },
    async stage(release, file, until) {
      await mkdir(dir, { recursive: true, mode: 0o755 })
      await installs.stage(release, file, until)
    },
    async bytesOf({ name, version, build, installer }, until) {
      if (installer !== 'tree') return undefined
      return openTree(join(dir, name, 'versions', `${version}-${build}`), until)
    },
  }
}

/** `raspberry-pi-zero-2-w-rev-1.0`: what the machine says that it is. */
function modelLabels(): readonly string[] {
  try {
    const model = readFileSync('/proc/device-tree/model', 'utf8')
    const label = model
      .toLowerCase()
      .replaceAll('\0', '')
      .trim()
      .replaceAll(/[^a-z0-9.]+/g, '-')
    return label === '' ? [] : [label.slice(0, MAX_MODEL)]
  } catch {
    return []
  }
}

/** The name whose versions the launcher runs, where those are the ones that are installed here. */
function nameOf(root: string, dir: string): string | undefined {
  return resolve(root, '..') === resolve(dir) ? basename(resolve(root)) : undefined
}

function minuteOf(nowMs: number): number {
  const date = new Date(nowMs)
  return date.getHours() * 60 + date.getMinutes()
}
