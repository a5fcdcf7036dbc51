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
import { createVerifier, peerIdOf, signerFromSeed } from '../../protocols/identity/index.ts'
import { createHome, createOpSet, createRecoveryKit, grant } from '../../protocols/members/index.ts'
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
const BUILT = fileURLToPath(new URL('../../dist/node/cli/main.js', import.meta.url))
const FIRST_PORT = 4646
const UP_WITHIN_MS = 30_000

/** Data folders of two devices in one home, under `root`. */
export async function makePair(root: string, port = FIRST_PORT): Promise<PairOnDisk> {
  const follower = await place(path.join(root, 'follower'), port)
  const device = await place(path.join(root, 'device'), port + 1)
  const [owner, member] = [await openBase(follower), await openBase(device)]
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
  const context = { ops, signer: owner.signer, nowMs: Date.now() }
  const subject = member.signer.key
  const granted = grant(context, { subject, role: 'member', name: 'device', paired: 'code' })
  for (const { db, ops: store } of [owner, member]) {
    store.append(genesis.id, [genesis, granted])
    db.close()
  }
  return { device, follower }
}

async function place(dir: string, port: number): Promise<Place> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const { seed } = await loadOrCreateSeed(dir, systemRandom)
  return { dir, port, id: peerIdOf(signerFromSeed(seed.reveal()).key) }
}

async function openBase({ dir, port }: Omit<Place, 'id'>): Promise<DeviceBase> {
  const config = await loadConfig({
    env: {},
    homeDir: dir,
    hostName: hostname(),
    uid: process.getuid?.() ?? 0,
    dataDir: dir,
    flags: new Map([
      ['mesh.port', String(port)],
      ['telemetry.interval', '1h'],
    ]),
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
    marker: openRunMarker(dir, { version: 'bench', now: () => systemClock.now() }),
    journal: createJournal(systemClock),
    clock: systemClock,
    random: systemRandom,
    log: createLogger({ level: 'error', format: 'json', out: process.stderr }),
  }
}

/** Start the device of a data folder in this process, without its API. */
export async function openHome(where: Omit<Place, 'id'>, signal: AbortSignal): Promise<Home> {
  const base = await openBase(where)
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
