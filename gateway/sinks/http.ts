/**
 * Bodies posted to one HTTP server, one at a time over a kept connection, each within a time and with
 * an answer of at most 64 KiB. Redirections are not followed: what is configured is where it goes.
 * Every byte is counted at the TCP socket, below TLS. What the server says of itself — not here, not
 * now, not for you — is thrown as SinkDown; what it says of a body is for the caller to judge.
 */
import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage, RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'

import { asError } from '../../node/index.ts'
import { secretOf, tlsOf, wrongSink, type TlsFiles } from './http-settings.ts'
import { SinkDown, type SinkDeps } from './sink.ts'

export interface HttpAnswer {
  readonly status: number
  readonly text: string
}

export interface Poster extends Disposable {
  /** @throws SinkDown where no answer came, or one that is not about the body */
  post(url: URL, body: PostBody, signal: AbortSignal): Promise<HttpAnswer>
}

export interface PostBody {
  readonly bytes: Uint8Array
  readonly headers: Readonly<Record<string, string>>
}

/** The keys that all types with an address have. */
export interface HttpKeys {
  readonly name: string
  readonly timeout: number
  readonly ca_file?: string | undefined
  readonly cert_file?: string | undefined
  readonly key_file?: string | undefined
  readonly token_file?: string | undefined
  readonly user?: string | undefined
  readonly password_file?: string | undefined
}

export interface PosterTerms {
  /** How the token is sent; `Bearer` where nothing else is usual. */
  readonly scheme?: 'Token'
  /** Statuses that this kind of server has a meaning for. */
  readonly known?: readonly number[]
}

const MAX_ANSWER_BYTES = 64 * 1024
const MAX_RETRY_AFTER_MS = 3_600_000
const IDLE_MS = 60_000
/** What is wrong may be the body. */
const OF_THE_BODY = [400, 413, 422, 500]

interface Asking {
  readonly url: URL
  readonly options: RequestOptions
  readonly bytes: Uint8Array
  readonly signal: AbortSignal
}

export async function createPoster(
  settings: HttpKeys,
  deps: Pick<SinkDeps, 'clock' | 'random' | 'meter' | 'gateway'>,
  { scheme, known = [] }: PosterTerms = {},
): Promise<Poster> {
  const timeoutMs = settings.timeout
  const authorization = await authorizationOf(settings, scheme ?? 'Bearer')
  const agents = createAgents(await tlsOf(settings), deps.meter)
  return {
    async post(url, { bytes, headers }, signal) {
      const late = new AbortController()
      const cancel = deps.clock.timer(timeoutMs, () =>
        late.abort(new Error(`${url.host} gave no whole answer within ${timeoutMs / 1000} s`)),
      )
      try {
        const credentials = await authorization()
        const options: RequestOptions = {
          method: 'POST',
          agent: url.protocol === 'https:' ? agents.https : agents.http,
          headers: {
            'user-agent': `kith-gateway/${deps.gateway.version}`,
            ...headers,
            ...credentials,
            'content-length': bytes.length,
          },
        }
        const both = AbortSignal.any([signal, late.signal])
        const answer = await ask({ url, options, bytes, signal: both })
        if (known.includes(answer.status)) return { status: answer.status, text: answer.text }
        return judged(url, answer, deps)
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof SinkDown) throw error
        throw new SinkDown(asError(error).message)
      } finally {
        cancel()
      }
    },
    [Symbol.dispose]() {
      agents.http.destroy()
      agents.https.destroy()
    },
  }
}

async function authorizationOf(
  settings: HttpKeys,
  scheme: 'Bearer' | 'Token',
): Promise<() => Promise<Record<string, string>>> {
  const token = await secretOf(settings, settings.token_file)
  const user = settings.user
  const password = await secretOf(settings, settings.password_file)
  if (token !== undefined && user !== undefined) {
    throw wrongSink(settings, 'it has both user and token_file')
  }
  if (password !== undefined && user === undefined) {
    throw wrongSink(settings, 'password_file needs user')
  }
  return async () => {
    if (token !== undefined) return { authorization: `${scheme} ${await token()}` }
    if (user === undefined) return {}
    const pair = `${user}:${(await password?.()) ?? ''}`
    return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
  }
}

function createAgents(
  tls: TlsFiles,
  meter: SinkDeps['meter'],
): { readonly http: HttpAgent; readonly https: HttpsAgent } {
  const options = { keepAlive: true, maxSockets: 1, timeout: IDLE_MS }
  const http = new HttpAgent(options)
  const https = new HttpsAgent(options)
  const open = (target: unknown): Socket => {
    const { host = 'localhost', port = 80 } = target as { host?: string; port?: number | string }
    const socket = connectTcp({ host, port: Number(port), noDelay: true })
    meter.watch(socket)
    return socket
  }
  http.createConnection = open
  https.createConnection = (target): Duplex => {
    const { host = 'localhost' } = target as { host?: string }
    const socket = open(target)
    const secure = connectTls({
      socket,
      host,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      minVersion: 'TLSv1.2',
      ...tls,
    })
    // Where the address cannot be reached, the layer above waits for ever otherwise.
    socket.once('error', (error) => secure.destroy(error))
    return secure
  }
  return { http, https }
}

interface Answer extends HttpAnswer {
  readonly headers: IncomingHttpHeaders
}

function ask({ url, options, bytes, signal }: Asking): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(unreachable(url, error, signal))
    try {
      const answered = (response: IncomingMessage): void => {
        textOf(response).then(
          (text) => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
          failed,
        )
      }
      const secure = url.protocol === 'https:'
      const sent: ClientRequest = (secure ? httpsRequest : httpRequest)(
        url,
        { ...options, signal },
        answered,
      )
      sent.once('error', failed)
      sent.end(bytes)
    } catch (error) {
      failed(asError(error))
    }
  })
}

/** Codes of the system and of TLS; what else an error says may hold what was sent. */
function unreachable(url: URL, error: Error, signal: AbortSignal): Error {
  if (signal.aborted) return asError(signal.reason)
  const { code } = error as NodeJS.ErrnoException
  return new SinkDown(`${url.host} cannot be reached (${code ?? 'unknown'})`)
}

/** The beginning of it, if it is longer; the rest is not waited for. */
async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) break
  }
  return Buffer.concat(chunks).subarray(0, MAX_ANSWER_BYTES).toString('utf8')
}

function judged(
  url: URL,
  { status, headers, text }: Answer,
  deps: Pick<SinkDeps, 'clock' | 'random'>,
): HttpAnswer {
  if ((status >= 200 && status < 300) || OF_THE_BODY.includes(status)) return { status, text }
  if (status >= 300 && status < 400) {
    throw new SinkDown(`${url.host} sends elsewhere, where Kith does not follow`)
  }
  const retryAfterMs = retryAfter(headers['retry-after'], deps)
  throw new SinkDown(
    `${url.host} answers with status ${status}`,
    retryAfterMs === undefined ? {} : { retryAfterMs },
  )
}

/** Seconds or a date, and up to a tenth more, so that not all come back at once. At most an hour. */
function retryAfter(
  header: string | undefined,
  { clock, random }: Pick<SinkDeps, 'clock' | 'random'>,
): number | undefined {
  if (header === undefined) return undefined
  const ms = /^\d{1,9}$/.test(header) ? Number(header) * 1000 : Date.parse(header) - clock.now()
  if (Number.isNaN(ms) || ms < 0) return undefined
  const [byte = 0] = random.bytes(1)
  return Math.min(MAX_RETRY_AFTER_MS, ms) * (1 + byte / 2560)
}
