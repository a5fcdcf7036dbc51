/**
 * The HTTP application behind one door: the Unix socket, whose callers the file system chose, or
 * the dashboard's port, where every request is checked. Opening the doors is server.ts.
 */
import type { HttpBindings } from '@hono/node-server'
import { Hono, type Context } from 'hono'
import * as v from 'valibot'

import { NodeError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { checkHost, checkOrigin, sessionCookie, sessionOf, type Sessions } from './auth.ts'
import { CONTENT_TYPES, openApiDocument } from './openapi.ts'
import { HttpError, PROBLEM_TYPE, problemOf } from './problem.ts'
import { API_PREFIX, ROUTES, type DashboardLinks, type Route } from './routes.ts'
import { bytesOf, eventLines, jsonLines, streamOf } from './streams.ts'
import { isUnderway, type CallView, type NodeView } from './view.ts'

export interface StaticFile {
  /** Content type. */
  readonly type: string
  readonly body: string | Uint8Array<ArrayBuffer>
  /** CSP hashes (`sha256-…`) of scripts inside a page, for its import map. */
  readonly scriptHashes?: readonly string[]
}

export interface AppDeps {
  readonly view: NodeView
  readonly log: Logger
  readonly version: string
  readonly dashboard: DashboardLinks
  readonly staticFiles: ReadonlyMap<string, StaticFile>
  /** Aborts when the device stops. */
  readonly signal: AbortSignal
  /** Present behind the dashboard's port alone. */
  readonly guard?: { readonly sessions: Sessions; port(): number }
}

type Env = { Bindings: HttpBindings }

const MAX_BODY_BYTES = 64 * 1024

export function createApp(deps: AppDeps): Hono<Env> {
  const app = new Hono<Env>()
  const document = openApiDocument(ROUTES, deps.version)
  app.use(async (c, next) => {
    securityHeaders(c)
    if (deps.guard !== undefined) checkHost(factsOf(c), deps.guard.port())
    await next()
  })
  app.get('/healthz', (c) => c.json({ ok: true }))
  app.use(`${API_PREFIX}/*`, async (c, next) => {
    c.header('Cache-Control', 'no-store')
    if (deps.guard !== undefined) checkOrigin(factsOf(c))
    await next()
  })
  addSession(app, deps)
  app.get(`${API_PREFIX}/openapi.json`, (c) => c.json(document))
  for (const route of ROUTES) addRoute(app, route, deps)
  addStaticFiles(app, deps.staticFiles)
  app.notFound((c) => problemResponse(c, new HttpError('HTTP_NOT_FOUND'), deps.log))
  app.onError((error, c) => problemResponse(c, error, deps.log))
  return app
}

function factsOf(c: Context<Env>) {
  return {
    method: c.req.method,
    // The header itself: a URL in the request line could say something else.
    host: c.env.incoming.headers.host,
    origin: c.req.header('Origin'),
    fetchSite: c.req.header('Sec-Fetch-Site'),
  }
}

const CSP_REST =
  "style-src 'self'; img-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

function contentSecurityPolicy(scriptHashes: readonly string[] = []): string {
  const scripts = ["'self'", ...scriptHashes.map((hash) => `'${hash}'`)].join(' ')
  return `default-src 'none'; script-src ${scripts}; ${CSP_REST}`
}

function securityHeaders(c: Context<Env>): void {
  c.header('Content-Security-Policy', contentSecurityPolicy())
  c.header('X-Content-Type-Options', 'nosniff')
  c.header('Referrer-Policy', 'no-referrer')
  c.header('Cross-Origin-Resource-Policy', 'same-origin')
  c.header('Cross-Origin-Opener-Policy', 'same-origin')
}

/** A session for a one-time link, and from here on a session for everything behind the guard. */
function addSession(app: Hono<Env>, { guard }: AppDeps): void {
  if (guard === undefined) return
  app.post(`${API_PREFIX}/session`, async (c) => {
    const { token } = await readBody(
      c,
      v.strictObject({ token: v.pipe(v.string(), v.maxLength(64)) }),
    )
    const session = guard.sessions.redeem(token)
    if (session === undefined) throw new HttpError('HTTP_NO_SESSION')
    c.header('Set-Cookie', sessionCookie(guard.port(), session))
    return c.body(null, 204)
  })
  app.use(`${API_PREFIX}/*`, async (c, next) => {
    const session = sessionOf(c.req.header('Cookie'), guard.port())
    if (!guard.sessions.isValid(session)) throw new HttpError('HTTP_NO_SESSION')
    await next()
  })
}

function addRoute(app: Hono<Env>, route: Route, deps: AppDeps): void {
  const path = `${API_PREFIX}${route.path.replaceAll(/\{(\w+)\}/g, ':$1')}`
  app.on(route.method, path, async (c) => {
    if (route.socketOnly === true && deps.guard !== undefined) {
      throw new HttpError('HTTP_FORBIDDEN', 'Use the command line on this machine for that.')
    }
    const stop = new AbortController()
    const context = {
      view: deps.view,
      dashboard: deps.dashboard,
      ref: c.req.param('ref') ?? '',
      name: c.req.param('name') ?? '',
      body: (route.body === undefined
        ? undefined
        : await readBody(c, route.body, route.maxBodyBytes)) as never,
      query: (route.query === undefined ? undefined : readQuery(c, route.query)) as never,
      signal: AbortSignal.any([deps.signal, c.req.raw.signal, stop.signal]),
    }
    return await respond(c, { route, result: route.handle(context), stop, log: deps.log })
  })
}

interface Outcome {
  readonly route: Route
  readonly result: unknown
  readonly stop: AbortController
  readonly log: Logger
}

async function respond(c: Context<Env>, { route, result, stop, log }: Outcome): Promise<Response> {
  if (route.answer === 'json') return c.json((await result) as Record<string, unknown>)
  if (route.answer === 'call') {
    const call = (await result) as CallView
    return c.json(call, isUnderway(call) ? 202 : 200)
  }
  if (route.answer === 'none') {
    await result
    return c.body(null, 204)
  }
  if (route.answer === 'bytes' || route.answer === 'file') {
    const body = await bytesOf(result as AsyncIterable<Uint8Array>, stop, (error) => {
      describeError(error, log)
      c.env.outgoing.destroy()
    })
    c.header('Content-Type', CONTENT_TYPES[route.answer])
    return c.body(body)
  }
  const events = route.answer === 'events'
  const rows = result as AsyncIterable<unknown>
  const onError = (error: unknown) => describeError(error, log)
  const lines = events ? eventLines(rows, onError) : jsonLines(rows, onError)
  c.header('Content-Type', events ? 'text/event-stream' : 'application/x-ndjson')
  return c.body(streamOf(lines, stop))
}

async function readBody<Schema extends v.GenericSchema<unknown, unknown>>(
  c: Context<Env>,
  schema: Schema,
  maxBytes = MAX_BODY_BYTES,
): Promise<v.InferOutput<Schema>> {
  const [type] = (c.req.header('Content-Type') ?? '').split(';')
  // A page of another site can send text/plain and forms without asking first; never JSON.
  if (type?.trim().toLowerCase() !== 'application/json') throw new HttpError('HTTP_NOT_JSON')
  const text = await readText(c.env.incoming, maxBytes)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new HttpError('HTTP_BAD_REQUEST', 'The body is not JSON.')
  }
  return check(schema, json)
}

