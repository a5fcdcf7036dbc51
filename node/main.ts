/** Runs one device in this process: the node, its local API, and the dashboard's files. */
import { readFile } from 'node:fs/promises'
import { enableCompileCache, flushCompileCache } from 'node:module'
import { join } from 'node:path'
import process from 'node:process'

import type { Config } from './config.ts'
import type { Launched } from './device/base.ts'
import { systemClock, systemRandom } from './env.ts'
import { EXIT } from './errors.ts'
import { Scope } from './lifecycle.ts'
import { createLogger, type Logger } from './log.ts'
import type { DeviceNode } from './node.ts'
import { ensurePrivateFolder } from './storage/files.ts'

/** By then everything is loaded. A clean end writes the cache too, but a pulled plug is not one. */
const FLUSH_AFTER_MS = 60_000
/** A neighbour that is there answers within this, and has the first readings that much later. */
const MEET_MS = 250
const READINGS_MS = 50

/**
 * Run until `signal` aborts; after a reset, as a new device.
 *
 * @returns the exit code: another version of the program is to be started, or it is over
 * @throws NodeError where it cannot start
 */
export async function runDevice(config: Config, signal: AbortSignal): Promise<number> {
  // Whoever read the log may be gone; the device is not there for its log.
  process.stderr.on('error', () => undefined)
  const again = new AbortController()
  const stop = AbortSignal.any([signal, again.signal])
  do {
    // A device that was reset comes back as nobody, so that it can be paired from where one stands.
    await runOnce(config, stop, () => again.abort(new Error('another version takes over')))
  } while (!stop.aborted)
  return signal.aborted ? EXIT.ok : EXIT.again
}

/** Until `signal` aborts or the device was reset. */
async function runOnce(config: Config, signal: AbortSignal, again: () => void): Promise<void> {
  const root = process.env['KITH_LAUNCHED']
  const launched = root === undefined ? undefined : { root, again }
  await using device = await startDevice(config, signal, launched)
  await Promise.race([device.reset, aborted(signal)])
}

export interface RunningDevice extends AsyncDisposable {
  readonly node: DeviceNode
  readonly version: string
  readonly log: Logger
  /** Resolves when the device was reset: it is to end, and may start again as a new one. */
  readonly reset: Promise<void>
}

/** The node and its local API; `launched` where a launcher runs it. @throws NodeError where it cannot start */
export async function startDevice(
  config: Config,
  signal: AbortSignal,
  launched?: Launched,
): Promise<RunningDevice> {
  const log = createLogger({ ...config.log, out: process.stderr })
  const version = await readVersion()
  const scope = new Scope()
  const reset = Promise.withResolvers<void>()
  try {
    await keepCompiledCode(config.paths.dataDir)
    const { startNode } = await import('./node.ts')
    const onReset = (): void => reset.resolve()
    const deps = {
      config,
      version,
      clock: systemClock,
      random: systemRandom,
      log,
      onReset,
      launched,
    }
    const node = await scope.use('node', (until) =>
      startNode(deps, AbortSignal.any([signal, until])),
    )
    await scope.use('crash report', () => reportsCrashes(node, log))
    await firstTurn(node)
    await scope.use('api', (until) =>
      serveApi(node, { config, version, log }, AbortSignal.any([signal, until])),
    )
    const { home } = await node.view.status()
    log.info({ socket: config.paths.socket, version, home: home?.name ?? 'none' }, 'ready')
    if (home === null)
      log.info('what next, in another terminal: kith home create NAME, or kith pair')
    return {
      node,
      version,
      log,
      reset: reset.promise,
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    }
  } catch (error) {
    await scope[Symbol.asyncDispose]()
    throw error
  }
}

function reportsCrashes(node: DeviceNode, log: Logger): AsyncDisposable {
  const crashed = (error: unknown): void => {
    node.crashed(error)
    log.fatal({ err: error }, 'ended by an error')
    process.exit(EXIT.failed)
  }
  process.on('uncaughtException', crashed)
  return { [Symbol.asyncDispose]: async () => void process.off('uncaughtException', crashed) }
}

async function serveApi(
  { view }: DeviceNode,
  {
    config,
    version,
    log,
  }: { readonly config: Config; readonly version: string; readonly log: Logger },
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const { startApi } = await import('./api/server.ts')
  const { dashboardFiles } = await import('./dashboard/files.ts')
  return await startApi(
    view,
    {
      socketPath: config.paths.socket,
      port: config.api.dashboard ? config.api.port : undefined,
      version,
      clock: systemClock,
      random: systemRandom,
      log: log.child({ part: 'api' }),
      ...(config.api.dashboard ? { staticFiles: await dashboardFiles() } : {}),
    },
    signal,
  )
}

/**
 * Who waits for this device comes before who will ask it: the API's code is loaded once the first
 * readings are out, or when nobody was met.
 */
async function firstTurn(node: DeviceNode): Promise<void> {
  const home = node.home()
  if (home === undefined) return
  const { promise: met, resolve } = Promise.withResolvers<void>()
  const off = home.mesh.events.on('connect', () => resolve())
  if (home.mesh.peers().length > 0) resolve()
  const readings = met.then(() => systemClock.sleep(READINGS_MS))
  await Promise.race([readings, systemClock.sleep(MEET_MS)])
  off()
}

/**
 * Compiling 800 modules is a third of the time to start. Only in a folder that is ours alone: who can
 * write there decides what runs.
 */
async function keepCompiledCode(dataDir: string): Promise<void> {
  await ensurePrivateFolder(dataDir)
  enableCompileCache(join(dataDir, 'compile-cache'))
  setTimeout(flushCompileCache, FLUSH_AFTER_MS).unref()
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/** From the package.json above this file: one level up in a checkout, two in a built package. */
async function readVersion(): Promise<string> {
  for (const place of ['../package.json', '../../package.json']) {
    try {
      const { name, version } = JSON.parse(
        await readFile(new URL(place, import.meta.url), 'utf8'),
      ) as { name?: unknown; version?: unknown }
      if (name === 'kithmesh' && typeof version === 'string') return version
    } catch {
      // The other place.
    }
  }
  return 'unknown'
}
