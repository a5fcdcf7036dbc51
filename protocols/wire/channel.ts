/**
 * Typed messages over one libp2p stream, under the limits of one protocol. A lock-step exchange
 * uses `send` and `receive`; a long-lived stream uses `sink` and `messages`, which compose with
 * it-pipe.
 */
import type { Clock } from '../env.ts'
import { WireError } from './errors.ts'
import { openFrames, type ByteStream } from './frames.ts'
import type { Message } from './schema.ts'

/** The contract of one protocol: its name on the wire and every limit that it sets. */
export interface Protocol {
  /** libp2p protocol id. The major version changes with any incompatible byte. */
  readonly id: `/kith/${string}/${number}.${number}.${number}`
  /** Largest frame accepted or sent, in bytes, without its length prefix. */
  readonly maxFrameBytes: number
  /** Frames that one side may send on one stream before it is reset. */
  readonly maxFrames: number
  /** Simultaneous streams accepted from one connection. */
  readonly maxInboundStreams: number
  /** Simultaneous streams opened on one connection. */
  readonly maxOutboundStreams: number
  /** Longest wait for one message that is due, from its first byte or from the call. */
  readonly messageDeadlineMs: number
}

export interface Channel {
  /**
   * Long byte strings of `value` are sent as they are, without a copy: they must not change later.
   *
   * @throws WireError WIRE_FRAME_TOO_LARGE, WIRE_TOO_MANY_FRAMES, WIRE_TOO_SLOW, WIRE_CLOSED
   */
  send<T>(message: Message<T>, value: T): Promise<void>
  /** The next message, which is due now. @throws WireError, any code; the signal's reason */
  receive<T>(message: Message<T>): Promise<T>
  /** The next message, whenever it comes; undefined once the peer has closed its side. */
  next<T>(message: Message<T>): Promise<T | undefined>
  /** Every message until the peer closes its side; waits without limit between messages. */
  messages<T>(message: Message<T>): AsyncGenerator<T, void, undefined>
  /** Send all of a source, at the pace at which the peer reads. For `pipe(source, channel.sink(M))`. */
  sink<T>(message: Message<T>): (source: AsyncIterable<T> | Iterable<T>) => Promise<void>
}

/**
 * Wrap `stream` in the limits of `protocol`. Every call ends with `signal`. The caller closes or
 * aborts the stream; a peer that breaks a limit has it aborted at once.
 */
export function openChannel(
  stream: ByteStream,
  protocol: Protocol,
  clock: Clock,
  signal: AbortSignal,
): Channel {
  const frames = openFrames(
    stream,
    { maxFrameBytes: protocol.maxFrameBytes, frameDeadlineMs: protocol.messageDeadlineMs },
    clock,
  )
  let sent = 0
  let received = 0

  function refuse(error: WireError): WireError {
    frames.abort(error)
    return error
  }

  async function next<T>(message: Message<T>): Promise<T | undefined> {
    const frame = await frames.read(signal)
    if (frame === undefined) return undefined
    if (++received > protocol.maxFrames) throw refuse(new WireError('WIRE_TOO_MANY_FRAMES'))
    try {
      return message.decode(frame)
    } catch (error) {
      throw refuse(error as WireError)
    }
  }

  const channel: Channel = {
    async send(message, value) {
      if (++sent > protocol.maxFrames) throw new WireError('WIRE_TOO_MANY_FRAMES')
      await frames.write(message.encodePieces(value), signal)
    },

    async receive(message) {
      const cancel = clock.timer(protocol.messageDeadlineMs, () =>
        frames.abort(new WireError('WIRE_TOO_SLOW', message.name)),
      )
      try {
        const value = await next(message)
        if (value === undefined) throw new WireError('WIRE_CLOSED', message.name)
        return value
      } finally {
        cancel()
      }
    },

    next,

    async *messages(message) {
      for (;;) {
        const value = await next(message)
        if (value === undefined) return
        yield value
      }
    },

    sink: (message) => async (source) => {
      for await (const value of source) await channel.send(message, value)
    },
  }
  return channel
}
