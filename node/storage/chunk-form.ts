/** A chunk in the form in which it is stored and sent, and back. */
import { createHash } from 'node:crypto'
import { constants, zstdDecompressSync } from 'node:zlib'

import { BOUNDS, CODECS, UpdateError, type Codec } from '../../protocols/update/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'

/** A chunk as it is stored and sent. */
export interface Blob {
  readonly codec: Codec
  readonly bytes: Uint8Array
}

/** What a chunk must be. An `IndexChunk` is one. */
export interface BlobName {
  /** SHA-256 of the chunk before it is packed, 32 bytes. */
  readonly hash: Uint8Array
  /** Its length before it is packed, in bytes. */
  readonly raw: number
}

/** Base-2 logarithm of the longest window: no chunk is longer, so none needs more memory. */
export const CHUNK_WINDOW_LOG = Math.log2(BOUNDS.maxRawBytes)

/**
 * The chunk itself, which is what its name says. Takes no more memory than its length, whatever the
 * bytes say.
 *
 * @throws UpdateError UPDATE_WRONG_CHUNK
 */
export function rawOf({ hash, raw }: BlobName, { codec, bytes }: Blob): Uint8Array {
  if (bytes.length > raw + BOUNDS.maxStoredExtra) wrong('too long')
  const found = codec === CODECS.raw ? bytes : unpack(bytes, raw)
  if (found.length !== raw) wrong('length')
  if (!equalBytes(createHash('sha256').update(found).digest(), hash)) wrong('hash')
  return found
}

function unpack(bytes: Uint8Array, raw: number): Uint8Array {
  try {
    return zstdDecompressSync(bytes, {
      maxOutputLength: raw,
      chunkSize: Math.max(64, raw),
      params: { [constants.ZSTD_d_windowLogMax]: CHUNK_WINDOW_LOG },
    })
  } catch (cause) {
    throw new UpdateError('UPDATE_WRONG_CHUNK', 'packing', { cause })
  }
}

function wrong(detail: string): never {
  throw new UpdateError('UPDATE_WRONG_CHUNK', detail)
}
