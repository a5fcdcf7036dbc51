/** A map by number, of whose parts each has a protocol of its own that reads and writes it. */
import { decodeCbor, type CborLimits } from './cbor-decode.ts'
import { WireError } from './errors.ts'

/** Empty bytes have no parts. @throws WireError WIRE_MALFORMED, WIRE_FRAME_TOO_LARGE */
export function partsOf(bytes: Uint8Array, limits: CborLimits): Map<number, unknown> {
  if (bytes.length === 0) return new Map()
  const parts = decodeCbor(bytes, limits)
  if (!(parts instanceof Map)) throw new WireError('WIRE_MALFORMED', 'not a map')
  for (const key of parts.keys()) {
    if (typeof key !== 'number' || key < 0) throw new WireError('WIRE_MALFORMED', 'part')
  }
  return parts as Map<number, unknown>
}
