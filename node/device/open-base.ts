/**
 * Opens what a device has whether or not it is in a home: folder, lock, key, database and the stores
 * in it. Ends with the scope that it is given.
 */
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'

import { createVerifier, signerFromSeed } from '../../protocols/identity/index.ts'
import { createOpSet, MembersError, type OpSet } from '../../protocols/members/index.ts'
import type { Config } from '../config.ts'
import type { Clock, Random } from '../env.ts'
import { NodeError } from '../errors.ts'
import { createJournal } from '../journal.ts'
import type { Scope } from '../lifecycle.ts'
import type { Logger } from '../log.ts'
import { MIGRATIONS } from '../migrations.ts'
import { openRunMarker, type RunMarker } from '../run-marker.ts'
import { BALLAST_FILE, openBallast } from '../storage/ballast.ts'
import { openDatabase } from '../storage/db.ts'
import { ensurePrivateFolder } from '../storage/files.ts'
import { beginStart } from '../storage/first-start.ts'
import { openIncidentStore } from '../storage/incidents.ts'
import { KEY_FILE, loadOrCreateSeed } from '../storage/key-file.ts'
import { lockFolder } from '../storage/lock.ts'
import { openOpStore } from '../storage/ops.ts'
import { openPackStore } from '../storage/packs.ts'
import { createPeerStore } from '../storage/peers.ts'
import { openSensorChoices } from '../storage/sensor-choices.ts'
import { openWakeStore } from '../storage/wakes.ts'
import type { DeviceBase, Launched } from './base.ts'

export interface BaseDeps {
  readonly config: Config
  readonly version: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly launched?: Launched | undefined
}

export const FILES = { key: KEY_FILE, database: 'kith.db' }

/** @throws NodeError NODE_LOCKED, NODE_KEY_FILE, NODE_DATABASE, NODE_DENIED */
export async function openBase(deps: BaseDeps, scope: Scope): Promise<DeviceBase> {
  const { config, random, clock } = deps
  const { dataDir } = config.paths
  await ensurePrivateFolder(dataDir)
  const ballast = openBallast(join(dataDir, BALLAST_FILE))
  if (ballast.scarce()) ballast.release()
  await scope.use('folder', () => lockFolder(dataDir))
  const marker = openRunMarker(dataDir, { version: deps.version, now: () => clock.now() })
  await scope.use('marker', () => ({ [Symbol.asyncDispose]: async () => marker.done() }))
  scope.signal.addEventListener('abort', () => marker.stage('stopping'), { once: true })
  const start = await beginStart(dataDir, FILES)
  const { seed } = await loadOrCreateSeed(dataDir, random)
  const db = openOrTell(join(dataDir, FILES.database), marker)
  await scope.use('database', () => ({ [Symbol.asyncDispose]: async () => db.close() }))
  await start.done()
  ballast.refill()
  return {
    ...deps,
    seed,
    db,
    signer: signerFromSeed(seed.reveal()),
    verifier: createVerifier(),
    ops: openOpStore(db),
    packs: openPackStore(db, ballast),
    peers: createPeerStore(db),
    sensorChoices: openSensorChoices(db),
    incidents: openIncidentStore(db),
    wakes: openWakeStore(db),
    marker,
    journal: createJournal(clock),
  }
}

/** A database that cannot be read is told of at the next start that can. */
function openOrTell(path: string, marker: RunMarker): DatabaseSync {
  try {
    return openDatabase(path, MIGRATIONS)
  } catch (error) {
    marker.failed(error)
    throw error
  }
}

/** @throws NodeError NODE_DATABASE where they are not what was written */
export function storedOps(base: DeviceBase, home: Uint8Array): OpSet {
  try {
    const ops = opSetOf(base, home, base.ops.loadAll())
    if (ops.entries.length > 0) return ops
    throw new Error('no ops')
  } catch (cause) {
    throw new NodeError('NODE_DATABASE', `The home in ${base.config.paths.dataDir} is damaged.`, {
      cause,
      hint: 'Nothing was changed. Check the disk, then restore the database from a backup, or move the folder away and pair this device again.',
    })
  }
}

export function opSetOf(
  { verifier }: DeviceBase,
  home: Uint8Array,
  all: readonly Uint8Array[],
): OpSet {
  const ops = createOpSet(home, verifier)
  for (const bytes of all) {
    try {
      ops.add(bytes)
    } catch (error) {
      // It waits, and is kept once an op that stands on it has come: see CAPS.maxRetirements.
      if (!(error instanceof MembersError) || error.code !== 'MEMBERS_FULL') throw error
    }
  }
  return ops
}
