/** A device as a process of its own, held against a server that attacks it. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { after, afterEach, before, beforeEach, it } from 'node:test'

import { toHex } from '../../protocols/wire/index.ts'
import { Channel, DAY, indexOf, key, pathOf } from '../helpers/tuf.ts'

const PROGRAM = new URL('../helpers/tuf-refresh.ts', import.meta.url).pathname

let server: Server
let url = ''
let dir = ''
let channel: Channel
/** Instead of a file. */
let answers: Map<string, (response: ServerResponse) => void>

before(async () => {
  server = createServer((request, response) => {
    const name = decodeURIComponent((request.url ?? '').replace(/^\/(?:metadata|targets)\//, ''))
    const answer = answers.get(name)
    const file = channel.files.get(name)
    if (answer !== undefined) answer(response)
    else response.writeHead(file === undefined ? 404 : 200).end(file)
  })
  await new Promise<void>((listening) => server.listen(0, '::1', listening))
  url = `http://[::1]:${(server.address() as AddressInfo).port}`
})
after(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kith-outside-'))
  channel = new Channel()
  channel.list({ add: [indexOf('1.0.0', 1)] })
  answers = new Map()
})
afterEach(() => rm(dir, { recursive: true, force: true }))

interface Said {
  readonly code?: string
  readonly about?: string
  readonly releases?: readonly { readonly path: string }[]
}

function run(nowMs = channel.nowMs): Promise<Said> {
  const args = [join(dir, 'm'), url, toHex(channel.pin), `${nowMs}`]
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [PROGRAM, ...args], (_error, stdout, stderr) => {
      if (stdout === '') reject(new Error(stderr))
      else resolve(JSON.parse(stdout) as Said)
    })
  })
}

it('follows a channel over several runs', async () => {
  assert.deepEqual(
    (await run()).releases?.map(({ path }) => path),
    [pathOf('1.0.0', 1)],
  )
  channel.list({ add: [indexOf('1.1.0', 2)] })
  assert.equal((await run()).releases?.length, 2)
})

it('refuses rollback, freeze and a change of keys by strangers, run after run', async () => {
  const old = channel.copy()
  channel.list({ add: [indexOf('1.1.0', 2)] })
  const now = channel
  await run()
  channel = old
  assert.equal((await run()).code, 'TUF_ROLLBACK')
  channel = now
  const fresh = key('root')
  channel = now.copy()
  channel.rotate({ add: [fresh], remove: channel.root.map(({ id }) => id) }, [fresh])
  assert.equal((await run()).code, 'TUF_SIGNATURE')
  channel = now
  assert.equal((await run()).releases?.length, 2)
  assert.deepEqual(await run(channel.nowMs + 31 * DAY), { code: 'TUF_EXPIRED', about: 'timestamp' })
})

it('stops reading what never ends, and tells a server that fails from one that lies', async () => {
  let sent = 0
  answers.set('timestamp.json', (response) => {
    const more = (): void => {
      sent += 65_536
      if (!response.destroyed && response.write(Buffer.alloc(65_536, 32))) setImmediate(more)
    }
    response.on('drain', more)
    more()
  })
  assert.deepEqual(await run(), { code: 'TUF_TOO_LONG', about: 'timestamp.json' })
  assert.ok(sent < 64_000_000, `${sent} bytes`)
  answers.set('timestamp.json', (response) => response.writeHead(500).end())
  assert.equal((await run()).code, 'TUF_UNREACHABLE')
  answers.set('timestamp.json', (response) =>
    response.writeHead(302, { location: `${url}/metadata/1.root.json` }).end(),
  )
  assert.equal((await run()).code, 'TUF_UNREACHABLE')
  answers.set('timestamp.json', (response) => response.writeHead(200).end('{'))
  assert.equal((await run()).code, 'TUF_MALFORMED')
})

it('refuses an index that is not the one that was signed', async () => {
  const name = [...channel.files.keys()].find((one) => one.endsWith('.index')) ?? ''
  channel.files.set(name, channel.get(name).with(9, 0xff))
  assert.deepEqual(await run(), { code: 'TUF_HASH', about: pathOf('1.0.0', 1) })
})
