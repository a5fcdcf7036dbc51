/**
 * A pack: some readings of one device under one signature, linked to the pack before it. SPEC.md
 * "Pack". Whoever has the bytes can check all of this without asking the device or trusting whoever
 * passed them on; whether the pack fits what else is known of its log is `chain.ts`.
 */
import {
  ENVELOPE_OVERHEAD_BYTES,
  IdentityError,
  KEY_BYTES,
  open,
  peek,
  peerIdOf,
  seal,
  sha256,
  type Signer,
  type Verifier,
} from '../identity/index.ts'
import {
  bytes,
  equalBytes,
  field,
  message,
  oneOf,
  optional,
  uint,
  type Infer,
} from '../wire/index.ts'
import { BOUNDS, TelemetryError } from './protocol.ts'
import { baseName, MAX_TIME_MS, senml, type Reading } from './senml.ts'

/** How good the device says its clock is. */
export const CLOCK_QUALITIES = ['synced', 'unsynced', 'unset'] as const
export type ClockQuality = (typeof CLOCK_QUALITIES)[number]

/** What is signed. SPEC.md "Pack". */
export const PackPayload = message(
  'telemetry.payload',
  {
    home: field(1, bytes({ length: KEY_BYTES })),
    bootId: field(2, bytes({ length: 16 })),
    seq: field(3, uint(Number.MAX_SAFE_INTEGER, 1)),
    prev: field(4, bytes({ length: KEY_BYTES })),
    epoch: field(5, uint()),
    clock: field(6, oneOf(...CLOCK_QUALITIES)),
    body: field(7, senml),
    mono: field(8, uint(2 ** 44)),
    born: optional(9, uint(MAX_TIME_MS)),
  },
  { maxBytes: BOUNDS.maxPackBytes - ENVELOPE_OVERHEAD_BYTES, maxDepth: 4, maxItems: 8_192 },
)

export type PackPayloadMessage = Infer<typeof PackPayload>

/** `prev` of the first pack of a log. */
export const NO_PREV: Uint8Array = new Uint8Array(KEY_BYTES)

/** Bytes of a pack that are not readings, at most. */
export const PACK_OVERHEAD_BYTES = 512

export interface Pack {
  /** The signer's public key, 32 bytes: whose log this is. */
  readonly device: Uint8Array
  /** 16 bytes, other ones after each start of the machine: the life of its boot clock. */
  readonly bootId: Uint8Array
  /** Place in the device's log, from 1. */
  readonly seq: number
  /** `hash` of the pack before, or `NO_PREV`. */
  readonly prev: Uint8Array
  /** Number of effective revocations that the device knew. */
  readonly epoch: number
  readonly clock: ClockQuality
  /** Milliseconds since the machine started, when the pack was sealed. */
  readonly mono: number
  /**
   * UTC milliseconds when the machine started, as the device told it when its clock was first set
   * after that; the same in all packs of one boot. Absent before.
   */
  readonly born?: number
  readonly readings: readonly Reading[]
  /** SHA-256 of `bytes`. */
  readonly hash: Uint8Array
  /** The whole envelope. */
  readonly bytes: Uint8Array
}

export type PackContent = Omit<Pack, 'device' | 'hash' | 'bytes'>

/**
 * Sign the next pack of the signer's own log.
 *
 * @throws TelemetryError TELEMETRY_BAD_READING, TELEMETRY_BAD_PACK; WireError WIRE_FRAME_TOO_LARGE, WIRE_MALFORMED
 */
export function sealPack(content: PackContent, home: Uint8Array, signer: Signer): Pack {
  const { readings, ...rest } = content
  requireClock(content)
  const body = { base: baseName(signer.peerId), readings }
  const payload = PackPayload.encode({ ...rest, home, body })
  const envelope = seal(payload, { kind: 'telemetry-pack', home }, signer)
  return { ...content, device: signer.key, hash: sha256(envelope.bytes), bytes: envelope.bytes }
}

export interface PackContext {
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  readonly verifier: Verifier
  /** `peerIdOf`, remembered for the devices whose packs come often; that itself where absent. */
  readonly peerId?: (device: Uint8Array) => string
}

/**
 * Check and read a pack from anywhere. `claimed` is the device in whose log it was offered.
 *
 * @throws TelemetryError TELEMETRY_BAD_PACK, TELEMETRY_WRONG_HOME, TELEMETRY_WRONG_DEVICE;
 * IdentityError; WireError
 */
export function openPack(input: Uint8Array, context: PackContext, claimed?: Uint8Array): Pack {
  const { home, verifier, peerId = peerIdOf } = context
  const envelope = open(input, { kind: 'telemetry-pack', home }, verifier, BOUNDS.maxPackBytes)
  if (claimed !== undefined && !equalBytes(claimed, envelope.signer)) {
    throw new TelemetryError('TELEMETRY_WRONG_DEVICE')
  }
  const payload = PackPayload.decode(envelope.payload)
  if (!equalBytes(payload.home, home)) throw new TelemetryError('TELEMETRY_WRONG_HOME')
  if (payload.body.base !== baseName(peerId(envelope.signer))) {
    throw new TelemetryError('TELEMETRY_WRONG_DEVICE', 'base name')
  }
  const pack = packOf(payload, envelope.signer, input)
  if ((pack.seq === 1) !== equalBytes(pack.prev, NO_PREV)) {
    throw new TelemetryError('TELEMETRY_BAD_PACK', 'link of the first pack')
  }
  requireClock(pack)
  return pack
}

/** Read a pack that `openPack` accepted before, from where only we can write. */
export function reopenPack(input: Uint8Array): Pack {
  const { signer, payload } = peek(input, 'telemetry-pack', BOUNDS.maxPackBytes)
  return packOf(PackPayload.decode(payload), signer, input)
}

function packOf(payload: PackPayloadMessage, device: Uint8Array, input: Uint8Array): Pack {
  const { home: _, body, ...rest } = payload
  return { ...rest, device, readings: body.readings, hash: sha256(input), bytes: input }
}

/** A clock that is set has told when the machine started; one that is not dates from the sealing. */
function requireClock({ clock, born, readings }: PackContent): void {
  if (clock !== 'unset' && born === undefined) {
    throw new TelemetryError('TELEMETRY_BAD_PACK', 'start of the machine')
  }
  if (clock === 'unset' && readings.some(({ atMs }) => atMs > 0)) {
    throw new TelemetryError('TELEMETRY_BAD_PACK', 'time without a clock')
  }
}

/** True for what a pack's bytes, signature or meaning can be refused for; false for our own defects. */
export function isPackFault(error: unknown): error is TelemetryError | IdentityError {
  return error instanceof TelemetryError || error instanceof IdentityError
}
