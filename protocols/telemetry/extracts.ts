/**
 * Readings for a guest: a part of what the device that measures has, sent by that device itself, as
 * far as the guest's caps allow. A pack is signed as a whole, so a part of one carries no signature;
 * it is believed because the connection proves who sends it, and only for as long as somebody looks.
 * Nothing here is proof to anyone else, and nothing of it is passed on. SPEC.md "Extracts".
 *
 * Both sides. Which readers are guests, and what they may read, is the caller's business.
 */
import { pipe } from 'it-pipe'

import { KEY_BYTES, peerIdOf } from '../identity/index.ts'
import {
  equalBytes,
  message,
  oneOf,
  optional,
  uint,
  type Channel,
  type Infer,
} from '../wire/index.ts'
import type { PackSource } from './holder.ts'
import { Follow, type FollowMessage, type LogEntry } from './messages.ts'
import { CLOCK_QUALITIES, reopenPack, type ClockQuality, type Pack } from './pack.ts'
import { BOUNDS, TELEMETRY, TELEMETRY_ERRORS, telemetryCode, TelemetryError } from './protocol.ts'
import { baseName, RELATIVE_BELOW_MS, senml, type Reading } from './senml.ts'
import { timesOf } from './times.ts'

/** Holder to guest: readings of one pack, or the refusal that ends the stream. */
export const ExtractFrame = message(
  'telemetry.extract',
  {
    seq: optional(1, uint(Number.MAX_SAFE_INTEGER, 1)),
    clock: optional(2, oneOf(...CLOCK_QUALITIES)),
    body: optional(3, senml),
    status: optional(4, uint(255, 1)),
  },
  { maxBytes: TELEMETRY.maxFrameBytes, maxDepth: 4, maxItems: 8_192 },
)

export type ExtractFrameMessage = Infer<typeof ExtractFrame>

/** What one guest may read of this device, at this moment. */
export interface ExtractGrant {
  /** Whether the guest may read this sensor. */
  readonly allows: (sensor: string) => boolean
  /** Readings from before are none of its business, UTC milliseconds. */
  readonly sinceMs: number
}

export interface ExtractHolderDeps {
  /** This device's public key, 32 bytes. */
  readonly key: Uint8Array
  readonly source: PackSource
  /** The guest's wish, where it was taken from the channel already. */
  readonly first?: FollowMessage | undefined
  /** Asked again for every pack; undefined where the reader is no guest, or is one no more. */
  readonly grant: () => ExtractGrant | undefined
  /** Let others do their work: between packs that hold nothing for the guest. */
  readonly pause: () => Promise<void>
}

/** Readings of one pack, told by the device itself. No proof. */
export interface Extract {
  /** Number of the pack they are from. */
  readonly seq: number
  readonly clock: ClockQuality
  /** By the device's clock, UTC milliseconds; never relative. */
  readonly readings: readonly Reading[]
}

/**
 * Serve one guest until it closes its side, or may read no more.
 *
 * @throws TelemetryError TELEMETRY_FORBIDDEN where the guest asked for more than this device's own
 * log; TELEMETRY_UNASKED where it asked twice; WireError; the signal's reason
 */
export async function serveExtracts(
  channel: Channel,
  deps: ExtractHolderDeps,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted()
  const wish = deps.first ?? (await channel.next(Follow))
  if (wish === undefined) return
  const from = ownLog(wish.logs, deps.key)
  if (from === undefined) {
    await channel.send(ExtractFrame, FORBIDDEN)
    throw new TelemetryError('TELEMETRY_FORBIDDEN', 'a guest asked for more than an own log')
  }
  const bell = createBell()
  const stopListening = deps.source.onNew((device) => {
    if (equalBytes(device, deps.key)) bell.ring()
  })
  // Ends with the stream, or by the signal.
  void channel.next(Follow).then(
    (more) => bell.end(more && new TelemetryError('TELEMETRY_UNASKED', 'another wish')),
    (error: unknown) => bell.end(error as Error),
  )
  try {
    await pipe(frames(from, deps, bell), channel.sink(ExtractFrame))
  } finally {
    stopListening()
  }
}

const FORBIDDEN: ExtractFrameMessage = { status: TELEMETRY_ERRORS.TELEMETRY_FORBIDDEN.status }

