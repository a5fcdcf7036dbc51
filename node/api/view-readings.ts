/** Sensors of this device, and readings of all of them: live, kept and for others. Part of view.ts. */
import type { Role } from './view-devices.ts'

/** A device that may read a sensor. */
export interface SensorReader {
  readonly name: string
  readonly role: Role
  /** `role`, or the part of its grant that allows it. */
  readonly through: string
}

export interface SensorView {
  readonly name: string
  readonly unit: string
  readonly on: boolean
  /** The newest value; null where there is none yet. */
  readonly value: number | null
  readonly description: string
  /** Every other device of the home that may read it. */
  readonly readers: readonly SensorReader[]
}

/** A value from another program, for a sensor of type `push`. The device stamps it. */
export interface PushedValue {
  readonly sensor: string
  readonly value: number | boolean | string
}

export interface ReadingQuery {
  /** A reference to a device; all of them without it. */
  readonly device?: string | undefined
  readonly sensor?: string | undefined
}

export interface Reading {
  /** Peer id. */
  readonly device: string
  /** The device's name. */
  readonly name: string
  readonly sensor: string
  readonly value: number
  readonly unit: string
  readonly at: number
  /** The sequence number of the pack that holds it. */
  readonly seq: number
  /**
   * Whether the pack's signature and its place in the chain were checked here. False for what came
   * from a device after proof that it signed two histories, and for what a guest was told.
   */
  readonly verified: boolean
  /** A guest was told this by the device itself: it is shown, and proves nothing. */
  readonly source?: 'extract'
}

/**
 * A reading without a date: the device's clock was not set then, and nothing has told since when that
 * was. It gets its date, and leaves this list, when something does.
 */
export interface UnplacedReading extends Omit<Reading, 'at' | 'source'> {
  readonly unplaced: {
    /** One life of the machine that measured, in hexadecimal: others are counted by another start. */
    readonly boot: string
    /** Milliseconds from the start of that machine. */
    readonly sinceStartMs: number
  }
}

/** What the readings of one sensor in one span come to. Stays when the readings have gone. */
export interface Summary extends Reading {
  /** Length of the span in milliseconds: as asked, or longer where shorter ones are not kept. */
  readonly everyMs: number
  readonly min: number
  /** The same as `value`. */
  readonly mean: number
  readonly max: number
  readonly last: number
  readonly count: number
}

export interface HistoryQuery {
  readonly device: string
  readonly sensor?: string | undefined
  readonly since?: number | undefined
  readonly until?: number | undefined
  /** One summary for each span of this length; spans are whole, so the first may begin before. */
  readonly everyMs?: number | undefined
}

/** Readings are known to be missing between these two times: of those right before and after. */
export interface Gap {
  readonly gap: { readonly from: number; readonly to: number }
}

/** Summaries where `everyMs` was asked, else readings; `at` is where its span begins. */
export type HistoryRow = Reading | Summary | Gap

export interface ExportInput {
  /** References to devices; all that this device keeps logs of where there are none. */
  readonly devices: readonly string[]
  readonly since?: number | undefined
  readonly until?: number | undefined
}

export interface ReadingsView {
  sensors(): Promise<readonly SensorView[]>
  setSensor(name: string, on: boolean): Promise<SensorView>
  /** Take values in order; the first that is no number ends it, and the ones before are taken. */
  push(values: readonly PushedValue[]): Promise<void>
  /** Live readings until `signal` aborts. */
  watch(query: ReadingQuery, signal: AbortSignal): AsyncIterable<Reading>
  /** Kept readings that have no date yet, in the order in which they were published. */
  unplaced(
    query: { readonly device: string; readonly sensor?: string | undefined },
    signal: AbortSignal,
  ): AsyncIterable<UnplacedReading>
  /** Kept readings, oldest first, and gaps in their place. */
  history(query: HistoryQuery, signal: AbortSignal): AsyncIterable<HistoryRow>
  /**
   * The bytes of a file with the home's membership and the signed packs of these devices, which
   * anybody can check without this device. SPEC.md of protocols/telemetry, "Export".
   */
  exportLogs(input: ExportInput, signal: AbortSignal): AsyncIterable<Uint8Array>
}
