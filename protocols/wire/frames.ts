/**
 * Length-prefixed frames (unsigned varint, as everywhere in libp2p) over one libp2p stream, with
 * back-pressure both ways and a bound on everything that a peer controls: the length of a frame,
 * what waits unread, and the time between the first and the last byte of a frame. Frames are cut
 * from the input when they are read, so that many small ones cost no more memory than their bytes.
 *
 * Traps of js-libp2p 3 that are avoided here: `stream.onDrain()` may never settle, so the `drain`
 * event is used; a `pause()` inside the dispatch of `resume()` reopens yamux's window, so both run
 * in a microtask; `remoteCloseWrite` and `close` come before the data that a paused stream still
 * holds, so only `end` ends the input.
 */
import type { Stream } from '@libp2p/interface'

import type { Clock } from '../env.ts'
import { ByteBuffer, LONG_PIECE_BYTES } from './byte-buffer.ts'
import { concatBytes, encodeVarint, lengthOf } from './bytes.ts'
import { WireError } from './errors.ts'

export interface FrameLimits {
  readonly maxFrameBytes: number
  /** A frame must be complete this long after its first byte. Also the longest wait for a peer that
   * reads nothing. */
  readonly frameDeadlineMs: number
}

/** The part of a libp2p stream that frames need. */
export type ByteStream = Pick<
  Stream,
  | 'addEventListener'
  | 'removeEventListener'
  | 'send'
  | 'pause'
  | 'resume'
  | 'abort'
  | 'status'
  | 'readStatus'
  | 'readableEnded'
  | 'writableNeedsDrain'
>

export interface Frames {
  /**
   * The next frame, or undefined once the peer has closed its side after a whole frame. One call at
   * a time. Whole frames that came before the peer reset the stream are still given out.
   *
   * @throws WireError; the signal's reason
   */
  read(signal: AbortSignal): Promise<Uint8Array | undefined>
  /**
   * The pieces are one frame; long ones are not copied. Resolves when the stream takes more.
   *
   * @throws WireError; the signal's reason
   */
  write(pieces: readonly Uint8Array[], signal: AbortSignal): Promise<void>
  /** Reset the stream and forget what is unread: from now on every call throws `error`. */
  abort(error: WireError): void
}

/** Stop reading from the network above this many unread bytes, or one frame where that is more. */
const PAUSE_ABOVE_BYTES = 256 * 1024

/** Longest length prefix: 28 bits. */
const MAX_PREFIX_BYTES = 4

export function openFrames(stream: ByteStream, limits: FrameLimits, clock: Clock): Frames {
  return new StreamFrames(stream, limits, clock)
}

class StreamFrames implements Frames {
  readonly #stream: ByteStream
  readonly #limits: FrameLimits
  readonly #clock: Clock
  readonly #highWater: number
  readonly #input = new ByteBuffer()
  #paused = false
  #ended = false
  #error: WireError | undefined
  #wake: (() => void) | undefined
  #cancelFrameTimer: (() => void) | undefined

