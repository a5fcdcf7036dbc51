import type { ByteStream } from '../../protocols/wire/index.ts'

/**
 * Two ends of a stream whose window is really bounded: `send` says no above `windowBytes`, and
 * `drain` comes when the other end has taken enough. (In-memory pairs made for libp2p's own tests
 * buffer without limit.)
 */
export function boundedPair(windowBytes: number): [BoundedStream, BoundedStream] {
  const a = new BoundedStream(windowBytes)
  const b = new BoundedStream(windowBytes)
  a.peer = b
  b.peer = a
  return [a, b]
}

export class BoundedStream extends EventTarget {
  readonly #windowBytes: number
  peer: BoundedStream | undefined
  status: ByteStream['status'] = 'open'
  writableNeedsDrain = false
  #paused = false
  #incoming: Uint8Array[] = []
  /** Sent to this end and not yet taken, and the most there ever was. */
  bytes = 0
  mostBytes = 0

  constructor(windowBytes: number) {
    super()
    this.#windowBytes = windowBytes
  }

  send(data: Uint8Array): boolean {
    const { peer } = this
    if (peer === undefined) return true
    peer.#incoming.push(data)
    peer.bytes += data.length
    peer.mostBytes = Math.max(peer.mostBytes, peer.bytes)
    this.writableNeedsDrain = peer.bytes > this.#windowBytes
    setImmediate(() => peer.#deliver())
    return !this.writableNeedsDrain
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    setImmediate(() => this.#deliver())
  }

  abort(error: Error): void {
    if (this.status !== 'open') return
    this.status = 'aborted'
    this.dispatchEvent(Object.assign(new Event('close'), { error }))
  }

  #deliver(): void {
    while (!this.#paused) {
      const data = this.#incoming.shift()
      if (data === undefined) break
      this.bytes -= data.length
      this.dispatchEvent(Object.assign(new Event('message'), { data }))
    }
    const { peer } = this
    if (peer?.writableNeedsDrain && this.bytes <= this.#windowBytes / 2) {
      peer.writableNeedsDrain = false
      peer.dispatchEvent(new Event('drain'))
    }
  }
}
