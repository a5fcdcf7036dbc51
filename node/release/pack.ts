/**
 * Chunks in their stored form. One context of zstd packs chunk after chunk, a frame each: one that
 * is made for every chunk lives until it is collected, and holds more memory than the chunk.
 */
import { constants, createZstdCompress } from 'node:zlib'

import { BOUNDS, CODECS } from '../../protocols/update/index.ts'
import { CHUNK_WINDOW_LOG, type Blob } from '../storage/blobs.ts'

/** Fast enough to keep up with a disk, or as small as it gets. */
export const LEVELS = { fast: 3, best: 19 } as const

/** Packed where that makes it at least this much smaller: unpacking costs time on every device. */
const WORTH = 0.95

export interface Packer extends Disposable {
  /**
   * The same bytes at the same level always have the same form. One call at a time; the bytes stay
   * what they are.
   */
  pack(raw: Uint8Array): Promise<Blob>
}

export function createPacker(level: number): Packer {
  const stream = createZstdCompress({
    // Every write is a frame of its own.
    flush: constants.ZSTD_e_end,
    // One piece of output, rather than many to join.
    chunkSize: BOUNDS.maxRawBytes + 1_024,
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_windowLog]: CHUNK_WINDOW_LOG,
    },
  })
  let parts: Buffer[] = []
  stream.on('data', (part: Buffer) => parts.push(part))

  async function frameOf(raw: Uint8Array): Promise<Uint8Array> {
    parts = []
    await new Promise<void>((resolve, reject) => {
      stream.write(raw, (error) => (error ? reject(error) : resolve()))
    })
    const [first] = parts
    return parts.length === 1 && first !== undefined ? first : Buffer.concat(parts)
  }

  return {
    async pack(raw) {
      const bytes = await frameOf(raw)
      const isWorth = bytes.length <= raw.length * WORTH
      // What grows more than this is taken for a trap.
      const isTrap = raw.length > bytes.length * BOUNDS.maxRatio
      if (!isWorth || isTrap) return { codec: CODECS.raw, bytes: raw }
      return { codec: CODECS.zstd, bytes }
    },
    [Symbol.dispose]: () => stream.destroy(),
  }
}
