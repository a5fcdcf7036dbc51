/** The file of a patch: which segment of a release is made from which part of an older one. */
import { ReleaseError } from './errors.ts'
import type { RawBytes } from './raw.ts'

/** SPEC.md of protocols/update, "Patches". In bytes. */
export const PATCH = {
  segmentBytes: 1_048_576,
  dictionaryBytes: 3_145_728,
  packedBytes: 1_114_112,
  /** To apply any patch, whatever the releases are. */
  memoryBytes: 16_777_216,
} as const

/** Base-2 logarithm of the longest window: a segment and its dictionary. */
export const PATCH_WINDOW_LOG = 22
export const MAGIC = new TextEncoder().encode('KITHPAT1')
export const SEGMENT_HEADER_BYTES = 18

export interface Segment {
  /** The part of the old release that is its dictionary. */
  readonly from: number
  readonly fromBytes: number
  readonly rawBytes: number
  readonly packedBytes: number
}

export interface PlacedSegment extends Segment {
  /** Where it is in the new release. */
  readonly at: number
  /** Where its packed bytes are in the patch. */
  readonly packedAt: number
}

export function segmentHeader({ from, fromBytes, rawBytes, packedBytes }: Segment): Uint8Array {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
  header.writeUIntBE(from, 0, 6)
  header.writeUInt32BE(fromBytes, 6)
  header.writeUInt32BE(rawBytes, 10)
  header.writeUInt32BE(packedBytes, 14)
  return header
}

/**
 * Where every segment is.
 *
 * @throws ReleaseError RELEASE_PATCH where one breaks a bound, or they do not make `rawBytes`
 */
export async function readSegments(
  patch: RawBytes,
  release: { readonly fromBytes: number; readonly rawBytes: number },
): Promise<readonly PlacedSegment[]> {
  const magic = await patch.read(0, MAGIC.length)
  if (Buffer.compare(magic, MAGIC) !== 0) damaged('its beginning')
  const segments: PlacedSegment[] = []
  let at = 0
  let place = MAGIC.length
  while (at < release.rawBytes) {
    const segment = parseHeader(await patch.read(place, SEGMENT_HEADER_BYTES))
    requireBounds(segment, release.fromBytes)
    if (segment.rawBytes !== Math.min(PATCH.segmentBytes, release.rawBytes - at)) {
      damaged('the length of a segment')
    }
    const packedAt = place + SEGMENT_HEADER_BYTES
    segments.push({ ...segment, at, packedAt })
    at += segment.rawBytes
    place = packedAt + segment.packedBytes
  }
  if (place !== patch.size) damaged('its length')
  return segments
}

function parseHeader(bytes: Uint8Array): Segment {
  if (bytes.length !== SEGMENT_HEADER_BYTES) damaged('it is cut short')
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return {
    from: header.readUIntBE(0, 6),
    fromBytes: header.readUInt32BE(6),
    rawBytes: header.readUInt32BE(10),
    packedBytes: header.readUInt32BE(14),
  }
}

function requireBounds(segment: Segment, oldBytes: number): void {
  const { from, fromBytes, packedBytes } = segment
  if (packedBytes < 1 || packedBytes > PATCH.packedBytes) damaged('the length of a packed segment')
  if (fromBytes > PATCH.dictionaryBytes || from + fromBytes > oldBytes) damaged('a place')
}

export function damaged(what: string, cause?: unknown): never {
  throw new ReleaseError('RELEASE_PATCH', `The patch is damaged: ${what}.`, { cause })
}
