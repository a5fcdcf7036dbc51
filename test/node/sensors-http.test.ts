import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net'
import { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'

import { polledOf, tree, valueOf } from '../helpers/sensors.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

interface Site extends AsyncDisposable {
  readonly host: string
  readonly port: number
}

async function listening(server: Server): Promise<Site> {
  server.listen(0, '::1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    host: `[::1]:${port}`,
    port,
    async [Symbol.asyncDispose]() {
      if ('closeAllConnections' in server) (server.closeAllConnections as () => void)()
      server.close()
      await once(server, 'close')
    },
  }
}

function* spaces(): Generator<string> {
  for (;;) yield ' '.repeat(65_536)
}

const site = (handle: Handler): Promise<Site> => listening(createServer(handle))

const answer =
  (body: string): Handler =>
  (_request, response) =>
    void response.end(body)

function toml(url: string, more = ''): string {
  return `[sensor.power]\ntype = "http"\nurl = "${url}"\nunit = "W"\n${more}\n`
}

const files = tree()
before(() => {
  execFileSync('openssl', [
    ...'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=meter'.split(
      ' ',
    ),
    '-addext',
    'subjectAltName=IP:::1',
    '-keyout',
    files.path('key'),
    '-out',
    files.path('crt'),
  ])
})
after(() => files[Symbol.dispose]())

describe('a server', () => {
  it('gives a value of its JSON, as a plug with Tasmota answers', async () => {
    const status = '{"StatusSNS":{"Time":"2027-01-15T08:00:00","ENERGY":{"Power":42.5}}}'
    const asked: string[] = []
    await using server = await site(({ url = '', headers }, response) => {
      asked.push(`${url} ${headers.accept} ${headers.authorization}`)
      response.end(status)
    })
    const source = polledOf(
      toml(`http://${server.host}/cm?cmnd=Status%208`, 'pointer = "/StatusSNS/ENERGY/Power"'),
    )
    assert.deepEqual(await source.read(), [{ sensor: 'power', unit: 'W', value: 42.5 }])
    assert.deepEqual(asked, ['/cm?cmnd=Status%208 application/json undefined'])
    assert.equal(source.describe()[0]?.description, `From ${server.host}`)
  })

  it('gives nothing where its answer is no value', async () => {
    const bodies: readonly (readonly [string, RegExp])[] = [
      ['', /not JSON/],
      ['<html>', /not JSON/],
      ['{"a":NaN}', /not JSON/],
      ['{"a":1e999}', /not a number that can be kept/],
      ['{"b":1}', /no value at that place/],
      ['{"a":{"x":1}}', /list or a table/],
      ['{"a":null}', /empty/],
      ['['.repeat(200_000), /not JSON/],
      [`${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`, /list or a table/],
      [`{"a":1,"b":"${'x'.repeat(256 * 1024)}"}`, /larger than 256 KiB/],
    ]
    for (const [body, why] of bodies) {
      await using server = await site(answer(body))
      const source = polledOf(toml(`http://${server.host}/`, 'pointer = "/a"'))
      await assert.rejects(valueOf(source), why, body.slice(0, 20))
    }
  })

  it('gives nothing where it does not end, breaks off, refuses or is none', async () => {
    await using endless = await site((_request, response) => {
      Readable.from(spaces()).pipe(response)
    })
    await assert.rejects(valueOf(polledOf(toml(`http://${endless.host}/`))), /larger than 256 KiB/)
    await using silent = await site((_request, response) => void response.write('{'))
    await assert.rejects(
      valueOf(polledOf(toml(`http://${silent.host}/`, 'timeout = "100ms"'))),
      /no whole answer within 0\.1 s/,
    )
    await using broken = await site((_request, response) => {
      response.writeHead(200, { 'content-length': '10' })
      response.write('{', () => response.destroy())
    })
    await assert.rejects(valueOf(polledOf(toml(`http://${broken.host}/`))), /broke off/)
    await using refusing = await site((_request, response) => void response.writeHead(503).end('7'))
    await assert.rejects(valueOf(polledOf(toml(`http://${refusing.host}/`))), /status 503/)
    await using babble = await listening(
      createTcpServer((socket) =>
        socket
          .on('error', () => undefined)
          .resume()
          .end('SSH-2.0-x\r\n'),
      ),
    )
    await assert.rejects(
      valueOf(polledOf(toml(`http://${babble.host}/`))),
      /cannot be reached \(HPE_/,
    )
  })

  it('is told from one that is not there', async () => {
    const { host, ...gone } = await site(answer('1'))
    await gone[Symbol.asyncDispose]()
    const source = polledOf(toml(`http://${host}/`))
    await assert.rejects(valueOf(source), /cannot be reached \(ECONNREFUSED\)/)
  })

  it('is followed on its own host, and not elsewhere or without end', async () => {
    let elsewhereAsked = 0
    await using elsewhere = await site((_request, response) => {
      elsewhereAsked++
      response.end('1')
    })
    await using server = await site(({ url = '' }, response) => {
      const to: Readonly<Record<string, string>> = {
        '/moved': '/value',
        '/away': `http://localhost:${elsewhere.port}/`,
        '/port': `http://${elsewhere.host}/`,
        '/name': `http://localhost:${server.port}/value`,
        '/file': 'file:///etc/passwd',
        '/loop': '/loop',
      }
      const location = to[url]
      if (location === undefined) response.end('21')
      else response.writeHead(302, { location }).end()
    })
    const read = (path: string): Promise<unknown> =>
      valueOf(polledOf(toml(`http://${server.host}${path}`)))
    assert.equal(await read('/moved'), 21)
    for (const path of ['/away', '/port', '/name', '/file'])
      await assert.rejects(read(path), /does not follow/)
    await assert.rejects(read('/loop'), /from one address to the next/)
    assert.equal(elsewhereAsked, 0)
  })

  it('is believed over TLS by the certificate of a file alone', async () => {
    const tls = { key: readFileSync(files.path('key')), cert: readFileSync(files.path('crt')) }
    await using server = await listening(createTlsServer(tls, answer('3')))
    const url = `https://${server.host}/`
    assert.equal(await valueOf(polledOf(toml(url, `ca_file = "${files.path('crt')}"`))), 3)
    await assert.rejects(valueOf(polledOf(toml(url))), /cannot be reached \(.*SELF_SIGNED/)
  })

  it('gets its token from a file that others cannot read', async () => {
    let seen: string | undefined
    await using server = await site(({ headers }, response) => {
      seen = headers.authorization
      response.end('1')
    })
    const token = files.write('token', 'T0ken\n')
    const source = polledOf(toml(`http://${server.host}/`, `token_file = "${token}"`))
    await valueOf(source)
    assert.equal(seen, 'Bearer T0ken')
    files.write('token', 'T0ken\n', 0o644)
    await assert.rejects(valueOf(source), {
      message: `${token} can be read by everybody; try: chmod 600 ${token}`,
    })
    files.write('token', 'a\u0001b\n')
    await assert.rejects(valueOf(source), (error: Error) => !error.message.includes('a\u0001b'))
  })
})