/** The whole body, if it is small. Length headers are not believed. */
async function readText(incoming: HttpBindings['incoming'], maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of incoming as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new HttpError('HTTP_TOO_LARGE')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function readQuery(c: Context<Env>, schema: v.GenericSchema<unknown, unknown>): unknown {
  const query: Record<string, string> = c.req.query()
  // A browser that reconnects to the events says here what it has.
  const lastEvent = c.req.header('Last-Event-ID')
  if (lastEvent !== undefined && query['since'] === undefined) query['since'] = lastEvent
  return check(schema, query)
}

function check<Schema extends v.GenericSchema<unknown, unknown>>(
  schema: Schema,
  input: unknown,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, input, { abortEarly: true })
  if (result.success) return result.output
  const [issue] = result.issues
  const path = issue === undefined ? null : v.getDotPath(issue)
  // valibot's messages may repeat the input, which may be a secret: say only where and what kind.
  throw new HttpError('HTTP_BAD_REQUEST', `${path ?? 'input'}: ${ruleText(issue)}`)
}

/** The rule that was broken, from the schema alone. */
function ruleText(issue: v.BaseIssue<unknown> | undefined): string {
  const rule = issue?.type ?? 'invalid'
  const limit = issue !== undefined && 'requirement' in issue ? String(issue.requirement) : ''
  const texts: Readonly<Record<string, string>> = {
    min_length: 'must not be empty',
    max_bytes: `must not be longer than ${limit} bytes`,
    min_value: `must be ${limit} or more`,
    max_value: `must be ${limit} or less`,
    regex: 'has characters that are not allowed',
    bounded_json: 'is too large, too deep or has a name that is not allowed',
  }
  return texts[rule] ?? rule
}

function addStaticFiles(app: Hono<Env>, files: ReadonlyMap<string, StaticFile>): void {
  for (const [path, { type, body, scriptHashes }] of files) {
    app.get(path, (c) => {
      c.header('Content-Security-Policy', contentSecurityPolicy(scriptHashes))
      c.header('Cache-Control', 'no-cache')
      return c.body(body, 200, { 'Content-Type': type })
    })
  }
}

function problemResponse(c: Context<Env>, error: unknown, log: Logger): Response {
  const problem = describeError(error, log)
  // What is left of a body is not worth reading.
  if (problem.status === 413) c.header('Connection', 'close')
  return c.body(JSON.stringify(problem), problem.status as 400, { 'Content-Type': PROBLEM_TYPE })
}

function describeError(error: unknown, log: Logger) {
  const problem = problemOf(error)
  if (problem.code === 'NODE_INTERNAL') log.error({ err: error }, 'request failed')
  else if (!(error instanceof NodeError)) log.debug({ code: problem.code }, 'request refused')
  return problem
}
