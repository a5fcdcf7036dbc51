import { bool, bytes, field, message, optional, record, uint, type Infer } from '../wire/index.ts'
import { json, matching, MAX_TIME_MS } from './call.ts'
import { RESULT } from './json.ts'
import { NAME } from './model.ts'
import { BOUNDS, CALLS } from './protocol.ts'

const call = bytes({ min: 1, max: BOUNDS.maxCallBytes })
const receipt = bytes({ min: 1, max: BOUNDS.maxReceiptBytes })
const name = matching(NAME, 64)

/** Caller to callee: one question, or the end of one. SPEC.md "Request". */
export const Request = message(
  'calls.request',
  {
    n: field(1, uint(Number.MAX_SAFE_INTEGER, 1)),
    call: optional(2, call),
    describe: optional(3, bool),
    observe: optional(4, name),
    why: optional(5, record({ name: optional(1, name), limit: field(2, uint(BOUNDS.maxRows, 1)) })),
    stop: optional(6, bool),
  },
  { maxBytes: CALLS.maxFrameBytes, maxDepth: 2, maxItems: 16 },
)

export type RequestMessage = Infer<typeof Request>

/** Callee to caller: an answer, or a part of one. SPEC.md "Response". */
export const Response = message(
  'calls.response',
  {
    n: field(1, uint(Number.MAX_SAFE_INTEGER, 1)),
    last: field(2, bool),
    receipt: optional(3, receipt),
    description: optional(4, bytes({ min: 1, max: BOUNDS.maxChunkBytes })),
    event: optional(
      5,
      record({ value: field(1, json(RESULT)), atMs: field(2, uint(MAX_TIME_MS)) }),
    ),
    row: optional(6, record({ call: field(1, call), receipt: field(2, receipt) })),
    status: optional(7, uint(255, 1)),
  },
  { maxBytes: CALLS.maxFrameBytes, maxDepth: 2, maxItems: 16 },
)

export type ResponseMessage = Infer<typeof Response>