/** The first number wanted, where that is of the own log alone. */
function ownLog(logs: readonly LogEntry[], key: Uint8Array): number | undefined {
  const [entry, ...more] = logs
  if (entry === undefined || more.length > 0 || entry.to !== undefined) return undefined
  return entry.from > 0 && equalBytes(entry.device, key) ? entry.from : undefined
}

async function* frames(
  from: number,
  { key, source, grant, pause }: ExtractHolderDeps,
  bell: Bell,
): AsyncGenerator<ExtractFrameMessage, void, undefined> {
  const oldest = (source.bounds(key)?.head ?? 0) - BOUNDS.maxExtractPacks + 1
  let next = Math.max(from, oldest)
  while (!bell.ended) {
    const granted = grant()
    if (granted === undefined) {
      yield FORBIDDEN
      return
    }
    const [held] = source.read(key, next, 1)
    if (held === undefined) {
      await bell.rung()
      continue
    }
    next = held.seq + 1
    const pack = reopenPack(held.bytes)
    const readings = extractOf(pack, granted)
    if (readings.length === 0) await pause()
    else
      yield { seq: pack.seq, clock: pack.clock, body: { base: baseName(peerIdOf(key)), readings } }
  }
  bell.throwIfBroken()
}

/** What of a pack the guest may have. Readings that are under no date yet are left out. */
function extractOf(pack: Pack, { allows, sinceMs }: ExtractGrant): Reading[] {
  const times = timesOf(pack)
  if (times === undefined) return []
  const oldest = Math.max(sinceMs, RELATIVE_BELOW_MS)
  return pack.readings.flatMap((reading, i) => {
    const atMs = times[i]
    return atMs !== undefined && atMs >= oldest && allows(reading.sensor)
      ? [{ ...reading, atMs }]
      : []
  })
}

interface Bell {
  readonly ended: boolean
  ring(): void
  /** With an error where it broke. */
  end(error: Error | undefined): void
  /** Resolves at once where it rang since the last time. */
  rung(): Promise<void>
  throwIfBroken(): void
}

function createBell(): Bell {
  let ended = false
  let failure: Error | undefined
  let pending = false
  let wake = (): void => undefined
  const ring = (): void => {
    pending = true
    wake()
  }
  return {
    get ended() {
      return ended
    },
    ring,
    end(error) {
      ended = true
      failure ??= error
      ring()
    },
    async rung() {
      if (!pending) await new Promise<void>((resolve) => (wake = resolve))
      pending = false
    },
    throwIfBroken() {
      if (failure !== undefined) throw failure
    },
  }
}

/**
 * Follow the device at the other end of `channel` as a guest, from number `from` on, until it closes
 * its side; `asGateway` where the reader is one, which could have logs too. `holder` is the key that the connection proved, 32 bytes: readings of any other device
 * are refused.
 *
 * @throws TelemetryError TELEMETRY_FORBIDDEN, TELEMETRY_UNASKED, TELEMETRY_WRONG_DEVICE,
 * TELEMETRY_BAD_READING; WireError; the channel's abort reason
 */
export async function* readExtracts(
  channel: Channel,
  holder: Uint8Array,
  from: number,
  { asGateway = false }: { readonly asGateway?: boolean } = {},
): AsyncGenerator<Extract, void, undefined> {
  if (holder.length !== KEY_BYTES) throw new TelemetryError('TELEMETRY_WRONG_DEVICE')
  const base = baseName(peerIdOf(holder))
  const logs = [{ device: holder, from }]
  await channel.send(Follow, asGateway ? { logs, extracts: true } : { logs })
  let next = from
  for await (const frame of channel.messages(ExtractFrame)) {
    const extract = openExtract(frame, base, next)
    next = extract.seq + 1
    yield extract
  }
}

/** @throws TelemetryError, as `readExtracts` */
function openExtract(
  { seq, clock, body, status }: ExtractFrameMessage,
  base: string,
  next: number,
): Extract {
  if (status !== undefined) throw new TelemetryError(telemetryCode(status) ?? 'TELEMETRY_FORBIDDEN')
  if (seq === undefined || clock === undefined || body === undefined || seq < next) {
    throw new TelemetryError('TELEMETRY_UNASKED', 'extract')
  }
  if (body.base !== base) throw new TelemetryError('TELEMETRY_WRONG_DEVICE', 'extract')
  if (body.readings.some(({ atMs }) => atMs < RELATIVE_BELOW_MS)) {
    throw new TelemetryError('TELEMETRY_BAD_READING', 'time')
  }
  return { seq, clock, readings: body.readings }
}
