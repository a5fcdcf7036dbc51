/**
 * One end of what a swarm is compared with, in a process of its own. It waits for a message before it
 * fetches, so that all start together, and checks what it got.
 *
 *   swarm-side.ts bare serve FILE ADDRESS           swarm-side.ts bare get ADDRESS BYTES SHA256
 *   swarm-side.ts https serve FILE FOLDER           swarm-side.ts https get ADDRESS BYTES SHA256
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer, get } from 'node:https'
import path from 'node:path'
import process from 'node:process'

import { noise } from '@chainsafe/libp2p-noise'
import type { Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const PROTOCOL = '/bench/bulk/1.0.0'
const HTTPS_PORT = 8443
const PIECE_BYTES = 65_536

const [kind = '', does = '', ...rest] = process.argv.slice(2)
process.once('SIGTERM', () => process.exit(0))
// Whoever is done stays, until what it cost was looked at.
process.on('message', () => undefined)
await { bare: { serve: bareServe, get: bareGet }, https: { serve: httpsServe, get: httpsGet } }[
  kind as 'bare' | 'https'
][does as 'serve' | 'get']()

function tell(type: string, more: Readonly<Record<string, unknown>> = {}): void {
  process.send?.({ type, ...more })
}

async function bareNode(listen: readonly string[]) {
  return createLibp2p({
    addresses: { listen: [...listen] },
    transports: [tcp({ dialOpts: { noDelay: true }, listenOpts: { noDelay: true } })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  })
}

async function bareServe(): Promise<void> {
  const [file = '', address = ''] = rest
  const bytes = readFileSync(file)
  const node = await bareNode([`/ip6/${address}/tcp/0`])
  await node.handle(PROTOCOL, async (stream: Stream) => {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      if (!stream.send(bytes.subarray(at, at + PIECE_BYTES))) await once(stream as never, 'drain')
    }
    await stream.close()
  })
  tell('listening', { address: node.getMultiaddrs()[0]?.toString() ?? '' })
}

async function bareGet(): Promise<void> {
  const node = await bareNode([])
  tell('ready')
  await once(process, 'message')
  const connection = await node.dial(multiaddr(rest[0] ?? ''))
  const stream = await connection.newStream(PROTOCOL)
  let got = 0
  stream.addEventListener('message', ({ data }) => {
    got += data.byteLength
    if (got === Number(rest[1])) tell('done')
  })
}

async function httpsServe(): Promise<void> {
  const [file = '', folder = ''] = rest
  const { size } = await stat(file)
  const own = (name: string): Buffer => readFileSync(path.join(folder, name))
  const options = { cert: own('cert.pem'), key: own('key.pem'), minVersion: 'TLSv1.3' as const }
  const server = createServer(options, (_, response) => {
    response.setHeader('content-length', size)
    createReadStream(file, { highWaterMark: PIECE_BYTES }).pipe(response)
  })
  server.listen(HTTPS_PORT, '::')
  await once(server, 'listening')
  tell('listening')
}

async function httpsGet(): Promise<void> {
  tell('ready')
  await once(process, 'message')
  // The certificate names another host; what is measured is the same.
  const options = { host: rest[0], port: HTTPS_PORT, path: '/', rejectUnauthorized: false }
  get(options, (response) => {
    const hash = createHash('sha256')
    response.on('data', (data: Buffer) => hash.update(data))
    response.on('end', () => {
      if (hash.digest('hex') === rest[2]) tell('done')
    })
  })
}
