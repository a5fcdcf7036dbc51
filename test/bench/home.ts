/**
 * A home of two devices on disk, as pairing would leave it, made without the minutes that pairing
 * takes; and one of its devices opened in this process, with everything but the API.
 */
import { mkdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

import { loadConfig } from '../../node/config.ts'
import type { DeviceBase } from '../../node/device/base.ts'
import { startHome, type Home } from '../../node/device/home.ts'
import { systemClock, systemRandom } from '../../node/env.ts'
import { createJournal } from '../../node/journal.ts'
import { createLogger } from '../../node/log.ts'
import { MIGRATIONS } from '../../node/migrations.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { openRunMarker } from '../../node/run-marker.ts'
import { openIncidentStore } from '../../node/storage/incidents.ts'
import { loadOrCreateSeed } from '../../node/storage/key-file.ts'
import { openOpStore } from '../../node/storage/ops.ts'
import { openPackStore } from '../../node/storage/packs.ts'
import { createPeerStore } from '../../node/storage/peers.ts'
import { openSensorChoices } from '../../node/storage/sensor-choices.ts'
import { openWakeStore } from '../../node/storage/wakes.ts'
import { createVerifier, peerIdOf, signerFromSeed } from '../../protocols/identity/index.ts'
import {
  createHome,
  createOpSet,
  createRecoveryKit,
  grant,
  setPolicy,
  withGatewayRights,
} from '../../protocols/members/index.ts'
import { startProcess, type Measured } from './processes.ts'

export interface Place {
  readonly dir: string
  readonly id: string
  readonly port: number
}

export interface PairOnDisk {
  readonly device: Place
  readonly follower: Place
}

const SOURCES = fileURLToPath(new URL('../../node/cli/main.ts', import.meta.url))
export const BUILT = fileURLToPath(new URL('../../dist/node/cli/main.js', import.meta.url))
const FIRST_PORT = 4646
const UP_WITHIN_MS = 30_000

/** Data folders of two devices in one home, under `root`. */
export async function makePair(root: string, port = FIRST_PORT): Promise<PairOnDisk> {
  const [follower, device] = await makeHome(root, port, { role: 'member', count: 1 })
  if (follower === undefined || device === undefined) throw new Error('no pair')
  return { device, follower }
}

interface Devices {
  readonly role: 'member' | 'sensor'
  readonly count: number
  readonly gatewayMay?: readonly string[]
}

/**
 * Data folders of an owner, which comes first, and of `count` devices in its home; where `gatewayMay`
 * says what it may have, the first of them is a gateway.
 */
export async function makeHome(
  root: string,
  port: number,
  { role, count, gatewayMay }: Devices,
): Promise<readonly Place[]> {
  const places = [await place(path.join(root, 'follower'), port)]
  for (let i = 1; i <= count; i++) {
    places.push(await place(path.join(root, count === 1 ? 'device' : `device-${i}`), port + i))
  }
  const bases = await Promise.all(places.map((one) => openBase(one)))
  const [owner, ...devices] = bases
  if (owner === undefined) throw new Error('no owner')
  const genesis = createHome({
    name: 'Bench',
    signer: owner.signer,
    deviceName: 'follower',
    recoveryKey: createRecoveryKit(systemRandom).signer.key,
    random: systemRandom,
    nowMs: Date.now(),
  })
  const ops = createOpSet(genesis.id, owner.verifier)
  ops.add(genesis.bytes)
  const granted = devices.map(({ signer }, i) => {
    const context = { ops, signer: owner.signer, nowMs: Date.now() }
    const name = `device ${i + 1}`
    const own = i === 0 && gatewayMay !== undefined ? 'gateway' : role
    const op = grant(context, { subject: signer.key, role: own, name, paired: 'code' })
    ops.add(op.bytes)
    return op
  })
  const [gateway] = devices
  if (gateway !== undefined && gatewayMay !== undefined) {
    const policy = withGatewayRights(new Uint8Array(), gateway.signer.key, { caps: gatewayMay })
    granted.push(setPolicy({ ops, signer: owner.signer, nowMs: Date.now() }, policy))
  }
  for (const { db, ops: store } of bases) {
    store.append(genesis.id, [genesis, ...granted])
    db.close()
  }
  return places
}

async function place(dir: string, port: number): Promise<Place> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const { seed } = await loadOrCreateSeed(dir, systemRandom)
  return { dir, port, id: peerIdOf(signerFromSeed(seed.reveal()).key) }
}

type Settings = readonly (readonly [name: string, value: string])[]

/** A data folder, and a settings file where there is one. */
interface Opened extends Omit<Place, 'id'> {
  readonly configFile?: string
}

async function openBase(
  { dir, port, configFile }: Opened,
  settings: Settings = [],
): Promise<DeviceBase> {
  const config = await loadConfig({
    env: {},
    homeDir: dir,
    hostName: hostname(),
    uid: process.getuid?.() ?? 0,
    dataDir: dir,
    ...(configFile === undefined ? {} : { configFile }),
    flags: new Map([['mesh.port', String(port)], ['telemetry.interval', '1h'], ...settings]),
  })
  const { seed } = await loadOrCreateSeed(dir, systemRandom)
  const db = openDatabase(path.join(dir, 'kith.db'), MIGRATIONS)
  return {
    config,
    version: 'bench',
    seed,
    signer: signerFromSeed(seed.reveal()),
    verifier: createVerifier(),
    db,
    ops: openOpStore(db),
    packs: openPackStore(db),
    peers: createPeerStore(db),
    sensorChoices: openSensorChoices(db),
    incidents: openIncidentStore(db),
    wakes: openWakeStore(db),
    marker: openRunMarker(dir, { version: 'bench', now: () => systemClock.now() }),
    journal: createJournal(systemClock),
    clock: systemClock,
    random: systemRandom,
    log: createLogger({ level: 'error', format: 'json', out: process.stderr }),
  }
}

/** Start the device of a data folder in this process, without its API. */
export async function openHome(
  where: Opened,
  signal: AbortSignal,
  settings: Settings = [],
): Promise<Home> {
  const base = await openBase(where, settings)
  const home = base.ops.home()
  if (home === undefined) throw new Error(`no home in ${where.dir}`)
  const ops = createOpSet(home, base.verifier)
  for (const bytes of base.ops.loadAll()) ops.add(bytes)
  return startHome(base, ops, signal)
}

export type Form = 'built' | 'sources'

/** `kith up`, as a person would start it. */
export function kithUp({ dir, port }: Place, form: Form): Measured {
  const main = form === 'built' ? BUILT : SOURCES
  const sets = [`mesh.port=${port}`, 'api.port=0', 'log.level=error', 'telemetry.sensors=*']
  const flags = sets.flatMap((one) => ['--set', one])
  return startProcess([main, 'up', '--data-dir', dir, ...flags], { KITH_CONFIG: undefined })
}

export function socketOf({ dir }: Place): string {
  return path.join(dir, 'kith.sock')
}

/** Ask until there is an answer. */
export async function untilUp<T>(ask: () => Promise<T>): Promise<T> {
  const deadlineMs = performance.now() + UP_WITHIN_MS
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (performance.now() > deadlineMs) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}
