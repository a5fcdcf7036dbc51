import assert from 'node:assert/strict'
import { it } from 'node:test'

import type { Connection } from '@libp2p/interface'
import { byteStream } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import { pino } from 'pino'

import { startHost, type Host } from '../../node/mesh/host.ts'
import { zonedTcp } from '../../node/mesh/transport.ts'

const log = pino({ level: 'silent' })

function host(seed: number): Promise<Host> {
  return startHost({
    seed: new Uint8Array(32).fill(seed),
    listen: ['/ip6/::1/tcp/0'],
    transport: zonedTcp(() => () => undefined),
    gater: {},
    log,
  })
}

/** Everything that the far end writes. */
async function readAll(connection: Connection): Promise<Buffer> {
  const stream = await connection.newStream('/ipfs/id/1.0.0')
  const bytes = byteStream(stream)
  const parts: Uint8Array[] = []
  for (;;) {
    const part = await bytes.read()
    if (part === null) return Buffer.concat(parts)
    parts.push(part.subarray())
  }
}

it('tells a peer where it was seen without the name of our interface', async () => {
  const [near, far] = [await host(1), await host(2)]
  try {
    const opened = new Promise<Connection>((resolve) => {
      near.node.addEventListener('connection:open', ({ detail }) => resolve(detail))
    })
    const [listening] = near.components.transportManager.getAddrs()
    assert.ok(listening !== undefined)
    const connection = await far.node.dial(listening)
    // As it is where the connection came in over a link-local address.
    const seen = await opened
    seen.remoteAddr = multiaddr('/ip6zone/lan0wired/ip6/fe80::abcd/tcp/4646')
    const said = await readAll(connection)
    assert.ok(said.includes(Buffer.from('abcd', 'hex')), 'says where it was seen')
    assert.equal(said.includes('lan0wired'), false)
  } finally {
    await near.node.stop()
    await far.node.stop()
  }
})
