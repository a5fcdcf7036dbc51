import {
  bytes,
  field,
  list,
  message,
  oneOf,
  record,
  text,
  uint,
  type Infer,
} from '../wire/index.ts'

const hash = bytes({ length: 32 })

/** Most heads of the membership log that one hello lists; the sync that follows needs no more. */
export const MAX_HEADS = 64
/** Most telemetry logs that one hello lists. */
export const MAX_LOGS = 256

/** Both sides, first. SPEC.md "Hello". */
export const Hello = message(
  'hello',
  {
    home: field(1, hash),
    heads: field(2, list(hash, { min: 1, max: MAX_HEADS })),
    epoch: field(3, uint()),
    state: field(4, hash),
    logs: field(
      5,
      list(record({ device: field(1, hash), seq: field(2, uint()) }), { max: MAX_LOGS }),
    ),
    power: field(6, oneOf('powered', 'sleepy')),
    version: field(7, text(32)),
    features: field(8, list(text(32), { max: 32 })),
  },
  { maxBytes: 32_768, maxItems: 2_048 },
)

export type HelloMessage = Infer<typeof Hello>
