/**
 * Counts of one sink since they were last written down. Bytes are those of its sockets. What the
 * kernel adds is estimated: packets of data from the bytes and from how often something was said, and
 * acknowledgements where something came and nothing went for as long as the kernel waits with them.
 */
import type { Clock } from '../../node/index.ts'
import type { Meter } from '../sinks/sink.ts'

export interface Part {
  readonly bytes: number
  /** About what the kernel added. */
  readonly headers: number
  readonly fields: readonly {
    readonly device: string
    readonly sensor: string
    readonly bytes: number
    readonly times: number
  }[]
}

export interface Tally {
  readonly meter: Meter
  /** What is new. The same again, and more, until `written`. */
  part(): Part
  /** What `part` last told is on disk. */
  written(): void
  /** Look at nothing by itself any more. */
  stop(): void
}

type Watched = Parameters<Meter['watch']>[0]

/** Of a full segment: 1,500 bytes less IPv6 (40) and TCP with timestamps (32). */
const SEGMENT_BYTES = 1428
/** IPv6, TCP with timestamps, Ethernet. */
const HEADER_BYTES = 40 + 32 + 14
/** Three to open, two to close, of which three are ours; and who has the address (ICMPv6). */
const CONNECTION_SEGMENTS = 4
/** As long as Linux waits with an acknowledgement. */
const LOOK_MS = 40
/** What is beyond the bound is counted together. Nothing measured is named so. */
export const OTHERS = ''
/** Of one sink and day. */
export const FIELDS_MAX = 10_000

interface Seen {
  readonly written: number
  readonly read: number
}

/** Bytes and headers of sockets since they were last taken off. */
class SocketCount {
  bytes = 0
  headers = 0
  readonly #clock: Clock
  readonly #sockets = new Map<Watched, Seen>()
  /** Turns of the loop in which something was said since the last look. */
  #turns = 0
  #inTurn = false
  #cancel: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  watch(socket: Watched): void {
    this.#sockets.set(socket, { written: 0, read: 0 })
    this.headers += CONNECTION_SEGMENTS * HEADER_BYTES
    this.#lookSoon()
    socket.once('close', () => {
      this.#look(socket)
      this.#sockets.delete(socket)
    })
  }

  /** Something is about to be written. */
  said(): void {
    this.#lookSoon()
    if (this.#inTurn) return
    this.#inTurn = true
    this.#turns++
    setImmediate(() => (this.#inTurn = false))
  }

  #lookSoon(): void {
    this.#cancel ??= this.#clock.timer(LOOK_MS, () => {
      this.#cancel = undefined
      if (this.look()) this.#lookSoon()
    })
  }

  look(): boolean {
    const some = [...this.#sockets.keys()].map((socket) => this.#look(socket)).includes(true)
    this.#turns = 0
    return some
  }

  #look(socket: Watched): boolean {
    const before = this.#sockets.get(socket) ?? { written: 0, read: 0 }
    const now = { written: socket.bytesWritten, read: socket.bytesRead ?? 0 }
    const [wrote, read] = [now.written - before.written, now.read - before.read]
    if (wrote <= 0 && read <= 0) return false
    this.#sockets.set(socket, now)
    this.bytes += wrote
    const data = wrote === 0 ? 0 : Math.max(Math.ceil(wrote / SEGMENT_BYTES), this.#turns)
    // Every second full segment that comes is acknowledged at once, others by what goes out.
    const acknowledgements = Math.max(Math.ceil(read / (2 * SEGMENT_BYTES)) - data, 0)
    this.headers += (data + acknowledgements) * HEADER_BYTES
    return true
  }

  stop(): void {
    this.#cancel?.()
  }
}

type Field = Part['fields'][number]

export function createTally(clock: Clock): Tally {
  const count = new SocketCount(clock)
  let fields = new Map<string, Field>()
  let told: { readonly bytes: number; readonly headers: number } | undefined
  const meter: Meter = {
    watch: (socket) => count.watch(socket),
    told({ deviceId, sensor }, bytes) {
      count.said()
      const own = JSON.stringify([deviceId, sensor])
      const room = fields.has(own) || fields.size < FIELDS_MAX
      const key = room ? own : OTHERS
      const none = { device: OTHERS, sensor: OTHERS, bytes: 0, times: 0 }
      const first = room ? { ...none, device: deviceId, sensor } : none
      const entry = fields.get(key) ?? first
      fields.set(key, { ...entry, bytes: entry.bytes + bytes, times: entry.times + 1 })
    },
  }
  return {
    meter,
    part() {
      count.look()
      told = { bytes: count.bytes, headers: count.headers }
      return { ...told, fields: [...fields.values()] }
    },
    written() {
      if (told === undefined) return
      // Nothing is counted between the two: they follow each other without a wait.
      count.bytes -= told.bytes
      count.headers -= told.headers
      fields = new Map()
      told = undefined
    },
    stop: () => count.stop(),
  }
}
