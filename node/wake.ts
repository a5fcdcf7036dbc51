/**
 * One window in one process, for devices that are off, or suspended, between their windows: no API,
 * no dashboard, no discovery where a parent is known. What a window does is device/sleeper.ts.
 */
import { existsSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { join } from 'node:path'
import process from 'node:process'

import { peerIdOf } from '../protocols/identity/index.ts'
import type { PowerReport } from './api/view-power.ts'
import type { Config } from './config.ts'
import { FILES, openBase, storedOps } from './device/open-base.ts'
import { PERIODIC, powerReport } from './device/power.ts'
import { systemClock, systemRandom } from './env.ts'
import { NodeError } from './errors.ts'
import { Scope } from './lifecycle.ts'
import { createLogger } from './log.ts'
import { MIGRATIONS } from './migrations.ts'
import { openDatabase } from './storage/db.ts'
import { ensurePrivateFolder } from './storage/files.ts'
import { lockFolder } from './storage/lock.ts'
import { openWakeStore, type Wake, type WakeOutcome } from './storage/wakes.ts'
import { kithVersion } from './version.ts'

/** What one wake did and took. */
export interface WakeSummary {
  readonly reason: string
  /** `cut`: there was more to do than time for it; the next window goes on. */
  readonly outcome: WakeOutcome
  /** Since the process began, and of that with an open connection. */
  readonly ms: number
  readonly connectedMs: number
  /** Bytes at this device's own sockets, without the headers of TCP, IP and the link. */
  readonly sent: number
  readonly received: number
  /** Packets of the machine's network interfaces meanwhile: other programs' are among them. */
  readonly packetsSent: number
  readonly packetsReceived: number
  readonly calls: number
  readonly receipts: number
  readonly packs: number
  /** Peer id; null where no parent answered. */
  readonly parent: string | null
  /** Milliseconds. */
  readonly parts: Wake['parts']
}

/**
 * @throws NodeError NODE_LOCKED where the device runs, NODE_NO_HOME, NODE_CONFIG where it is not set
 * to sleep, NODE_TIMEOUT where no parent answered; as startNode
 */
export async function runWake(
  config: Config,
  { reason = PERIODIC }: { readonly reason?: string },
  signal: AbortSignal,
): Promise<WakeSummary> {
  if (config.power.mode !== 'sleepy') {
    throw new NodeError('NODE_CONFIG', 'This device is not set to sleep.', {
      hint: 'Set it with: kith config set power.mode sleepy',
    })
  }
  const { dataDir } = config.paths
  await ensurePrivateFolder(dataDir)
  // Only in a folder that is ours alone: who can write there decides what runs.
  enableCompileCache(join(dataDir, 'compile-cache'))
  const scope = new Scope()
  try {
    const wake = await window(config, reason, scope, signal)
    if (wake.outcome === 'alone') {
      throw new NodeError('NODE_TIMEOUT', 'No parent answered.', {
        hint: 'What was measured is kept, and sent in the next window. Is another device of the home on?',
      })
    }
    return summaryOf(wake)
  } finally {
    await scope[Symbol.asyncDispose]()
  }
}

async function window(
  config: Config,
  reason: string,
  scope: Scope,
  signal: AbortSignal,
): Promise<Wake> {
  const log = createLogger({ ...config.log, out: process.stderr })
  const deps = { config, version: kithVersion(), clock: systemClock, random: systemRandom, log }
  const base = await openBase(deps, scope)
  const known = base.ops.home()
  if (known === undefined) {
    throw new NodeError('NODE_NO_HOME', 'This device has no home yet.', {
      hint: 'Run "kith up" and pair it first.',
    })
  }
  const { startHome } = await import('./device/home.ts')
  const home = await scope.use('home', (until) =>
    startHome(base, storedOps(base, known), AbortSignal.any([signal, until])),
  )
  if (home.sleeper === undefined) throw new Error('a sleepy device has a sleeper')
  // The clock counts from the process's own beginning.
  return home.sleeper.window(reason, 0)
}

function summaryOf(wake: Wake): WakeSummary {
  const { parent, parts, processMs: ms, connectedMs, ...counts } = wake
  return {
    reason: counts.reason,
    outcome: counts.outcome,
    ms: Math.round(ms),
    connectedMs: Math.round(connectedMs),
    sent: counts.bytesOut,
    received: counts.bytesIn,
    packetsSent: counts.packetsOut,
    packetsReceived: counts.packetsIn,
    calls: counts.calls,
    receipts: counts.receipts,
    packs: counts.packs,
    parent: parent === undefined ? null : peerIdOf(parent),
    parts: rounded(parts),
  }
}

function rounded(parts: Wake['parts']): Wake['parts'] {
  const { start, connect, log, calls, close } = parts
  return {
    start: Math.round(start),
    connect: Math.round(connect),
    log: Math.round(log),
    calls: Math.round(calls),
    close: Math.round(close),
  }
}

/**
 * The ledger of a device that does not run.
 *
 * @throws NodeError NODE_NOT_RUNNING where there is none, NODE_LOCKED where the device runs,
 * NODE_DATABASE
 */
export async function readPower(config: Config): Promise<PowerReport> {
  const { dataDir } = config.paths
  const path = join(dataDir, FILES.database)
  if (!existsSync(path)) {
    throw new NodeError('NODE_NOT_RUNNING', `There is no device in ${dataDir}.`, {
      hint: 'Start it with: kith up',
    })
  }
  await using _folder = await lockFolder(dataDir)
  const db = openDatabase(path, MIGRATIONS)
  try {
    return powerReport(config.power, openWakeStore(db))
  } finally {
    db.close()
  }
}
