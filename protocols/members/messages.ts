/**
 * Bytes of membership: the payload of an op, one shape for each type, and the two messages of the
 * sync protocol. Form only: what an op may do is judged in form.ts and reduce.ts.
 */
import { KEY_BYTES, SIGNATURE_BYTES } from '../identity/index.ts'
import {
  bool,
  bytes,
  compareBytes,
  field,
  list,
  message,
  messageOf,
  oneOf,
  optional,
  record,
  text,
  uint,
  type Infer,
  type Message,
  type Type,
} from '../wire/index.ts'
import { CAPS, MEMBERS } from './protocol.ts'
import { ROLES } from './roles.ts'

/** Longest device or home name, in bytes of UTF-8. */
export const NAME_BYTES = 64
/** Longest policy, in bytes. What is in it is the business of those who enforce it. */
export const POLICY_BYTES = 2048
/** Longest cap, in bytes, and how many one grant may name. */
export const CAP_BYTES = 64
export const CAP_COUNT = 32
const MAX_TIME_MS = 253_402_300_799_999

export const REASONS = ['removed', 'lost', 'stolen', 'changed'] as const
export type Reason = (typeof REASONS)[number]
export const PAIRED = ['code', 'qr', 'direct'] as const
export type Paired = (typeof PAIRED)[number]

const id = bytes({ length: KEY_BYTES })
const time = uint(MAX_TIME_MS)

/** `type`, where `holds` is true of every value. */
function where<T>(type: Type<T>, holds: (value: T) => boolean, what: string): Type<T> {
  const check = (value: T): T => {
    if (!holds(value)) throw new RangeError(what)
    return value
  }
  return {
    toWire: (value) => type.toWire(check(value)),
    fromWire: (value) => check(type.fromWire(value)),
  }
}

/**
 * Controls, breaks of lines, and what cannot be seen. Named one by one: a class of Unicode that grows
 * from version to version would part devices that read one op with different versions.
 */
const UNSEEN =
  /[\p{Cc}\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/u

const name = where(
  text(NAME_BYTES),
  (value) => value.trim() === value && value !== '' && !UNSEEN.test(value),
  'not a name',
)

function sortedIds(size: { min: number; max: number }): Type<readonly Uint8Array[]> {
  const rising = (ids: readonly Uint8Array[]): boolean =>
    ids.every((one, i) => {
      const before = ids[i - 1]
      return before === undefined || compareBytes(before, one) < 0
    })
  return where(list(id, size), rising, 'not sorted, or twice')
}

const caps = where(
  list(text(CAP_BYTES), { max: CAP_COUNT }),
  (all) => all.every((cap, i) => i === 0 || (all[i - 1] ?? '') < cap),
  'not sorted, or twice',
)

const header = {
  v: field(1, uint(1, 1)),
  home: field(2, id),
  prev: field(3, sortedIds({ min: 1, max: CAPS.maxParents })),
  auth: field(4, id),
  seq: field(5, uint(CAPS.maxOps)),
  own: optional(6, id),
  ts: field(7, time),
}

const genesis = record({
  v: header.v,
  seq: field(5, uint(0)),
  ts: header.ts,
  type: field(8, oneOf('genesis')),
  body: field(
    9,
    record({
      nonce: field(1, bytes({ length: 32 })),
      owner: field(2, id),
      recovery: field(3, id),
      name: field(4, name),
      deviceName: field(5, name),
      policy: field(6, bytes({ max: POLICY_BYTES })),
    }),
  ),
})

const grant = record({
  ...header,
  type: field(8, oneOf('grant')),
  body: field(
    9,
    record({
      subject: field(1, id),
      role: field(2, oneOf(...ROLES)),
      name: field(3, name),
      caps: field(4, caps),
      expiresAtMs: optional(5, time),
      paired: field(6, oneOf(...PAIRED)),
    }),
  ),
})

const revoke = record({
  ...header,
  type: field(8, oneOf('revoke')),
  body: field(
    9,
    record({
      subject: field(1, id),
      cut: field(2, sortedIds({ min: 0, max: CAPS.maxParents })),
      reason: field(3, oneOf(...REASONS)),
      lastSeq: optional(4, uint()),
    }),
  ),
})

const successor = record({
  ...header,
  type: field(8, oneOf('successor')),
  body: field(
    9,
    record({ subject: field(1, id), proof: field(2, bytes({ length: SIGNATURE_BYTES })) }),
  ),
})

const retire = record({
  ...header,
  type: field(8, oneOf('retire')),
  body: field(9, record({ lastSeq: optional(1, uint()) })),
})

const recover = record({
  ...header,
  type: field(8, oneOf('recover')),
  body: field(9, record({ subject: field(1, id), name: field(2, name) })),
})

const checkpoint = record({
  ...header,
  type: field(8, oneOf('checkpoint')),
  body: field(
    9,
    record({
      heads: field(1, sortedIds({ min: 1, max: CAPS.maxParents })),
      stateHash: field(2, id),
      timeMs: field(3, time),
    }),
  ),
})

const rename = record({
  ...header,
  type: field(8, oneOf('rename')),
  /** Without a subject: the home. */
  body: field(9, record({ subject: optional(1, id), name: field(2, name) })),
})

const policy = record({
  ...header,
  type: field(8, oneOf('policy')),
  body: field(9, record({ policy: field(1, bytes({ max: POLICY_BYTES })) })),
})

const SHAPES = {
  genesis,
  grant,
  revoke,
  successor,
  retire,
  recover,
  checkpoint,
  rename,
  policy,
} as const

export type OpType = keyof typeof SHAPES
export type OpPayload = { [K in OpType]: Infer<(typeof SHAPES)[K]> }[OpType]
/** An op with parents: any but genesis. */
export type LaterPayload = Exclude<OpPayload, { type: 'genesis' }>
export type PayloadOf<K extends OpType> = Extract<OpPayload, { type: K }>

const shapes = new Map<unknown, unknown>(Object.entries(SHAPES))

const TYPE_KEY = 8

function shapeOf(type: unknown): Type<OpPayload> {
  const shape = shapes.get(type)
  if (shape === undefined) throw new TypeError('unknown type of op')
  return shape as Type<OpPayload>
}

const payload: Type<OpPayload> = {
  toWire: (value) => shapeOf(value.type).toWire(value),
  fromWire(map) {
    if (!(map instanceof Map)) throw new TypeError('not a map')
    return shapeOf(map.get(TYPE_KEY)).fromWire(map)
  },
}

/** What an op's envelope carries. */
export const Payload: Message<OpPayload> = messageOf('members.op', payload, {
  maxBytes: CAPS.maxOpBytes,
  maxDepth: 4,
  maxItems: 256,
})

/** First frame of each side: which ops it has. */
export const Have = message(
  'members.have',
  {
    home: field(1, id),
    /** Heads, then samples of what lies before them. What is named here and all before it is there. */
    ids: field(2, list(id, { max: CAPS.maxHave })),
  },
  { maxBytes: 16_384, maxDepth: 3 },
)
export type Have = Infer<typeof Have>

/** Envelope bytes of ops, parents before children; `last` in the last frame alone. */
export const Batch = message(
  'members.batch',
  {
    ops: field(1, list(bytes({ min: 1, max: CAPS.maxOpBytes }), { max: 512 })),
    last: field(2, bool),
  },
  { maxBytes: MEMBERS.maxFrameBytes, maxDepth: 3 },
)
export type Batch = Infer<typeof Batch>
