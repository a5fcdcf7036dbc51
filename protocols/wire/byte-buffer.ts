/** What a stream gave and nobody has read yet. */

/** Pieces from this length on are kept as they came. */
export const LONG_PIECE_BYTES = 16 * 1024
const NOTHING = new Uint8Array(0)

/** Received bytes: long pieces as they came, short ones together, so that each byte costs about one. */
export class ByteBuffer {
  /** The first is at `#at`; none is empty. */
  #pieces: Uint8Array[] = []
  #at = 0
  #start = 0
  #length = 0
  /** What the last piece is the beginning of, where that is ours to write to. */
  #tail = NOTHING

  get length(): number {
    return this.#length
  }

  at(index: number): number | undefined {
    let left = index + this.#start
    for (let i = this.#at; i < this.#pieces.length; i++) {
      const piece = this.#pieces[i] ?? NOTHING
      if (left < piece.length) return piece[left]
      left -= piece.length
    }
    return undefined
  }

  push(piece: Uint8Array): void {
    if (piece.length === 0) return
    if (piece.length >= LONG_PIECE_BYTES) {
      this.#pieces.push(piece)
      this.#tail = NOTHING
    } else this.#copy(piece)
    this.#length += piece.length
  }

  /** The first `count` bytes, which must be there: a window where one piece has them all. */
  take(count: number): Uint8Array {
    const first = this.#pieces[this.#at] ?? NOTHING
    const end = this.#start + count
    if (end <= first.length) {
      // A short window on a long piece would keep all of that.
      const wide = 2 * count >= first.buffer.byteLength
      const taken = wide ? first.subarray(this.#start, end) : first.slice(this.#start, end)
      if (first.buffer === this.#tail.buffer && wide) this.#tail = NOTHING
      this.drop(count)
      return taken
    }
    const taken = new Uint8Array(count)
    for (let at = 0; at < count;) {
      const piece = (this.#pieces[this.#at] ?? NOTHING).subarray(this.#start)
      const part = piece.subarray(0, count - at)
      taken.set(part, at)
      at += part.length
      this.drop(part.length)
    }
    return taken
  }

  drop(count: number): void {
    this.#length -= count
    if (this.#length === 0) {
      this.clear()
      return
    }
    this.#start += count
    for (;;) {
      const first = this.#pieces[this.#at]
      if (first === undefined || this.#start < first.length) break
      this.#start -= first.length
      this.#pieces[this.#at++] = NOTHING
    }
    if (this.#at <= this.#pieces.length / 2) return
    this.#pieces.splice(0, this.#at)
    this.#at = 0
  }

  clear(): void {
    this.#pieces = []
    this.#at = this.#start = this.#length = 0
    this.#tail = NOTHING
  }

  #copy(piece: Uint8Array): void {
    const last = this.#pieces.length - 1
    const before = this.#tail.length === 0 ? 0 : (this.#pieces[last]?.length ?? 0)
    const used = before + piece.length
    if (before > 0 && used <= this.#tail.length) {
      this.#tail.set(piece, before)
      this.#pieces[last] = this.#tail.subarray(0, used)
      return
    }
    // As much again as there is: few arrays, none much longer than what it is for.
    const room = Math.min(LONG_PIECE_BYTES, Math.max(2 * piece.length, this.#length))
    this.#tail = new Uint8Array(Math.max(piece.length, room))
    this.#tail.set(piece)
    this.#pieces.push(this.#tail.subarray(0, piece.length))
  }
}
