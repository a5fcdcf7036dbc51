/** libp2p's identify. It tells the far end where it was seen; the zone in that is ours, and stays here. */
import { identify, type Identify } from '@libp2p/identify'
import type { Connection, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'

type Create = ReturnType<typeof identify>
type Answering = Identify & {
  handleProtocol(stream: Stream, connection: Connection): Promise<void>
}

export function zonelessIdentify(): Create {
  const create = identify({ runOnConnectionOpen: false })
  return (components) => {
    const service = create(components) as Answering
    const answer = service.handleProtocol.bind(service)
    service.handleProtocol = (stream, connection) => answer(stream, zoneless(connection))
    return service
  }
}

function zoneless(connection: Connection): Connection {
  const text = connection.remoteAddr.toString().replace(/^\/ip6zone\/[^/]+/, '')
  return Object.create(connection, { remoteAddr: { value: multiaddr(text) } }) as Connection
}
