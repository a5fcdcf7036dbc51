import { KEY_BYTES } from '../identity/index.ts'
import {
  bool,
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
import { BOUNDS, MAILBOX } from './protocol.ts'

const id = bytes({ length: KEY_BYTES })
const key = bytes({ length: KEY_BYTES })
const call = bytes({ min: 1, max: BOUNDS.maxCallBytes })
const receipt = bytes({ min: 1, max: BOUNDS.maxReceiptBytes })
const schedule = bytes({ min: 1, max: BOUNDS.maxScheduleBytes })
const age = uint(BOUNDS.maxAgeMs)
const many = { max: BOUNDS.maxDocuments }
const LIMITS = { maxBytes: MAILBOX.maxFrameBytes, maxDepth: 6, maxItems: 1_024 }

const calls = list(
  record({
    call: field(1, call),
    age: field(2, age),
    key: optional(3, text(128)),
  }),
  { min: 1, ...many },
)

const news = record({
  schedules: field(1, list(record({ schedule: field(1, schedule), age: field(2, age) }), many)),
  receipts: field(2, list(receipt, many)),
  given: field(3, list(id, many)),
})

const wake = record({
  schedule: optional(1, schedule),
  receipts: field(2, list(receipt, many)),
  acks: field(3, list(id, many)),
  logHead: field(4, uint()),
  reason: optional(5, text(64)),
  more: field(6, bool),
})

/** To a holder. SPEC.md "Note". */
export const Note = message(
  'mailbox.note',
  { put: optional(1, calls), news: optional(2, news), wake: optional(3, wake) },
  LIMITS,
)

const held = record({
  ids: field(1, list(id, many)),
  refused: field(2, list(record({ id: field(1, id), status: field(2, uint(255, 1)) }), many)),
  receipts: field(3, list(receipt, many)),
})

const mail = record({
  calls: field(1, list(call, many)),
  receipts: field(2, list(receipt, many)),
  acks: field(3, list(id, many)),
  logHead: field(4, uint()),
  now: field(5, uint(8_640_000_000_000_000)),
  more: field(6, bool),
  apart: field(7, bool),
})

/** From a holder: what became of the note. SPEC.md "Reply". */
export const Reply = message(
  'mailbox.reply',
  {
    held: optional(1, held),
    noted: optional(2, list(id, many)),
    mail: optional(3, mail),
    status: optional(4, uint(255, 1)),
  },
  LIMITS,
)

/** What is signed. SPEC.md "Schedule". */
export const SchedulePayload = message(
  'mailbox.schedule',
  {
    home: field(1, key),
    seq: field(2, uint(Number.MAX_SAFE_INTEGER, 1)),
    at: field(3, uint(8_640_000_000_000_000)),
    clock: field(4, oneOf('synced', 'unsynced', 'unset')),
    mode: field(5, oneOf('sleepy', 'powered')),
    period: field(6, uint(BOUNDS.maxPeriodMs, BOUNDS.minPeriodMs)),
    window: field(7, uint(BOUNDS.maxWindowMs)),
    slack: field(8, uint(BOUNDS.maxSlackMs)),
    parents: field(9, list(key, { max: BOUNDS.maxParents })),
  },
  { maxBytes: 384, maxDepth: 3, maxItems: 24 },
)

export type NoteMessage = Infer<typeof Note>
export type ReplyMessage = Infer<typeof Reply>
export type PutItem = Infer<typeof calls>[number]
export type News = Infer<typeof news>
export type Wake = Infer<typeof wake>
export type Held = Infer<typeof held>
export type Mail = Infer<typeof mail>
