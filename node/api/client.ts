/**
 * The local API from the other side: the same `NodeView`, asked over the Unix socket. A problem that
 * the device answers is thrown as ApiError.
 */
import { request, type IncomingMessage } from 'node:http'

import { asError, NodeError } from '../errors.ts'
import { callsClient, device, type Asked } from './client-calls.ts'
import { updateClient } from './client-update.ts'
import { ApiError, type Problem } from './problem.ts'
import { API_PREFIX, type DashboardLinks } from './routes.ts'
import type { NodeView } from './view.ts'

type Link = ReturnType<DashboardLinks['link']>

export interface ApiClient extends NodeView {
  dashboardLink(): Promise<Link>
}

interface Call extends Asked {
  readonly signal: AbortSignal
}

const MAX_LINE_CHARS = 1024 * 1024

/** Every call ends when `signal` aborts, with its reason. */
export function createClient(socketPath: string, signal: AbortSignal): ApiClient {
  const ask = async <T>(method: string, path: string, body?: unknown): Promise<T> =>
    readJson<T>(await send(socketPath, { method, path, body, signal }))
  const lines = <T>(path: string, query: Call['query'], until: AbortSignal): AsyncGenerator<T> =>
    readLines(socketPath, {
      method: 'GET',
      path,
      query: query ?? {},
      signal: AbortSignal.any([signal, until]),
    })
  const question = async <T>(path: string, query: Call['query'], until: AbortSignal): Promise<T> =>
    act<T>({ method: 'GET', path, query: query ?? {} }, until)
  const act = async <T>(call: Asked, until: AbortSignal): Promise<T> =>
    readJson<T>(await send(socketPath, { ...call, signal: AbortSignal.any([signal, until]) }))
  const bytes = (path: string, body: unknown, until: AbortSignal): AsyncGenerator<Uint8Array> =>
    readBytes(socketPath, { method: 'POST', path, body, signal: AbortSignal.any([signal, until]) })
  return {
    ...callsClient({ ask: question, act, lines }),
    ...updateClient({ ask: question, act, lines }),
    power: () => ask('GET', '/power'),
    status: () => ask('GET', '/status'),
    recoveryKit: () => ask('POST', '/recovery-kit'),
    createHome: (input) => ask('POST', '/home', input),
    recover: (input) => ask('POST', '/recover', input),
    reset: () => ask('POST', '/reset', { confirm: true }),
    openPairing: (input) => ask('POST', '/pairing', input),
    pairingStatus: () => ask('GET', '/pairing'),
    closePairing: () => ask('DELETE', '/pairing'),
    addDevice: (body, until) => act({ method: 'POST', path: '/devices', body }, until),
    devices: () => ask('GET', '/devices'),
    device: (ref) => ask('GET', device(ref)),
    rename: (ref, name) => ask('PATCH', device(ref), { name }),
    grant: (ref, role, terms) => ask('PATCH', device(ref), { role, ...terms }),
    trust: (ref) => ask('POST', `${device(ref)}/trust`, { confirm: true }),
    gatewayPolicy: (ref) => ask('GET', `${device(ref)}/gateway-policy`),
    signGatewayPolicy: (ref, caps) => ask('PUT', `${device(ref)}/gateway-policy`, { caps }),
    removal: (ref) => ask('GET', `${device(ref)}/removal`),
    remove: (ref, options) => ask('POST', `${device(ref)}/removal`, options),
    sensors: () => ask('GET', '/sensors'),
    setSensor: (name, on) => ask('PATCH', `/sensors/${encodeURIComponent(name)}`, { on }),
    push: (values) => ask('POST', '/readings', { values }),
    doctor: () => ask('GET', '/doctor'),
    incidents: (query) => question('/incidents', { ...query }, signal),
    config: () => ask('GET', '/config'),
    dashboardLink: () => ask('POST', '/dashboard-link'),
    watch: (query, until) => lines('/readings/live', { ...query }, until),
    history: ({ device: ref, ...query }, until) => lines(`${device(ref)}/readings`, query, until),
    unplaced: ({ device: ref, ...query }, until) =>
      lines(`${device(ref)}/readings/unplaced`, query, until),
    exportLogs: (body, until) => bytes('/export', body, until),
    backup: (until) => bytes('/backup', {}, until),
    events: (since, until) => lines('/events', { since }, until),
  }
}

