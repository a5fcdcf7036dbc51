/**
 * The reader's side of a follow stream: says which logs it wants and hands on what comes, checked.
 * Every pack is verified here whoever sent it; a holder that sends anything else than what was asked
 * for is not listened to any longer. What a pack means for its log is `chain.ts`. The next frame is
 * taken from the network only when the caller asks for the next event.
 */
import { peerIdOf } from '../identity/index.ts'
import { equalBytes, toHex, type Channel } from '../wire/index.ts'
import { Follow, PackFrame, type LogEntry, type PackFrameMessage } from './messages.ts'
import { openPack, type Pack, type PackContext } from './pack.ts'
import { openProof, type ForkProof } from './proof.ts'
import { BOUNDS, telemetryCode, TelemetryError, type TelemetryErrorCode } from './protocol.ts'

export interface LogEvent {
  /** Whose log, 32 bytes. */
  readonly device: Uint8Array
  /** Lowest number that the holder keeps: what is missing below it, it cannot give. */
  readonly first: number
  /** Highest number that the holder has; 0 for none. */
  readonly head: number
  readonly pack?: Pack
  /** The entry with this `to` has ended: the holder has no more of it. */
  readonly ended?: number
  /** The device signed two histories; the holder says so of any log, asked for or not. */
  readonly proof?: ForkProof
  /** The holder does not give this log. */
  readonly refused?: TelemetryErrorCode
}

export interface LogReader {
  /**
   * Want these logs too. An entry for a log that is already followed replaces it; `from: 0` ends it.
   * Entries with `to` are separate from the one without and end by themselves.
   */
  follow(logs: readonly LogEntry[]): Promise<void>
  /**
   * What the holder sends, until it closes its side. To be read once.
   * @throws TelemetryError; IdentityError; WireError; the channel's abort reason
   */
  events(): AsyncGenerator<LogEvent, void, undefined>
}

interface Wish {
  next: number
  readonly to: number
}

export function readLogs(channel: Channel, given: PackContext): LogReader {
  const context: PackContext = { peerId: rememberedPeerIds(), ...given }
  /** By device: open wishes, one at most without an end. Kept when empty: late frames are ignored. */
  const wishes = new Map<string, Wish[]>()
  /** Devices whose proof came: one is enough, so a second ends the stream. */
  const proven = new Set<string>()

  function note({ device, from, to = Infinity }: LogEntry): void {
    const key = toHex(device)
    const others = (wishes.get(key) ?? []).filter((wish) => wish.to !== to)
    wishes.set(key, from === 0 ? others : [...others, { next: from, to }])
  }

  function checkProof({ device, pack, against, ...stand }: PackFrameMessage): LogEvent {
    const key = toHex(device)
    if (pack === undefined || against === undefined || proven.has(key)) {
      throw new TelemetryError('TELEMETRY_UNASKED', 'proof')
    }
    if (proven.size >= BOUNDS.maxEntries) throw new TelemetryError('TELEMETRY_TOO_MANY_LOGS')
    proven.add(key)
    const { first, head } = stand
    return { device, first, head, proof: openProof([pack, against], context, device) }
  }

  function check(frame: PackFrameMessage): LogEvent | undefined {
    if (frame.against !== undefined) return checkProof(frame)
    const { device, first, head } = frame
    const open = wishes.get(toHex(device))
    if (open === undefined) throw new TelemetryError('TELEMETRY_UNASKED')
    if (open.length === 0) return undefined
    if (frame.status !== undefined) {
      const refused = telemetryCode(frame.status) ?? 'TELEMETRY_FORBIDDEN'
      return { device, first, head, refused }
    }
    const stand = { device, first, head, ...endOf(frame, open) }
    if (frame.pack === undefined) return stand
    const pack = openPack(frame.pack, context, device)
    const wish = open.find(({ next, to }) => pack.seq >= next && pack.seq <= to)
    if (wish === undefined) throw new TelemetryError('TELEMETRY_UNASKED', 'number')
    wish.next = pack.seq + 1
    return { ...stand, pack }
  }

  /** The entry that ends with this frame is asked for no longer once its pack was read. */
  function endOf({ device, ended }: PackFrameMessage, open: readonly Wish[]): { ended?: number } {
    if (ended === undefined) return {}
    const rest = open.filter(({ to }) => to !== ended)
    if (rest.length === open.length) throw new TelemetryError('TELEMETRY_UNASKED', 'end')
    wishes.set(toHex(device), rest)
    return { ended }
  }

  return {
    async follow(logs) {
      for (const entry of logs) note(entry)
      await channel.send(Follow, { logs })
    },
    async *events() {
      for await (const frame of channel.messages(PackFrame)) {
        const event = check(frame)
        if (event !== undefined) yield event
      }
    },
  }
}

/** The last one alone: packs of one device come in a row. */
function rememberedPeerIds(): (device: Uint8Array) => string {
  let last: { readonly device: Uint8Array; readonly peerId: string } | undefined
  return (device) => {
    if (last === undefined || !equalBytes(last.device, device)) {
      last = { device, peerId: peerIdOf(device) }
    }
    return last.peerId
  }
}
