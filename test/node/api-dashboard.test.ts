import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { request, type IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'

import { createSessions } from '../../node/api/auth.ts'
import { createClient } from '../../node/api/client.ts'
import { ROUTES } from '../../node/api/routes.ts'
import { startApi, type Api } from '../../node/api/server.ts'
import { systemClock } from '../../node/env.ts'
import { createLogger } from '../../node/log.ts'
import { virtualClock } from '../helpers/clock.ts'
import { DEVICES, fakeView, type FakeView } from '../helpers/fake-view.ts'
import { seededRandom } from '../helpers/random.ts'

const forever = new AbortController().signal
const PAGE = {
  type: 'text/html; charset=utf-8',
  body: '<!doctype html>',
  scriptHashes: ['sha256-abc='],
}

let dir: string
let api: Api
let view: FakeView

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kith-dash-'))
  view = fakeView()
  const log = createLogger({ level: 'silent', format: 'json', out: { write: () => true } })
  api = await startApi(
    view,
    {
      socketPath: join(dir, 'kith.sock'),
      port: 0,
      version: '1',
      clock: systemClock,
      random: seededRandom('dashboard'),
      log,
      staticFiles: new Map([['/', PAGE]]),
    },
    forever,
  )
})
after(async () => {
  await api[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
})

interface Asked {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string
}

/** One request to the dashboard's port; header names as given, so that hosts can be forged. */
function ask(path: string, { method = 'GET', headers = {}, body }: Asked = {}) {
  return new Promise<{ status: number; headers: IncomingHttpHeaders; text: string }>(
    (resolve, reject) => {
      const sent = request(
        { host: '::1', port: api.port, path, method, headers, agent: false },
        (response) => {
          let text = ''
          response.setEncoding('utf8')
          response.on('data', (chunk: string) => (text += chunk))
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
          )
        },
      )
      sent.on('error', reject)
      sent.end(body)
    },
  )
}

const origin = (): string => `http://[::1]:${api.port}`
const JSON_TYPE = { 'content-type': 'application/json' }

async function token(): Promise<string> {
  const { url } = await createClient(api.socketPath, forever).dashboardLink()
  return new URL(url).hash.replace('#t=', '')
}

async function session(): Promise<string> {
  const { headers } = await ask('/api/v1/session', {
    method: 'POST',
    headers: { ...JSON_TYPE, origin: origin() },
    body: JSON.stringify({ token: await token() }),
  })
  return headers['set-cookie']?.[0]?.split(';')[0] ?? ''
}

