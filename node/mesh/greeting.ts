/** The greeting on both sides of a connection: the dialler opens its stream, the listener awaits it. */
import type { Connection } from '@libp2p/interface'

import { keyOfPeerId } from '../../protocols/identity/index.ts'
import type { Clock } from '../env.ts'
import { bindProtocol, bindStream, type Registrar } from './bind.ts'
import type { MeshOptions } from './mesh.ts'

export interface Greeter {
  /** Resolves when this side's greeting succeeded. */
  greet(connection: Connection, signal: AbortSignal): Promise<void>
}

interface Awaited {
  readonly signal: AbortSignal
  readonly done: PromiseWithResolvers<void>
}

export async function startGreeter(
  registrar: Registrar,
  { protocol, run }: MeshOptions['greet'],
  clock: Clock,
): Promise<Greeter> {
  const awaited = new WeakMap<Connection, Awaited>()

  async function admit(connection: Connection): Promise<AbortSignal> {
    // The stream may arrive in the same turn as the connection.
    await Promise.resolve()
    const due = awaited.get(connection)
    if (due === undefined) throw new Error('no greeting is due on this connection')
    return due.signal
  }

  await bindProtocol(registrar, protocol, { clock, admit }, async (bound, peer, connection) => {
    const due = awaited.get(connection)
    if (due === undefined || !awaited.delete(connection)) throw new Error('greeted already')
    try {
      await run(bound.channel, peer, 'listener')
      due.done.resolve()
    } catch (error) {
      due.done.reject(error)
      throw error
    }
  })

  async function dial(connection: Connection, signal: AbortSignal): Promise<void> {
    const stream = await connection.newStream(protocol.id, { signal })
    await using bound = bindStream(stream, protocol, clock, signal)
    await run(bound.channel, keyOfPeerId(connection.remotePeer.toString()), 'dialer')
  }

  return {
    greet(connection, signal) {
      if (connection.direction === 'outbound') return dial(connection, signal)
      const done = Promise.withResolvers<void>()
      awaited.set(connection, { signal, done })
      return done.promise
    },
  }
}
