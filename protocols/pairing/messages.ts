/** The messages of one pairing, in their order. SPEC.md "Messages". */
import { KEY_BYTES } from '../identity/index.ts'
import {
  bytes,
  field,
  type Infer,
  list,
  message,
  oneOf,
  optional,
  text,
  type Type,
  uint,
} from '../wire/index.ts'
import { SHARE_BYTES } from './cpace.ts'
import { PAYLOAD } from './limits.ts'

export const NONCE_BYTES = 16
const TAG_BYTES = 32

const nonce = bytes({ length: NONCE_BYTES })
const share = bytes({ length: SHARE_BYTES })
const tag = bytes({ length: TAG_BYTES })
const SMALL = { maxBytes: 128, maxDepth: 1, maxItems: 16 }

/** What a new device can be in the home. */
const role = oneOf('owner', 'member', 'sensor', 'gateway', 'guest')
export type PairingRole = Infer<typeof role>

/** Why: a new device, or the first device of an owner who lost all others. */
const intent = oneOf('join', 'recover')
export type PairingIntent = Infer<typeof intent>

/** Controls, breaks of lines, and what cannot be seen: what no name in a home may have either. */
const UNSEEN =
  /[\p{Cc}\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/u

const plainText = text(64)
/** A device's name: 1..64 bytes of text that a terminal can show. */
const name: Type<string> = {
  toWire: (value) => printable(plainText.fromWire(value)),
  fromWire: (value) => printable(plainText.fromWire(value)),
}

function printable(value: string): string {
  if (value.length === 0 || value.trim() !== value || UNSEEN.test(value))
    throw new TypeError('not a name')
  return value
}

/** Whether a device may call itself so when it is paired. */
export function isDeviceName(value: string): boolean {
  try {
    return name.toWire(value) === value
  } catch {
    return false
  }
}

/** M1, member to candidate. */
export const Opening = message(
  'pairing.opening',
  {
    nonce: field(1, nonce),
    home: field(2, bytes({ length: KEY_BYTES })),
    intent: field(3, intent),
    role: field(4, role),
    secret: field(5, oneOf('code', 'qr')),
  },
  SMALL,
)

/** M2, candidate to member. */
export const Nonce = message('pairing.nonce', { nonce: field(1, nonce) }, SMALL)

/** M3, member to candidate. */
export const Share = message('pairing.share', { share: field(1, share) }, SMALL)

/** M4, candidate to member. */
export const Answer = message(
  'pairing.answer',
  { share: field(1, share), tag: field(2, tag) },
  SMALL,
)

/** M5, member to candidate. */
export const Proof = message('pairing.proof', { tag: field(1, tag) }, SMALL)

/** M6, candidate to member: its name, or why it goes no further. */
export const Introduction = message(
  'pairing.introduction',
  { status: field(1, uint(255)), name: field(2, name), mac: field(3, tag) },
  SMALL,
)

/** M7, member to candidate, one or more: the home's ops; the last one carries the MAC over all. */
export const Payload = message(
  'pairing.payload',
  {
    ops: field(
      1,
      list(bytes({ min: 1, max: PAYLOAD.maxOpBytes }), { max: PAYLOAD.maxOpsPerFrame }),
    ),
    mac: optional(2, tag),
  },
  { maxBytes: PAYLOAD.maxFrameBytes, maxDepth: 2, maxItems: PAYLOAD.maxOpsPerFrame + 8 },
)

/** M8, candidate to member: joined, or why not. */
export const Ack = message(
  'pairing.ack',
  { status: field(1, uint(255)), mac: field(2, tag) },
  SMALL,
)