describe('the dashboard port', () => {
  let cookie: string
  beforeEach(async () => {
    cookie = await session()
  })

  it('lets a one-time link in, once, with a cookie that scripts and other sites cannot use', async () => {
    const link = await token()
    const enter = () =>
      ask('/api/v1/session', {
        method: 'POST',
        headers: { ...JSON_TYPE, origin: origin() },
        body: JSON.stringify({ token: link }),
      })
    const first = await enter()
    assert.equal(first.status, 204)
    assert.match(
      first.headers['set-cookie']?.[0] ?? '',
      new RegExp(`^kith-${api.port}=[\\w-]{43}; Path=/; HttpOnly; SameSite=Strict; Max-Age=\\d+$`),
    )
    assert.equal((await enter()).status, 401)
  })

  it('answers with a session and refuses every route without one', async () => {
    const { status, text } = await ask('/api/v1/devices', { headers: { cookie } })
    assert.deepEqual([status, JSON.parse(text)], [200, DEVICES])
    const asked = view.asked.length
    for (const { method, path } of ROUTES) {
      const refused = await ask(`/api/v1${path.replace('{ref}', 'x')}`, {
        method,
        headers: { ...JSON_TYPE, origin: origin() },
        ...(method === 'POST' || method === 'PATCH' ? { body: '{}' } : {}),
      })
      assert.deepEqual([path, refused.status], [path, 401])
    }
    assert.equal((await ask('/api/v1/openapi.json')).status, 401)
    assert.equal(view.asked.length, asked)
  })

  it('refuses a session that was never given', async () => {
    for (const forged of [
      `kith-${api.port}=`,
      `kith-${api.port}=${'A'.repeat(43)}`,
      cookie.slice(0, -1),
      `x${cookie}`,
    ]) {
      assert.equal((await ask('/api/v1/devices', { headers: { cookie: forged } })).status, 401)
    }
  })

  it('refuses foreign host names with 421, whatever else is right', async () => {
    const port = String(api.port)
    for (const host of [
      'evil.example',
      `evil.example:${port}`,
      '[::1]',
      `[::1]:${Number(port) + 1}`,
      `127.0.0.1:${port}`,
    ]) {
      for (const path of ['/api/v1/devices', '/', '/healthz']) {
        assert.deepEqual(
          [host, (await ask(path, { headers: { host, cookie } })).status],
          [host, 421],
        )
      }
    }
    assert.equal((await ask('/', { headers: { host: `[::1]:${port}.evil.example` } })).status, 400)
    assert.equal((await ask('/healthz', { headers: { host: `localhost:${port}` } })).status, 200)
  })

  it('believes the Host header and not a URL in the request line', async () => {
    const forged = await ask(`http://[::1]:${api.port}/api/v1/devices`, {
      headers: { host: 'evil.example', cookie },
    })
    assert.equal(forged.status, 421)
  })

  it('refuses writes that do not come from its own page with 403', async () => {
    const asked = view.asked.length
    const write = (headers: Record<string, string>) =>
      ask('/api/v1/pairing', {
        method: 'POST',
        headers: { ...JSON_TYPE, cookie, ...headers },
        body: '{}',
      })
    for (const headers of [
      {},
      { origin: 'null' },
      { origin: 'http://evil.example' },
      { origin: `http://localhost:${api.port}` },
      { origin: `https://[::1]:${api.port}` },
      { origin: origin(), 'sec-fetch-site': 'cross-site' },
      { origin: origin(), 'sec-fetch-site': 'same-site' },
    ]) {
      assert.deepEqual([headers, (await write(headers)).status], [headers, 403])
    }
    assert.equal(view.asked.length, asked)
    assert.equal((await write({ origin: origin(), 'sec-fetch-site': 'same-origin' })).status, 200)
  })

  it('refuses reads that another site makes the browser send', async () => {
    for (const headers of [
      { 'sec-fetch-site': 'cross-site' },
      { origin: 'http://evil.example' },
    ] as Record<string, string>[]) {
      assert.equal((await ask('/api/v1/devices', { headers: { cookie, ...headers } })).status, 403)
    }
  })

  it('takes nothing but JSON as a body, so that no form of another site fits', async () => {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data',
      '',
    ]) {
      const headers = { 'content-type': type, cookie, origin: origin() }
      assert.equal(
        (await ask('/api/v1/pairing', { method: 'POST', headers, body: '{}' })).status,
        415,
      )
    }
  })

  it('keeps acts that need the machine itself to the socket', async () => {
    for (const path of ['/recovery-kit', '/recover', '/reset', '/dashboard-link']) {
      const headers = { ...JSON_TYPE, cookie, origin: origin() }
      assert.equal(
        (await ask(`/api/v1${path}`, { method: 'POST', headers, body: '{"confirm":true}' })).status,
        403,
      )
    }
  })

  it('serves its pages under a policy that lets no script in but its own', async () => {
    const { status, headers, text } = await ask('/')
    assert.deepEqual([status, text], [200, PAGE.body])
    const policy = String(headers['content-security-policy'])
    assert.match(policy, /default-src 'none'; script-src 'self' 'sha256-abc='; /)
    assert.match(policy, /frame-ancestors 'none'/)
    assert.doesNotMatch(policy, /unsafe|\*/)
    assert.equal(headers['x-content-type-options'], 'nosniff')
    const other = await ask('/api/v1/devices', { headers: { cookie } })
    assert.equal(other.headers['cache-control'], 'no-store')
    assert.equal(other.headers['access-control-allow-origin'], undefined)
  })

  it('stops reading a huge body, with and without a length in front', async () => {
    const body = JSON.stringify({ name: 'x'.repeat(200_000) })
    const asked = view.asked.length
    for (const more of [{}, { 'transfer-encoding': 'chunked' }] as Record<string, string>[]) {
      const headers = { ...JSON_TYPE, cookie, origin: origin(), ...more }
      const { status, text } = await ask('/api/v1/home', { method: 'POST', headers, body })
      assert.deepEqual(
        [status, (JSON.parse(text) as { code: string }).code],
        [413, 'HTTP_TOO_LARGE'],
      )
    }
    assert.equal(view.asked.length, asked)
  })

  it('refuses headers without end', async () => {
    assert.equal((await ask('/healthz', { headers: { 'x-long': 'x'.repeat(20_000) } })).status, 431)
  })

  it('hangs up on a client that dawdles over its headers', async () => {
    const started = performance.now()
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(api.port ?? 0, '::1', () =>
        socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n'),
      )
      let text = ''
      socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      socket.once('close', () => resolve(text))
    })
    assert.match(answer, /^HTTP\/1\.1 408 /)
    assert.ok(performance.now() - started < 8000)
  })
})

describe('sessions', () => {
  it('end with their time, and links with theirs', async () => {
    const clock = virtualClock()
    const sessions = createSessions(clock, seededRandom('sessions'))
    const late = sessions.createLink()
    assert.equal(late.expiresAt, clock.now() + 600_000)
    await clock.advance(600_000)
    assert.equal(sessions.redeem(late.token), undefined)
    const opened = sessions.redeem(sessions.createLink().token) ?? assert.fail()
    await clock.advance(12 * 3_600_000 - 1)
    assert.ok(sessions.isValid(opened))
    await clock.advance(1)
    assert.ok(!sessions.isValid(opened))
  })

  it('are not prolonged or ended by a wrong wall clock', () => {
    const clock = virtualClock()
    const sessions = createSessions(clock, seededRandom('sessions'))
    const { token: link } = sessions.createLink()
    clock.setWall(4_000_000_000_000)
    assert.ok(sessions.isValid(sessions.redeem(link) ?? ''))
  })

  it('are few: the oldest makes room', () => {
    const sessions = createSessions(virtualClock(), seededRandom('sessions'))
    const opened = Array.from(
      { length: 17 },
      () => sessions.redeem(sessions.createLink().token) ?? '',
    )
    assert.deepEqual(
      opened.map((one) => sessions.isValid(one)),
      [false, ...Array.from({ length: 16 }, () => true)],
    )
  })
})
