/**
 * How `kith gateway` asks the gateway that runs: JSON over a Unix socket beside the device's own, for
 * this user alone. One question, one answer.
 */
import { createServer, request, type IncomingMessage, type Server } from 'node:http'
import { dirname, join } from 'node:path'

import { asError, errorProblem, NodeError, openSocket, type Logger } from '../node/index.ts'

/** By name: takes what was asked, which is not checked yet. */
export type Answers = Readonly<Record<string, (body: unknown, signal: AbortSignal) => unknown>>

const MAX_BODY_BYTES = 64 * 1024
const MAX_CONNECTIONS = 16

/** @throws NodeError where the socket cannot be opened */
export async function serveLocal(
  path: string,
  answers: Answers,
  log: Logger,
): Promise<AsyncDisposable> {
  const server: Server = createServer(
    { headersTimeout: 3000, requestTimeout: 10_000, maxHeaderSize: 8192 },
    (incoming, outgoing) => {
      const gone = new AbortController()
      outgoing.once('close', () => gone.abort(new Error('nobody waits for the answer')))
      void answer(incoming, answers, gone.signal).then(
        ({ status, body }) => {
          outgoing.writeHead(status, { 'content-type': 'application/json' })
          outgoing.end(JSON.stringify(body))
        },
        (error: unknown) => {
          log.warn({ why: asError(error).message }, 'a question could not be answered')
          outgoing.destroy()
        },
      )
    },
  )
  server.maxConnections = MAX_CONNECTIONS
  return openSocket(path, server)
}

async function answer(
  incoming: IncomingMessage,
  answers: Answers,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly body: unknown }> {
  const name = (incoming.url ?? '').slice(1)
  const handle = Object.hasOwn(answers, name) ? answers[name] : undefined
  if (handle === undefined || incoming.method !== 'POST') {
    const title = 'There is no such question.'
    return { status: 404, body: { status: 404, code: 'NODE_NOT_FOUND', title } }
  }
  try {
    const text = await textOf(incoming)
    const body = text === '' ? {} : (JSON.parse(text) as unknown)
    return { status: 200, body: (await handle(body, signal)) ?? {} }
  } catch (error) {
    const problem = errorProblem(error)
    return { status: problem.status, body: problem }
  }
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  incoming.setEncoding('utf8')
  let text = ''
  for await (const chunk of incoming) {
    text += chunk as string
    if (text.length > MAX_BODY_BYTES) throw new NodeError('NODE_USAGE', 'That is too much.')
  }
  return text
}

/** Where the gateway of the device with this socket answers. */
export function gatewaySocket(deviceSocket: string): string {
  return join(dirname(deviceSocket), 'gateway.sock')
}

/** @throws NodeError NODE_NOT_RUNNING, or what the gateway answers */
export async function askGateway(
  path: string,
  { name, body = {} }: { readonly name: string; readonly body?: unknown },
  signal: AbortSignal,
): Promise<unknown> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request({ socketPath: path, method: 'POST', path: `/${name}`, signal }, resolve)
    sent.once('error', (cause) => {
      const error = new NodeError(
        'NODE_NOT_RUNNING',
        `No gateway runs here (no answer at ${path}).`,
        {
          cause,
          hint: 'Start it with: kith gateway up',
        },
      )
      reject(signal.aborted ? asError(signal.reason) : error)
    })
    sent.end(JSON.stringify(body))
  })
  response.setEncoding('utf8')
  let text = ''
  for await (const chunk of response) text += chunk as string
  const value = JSON.parse(text) as { readonly title?: string; readonly detail?: string }
  if (response.statusCode === 200) return value
  const code = response.statusCode === 400 ? 'NODE_USAGE' : 'NODE_CONFLICT'
  const hint = value.detail === undefined ? {} : { hint: value.detail }
  throw new NodeError(code, value.title ?? 'The gateway did not answer.', hint)
}
