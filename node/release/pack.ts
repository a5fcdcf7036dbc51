/** Chunks in their stored form. */
import { promisify } from 'node:util'
import { constants, zstdCompress } from 'node:zlib'

import { BOUNDS, CODECS } from '../../protocols/update/index.ts'
import { CHUNK_WINDOW_LOG, type Blob } from '../storage/blobs.ts'

const compress = promisify(zstdCompress)

/** Fast enough to keep up with a disk, or as small as it gets. */
export const LEVELS = { fast: 3, best: 19 } as const

/** Packed where that makes it at least this much smaller: unpacking costs time on every device. */
const WORTH = 0.95

/** The same bytes at the same level always have the same form. */
export async function packed(raw: Uint8Array, level: number): Promise<Blob> {
  const bytes = await compress(raw, {
    pledgedSrcSize: raw.length,
    // One piece of output, rather than many to join.
    chunkSize: Math.max(64, raw.length + BOUNDS.maxStoredExtra),
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_windowLog]: CHUNK_WINDOW_LOG,
    },
  })
  const isWorth = bytes.length <= raw.length * WORTH
  // What grows more than this is taken for a trap.
  const isTrap = raw.length > bytes.length * BOUNDS.maxRatio
  if (!isWorth || isTrap) return { codec: CODECS.raw, bytes: raw }
  return { codec: CODECS.zstd, bytes: new Uint8Array(bytes) }
}
