/** What the gateway's sinks talk to: servers of the test, and real ones started for it. */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'

import pino from 'pino'

import { readGatewayText } from '../../gateway/config.ts'
import type { SettingsOf, SinkType } from '../../gateway/config-sinks.ts'
import type { OutItem, SinkDeps } from '../../gateway/sinks/sink.ts'
import { systemClock } from '../../node/env.ts'
import { seededRandom } from './random.ts'
import { findProgram } from './tools.ts'

/** The one sink of a gateway's settings, `lines` being those of its table. */
export function sinkSettings<T extends SinkType>(type: T, ...lines: string[]): SettingsOf<T> {
  const read = readGatewayText([`[sink.out]`, `type = "${type}"`, ...lines].join('\n'))
  assert.ok(read.ok, JSON.stringify(read))
  return read.settings.sinks[0] as SettingsOf<T>
}

export interface TestDeps extends SinkDeps {
  /** What the sink logged, as text. */
  readonly logged: string[]
  readonly told: Map<string, number>
  /** Of all sockets that it opened or was given. */
  written(): number
}

export function sinkDeps(more: Partial<SinkDeps> = {}): TestDeps {
  const logged: string[] = []
  const told = new Map<string, number>()
  const sockets = new Set<{ readonly bytesWritten: number }>()
  return {
    clock: systemClock,
    random: seededRandom('sinks'),
    log: pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) }),
    gateway: { id: 'gw', name: 'attic', version: '1.2.3' },
    ask: async () => ({ ok: false, message: 'no' }) as never,
    ...more,
    meter: {
      watch: (socket) => void sockets.add(socket),
      told: ({ deviceId, sensor }, bytes) => {
        const key = `${deviceId} ${sensor}`
        told.set(key, (told.get(key) ?? 0) + bytes)
      },
    },
    logged,
    told,
    written: () => [...sockets].reduce((sum, { bytesWritten }) => sum + bytesWritten, 0),
  }
}

export const NOW_MS = Math.floor(Date.now() / 1000) * 1000

export function reading(more: Partial<OutItem> = {}): OutItem {
  const { deviceId = 'dev1', sensor = 'temperature', atMs = NOW_MS } = more
  return {
    id: `${deviceId}/${atMs}/${sensor}`,
    deviceId,
    device: 'porch',
    sensor,
    unit: 'Cel',
    value: 21.5,
    atMs,
    ...more,
  }
}

export interface Heard {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface Reply {
  readonly status: number
  readonly body?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
}

export interface FarSide extends AsyncDisposable {
  readonly url: string
  readonly heard: Heard[]
  /** Bytes that came over all connections. */
  received(): number
}

/** An HTTP server on ::1; over TLS with a certificate. */
export async function farSide(
  reply: (heard: Heard) => Reply,
  tls?: { readonly cert: string; readonly key: string },
): Promise<FarSide> {
  const heard: Heard[] = []
  const sockets = new Set<Socket>()
  const server =
    tls === undefined
      ? createServer()
      : createSecureServer({ cert: readFileSync(tls.cert), key: readFileSync(tls.key) })
  // Below TLS.
  server.on('connection', (socket: Socket) => sockets.add(socket))
  server.on('request', (request, response) => {
    void (async () => {
      const chunks: Buffer[] = []
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
      const one = { path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks) }
      heard.push(one)
      const { status, body = '', headers = {} } = reply(one)
      response.writeHead(status, headers).end(body)
    })()
  })
  server.listen(0, '::1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `${tls === undefined ? 'http' : 'https'}://[::1]:${port}`,
    heard,
    received: () => [...sockets].reduce((sum, { bytesRead }) => sum + bytesRead, 0),
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

export async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '::1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** A program of the system, until the end of the test; `ready` is part of a line that it logs. */
export async function startProgram(
  name: string,
  args: readonly string[],
  ready: string,
): Promise<AsyncDisposable> {
  const child: ChildProcess = spawn(findProgram(name) ?? name, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said: string[] = []
  const up = Promise.withResolvers<void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      said.push(text)
      if (said.join('').includes(ready)) up.resolve()
    })
  }
  child.once('exit', () => up.reject(new Error(`${name} ended: ${said.join('')}`)))
  child.once('error', up.reject)
  const end = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  try {
    await up.promise
  } catch (error) {
    await end()
    throw error
  }
  return { [Symbol.asyncDispose]: end }
}

/** Ask until `look` finds something. @throws the last failure after ten seconds */
export async function found<T>(look: () => Promise<T | undefined>): Promise<T> {
  const endMs = Date.now() + 10_000
  for (;;) {
    const value = await look()
    if (value !== undefined) return value
    assert.ok(Date.now() < endMs, 'nothing was found')
    await systemClock.sleep(50)
  }
}
