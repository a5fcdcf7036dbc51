/** The text in a candidate's QR code: `kith:1:` and base64url of one small CBOR document. */
import { base64url } from 'multiformats/bases/base64'

import { KEY_BYTES } from '../identity/index.ts'
import { bytes, field, type Infer, list, message, text, uint, WireError } from '../wire/index.ts'
import { PairingError } from './errors.ts'

/** Length of the secret in a QR code, in bytes. */
export const QR_SECRET_BYTES = 16

const PREFIX = 'kith:1:'
const MAX_BYTES = 512
const MAX_TEXT = PREFIX.length + Math.ceil((MAX_BYTES * 4) / 3)

export const QrDocument = message(
  'pairing.qr',
  {
    version: field(1, uint(1, 1)),
    key: field(2, bytes({ length: KEY_BYTES })),
    secret: field(3, bytes({ length: QR_SECRET_BYTES })),
    discriminator: field(4, uint(99)),
    addresses: field(5, list(text(100), { max: 4 })),
  },
  { maxBytes: MAX_BYTES, maxDepth: 2, maxItems: 16 },
)

/** What a QR code says: which device, the secret, and where to find it. */
export interface PairingTicket {
  /** The candidate's public key, 32 bytes: no other device will do. */
  readonly key: Uint8Array
  /** 16 bytes. */
  readonly secret: Uint8Array
  /** Two digits, as in the code. */
  readonly discriminator: string
  /** Multiaddrs to try at once; at most 4. */
  readonly addresses: readonly string[]
}

/** @throws WireError WIRE_MALFORMED, WIRE_FRAME_TOO_LARGE on addresses that do not fit */
export function encodeQr(ticket: PairingTicket): string {
  const value: Infer<typeof QrDocument> = {
    version: 1,
    key: ticket.key,
    secret: ticket.secret,
    discriminator: Number(ticket.discriminator),
    addresses: ticket.addresses,
  }
  return PREFIX + base64url.baseEncode(QrDocument.encode(value))
}

/** @throws PairingError PAIRING_BAD_QR */
export function decodeQr(scanned: string): PairingTicket {
  const value = decodeDocument(scanned.slice(0, MAX_TEXT + 1))
  const ticket: PairingTicket = {
    key: value.key,
    secret: value.secret,
    discriminator: String(value.discriminator).padStart(2, '0'),
    addresses: value.addresses,
  }
  if (encodeQr(ticket) !== scanned) throw new PairingError('PAIRING_BAD_QR')
  return ticket
}

function decodeDocument(scanned: string): Infer<typeof QrDocument> {
  if (!scanned.startsWith(PREFIX)) throw new PairingError('PAIRING_BAD_QR')
  try {
    return QrDocument.decode(base64url.baseDecode(scanned.slice(PREFIX.length)))
  } catch (cause) {
    if (cause instanceof WireError || cause instanceof SyntaxError) {
      throw new PairingError('PAIRING_BAD_QR', { cause })
    }
    throw cause
  }
}
