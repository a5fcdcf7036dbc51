import { KEY_BYTES } from '../identity/index.ts'
import {
  bytes,
  field,
  list,
  message,
  oneOf,
  optional,
  record,
  text,
  uint,
  type Infer,
} from '../wire/index.ts'
import { BOUNDS, LEASE } from './protocol.ts'

const key = bytes({ length: KEY_BYTES })
const name = text(BOUNDS.maxNameBytes)

/** What one gateway says of one lease. SPEC.md "Stand". */
const stand = record({
  name: field(1, name),
  stand: field(2, oneOf('waits', 'claims', 'holds')),
  term: field(3, uint(BOUNDS.maxTerm)),
  holder: optional(4, key),
})

/** What a holder is through with. SPEC.md "Done". */
const done = record({
  name: field(1, name),
  rows: field(
    2,
    list(record({ device: field(1, key), seq: field(2, uint()) }), { max: BOUNDS.maxRows }),
  ),
})

/** From one gateway to another. SPEC.md "Word". */
export const Word = message(
  'lease.word',
  {
    stands: optional(1, list(stand, { max: BOUNDS.maxLeases })),
    done: optional(2, done),
  },
  { maxBytes: LEASE.maxFrameBytes, maxDepth: 5, maxItems: 4_096 },
)

export type Stand = Infer<typeof stand>
export type Done = Infer<typeof done>
