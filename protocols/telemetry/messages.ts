import { KEY_BYTES } from '../identity/index.ts'
import {
  bool,
  bytes,
  field,
  list,
  message,
  optional,
  record,
  uint,
  type Infer,
} from '../wire/index.ts'
import { BOUNDS, TELEMETRY } from './protocol.ts'

const device = bytes({ length: KEY_BYTES })

const Entry = record({
  device: field(1, device),
  from: field(2, uint()),
  to: optional(3, uint()),
})

/** One log that a reader wants. SPEC.md "Follow". */
export type LogEntry = Infer<typeof Entry>

/** Reader to holder, first, and again whenever the reader wants something else. */
export const Follow = message(
  'telemetry.follow',
  {
    logs: field(1, list(Entry, { min: 1, max: BOUNDS.maxEntries })),
    /** True where extracts are wanted and the reader could have logs too. */
    extracts: optional(2, bool),
  },
  { maxBytes: TELEMETRY.maxFrameBytes, maxItems: 2_048 },
)

export type FollowMessage = Infer<typeof Follow>

/** Holder to reader: where a log stands with the holder, mostly one pack of it, or a proof. */
export const PackFrame = message(
  'telemetry.pack',
  {
    device: field(1, device),
    first: field(2, uint(Number.MAX_SAFE_INTEGER, 1)),
    head: field(3, uint()),
    pack: optional(4, bytes({ min: 1, max: BOUNDS.maxPackBytes })),
    status: optional(5, uint(255, 1)),
    against: optional(6, bytes({ min: 1, max: BOUNDS.maxPackBytes })),
    ended: optional(7, uint()),
  },
  { maxBytes: TELEMETRY.maxFrameBytes, maxItems: 16 },
)

export type PackFrameMessage = Infer<typeof PackFrame>