function send(socketPath: string, call: Call): Promise<IncomingMessage> {
  const { method, body, signal } = call
  const query = Object.entries(call.query ?? {}).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${encodeURIComponent(value)}`],
  )
  const path = `${API_PREFIX}${call.path}${query.length > 0 ? `?${query.join('&')}` : ''}`
  return new Promise((resolve, reject) => {
    const headers = {
      host: 'kith',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    }
    const sent = request({ socketPath, method, path, headers, signal, agent: false }, resolve)
    sent.once('error', (error) => reject(connectionError(error, socketPath, signal)))
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

function connectionError(error: Error, socketPath: string, signal: AbortSignal): Error {
  if (signal.aborted) return asError(signal.reason)
  const { code } = error as NodeJS.ErrnoException
  if (code === 'EACCES' || code === 'EPERM') {
    return new NodeError('NODE_DENIED', `Kith runs here as another user (${socketPath}).`, {
      cause: error,
      hint: 'Run this command as that user, for the system’s own device with sudo.',
    })
  }
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR') {
    return new NodeError(
      'NODE_NOT_RUNNING',
      `Kith is not running here (no answer at ${socketPath}).`,
      {
        cause: error,
        hint: 'Start it with: kith up',
      },
    )
  }
  return new NodeError('NODE_NOT_RUNNING', `Kith stopped answering (${code ?? error.message}).`, {
    cause: error,
    hint: 'See what happened in its log, and start it with: kith up',
  })
}

async function readJson<T>(response: IncomingMessage): Promise<T> {
  const text = await readText(response)
  if (response.statusCode === 204) return undefined as T
  if (response.statusCode !== 200 && response.statusCode !== 202) {
    throw new ApiError(problemFrom(response, text))
  }
  return JSON.parse(text) as T
}

async function readText(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8')
  let text = ''
  for await (const chunk of response) text += chunk as string
  return text
}

function problemFrom(response: IncomingMessage, text: string): Problem {
  try {
    const problem = JSON.parse(text) as Problem
    if (typeof problem.code === 'string' && typeof problem.title === 'string') return problem
  } catch {
    // Not from the application itself, such as a refusal of the HTTP parser.
  }
  const status = response.statusCode ?? 500
  return { status, code: 'NODE_INTERNAL', title: `The device answered with HTTP ${status}.` }
}

/** Rows of JSON lines or of server-sent events. Ends when the device ends the stream. */
async function* readLines<T>(socketPath: string, call: Call): AsyncGenerator<T> {
  const response = await send(socketPath, call)
  if (response.statusCode !== 200)
    throw new ApiError(problemFrom(response, await readText(response)))
  try {
    let problem = false
    for await (const line of linesOf(response)) {
      if (line === 'event: problem') problem = true
      const json = line.startsWith('data: ') ? line.slice(6) : line
      if (!json.startsWith('{')) continue
      const row = JSON.parse(json) as unknown
      if (problem) throw new ApiError(row as Problem)
      const { error } = row as { error?: Problem }
      if (error !== undefined) throw new ApiError(error)
      yield row as T
    }
  } catch (error) {
    if (call.signal.aborted) throw asError(call.signal.reason)
    if (error instanceof ApiError) throw error
    throw connectionError(asError(error), socketPath, call.signal)
  } finally {
    response.destroy()
  }
}

/** The body as it comes; throws where it breaks off. */
async function* readBytes(socketPath: string, call: Call): AsyncGenerator<Uint8Array> {
  const response = await send(socketPath, call)
  if (response.statusCode !== 200)
    throw new ApiError(problemFrom(response, await readText(response)))
  try {
    for await (const chunk of response) yield chunk as Uint8Array
  } catch (error) {
    if (call.signal.aborted) throw asError(call.signal.reason)
    throw connectionError(asError(error), socketPath, call.signal)
  } finally {
    response.destroy()
  }
}

async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  response.setEncoding('utf8')
  let rest = ''
  for await (const chunk of response) {
    const lines = (rest + (chunk as string)).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > MAX_LINE_CHARS) throw new Error('a line is too long')
    yield* lines
  }
}
