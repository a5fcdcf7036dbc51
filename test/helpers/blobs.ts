import { createHash } from 'node:crypto'
import { constants, zstdCompressSync } from 'node:zlib'

import type { Blob, BlobName } from '../../node/storage/blobs.ts'
import { CODECS } from '../../protocols/update/index.ts'
import { seededRandom } from './random.ts'

export interface TestBlob {
  readonly chunk: BlobName
  readonly blob: Blob
  readonly raw: Uint8Array
}

/** Bytes that nothing packs, as they are. */
export function noiseOf(seed: string, length = 1_000): TestBlob {
  const raw = seededRandom(seed).bytes(length)
  const hash = new Uint8Array(createHash('sha256').update(raw).digest())
  return { chunk: { hash, raw: length }, blob: { codec: CODECS.raw, bytes: raw }, raw }
}

/** Text, packed. */
export function packedOf(seed: string, length = 10_000, level = 3): TestBlob {
  const line = `${seed} `.repeat(Math.ceil(length / (seed.length + 1))).slice(0, length)
  const raw = new TextEncoder().encode(line)
  const hash = new Uint8Array(createHash('sha256').update(raw).digest())
  const params = { [constants.ZSTD_c_compressionLevel]: level }
  const bytes = new Uint8Array(zstdCompressSync(raw, { params }))
  return { chunk: { hash, raw: raw.length }, blob: { codec: CODECS.zstd, bytes }, raw }
}
