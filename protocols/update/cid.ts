import { base32 } from 'multiformats/bases/base32'

import { KEY_BYTES } from '../identity/index.ts'
import { concatBytes } from '../wire/index.ts'

/** CID version 1, codec raw, a SHA-256 of 32 bytes (multiformats: cid, multicodec, multihash). */
const PREFIX = Uint8Array.of(0x01, 0x55, 0x12, 0x20)

/** How people, and other programs, name a chunk: its CID, `bafkrei…`, 59 characters. */
export function cidText(hash: Uint8Array): string {
  if (hash.length !== KEY_BYTES) throw new RangeError('not a SHA-256')
  return base32.encode(concatBytes(PREFIX, hash))
}
