/** What a device says about a release: signed, passed on by every member, newest per name kept. */
import { open, seal, type Context, type Signer, type Verifier } from '../identity/index.ts'
import {
  equalBytes,
  field,
  list,
  message,
  oneOf,
  optional,
  record,
  toHex,
  uint,
  type Infer,
} from '../wire/index.ts'
import {
  channelName,
  CODE,
  id,
  matching,
  MAX_BUILD,
  MAX_TIME_MS,
  releaseName,
  releaseVersion,
} from './forms.ts'
import { BOUNDS, UpdateError } from './protocol.ts'

/** How far a release is on a device. SPEC.md "Report". */
export const PHASES = [
  'offered',
  'waiting',
  'fetching',
  'staged',
  'installed',
  'healthy',
  'rolled-back',
  'refused',
  'paused',
] as const
export type Phase = (typeof PHASES)[number]

const source = record({ peer: field(1, id), bytes: field(2, uint(BOUNDS.maxReleaseBytes * 2)) })

/** What was last found well there, whatever this report is about. */
const running = record({ version: field(1, releaseVersion), build: field(2, uint(MAX_BUILD, 1)) })

/** What is signed. SPEC.md "Report". */
export const UpdateReportPayload = message(
  'update.report',
  {
    home: field(1, id),
    seq: field(2, uint(Number.MAX_SAFE_INTEGER, 1)),
    at: field(3, uint(MAX_TIME_MS)),
    clock: field(4, oneOf('synced', 'unsynced', 'unset')),
    channel: field(5, channelName),
    name: field(6, releaseName),
    version: field(7, releaseVersion),
    build: field(8, uint(MAX_BUILD, 1)),
    index: field(9, id),
    phase: field(10, oneOf(...PHASES)),
    ring: optional(11, uint(255)),
    percent: optional(12, uint(100)),
    code: optional(13, matching(CODE, 64)),
    from: field(14, list(source, { max: BOUNDS.maxSources })),
    runs: optional(15, running),
  },
  { maxBytes: BOUNDS.maxReportBytes, maxDepth: 3, maxItems: 128 },
)

export type UpdateReportContent = Omit<Infer<typeof UpdateReportPayload>, 'home'>

export type UpdateReport = UpdateReportContent & {
  /** The signer's public key, 32 bytes. */
  readonly device: Uint8Array
  /** The whole envelope. */
  readonly bytes: Uint8Array
}

function contextOf(home: Uint8Array): Context {
  return { kind: 'update-report', home }
}

/** @throws UpdateError UPDATE_BAD_REPORT; WireError WIRE_MALFORMED where a field is not of its form */
export function sealUpdateReport(
  content: UpdateReportContent,
  home: Uint8Array,
  signer: Signer,
): UpdateReport {
  requireOnce(content)
  const payload = UpdateReportPayload.encode({ ...content, home })
  const { bytes } = seal(payload, contextOf(home), signer)
  return { ...content, device: signer.key, bytes }
}

/**
 * Check and read a report, whoever passed it on. Whether its device is a member is the caller's to
 * ask.
 *
 * @throws UpdateError UPDATE_BAD_REPORT; IdentityError; WireError
 */
export function openUpdateReport(
  bytes: Uint8Array,
  context: { readonly home: Uint8Array; readonly verifier: Verifier },
): UpdateReport {
  const { home, verifier } = context
  const envelope = open(bytes, contextOf(home), verifier, BOUNDS.maxReportBytes)
  const { home: named, ...content } = UpdateReportPayload.decode(envelope.payload)
  if (!equalBytes(named, home)) throw new UpdateError('UPDATE_BAD_REPORT', 'another home')
  requireOnce(content)
  return { ...content, device: envelope.signer, bytes }
}

/** Whether `report` takes the place of `kept`, by the same device about the same name. */
export function isNewer(
  report: Pick<UpdateReport, 'seq'>,
  kept: Pick<UpdateReport, 'seq'> | undefined,
): boolean {
  return kept === undefined || report.seq > kept.seq
}

function requireOnce({ from }: UpdateReportContent): void {
  const peers = new Set(from.map(({ peer }) => toHex(peer)))
  if (peers.size !== from.length) throw new UpdateError('UPDATE_BAD_REPORT', 'a source twice')
}
