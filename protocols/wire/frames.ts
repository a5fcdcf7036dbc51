/**
 * Length-prefixed frames (unsigned varint, as everywhere in libp2p) over one libp2p stream, with
 * back-pressure both ways and a bound on everything that a peer controls: the length of a frame,
 * what waits unread, and the time between the first and the last byte of a frame.
 *
 * Two traps of js-libp2p 3 are avoided here: `stream.onDrain()` may never settle, so the `drain`
 * event is used; and a `pause()` inside the dispatch of `resume()` reopens yamux's window, so both
 * run in a microtask.
 */
import type { Stream } from '@libp2p/interface'

import type { Clock } from '../env.ts'
import { concatBytes, encodeVarint } from './bytes.ts'
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
  | 'writableNeedsDrain'
>

export interface Frames {
  /** The next frame, or undefined once the peer has closed its side after a whole frame. */
  read(signal: AbortSignal): Promise<Uint8Array | undefined>
  /** Resolves when the stream takes more. */
  write(frame: Uint8Array, signal: AbortSignal): Promise<void>
}

/** Stop reading from the network above this many undelivered bytes, or one frame where that is more. */
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
  readonly #input = new ByteQueue()
  readonly #ready: Uint8Array[] = []
  #readyBytes = 0
  #paused = false
  #ended = false
  #error: Error | undefined
  #wake: (() => void) | undefined
  #cancelFrameTimer: (() => void) | undefined

  constructor(stream: ByteStream, limits: FrameLimits, clock: Clock) {
    this.#stream = stream
    this.#limits = limits
    this.#clock = clock
    stream.addEventListener('message', (event) => this.#take(event.data))
    stream.addEventListener('remoteCloseWrite', () => this.#end())
    stream.addEventListener('close', (event) => this.#end(event.error))
  }

  async read(signal: AbortSignal): Promise<Uint8Array | undefined> {
    while (this.#ready.length === 0) {
      if (this.#error !== undefined) throw this.#error
      if (this.#ended) {
        if (this.#input.length > 0) throw new WireError('WIRE_CLOSED', 'inside a frame')
        return undefined
      }
      await this.#more(signal)
    }
    const frame = this.#ready.shift()
    this.#readyBytes -= frame?.length ?? 0
    if (this.#paused && this.#readyBytes <= this.#highWater / 4) this.#setPaused(false)
    return frame
  }

  async write(frame: Uint8Array, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (frame.length > this.#limits.maxFrameBytes) throw new WireError('WIRE_FRAME_TOO_LARGE')
    if (this.#stream.status !== 'open') throw this.#error ?? new WireError('WIRE_CLOSED')
    const more = this.#stream.send(concatBytes(encodeVarint(frame.length), frame))
    if (!more) await this.#drained(signal)
  }

  get #highWater(): number {
    return Math.max(PAUSE_ABOVE_BYTES, this.#limits.maxFrameBytes)
  }

  #take(data: Uint8Array | { subarray(): Uint8Array }): void {
    if (this.#error !== undefined) return
    this.#input.push(data.subarray())
    try {
      while (this.#takeFrame());
    } catch (error) {
      this.#fail(error as WireError)
      return
    }
    this.#watchFrame()
    if (this.#readyBytes > this.#highWater && !this.#paused) this.#setPaused(true)
    this.#wake?.()
  }

  /** Move one whole frame from the input to the ready list; false where none is whole. */
  #takeFrame(): boolean {
    const prefix = readPrefix(this.#input)
    if (prefix === undefined) return false
    const { length, width } = prefix
    if (length > this.#limits.maxFrameBytes) {
      throw new WireError(
        'WIRE_FRAME_TOO_LARGE',
        `${length} of ${this.#limits.maxFrameBytes} bytes`,
      )
    }
    if (this.#input.length < width + length) return false
    this.#input.take(width)
    this.#ready.push(this.#input.take(length))
    this.#readyBytes += length
    this.#cancelFrameTimer?.()
    this.#cancelFrameTimer = undefined
    return true
  }

  #watchFrame(): void {
    if (this.#input.length === 0 || this.#cancelFrameTimer !== undefined) return
    this.#cancelFrameTimer = this.#clock.timer(this.#limits.frameDeadlineMs, () =>
      this.#fail(new WireError('WIRE_TOO_SLOW', 'a frame took too long')),
    )
  }

  #fail(error: Error): void {
    this.#end(error)
    this.#stream.abort(error)
  }

  #end(error?: Error): void {
    this.#ended = true
    this.#error ??= error
    this.#cancelFrameTimer?.()
    this.#cancelFrameTimer = undefined
    this.#wake?.()
  }

  #setPaused(paused: boolean): void {
    this.#paused = paused
    queueMicrotask(() => {
      if (this.#paused !== paused || this.#stream.status !== 'open') return
      if (paused) this.#stream.pause()
      else this.#stream.resume()
    })
  }

  #more(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
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
        stream.removeEventListener('close', closed)
        signal.removeEventListener('abort', aborted)
        then()
      }
      const drained = (): void => settle(resolve)
      const closed = (event: Event & { error?: Error }): void =>
        settle(() => reject(event.error ?? new WireError('WIRE_CLOSED')))
      const aborted = (): void => settle(() => reject(signal.reason as Error))
      const cancel = this.#clock.timer(this.#limits.frameDeadlineMs, () => {
        const error = new WireError('WIRE_TOO_SLOW', 'the peer reads nothing')
        settle(() => reject(error))
        this.#fail(error)
      })
      stream.addEventListener('drain', drained)
      stream.addEventListener('close', closed)
      signal.addEventListener('abort', aborted)
    })
  }
}

/** @throws WireError WIRE_FRAME_TOO_LARGE on a prefix longer than any frame needs */
function readPrefix(input: ByteQueue): { length: number; width: number } | undefined {
  let length = 0
  for (let i = 0; i < MAX_PREFIX_BYTES; i++) {
    const byte = input.at(i)
    if (byte === undefined) return undefined
    length += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 128) return { length, width: i + 1 }
  }
  throw new WireError('WIRE_FRAME_TOO_LARGE', 'length prefix')
}

/** Received bytes in the pieces in which they came; joined only where a frame spans pieces. */
class ByteQueue {
  readonly #pieces: Uint8Array[] = []
  length = 0

  push(piece: Uint8Array): void {
    if (piece.length === 0) return
    this.#pieces.push(piece)
    this.length += piece.length
  }

  at(index: number): number | undefined {
    let left = index
    for (const piece of this.#pieces) {
      if (left < piece.length) return piece[left]
      left -= piece.length
    }
    return undefined
  }

  /** The first `count` bytes, which must be there. */
  take(count: number): Uint8Array {
    this.length -= count
    const first = this.#pieces[0]
    if (first !== undefined && first.length > count) {
      this.#pieces[0] = first.subarray(count)
      return first.subarray(0, count)
    }
    const taken: Uint8Array[] = []
    let left = count
    while (left > 0) {
      const piece = this.#pieces[0] ?? new Uint8Array(left)
      if (piece.length > left) {
        taken.push(piece.subarray(0, left))
        this.#pieces[0] = piece.subarray(left)
        break
      }
      taken.push(piece)
      this.#pieces.shift()
      left -= piece.length
    }
    return taken.length === 1 && taken[0] !== undefined ? taken[0] : concatBytes(...taken)
  }
}
