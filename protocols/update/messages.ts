/**
 * Frames of the update stream: a numbered union in which key 1 says which frame it is. SPEC.md
 * "Messages". Numbers of chunks count through the chunks of the release and then through those of
 * its patches, in the order of the index.
 */
import {
  bool,
  bytes,
  field,
  list,
  messageOf,
  optional,
  record,
  uint,
  type Infer,
  type Message,
  type Type,
} from '../wire/index.ts'
import { channelName, FILE, id, matching, where } from './forms.ts'
import { BOUNDS, UPDATE } from './protocol.ts'

/** How the bytes of a chunk are stored and sent: as they are, or packed by zstd. */
export const CODECS = { raw: 0, zstd: 1 } as const
export type Codec = (typeof CODECS)[keyof typeof CODECS]

const TYPE_KEY = 1
const version = uint(4_294_967_295)
const number = uint(BOUNDS.maxChunks - 1)
const numbers = list(number, { min: 1, max: BOUNDS.maxNumbers })
const parts = Math.ceil(BOUNDS.maxMetaBytes / BOUNDS.maxPartBytes)
const status = uint(255, 1)

export const codec: Type<Codec> = uint(CODECS.zstd) as Type<Codec>

/** A frame's number on the wire, its name in code. */
function kind<const T extends string>(wire: number, name: T): Type<T> {
  return {
    toWire(value) {
      if (value !== name) throw new RangeError('another frame')
      return wire
    },
    fromWire(value) {
      if (value !== wire) throw new RangeError('another frame')
      return name
    },
  }
}

const offer = record({
  type: field(1, kind(1, 'offer')),
  channels: field(
    2,
    list(record({ name: field(1, channelName), timestamp: field(2, version) }), {
      max: BOUNDS.maxChannels,
    }),
  ),
  indexes: field(
    3,
    list(record({ index: field(1, id), complete: field(2, bool) }), { max: BOUNDS.maxOffered }),
  ),
})

const metaAsk = record({
  type: field(1, kind(2, 'meta-ask')),
  channel: field(2, channelName),
  file: field(3, matching(FILE, 256)),
})

/** Without bytes the file is missing; then it is part 0 of 0. */
const meta = where(
  record({
    type: field(1, kind(3, 'meta')),
    channel: field(2, channelName),
    file: field(3, matching(FILE, 256)),
    part: field(4, uint(parts)),
    of: field(5, uint(parts)),
    bytes: optional(6, bytes({ min: 1, max: BOUNDS.maxPartBytes })),
  }),
  (one) => (one.bytes === undefined ? one.part === 0 && one.of === 0 : one.part < one.of),
  'no such part',
)

const have = record({
  type: field(1, kind(4, 'have')),
  index: field(2, id),
  runs: field(3, list(uint(BOUNDS.maxChunks), { max: BOUNDS.maxChunks })),
})

const haveMore = record({
  type: field(1, kind(5, 'have-more')),
  index: field(2, id),
  chunks: field(3, numbers),
})

const want = record({
  type: field(1, kind(6, 'want')),
  index: field(2, id),
  chunks: field(3, numbers),
})

const cancel = record({
  type: field(1, kind(7, 'cancel')),
  index: field(2, id),
  chunks: field(3, numbers),
})

const credit = where(
  record({
    type: field(1, kind(8, 'credit')),
    index: field(2, id),
    count: field(3, uint(BOUNDS.maxNumbers, 1)),
    from: field(4, number),
    to: field(5, uint(BOUNDS.maxChunks, 1)),
  }),
  (one) => one.from < one.to,
  'an empty range',
)

const chunk = record({
  type: field(1, kind(9, 'chunk')),
  index: field(2, id),
  n: field(3, number),
  codec: field(4, codec),
  bytes: field(5, bytes({ min: 1, max: BOUNDS.maxRawBytes + BOUNDS.maxStoredExtra })),
})

const lost = record({
  type: field(1, kind(10, 'lost')),
  index: field(2, id),
  chunks: field(3, numbers),
})

const report = record({
  type: field(1, kind(11, 'report')),
  bytes: field(2, bytes({ min: 1, max: BOUNDS.maxReportBytes })),
})

const refused = record({
  type: field(1, kind(12, 'refused')),
  status: field(2, status),
  index: optional(3, id),
})

const FRAMES = [
  ['offer', offer],
  ['meta-ask', metaAsk],
  ['meta', meta],
  ['have', have],
  ['have-more', haveMore],
  ['want', want],
  ['cancel', cancel],
  ['credit', credit],
  ['chunk', chunk],
  ['lost', lost],
  ['report', report],
  ['refused', refused],
] as const

export type UpdateFrame = Infer<(typeof FRAMES)[number][1]>
export type FrameType = UpdateFrame['type']
export type FrameOf<K extends FrameType> = Extract<UpdateFrame, { type: K }>

const byName = new Map<unknown, unknown>(FRAMES)

function shapeOf(shape: unknown): Type<UpdateFrame> {
  if (shape === undefined) throw new TypeError('unknown frame')
  return shape as Type<UpdateFrame>
}

const frame: Type<UpdateFrame> = {
  toWire: (value) => shapeOf(byName.get(value.type)).toWire(value),
  fromWire(map) {
    if (!(map instanceof Map)) throw new TypeError('not a map')
    const wire: unknown = map.get(TYPE_KEY)
    const known = typeof wire === 'number' ? FRAMES[wire - 1] : undefined
    return shapeOf(known?.[1]).fromWire(map)
  },
}

/** Every frame of an update stream, either way. */
export const Frame: Message<UpdateFrame> = messageOf('update.frame', frame, {
  maxBytes: UPDATE.maxFrameBytes,
  maxDepth: 4,
  maxItems: BOUNDS.maxChunks + 16,
})
