/** When a device is awake and who keeps its mail, under its own signature. */
import { open, seal, type Signer, type Verifier } from '../identity/index.ts'
import { equalBytes, toHex } from '../wire/index.ts'
import { SchedulePayload } from './messages.ts'
import { BOUNDS, MailboxError } from './protocol.ts'

export interface ScheduleContent {
  /** Rises with every schedule of the device. */
  readonly seq: number
  /** UTC milliseconds by the device's clock. */
  readonly atMs: number
  readonly clock: 'synced' | 'unsynced' | 'unset'
  readonly mode: 'sleepy' | 'powered'
  /** From the start of one wake to the next. */
  readonly periodMs: number
  /** Longest time awake with nothing more to do. */
  readonly windowMs: number
  /** How late a wake may be. */
  readonly slackMs: number
  /** Public keys of those that keep its mail, 32 bytes each, preferred one first. */
  readonly parents: readonly Uint8Array[]
}

export type Schedule = ScheduleContent & {
  /** The signer's public key, 32 bytes. */
  readonly device: Uint8Array
  /** The whole envelope. */
  readonly bytes: Uint8Array
}

/** @throws WireError WIRE_MALFORMED where a value is out of its bounds */
export function sealSchedule(content: ScheduleContent, home: Uint8Array, signer: Signer): Schedule {
  const { seq, clock, mode, parents } = content
  const payload = SchedulePayload.encode({
    home,
    seq,
    at: content.atMs,
    clock,
    mode,
    period: content.periodMs,
    window: content.windowMs,
    slack: content.slackMs,
    parents,
  })
  const { bytes } = seal(payload, { kind: 'schedule', home }, signer)
  return { ...content, device: signer.key, bytes }
}

/** @throws MailboxError MAILBOX_BAD_DOCUMENT; IdentityError; WireError */
export function openSchedule(
  bytes: Uint8Array,
  { home, verifier }: { readonly home: Uint8Array; readonly verifier: Verifier },
): Schedule {
  const envelope = open(bytes, { kind: 'schedule', home }, verifier, BOUNDS.maxScheduleBytes)
  const found = SchedulePayload.decode(envelope.payload)
  if (!equalBytes(found.home, home)) throw new MailboxError('MAILBOX_BAD_DOCUMENT', 'home')
  const named = new Set(found.parents.map(toHex))
  if (named.size !== found.parents.length || named.has(toHex(envelope.signer))) {
    throw new MailboxError('MAILBOX_BAD_DOCUMENT', 'parents')
  }
  const { seq, clock, mode, parents } = found
  const times = { periodMs: found.period, windowMs: found.window, slackMs: found.slack }
  return { seq, atMs: found.at, clock, mode, ...times, parents, device: envelope.signer, bytes }
}
