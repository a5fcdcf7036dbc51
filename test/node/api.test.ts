import assert from 'node:assert/strict'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, it } from 'node:test'

import { createClient } from '../../node/api/client.ts'
import { ApiError } from '../../node/api/problem.ts'
import { API_PREFIX, ROUTES } from '../../node/api/routes.ts'
import { startApi } from '../../node/api/server.ts'
import type { NodeView } from '../../node/api/view.ts'
import { systemClock } from '../../node/env.ts'
import { createLogger } from '../../node/log.ts'
import { DEVICES, fakeView, READINGS } from '../helpers/fake-view.ts'
import { seededRandom } from '../helpers/random.ts'

const cleanup: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step()
})

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'kith-api-'))
  cleanup.push(() => rm(dir, { recursive: true, force: true }))
  return dir
}

async function start(over: Partial<NodeView> = {}) {
  const view = fakeView(over)
  const logged: string[] = []
  const log = createLogger({
    level: 'trace',
    format: 'json',
    out: { write: (text: string) => logged.push(text) },
  })
  const socketPath = join(await folder(), 'run', 'kith.sock')
  const stop = new AbortController()
  const api = await startApi(
    view,
    {
      socketPath,
      port: undefined,
      version: '1.2.3',
      clock: systemClock,
      random: seededRandom('api'),
      log,
    },
    stop.signal,
  )
  cleanup.push(async () => api[Symbol.asyncDispose]())
  const client = createClient(socketPath, new AbortController().signal)
  return { view, api, client, socketPath, logged }
}

const forever = new AbortController().signal

async function take<T>(rows: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = []
  for await (const one of rows) {
    taken.push(one)
    if (taken.length === count) break
  }
  return taken
}

