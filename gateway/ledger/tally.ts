/** Counts of one sink since they were last written down. */
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
}

type Watched = Parameters<Meter['watch']>[0]

/** Of a full segment: 1,500 bytes less IPv6 (40) and TCP with timestamps (32). */
const SEGMENT_BYTES = 1428
/** IPv6, TCP with timestamps, Ethernet. */
const HEADER_BYTES = 40 + 32 + 14
/** Three to open, two to close. */
const CONNECTION_SEGMENTS = 5
/** Nothing measured is named so: what is beyond the bound is counted together. */
const OTHERS = ''
const FIELDS_MAX = 10_000

export function createTally(): Tally {
  const sockets = new Map<Watched, number>()
  let closedBytes = 0
  let headers = 0
  let fields = new Map<string, { device: string; sensor: string; bytes: number; times: number }>()
  let told: { bytes: number; headers: number; fields: typeof fields } | undefined

  function take(socket: Watched): void {
    const before = sockets.get(socket) ?? 0
    const now = socket.bytesWritten
    if (now <= before) return
    closedBytes += now - before
    headers += Math.ceil((now - before) / SEGMENT_BYTES) * HEADER_BYTES
    sockets.set(socket, now)
  }

  const meter: Meter = {
    watch(socket) {
      sockets.set(socket, 0)
      headers += CONNECTION_SEGMENTS * HEADER_BYTES
      socket.once('close', () => {
        take(socket)
        sockets.delete(socket)
      })
    },
    told({ deviceId, sensor }, bytes) {
      let key = JSON.stringify([deviceId, sensor])
      const room = fields.has(key) || fields.size < FIELDS_MAX
      if (!room) key = OTHERS
      const entry = fields.get(key) ?? {
        device: room ? deviceId : OTHERS,
        sensor: room ? sensor : OTHERS,
        bytes: 0,
        times: 0,
      }
      entry.bytes += bytes
      entry.times++
      fields.set(key, entry)
    },
  }

  return {
    meter,
    part() {
      for (const socket of sockets.keys()) take(socket)
      told = { bytes: closedBytes, headers, fields: new Map(fields) }
      return { bytes: closedBytes, headers, fields: [...fields.values()] }
    },
    written() {
      if (told === undefined) return
      // Nothing is counted between the two: they follow each other without a wait.
      closedBytes -= told.bytes
      headers -= told.headers
      fields = new Map()
      told = undefined
    },
  }
}
