import { KEY_BYTES } from '../identity/index.ts'
import {
  bytes,
  field,
  list,
  message,
  oneOf,
  optional,
  text,
  uint,
  type Infer,
  type Type,
} from '../wire/index.ts'
import { BOUNDS, INCIDENTS } from './protocol.ts'

/** What can be reported. SPEC.md "Report". */
export const INCIDENT_KINDS = [
  'crash',
  'unclean-end',
  'attack',
  'disk-full',
  'database-damaged',
  'fork',
  'update-rolled-back',
] as const
export type IncidentKind = (typeof INCIDENT_KINDS)[number]

export const STAGES = ['starting', 'running', 'stopping'] as const
export type Stage = (typeof STAGES)[number]

/** Names of errors, and of what was tried: never a sentence, so never what someone typed. */
export const CODE = /^[A-Za-z][A-Za-z0-9_]{0,63}$/
/** A file of the program and a line in it. */
export const PLACE = /^(?:protocols|node|gateway)\/[a-z0-9/-]{1,64}\.[mc]?[jt]s:\d{1,6}$/

function matching(pattern: RegExp, maxBytes: number): Type<string> {
  const plain = text(maxBytes)
  const check = (value: unknown): string => {
    const found = plain.fromWire(value)
    if (!pattern.test(found)) throw new RangeError('not of the form')
    return found
  }
  return { toWire: check, fromWire: check }
}

const key = bytes({ length: KEY_BYTES })

/** Reader to holder, first and only. SPEC.md "Fetch". */
export const Fetch = message(
  'incidents.fetch',
  { from: field(1, uint(Number.MAX_SAFE_INTEGER, 1)) },
  { maxBytes: INCIDENTS.maxFrameBytes, maxItems: 4 },
)

/** Holder to reader: one report, or why there is none. SPEC.md "ReportFrame". */
export const ReportFrame = message(
  'incidents.report',
  {
    head: field(1, uint()),
    report: optional(2, bytes({ min: 1, max: BOUNDS.maxReportBytes })),
    status: optional(3, uint(255, 1)),
  },
  { maxBytes: INCIDENTS.maxFrameBytes, maxItems: 8 },
)

/** What is signed. SPEC.md "Report". */
export const ReportPayload = message(
  'incidents.payload',
  {
    home: field(1, key),
    seq: field(2, uint(Number.MAX_SAFE_INTEGER, 1)),
    prev: field(3, key),
    at: field(4, uint(8_640_000_000_000_000)),
    clock: field(5, oneOf('synced', 'unsynced', 'unset')),
    version: field(6, text(32)),
    kind: field(7, oneOf(...INCIDENT_KINDS)),
    since: field(8, uint(8_640_000_000_000_000)),
    count: field(9, uint(Number.MAX_SAFE_INTEGER, 1)),
    code: optional(10, matching(CODE, 64)),
    subject: optional(11, key),
    stage: optional(12, oneOf(...STAGES)),
    places: optional(13, list(matching(PLACE, 96), { min: 1, max: BOUNDS.maxPlaces })),
  },
  { maxBytes: 2_048, maxDepth: 3, maxItems: 64 },
)

export type ReportPayloadMessage = Infer<typeof ReportPayload>
