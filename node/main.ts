/** Runs one device in this process: the node, its local API, and the dashboard's files. */
import { readFile } from 'node:fs/promises'
import process from 'node:process'

import { startApi } from './api/server.ts'
import type { Config } from './config.ts'
import { dashboardFiles } from './dashboard/files.ts'
import { systemClock, systemRandom } from './env.ts'
import { Scope } from './lifecycle.ts'
import { createLogger } from './log.ts'
import { startNode } from './node.ts'

/** Run until `signal` aborts. @throws NodeError where the device cannot start */
export async function runDevice(config: Config, signal: AbortSignal): Promise<void> {
  const log = createLogger({ ...config.log, out: process.stderr })
  const version = await readVersion()
  const scope = new Scope()
  const reset = Promise.withResolvers<void>()
  try {
    const node = await scope.use('node', (until) =>
      startNode(
        {
          config,
          version,
          clock: systemClock,
          random: systemRandom,
          log,
          onReset: () => reset.resolve(),
        },
        AbortSignal.any([signal, until]),
      ),
    )
    await scope.use('api', async (until) =>
      startApi(
        node.view,
        {
          socketPath: config.paths.socket,
          port: config.api.dashboard ? config.api.port : undefined,
          version,
          clock: systemClock,
          random: systemRandom,
          log: log.child({ part: 'api' }),
          staticFiles: await dashboardFiles(),
        },
        AbortSignal.any([signal, until]),
      ),
    )
    log.info({ socket: config.paths.socket, version }, 'ready')
    await Promise.race([reset.promise, aborted(signal)])
  } finally {
    await scope[Symbol.asyncDispose]()
  }
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
