/** What this device has already: an installed version, or any file that may share chunks. */
import type { IndexChunk, ReleaseIndex } from '../../protocols/update/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { chunksOf, hashOf, newRoom } from './chunks.ts'
import { piecesOf, type RawBytes } from './raw.ts'

/**
 * Bytes, and where chunks are in them. The places are hints: what is read there is checked. Whoever
 * opened `raw` closes it.
 */
export interface Source {
  readonly raw: RawBytes
  /** SHA-256 of a whole older release, from which a patch may start. */
  readonly rawHash?: Uint8Array
  /** Where the chunk with this hash, hexadecimal, is said to begin. */
  placeOf(hex: string): number | undefined
}

/** A version whose index is known: nothing of it needs to be read to know its chunks. */
export function releaseSource(
  raw: RawBytes,
  { chunks, rawHash }: Pick<ReleaseIndex, 'chunks' | 'rawHash'>,
): Source {
  return { raw, rawHash, placeOf: placesOf(chunks) }
}

/** Any bytes, cut by the same rule. Reads all of them once. */
export async function scannedSource(raw: RawBytes, signal: AbortSignal): Promise<Source> {
  const room = newRoom()
  const rows: Pick<IndexChunk, 'hash' | 'raw'>[] = []
  for await (const bytes of chunksOf(piecesOf(raw, signal), () => room)) {
    rows.push({ hash: hashOf(bytes), raw: bytes.length })
  }
  return { raw, placeOf: placesOf(rows) }
}

function placesOf(rows: readonly Pick<IndexChunk, 'hash' | 'raw'>[]): Source['placeOf'] {
  const places = new Map<string, number>()
  let place = 0
  for (const { hash, raw } of rows) {
    const hex = toHex(hash)
    if (!places.has(hex)) places.set(hex, place)
    place += raw
  }
  return (hex) => places.get(hex)
}