describe('local API over the Unix socket', () => {
  it('makes a socket that only this user can open, in a folder that only this user can enter', async () => {
    const { socketPath } = await start()
    assert.equal((await stat(socketPath)).mode & 0o777, 0o600)
    assert.equal((await stat(join(socketPath, '..'))).mode & 0o777, 0o700)
  })

  it('answers every question of the view with what the view said', async () => {
    const { client, view } = await start()
    assert.deepEqual(await client.devices(), DEVICES)
    assert.deepEqual(await client.device('garden'), DEVICES[2])
    assert.deepEqual(await client.createHome({ name: 'Home', recoveryKey: 'ab'.repeat(32) }), {
      home: 'bhome',
      name: 'Home',
      device: '12D3KooWkitchen',
    })
    assert.equal(await client.closePairing(), undefined)
    await client.setSensor('temperature', false)
    await client.rename('garden', 'Garden 2')
    await client.grant('garden', 'member')
    await client.remove('garden', { reason: 'lost' })
    await client.addDevice({ code: '37', role: 'sensor' }, forever)
    assert.deepEqual(view.asked.slice(4), [
      ['setSensor', 'temperature', false],
      ['rename', 'garden', 'Garden 2'],
      ['grant', 'garden', 'member', {}],
      ['remove', 'garden', { reason: 'lost' }],
      ['addDevice', { code: '37', role: 'sensor' }],
    ])
  })

  it('carries names with slashes, spaces and question marks', async () => {
    const { client, view } = await start({ device: async () => DEVICES[0] ?? assert.fail() })
    await client.device('a/b ?#%é')
    assert.deepEqual(view.asked, [['device', 'a/b ?#%é']])
  })

  it('gives back code, message and hint of a refusal', async () => {
    const { client } = await start()
    await assert.rejects(client.device('kitch'), (error: unknown) => {
      assert.ok(error instanceof ApiError)
      assert.deepEqual([error.code, error.status], ['NODE_AMBIGUOUS', 409])
      assert.match(error.hint ?? '', /kitchen \(aaaa2222\), kitchenette \(aabb3333\)/)
      return true
    })
  })

  it('says nothing of the inside when it fails by a defect, and logs it', async () => {
    const { client, logged } = await start({
      status: () => Promise.reject(new TypeError('secret path /var/lib/x')),
    })
    await assert.rejects(client.status(), (error: unknown) => {
      assert.ok(error instanceof ApiError)
      assert.equal(error.code, 'NODE_INTERNAL')
      assert.doesNotMatch(`${error.message}${error.hint}`, /secret path/)
      return true
    })
    assert.match(logged.join(''), /secret path/)
  })

  it('refuses a body outside its schema without asking the view or repeating the input', async () => {
    const { client, view } = await start()
    for (const call of [
      () => client.createHome({ name: '', recoveryKey: 'ab'.repeat(32) }),
      () => client.createHome({ name: 'H', recoveryKey: 'hunter2' }),
      () => client.addDevice({ role: 'member' }, forever),
      () => client.addDevice({ code: 'a', qr: 'b', role: 'member' }, forever),
      () => client.recover({ kit: 'x'.repeat(2000) }),
      () => client.openPairing({ minutes: 11 }),
    ]) {
      await assert.rejects(call, (error: unknown) => {
        assert.ok(error instanceof ApiError)
        assert.equal(error.code, 'HTTP_BAD_REQUEST')
        assert.doesNotMatch(`${error.message}${error.hint}`, /hunter2|xxxx/)
        return true
      })
    }
    assert.deepEqual(view.asked, [])
  })

  it('streams live readings at once and lets the source go when the client goes', async () => {
    let ended: () => void
    const end = new Promise<void>((resolve) => (ended = resolve))
    const { client } = await start({
      async *watch(_query, signal) {
        try {
          yield* READINGS
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
        } finally {
          ended()
        }
      },
    })
    assert.deepEqual(await take(client.watch({ device: 'garden' }, forever), 3), READINGS)
    await end
  })

  it('tells a client that it is heard before the first row', async () => {
    const { client, view } = await start()
    const stop = new AbortController()
    const next = take(client.events(undefined, stop.signal), 1)
    await view.called('events')
    view.emit('pairing.closed', { reason: 'test' })
    assert.deepEqual(
      (await next).map(({ type }) => type),
      ['pairing.closed'],
    )
  })

  it('sends the events after a number, then live ones', async () => {
    const { client, view } = await start()
    for (const n of [1, 2, 3]) view.emit('n', { n })
    const rows = take(client.events(1, forever), 3)
    await view.called('events')
    view.emit('n', { n: 4 })
    assert.deepEqual(
      (await rows).map(({ id }) => id),
      [2, 3, 4],
    )
  })

  it('keeps gaps among the readings of the past', async () => {
    const { client, view } = await start()
    const rows = await take(
      client.history({ device: 'garden', since: 5, everyMs: 60_000 }, forever),
      9,
    )
    assert.deepEqual(
      rows.map((one) => 'gap' in one),
      [false, true, false],
    )
    assert.deepEqual(view.asked, [['history', { device: 'garden', since: 5, everyMs: 60_000 }]])
  })

  it('tells a reader why a stream broke off', async () => {
    const { client } = await start({
      async *watch() {
        yield* READINGS
        throw new TypeError('inside')
      },
    })
    await assert.rejects(take(client.watch({}, forever), 9), { code: 'NODE_INTERNAL' })
  })

  it('aborts a long action when the person gives up', async () => {
    let gaveUp: () => void
    const given = new Promise<void>((resolve) => (gaveUp = resolve))
    const { client, view } = await start({
      addDevice: (_input, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => (gaveUp(), reject(new Error('gone'))))
        }),
    })
    const stop = new AbortController()
    const called = view.called('addDevice')
    const adding = client.addDevice({ code: '1', role: 'member' }, stop.signal)
    await called
    stop.abort(new Error('enough'))
    await assert.rejects(adding, /enough/)
    await given
  })

  it('says that Kith is not running where nobody answers', async () => {
    const missing = createClient(join(await folder(), 'kith.sock'), forever)
    await assert.rejects(missing.status(), {
      code: 'NODE_NOT_RUNNING',
      hint: 'Start it with: kith up',
    })
  })

  it('describes exactly its routes in OpenAPI', async () => {
    const { socketPath } = await start()
    const { text, status } = await get(socketPath, `${API_PREFIX}/openapi.json`)
    assert.equal(status, 200)
    const { openapi, info, paths } = JSON.parse(text) as {
      openapi: string
      info: { version: string }
      paths: Record<string, Record<string, { requestBody?: unknown }>>
    }
    assert.deepEqual([openapi, info.version], ['3.1.0', '1.2.3'])
    const described = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    )
    const served = ROUTES.map(({ method, path }) => `${method} ${API_PREFIX}${path}`)
    assert.ok(served.length > 20)
    assert.deepEqual(described.toSorted(), served.toSorted())
    const home = paths[`${API_PREFIX}/home`]?.['post']?.requestBody
    assert.match(JSON.stringify(home), /"recoveryKey"/)
  })

  it('answers unknown paths with a problem document, and /healthz to everybody', async () => {
    const { socketPath } = await start()
    const nothing = await get(socketPath, `${API_PREFIX}/nothing`)
    assert.deepEqual([nothing.status, nothing.type], [404, 'application/problem+json'])
    assert.deepEqual(await get(socketPath, '/healthz').then(({ text }) => text), '{"ok":true}')
  })
})

describe('the socket itself', () => {
  const options = (socketPath: string) => ({
    socketPath,
    port: undefined,
    version: '1',
    clock: systemClock,
    random: seededRandom('s'),
    log: createLogger({ level: 'silent', format: 'json', out: { write: () => true } }),
  })

  it('is not taken from a living device', async () => {
    const { socketPath } = await start()
    await assert.rejects(startApi(fakeView(), options(socketPath), forever), {
      code: 'NODE_LOCKED',
    })
    assert.equal((await get(socketPath, '/healthz')).status, 200)
  })

  it('never replaces a file that is no socket', async () => {
    const path = join(await folder(), 'kith.sock')
    await writeFile(path, 'mine')
    await assert.rejects(startApi(fakeView(), options(path), forever), { code: 'NODE_CONFIG' })
    assert.equal((await stat(path)).size, 4)
  })

  it('refuses a path that the kernel would cut', async () => {
    const path = join(await folder(), 'x'.repeat(108))
    await assert.rejects(startApi(fakeView(), options(path), forever), { code: 'NODE_CONFIG' })
  })
})

async function get(socketPath: string, path: string) {
  const { request } = await import('node:http')
  return new Promise<{ status: number; type: string; text: string }>((resolve, reject) => {
    request({ socketPath, path, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers['content-type'] ?? '',
          text,
        }),
      )
    })
      .on('error', reject)
      .end()
  })
}
