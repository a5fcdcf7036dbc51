/**
 * The doors of the local API: a Unix socket for this user's programs and, where the dashboard is
 * on, a port on [::1]. Only opening, limits and closing; what is behind them is app.ts.
 */
import { chmod, lstat, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { connect, type AddressInfo, type ListenOptions } from 'node:net'
import { dirname } from 'node:path'
import process from 'node:process'

import { getRequestListener } from '@hono/node-server'

import type { Clock, Random } from '../env.ts'
import { NodeError } from '../errors.ts'
import { Scope } from '../lifecycle.ts'
import type { Logger } from '../log.ts'
import { createApp, type AppDeps, type StaticFile } from './app.ts'
import { createSessions } from './auth.ts'
import { ensureSocketFolder } from './socket-folder.ts'
import type { NodeView } from './view.ts'

export type { StaticFile } from './app.ts'

export interface ApiOptions {
  readonly socketPath: string
  /** Port on [::1]; 0 for any free one; undefined for no dashboard. */
  readonly port: number | undefined
  readonly version: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** Pages of the dashboard by path. */
  readonly staticFiles?: ReadonlyMap<string, StaticFile>
}

export interface Api extends AsyncDisposable {
  readonly socketPath: string
  /** The dashboard's port; undefined where it is off. */
  readonly port: number | undefined
}

/** What a Unix socket's address can hold on Linux, with its final zero. */
const MAX_SOCKET_PATH_BYTES = 107

const MAX_CONNECTIONS = 64

/** @throws NodeError NODE_CONFIG, NODE_LOCKED, NODE_DENIED where a door cannot be opened */
export async function startApi(
  view: NodeView,
  options: ApiOptions,
  signal: AbortSignal,
): Promise<Api> {
  const scope = new Scope()
  const sessions = createSessions(options.clock, options.random)
  let port: number | undefined
  const deps: AppDeps = {
    view,
    log: options.log,
    version: options.version,
    staticFiles: options.staticFiles ?? new Map(),
    signal: AbortSignal.any([signal, scope.signal]),
    dashboard: {
      link() {
        if (port === undefined) throw dashboardOff()
        const { token, expiresAt } = sessions.createLink()
        // In the fragment, which a browser sends to nobody.
        return { url: `http://[::1]:${port}/#t=${token}`, expiresAt }
      },
    },
  }
  await scope.use('api socket', () => openSocket(options.socketPath, createHttp(deps)))
  if (options.port !== undefined) {
    const guard = { sessions, port: () => port ?? 0 }
    const server = createHttp({ ...deps, guard })
    await scope.use('dashboard', () => openPort(server, options.port ?? 0, options.log))
    port = (server.address() as AddressInfo).port
  }
  return {
    socketPath: options.socketPath,
    port,
    [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
  }
}

function dashboardOff(): NodeError {
  return new NodeError('NODE_CONFLICT', 'The dashboard is off on this device.', {
    hint: 'Switch it on with: kith config set api.dashboard true; then restart Kith.',
  })
}

function createHttp(deps: AppDeps): Server {
  const app = createApp(deps)
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false, hostname: 'kith' })
  const server = createServer(
    {
      // Without it the two time limits below are looked at only every 30 s.
      connectionsCheckingInterval: 1000,
      headersTimeout: 3000,
      requestTimeout: 10_000,
      keepAliveTimeout: 5000,
      maxHeaderSize: 8192,
      insecureHTTPParser: false,
    },
    (incoming, outgoing) => void listener(incoming, outgoing),
  )
  server.maxConnections = MAX_CONNECTIONS
  return server
}

/** A door for this user alone. @throws NodeError NODE_CONFIG, NODE_LOCKED, NODE_DENIED */
export async function openSocket(path: string, server: Server): Promise<AsyncDisposable> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    throw new NodeError('NODE_CONFIG', `The socket's path is too long: ${path}`, {
      hint: `Choose a --data-dir so that the path has at most ${MAX_SOCKET_PATH_BYTES} bytes.`,
    })
  }
  await ensureSocketFolder(dirname(path))
  await removeDeadSocket(path)
  // The socket is made inside listen(), with the umask of that moment: at no time can others open it.
  const umask = process.umask(0o177)
  const listening = listen(server, { path })
  process.umask(umask)
  await listening
  await chmod(path, 0o600)
  return closing(server)
}

/** A killed process leaves its socket behind; a living one answers. */
async function removeDeadSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket()) {
    throw new NodeError('NODE_CONFIG', `${path} is in the way of Kith's socket.`, {
      hint: 'Nothing was changed. Move that file away.',
    })
  }
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => resolve(true))
    probe.once('error', () => resolve(false))
    probe.once('close', () => resolve(false))
    probe.on('connect', () => probe.destroy())
  })
  if (alive) {
    throw new NodeError('NODE_LOCKED', `Kith is already running: ${path} answers.`, {
      hint: 'Use that one, or give this one its own folder with --data-dir.',
    })
  }
  await rm(path, { force: true })
}

/** A taken port is no reason not to run: any free one does, and `kith dashboard` knows it. */
async function openPort(server: Server, port: number, log: Logger): Promise<AsyncDisposable> {
  const options = { host: '::1', ipv6Only: true }
  try {
    await listen(server, { ...options, port })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || port === 0) throw error
    log.warn({ port }, 'dashboard port is taken, using another')
    await listen(server, { ...options, port: 0 })
  }
  return closing(server)
}

function listen(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(options, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** An answer that is on its way, such as that of a reset, has this long to arrive. */
const LAST_ANSWER_MS = 500
const IDLE_CHECK_MS = 20

function closing(server: Server): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      const tidy = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS)
      const cut = setTimeout(() => server.closeAllConnections(), LAST_ANSWER_MS)
      await closed
      clearInterval(tidy)
      clearTimeout(cut)
    },
  }
}
