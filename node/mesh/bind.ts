/**
 * Where protocols meet libp2p: the only code that registers a handler or wraps a stream. It applies
 * the protocol's limits, hands over a Channel, and aborts the stream where the handler throws.
 */
import type { Connection, Stream } from '@libp2p/interface'

import { keyOfPeerId } from '../../protocols/identity/index.ts'
import { openChannel, type Channel, type Protocol } from '../../protocols/wire/index.ts'
import type { Clock } from '../env.ts'
import { asError } from '../errors.ts'
import { spareUpdates } from './window.ts'

/** The part of a libp2p node that serves streams. */
export interface Registrar {
  handle(
    protocol: string,
    handler: (stream: Stream, connection: Connection) => Promise<void>,
    options: { maxInboundStreams: number; maxOutboundStreams: number },
  ): Promise<void>
}

export interface BoundStream extends AsyncDisposable {
  readonly channel: Channel
  readonly signal: AbortSignal
  abort(error: Error): void
}

export type StreamHandler = (
  bound: BoundStream,
  peer: Uint8Array,
  connection: Connection,
) => Promise<void>

/** How long closing waits for what was written to leave. */
const CLOSE_WITHIN_MS = 2000

/** Wrap a stream; `until` ends it. */
export function bindStream(
  stream: Stream,
  protocol: Protocol,
  clock: Clock,
  until: AbortSignal,
): BoundStream {
  spareUpdates(stream)
  const gone = new AbortController()
  const abort = (error: Error): void => {
    gone.abort(error)
    if (stream.status === 'open' || stream.status === 'closing') stream.abort(error)
  }
  const aborted = (): void => abort(asError(until.reason))
  stream.addEventListener('close', (event) => {
    until.removeEventListener('abort', aborted)
    gone.abort(event.error ?? new Error('the stream is closed'))
  })
  if (until.aborted) aborted()
  else until.addEventListener('abort', aborted, { once: true })
  return {
    channel: openChannel(stream, protocol, clock, gone.signal),
    signal: gone.signal,
    abort,
    async [Symbol.asyncDispose]() {
      if (stream.status !== 'open') return
      const late = new AbortController()
      const cancel = clock.timer(CLOSE_WITHIN_MS, () => late.abort(new Error('closing took long')))
      try {
        await stream.close({ signal: late.signal })
      } catch (error) {
        abort(asError(error))
      } finally {
        cancel()
      }
    },
  }
}

/**
 * Serve `protocol`. `admit` is awaited before the handler sees the stream: it throws where the
 * connection may not be used, and gives the signal that ends it.
 */
export async function bindProtocol(
  registrar: Registrar,
  protocol: Protocol,
  deps: { clock: Clock; admit: (connection: Connection) => Promise<AbortSignal> },
  handle: StreamHandler,
): Promise<void> {
  const { maxInboundStreams, maxOutboundStreams } = protocol
  await registrar.handle(
    protocol.id,
    async (stream, connection) => {
      let until: AbortSignal
      try {
        until = await deps.admit(connection)
      } catch (error) {
        stream.abort(asError(error))
        return
      }
      const bound = bindStream(stream, protocol, deps.clock, until)
      try {
        await handle(bound, keyOfPeerId(connection.remotePeer.toString()), connection)
        await bound[Symbol.asyncDispose]()
      } catch (error) {
        bound.abort(asError(error))
      }
    },
    { maxInboundStreams, maxOutboundStreams },
  )
}