  constructor(stream: ByteStream, limits: FrameLimits, clock: Clock) {
    this.#stream = stream
    this.#limits = limits
    this.#clock = clock
    // Above it the first frame is whole: only a reader can bring the input down again.
    this.#highWater = Math.max(PAUSE_ABOVE_BYTES, limits.maxFrameBytes + MAX_PREFIX_BYTES)
    stream.addEventListener('message', (event) => this.#take(event.data))
    stream.addEventListener('end', () => this.#end())
    stream.addEventListener('close', (event) => {
      if (event.error !== undefined) this.#end(closed(event.error))
    })
    if (stream.readableEnded) this.#end()
    if (stream.status === 'aborted' || stream.status === 'reset') this.#end(closed())
  }

  async read(signal: AbortSignal): Promise<Uint8Array | undefined> {
    if (this.#wake !== undefined) throw new TypeError('one read at a time')
    for (;;) {
      signal.throwIfAborted()
      const frame = this.#nextFrame()
      if (frame !== undefined) return frame
      if (this.#error !== undefined) throw this.#error
      if (this.#ended) {
        if (this.#input.length > 0) throw new WireError('WIRE_CLOSED', 'inside a frame')
        return undefined
      }
      await this.#more(signal)
    }
  }

  async write(pieces: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const length = lengthOf(pieces)
    if (length > this.#limits.maxFrameBytes) throw new WireError('WIRE_FRAME_TOO_LARGE')
    if (length === 0) throw new WireError('WIRE_MALFORMED', 'empty frame')
    if (this.#error !== undefined) throw this.#error
    if (!this.#sendPrefixed(length, pieces)) await this.#drained(signal)
  }

  abort(error: WireError): void {
    if (this.#error !== undefined) return
    this.#input.clear()
    this.#end(error)
    this.#stream.abort(error)
  }

  /** With its length in front; short pieces are put together, of long ones nothing is copied. */
  #sendPrefixed(length: number, pieces: readonly Uint8Array[]): boolean {
    let takes = true
    let short = [encodeVarint(length)]
    for (const piece of pieces) {
      if (piece.length < LONG_PIECE_BYTES) {
        short.push(piece)
        continue
      }
      if (short.length > 0) this.#send(concatBytes(...short))
      takes = this.#send(piece)
      short = []
    }
    return short.length === 0 ? takes : this.#send(concatBytes(...short))
  }

  #send(bytes: Uint8Array): boolean {
    try {
      return this.#stream.send(bytes)
    } catch (cause) {
      throw closed(cause)
    }
  }

  #take(data: Uint8Array | Iterable<Uint8Array>): void {
    if (this.#error !== undefined) return
    if (data instanceof Uint8Array) this.#input.push(data)
    else for (const piece of data) this.#input.push(piece)
    this.#watch()
    this.#wake?.()
  }

  #nextFrame(): Uint8Array | undefined {
    const head = this.#head()
    if (head === undefined || !head.whole) return undefined
    this.#input.drop(head.width)
    const frame = this.#input.take(head.length)
    this.#watch()
    return frame
  }

  /** The frame that the input begins with; undefined where its length is not there yet. */
  #head(): { length: number; width: number; whole: boolean } | undefined {
    const prefix = readPrefix(this.#input)
    if (prefix === undefined) return undefined
    const { length, width } = prefix
    return { length, width, whole: this.#input.length >= width + length }
  }

  /** After every change of the input: its first frame is in bounds, in time, and paced. */
  #watch(): void {
    const head = this.#checkedHead()
    if (this.#error !== undefined) return
    const whole = head?.whole === true
    if (whole || this.#input.length === 0 || this.#ended) this.#stopFrameTimer()
    else this.#startFrameTimer()
    if (!this.#paused && this.#input.length > this.#highWater) this.#setPaused(true)
    else if (this.#paused && (!whole || this.#input.length <= this.#highWater / 4)) {
      this.#setPaused(false)
    }
  }

  #checkedHead(): { whole: boolean } | undefined {
    try {
      const head = this.#head()
      const max = this.#limits.maxFrameBytes
      if (head !== undefined && head.length > max) {
        throw new WireError('WIRE_FRAME_TOO_LARGE', `${head.length} of ${max} bytes`)
      }
      return head
    } catch (error) {
      this.abort(error as WireError)
      return undefined
    }
  }

  #startFrameTimer(): void {
    this.#cancelFrameTimer ??= this.#clock.timer(this.#limits.frameDeadlineMs, () =>
      this.abort(new WireError('WIRE_TOO_SLOW', 'a frame took too long')),
    )
  }

  #stopFrameTimer(): void {
    this.#cancelFrameTimer?.()
    this.#cancelFrameTimer = undefined
  }

  #end(error?: WireError): void {
    this.#ended = true
    this.#error ??= error
    this.#stopFrameTimer()
    this.#wake?.()
  }

  #setPaused(paused: boolean): void {
    this.#paused = paused
    queueMicrotask(() => {
      const stream = this.#stream
      if (this.#paused !== paused) return
      if (stream.readStatus === 'closing' || stream.readStatus === 'closed') return
      if (paused) stream.pause()
      else stream.resume()
    })
  }

  #more(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        this.#wake = undefined
        reject(signal.reason as Error)
      }
      this.#wake = () => {
        this.#wake = undefined
        signal.removeEventListener('abort', aborted)
        resolve()
      }
      signal.addEventListener('abort', aborted, { once: true })
    })
  }

  #drained(signal: AbortSignal): Promise<void> {
    const stream = this.#stream
    if (!stream.writableNeedsDrain) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const settle = (then: () => void): void => {
        cancel()
        stream.removeEventListener('drain', drained)
        stream.removeEventListener('close', gone)
        signal.removeEventListener('abort', aborted)
        then()
      }
      const drained = (): void => settle(resolve)
      const gone = (event: Event & { error?: Error }): void =>
        settle(() => reject(this.#error ?? closed(event.error)))
      const aborted = (): void => settle(() => reject(signal.reason as Error))
      const cancel = this.#clock.timer(this.#limits.frameDeadlineMs, () =>
        this.abort(new WireError('WIRE_TOO_SLOW', 'the peer reads nothing')),
      )
      stream.addEventListener('drain', drained)
      stream.addEventListener('close', gone)
      signal.addEventListener('abort', aborted)
    })
  }
}

/** Whatever ended a stream, as an error of the wire. */
function closed(cause?: unknown): WireError {
  return cause instanceof WireError ? cause : new WireError('WIRE_CLOSED', undefined, { cause })
}

/** @throws WireError WIRE_FRAME_TOO_LARGE; WIRE_MALFORMED on zero and on a form longer than it need be */
function readPrefix(input: ByteBuffer): { length: number; width: number } | undefined {
  let length = 0
  for (let i = 0; i < MAX_PREFIX_BYTES; i++) {
    const byte = input.at(i)
    if (byte === undefined) return undefined
    length += (byte & 0x7f) * 2 ** (7 * i)
    if (byte >= 128) continue
    if (byte === 0) throw new WireError('WIRE_MALFORMED', 'length of a frame')
    return { length, width: i + 1 }
  }
  throw new WireError('WIRE_FRAME_TOO_LARGE', 'length prefix')
}
