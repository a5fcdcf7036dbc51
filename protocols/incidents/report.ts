/**
 * A report of something that went wrong, under one signature, linked to the one before it. It has
 * facts of fixed forms alone: what a person typed, named or measured has no place in it.
 */
import { KEY_BYTES, open, seal, sha256, type Signer, type Verifier } from '../identity/index.ts'
import { equalBytes } from '../wire/index.ts'
import { ReportPayload, type ReportPayloadMessage } from './messages.ts'
import { BOUNDS, IncidentsError } from './protocol.ts'

/** `prev` of the first report of a device. */
export const NO_PREV: Uint8Array = new Uint8Array(KEY_BYTES)

export type ReportContent = Omit<ReportPayloadMessage, 'home'>

export type Report = ReportContent & {
  /** The signer's public key, 32 bytes. */
  readonly device: Uint8Array
  /** SHA-256 of `bytes`. */
  readonly hash: Uint8Array
  /** The whole envelope. */
  readonly bytes: Uint8Array
}

/** @throws WireError WIRE_MALFORMED where a field is not of its form */
export function sealReport(content: ReportContent, home: Uint8Array, signer: Signer): Report {
  const { bytes } = seal(ReportPayload.encode({ ...content, home }), contextOf(home), signer)
  return { ...content, device: signer.key, hash: sha256(bytes), bytes }
}

/**
 * Check and read a report that came from `device`.
 *
 * @throws IncidentsError INCIDENTS_BAD_REPORT, INCIDENTS_WRONG_DEVICE; IdentityError; WireError
 */
export function openReport(
  input: Uint8Array,
  { home, verifier }: { readonly home: Uint8Array; readonly verifier: Verifier },
  device: Uint8Array,
): Report {
  const envelope = open(input, contextOf(home), verifier, BOUNDS.maxReportBytes)
  if (!equalBytes(envelope.signer, device)) throw new IncidentsError('INCIDENTS_WRONG_DEVICE')
  const { home: said, ...content } = ReportPayload.decode(envelope.payload)
  if (!equalBytes(said, home)) throw new IncidentsError('INCIDENTS_BAD_REPORT', 'home')
  if ((content.seq === 1) !== equalBytes(content.prev, NO_PREV)) {
    throw new IncidentsError('INCIDENTS_BAD_REPORT', 'link of the first report')
  }
  if (content.since > content.at) throw new IncidentsError('INCIDENTS_BAD_REPORT', 'times')
  return { ...content, device, hash: sha256(input), bytes: input }
}

function contextOf(home: Uint8Array): { kind: 'incident'; home: Uint8Array } {
  return { kind: 'incident', home }
}
