/** One question to an HTTP server and its whole answer, within a time and a size. */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'

import type { Clock } from '../env.ts'
import { asError } from '../errors.ts'
import { readSecret, readSmallFile } from './bounded.ts'

export interface HttpQuestion {
  readonly url: string
  /** GET where absent, the only one whose redirections are followed. */
  readonly method?: string
  readonly body?: { readonly text: string; readonly type: string }
  readonly timeoutMs: number
  /** Holds what goes after `Bearer`. */
  readonly tokenFile?: string | undefined
  readonly caFile?: string | undefined
  readonly clock: Clock
}

const MAX_BODY_BYTES = 256 * 1024
const MAX_REDIRECTS = 3

interface Asking extends Pick<HttpQuestion, 'body'> {
  readonly method: string
  readonly token: string | undefined
  readonly ca: string | undefined
  readonly signal: AbortSignal
}

/** The text of an answer that says it went well. @throws Error for people, without the answer */
export async function askHttp(question: HttpQuestion, signal: AbortSignal): Promise<string> {
  const { url, method = 'GET', body, timeoutMs, tokenFile, caFile, clock } = question
  const token = tokenFile === undefined ? undefined : await readSecret(tokenFile)
  const ca = caFile === undefined ? undefined : await readSmallFile(caFile)
  const late = new AbortController()
  const cancel = clock.timer(timeoutMs, () =>
    late.abort(new Error(`there was no whole answer within ${timeoutMs / 1000} s`)),
  )
  try {
    const both = AbortSignal.any([signal, late.signal])
    const asking = { method, token, ca, signal: both, ...(body === undefined ? {} : { body }) }
    return await textFrom(new URL(url), asking)
  } finally {
    cancel()
  }
}

async function textFrom(start: URL, asking: Asking): Promise<string> {
  let url = start
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const response = await ask(url, asking)
    const { statusCode = 0, headers } = response
    try {
      if (statusCode >= 200 && statusCode < 300) return await bodyOf(response, asking.signal)
      if (asking.method !== 'GET' || ![301, 302, 303, 307, 308].includes(statusCode)) {
        throw new Error(`${url.host} answers with status ${statusCode}`)
      }
      url = redirected(url, headers.location)
    } finally {
      response.destroy()
    }
  }
  throw new Error(`${url.host} sends from one address to the next`)
}

/** On the same host, and not from https back to http. */
function redirected(from: URL, location: string | undefined): URL {
  if (location === undefined || !URL.canParse(location, from)) {
    throw new Error(`${from.host} sends to an address that is none`)
  }
  const to = new URL(location, from)
  const kept = to.protocol === from.protocol ? to.port === from.port : to.protocol === 'https:'
  if (to.hostname === from.hostname && kept) return to
  throw new Error(`${from.host} sends elsewhere, where Kith does not follow`)
}

function ask(url: URL, { method, body, token, ca, signal }: Asking): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = {
      accept: 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': body.type }),
    }
    const options = { method, headers, signal, agent: false as const }
    const failed = (error: Error): void => reject(unreachable(url, error, signal))
    try {
      const sent =
        url.protocol === 'https:'
          ? httpsRequest(url, { ...options, ...(ca === undefined ? {} : { ca }) }, resolve)
          : httpRequest(url, options, resolve)
      sent.once('error', failed)
      sent.end(body?.text)
    } catch (error) {
      failed(asError(error))
    }
  })
}

function unreachable(url: URL, error: Error, signal: AbortSignal): Error {
  if (signal.aborted) return asError(signal.reason)
  const { code } = error as NodeJS.ErrnoException
  return new Error(`${url.host} cannot be reached (${code ?? 'unknown'})`)
}

async function bodyOf(response: IncomingMessage, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > MAX_BODY_BYTES) break
      chunks.push(chunk)
    }
  } catch (error) {
    signal.throwIfAborted()
    throw new Error('the answer broke off', { cause: error })
  }
  if (bytes > MAX_BODY_BYTES) throw new Error('the answer is larger than 256 KiB')
  return Buffer.concat(chunks).toString('utf8')
}
