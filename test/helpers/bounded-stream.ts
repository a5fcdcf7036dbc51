import type { ByteStream } from '../../protocols/wire/index.ts'

/**
 * Two ends of a stream whose window is really bounded: `send` says no above `windowBytes`, and
 * `drain` comes when the other end has taken enough. (In-memory pairs made for libp2p's own tests
 * buffer without limit.) A slow one delivers `perTurn` pieces in each turn of the event loop.
 */
export function boundedPair(
  windowBytes: number,
  perTurn = Infinity,
): [BoundedStream, BoundedStream] {
  const a = new BoundedStream(windowBytes, perTurn)
  const b = new BoundedStream(windowBytes, perTurn)
  a.peer = b
  b.peer = a
  return [a, b]
}

export class BoundedStream extends EventTarget {
  readonly #windowBytes: number
  readonly #perTurn: number
  #due = false
  peer: BoundedStream | undefined
  status: ByteStream['status'] = 'open'
  writableNeedsDrain = false
  #paused = false
  #incoming: Uint8Array[] = []
  /** Sent to this end and not yet taken, and the most there ever was. */
  bytes = 0
  mostBytes = 0

  constructor(windowBytes: number, perTurn: number) {
    super()
    this.#perTurn = perTurn
    this.#windowBytes = windowBytes
  }

  send(data: Uint8Array): boolean {
    const { peer } = this
    if (peer === undefined) return true
    peer.#incoming.push(data)
    peer.bytes += data.length
    peer.mostBytes = Math.max(peer.mostBytes, peer.bytes)
    this.writableNeedsDrain = peer.bytes > this.#windowBytes
    peer.#schedule()
    return !this.writableNeedsDrain
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#schedule()
  }

  abort(error: Error): void {
    if (this.status !== 'open') return
    this.status = 'aborted'
    this.dispatchEvent(Object.assign(new Event('close'), { error }))
  }

  #schedule(): void {
    if (this.#due) return
    this.#due = true
    setImmediate(() => this.#deliver())
  }

  #deliver(): void {
    this.#due = false
    for (let i = 0; i < this.#perTurn && !this.#paused; i++) {
      const data = this.#incoming.shift()
      if (data === undefined) break
      this.bytes -= data.length
      this.dispatchEvent(Object.assign(new Event('message'), { data }))
    }
    if (!this.#paused && this.#incoming.length > 0) this.#schedule()
    const { peer } = this
    if (peer?.writableNeedsDrain && this.bytes <= this.#windowBytes / 2) {
      peer.writableNeedsDrain = false
      peer.dispatchEvent(new Event('drain'))
    }
  }
}
