import { codesByStatus, statusError } from '../errors.ts'
import type { Protocol } from '../wire/index.ts'

/** SPEC.md "Limits". A stream lasts as long as the connection, so its frames are all but unbounded. */
export const UPDATE = {
  id: '/kith/update/1.0.0',
  maxFrameBytes: 278_528,
  maxFrames: 1_000_000_000,
  maxInboundStreams: 2,
  maxOutboundStreams: 2,
  messageDeadlineMs: 30_000,
} as const satisfies Protocol

/** SPEC.md "Bounds". What one release, one index, one report and one stream may hold. */
export const BOUNDS = {
  /** A chunk before it is packed, in bytes. */
  maxRawBytes: 262_144,
  /** Bytes that the stored form of a chunk may be longer than the chunk. */
  maxStoredExtra: 64,
  /** How much longer a packed chunk may become than it is stored. */
  maxRatio: 1_000,
  /** Chunks of one index, those of its patches included. */
  maxChunks: 65_536,
  /** Bytes of a release, and of its chunks in their stored form: 16 GiB. */
  maxReleaseBytes: 17_179_869_184,
  /** A whole index, in bytes. */
  maxIndexBytes: 4_194_304,
  /** Patches of one index. */
  maxPatches: 8,
  /** One file of metadata, in bytes. */
  maxMetaBytes: 4_194_304,
  /** Bytes of a file of metadata in one frame. */
  maxPartBytes: 262_144,
  /** Files of metadata that one side may have asked for and not yet got. */
  maxAsked: 8,
  /** Channels of one home. */
  maxChannels: 8,
  /** Indexes that one side offers. */
  maxOffered: 64,
  /** Numbers of chunks in one frame. */
  maxNumbers: 4_096,
  /** A whole report, signature included, in bytes. */
  maxReportBytes: 2_048,
  /** Sources that one report names. */
  maxSources: 16,
  /** A whole policy of a home, all parts together, in bytes. */
  maxPolicyBytes: 2_048,
} as const

/** SPEC.md "Errors". `status` crosses the wire in a Refused frame. */
export const UPDATE_ERRORS = {
  UPDATE_FORBIDDEN: { status: 1, message: 'updates are not for this device' },
  UPDATE_BAD_INDEX: { status: 2, message: 'the release breaks a rule of its format' },
  UPDATE_BAD_REPORT: { status: 3, message: 'the report breaks a rule of its format' },
  UPDATE_BAD_POLICY: { status: 4, message: 'the policy of the home breaks a rule of its format' },
  UPDATE_WRONG_CHUNK: { status: 5, message: 'the chunk is not what the release says it is' },
  UPDATE_UNASKED: { status: 6, message: 'the peer sent what was not asked for' },
  UPDATE_BAD_NUMBER: { status: 7, message: 'the release has no chunk of this number' },
  UPDATE_TOO_MUCH: { status: 8, message: 'more than one peer may ask for' },
  UPDATE_BAD_META: { status: 9, message: 'the parts of a file do not fit together' },
} as const

export type UpdateErrorCode = keyof typeof UPDATE_ERRORS

export class UpdateError extends statusError(UPDATE_ERRORS) {}

/** The code behind a status number that a peer sent; undefined for one that is not in the table. */
export const updateCode = codesByStatus(UPDATE_ERRORS)
