/**
 * What every sink is: the far side of the gateway, one file per type. A sink gets items in order per
 * device from the outbox, tells for each what became of it, and never keeps any of them itself: what
 * it did not send it gets again.
 */
import type { Duplex } from 'node:stream'

import type { Clock, JsonValue, Logger, Random } from '../../node/index.ts'
import type { CommandAnswer } from '../downlink.ts'

export type ItemValue = number | string | boolean

/** One reading on its way out; in the raw form one signed pack. */
export interface OutItem {
  /** `<device id>/<seq>/<index>`, of a pack `<device id>/<seq>`: the same whenever it is sent again. */
  readonly id: string
  readonly deviceId: string
  /** The device's name when the item was taken. Any text. */
  readonly device: string
  /** Empty for a pack. */
  readonly sensor: string
  /** SenML unit. */
  readonly unit?: string
  readonly value: ItemValue
  /** When it was measured, by the device's own clock. */
  readonly atMs: number
  /** It waited so long that what is newer may have gone before it; see `newFirst`. */
  readonly late?: boolean
  /** The signed pack byte for byte, in the raw form alone; `sensor` and `value` are empty then. */
  readonly pack?: Uint8Array
}

/** `retry`: again later, it and what follows it of the same device. `poison`: never again, and why. */
export type Outcome = 'sent' | 'retry' | { readonly poison: string }

/** A message as it would leave: `to` is a topic, a URL or a path. */
export interface Sample {
  readonly to: string
  readonly body: string | Uint8Array
  readonly headers?: Readonly<Record<string, string>>
}

export interface SinkField {
  readonly sensor: string
  /** SenML unit. */
  readonly unit?: string
  readonly kind: 'number' | 'string' | 'boolean'
}

/** What this sink may ask of a device, by the signed policy and the rules of this gateway. */
export interface SinkCommand {
  readonly verb: 'write' | 'invoke'
  readonly name: string
  /** Of the input; `none` where an action takes none. */
  readonly kind: 'number' | 'string' | 'boolean' | 'object' | 'none'
  readonly unit?: string
  readonly min?: number
  readonly max?: number
  readonly choices?: readonly string[]
}

/** A device as far as this sink may know it. */
export interface SinkDevice {
  readonly id: string
  /** Any text. */
  readonly name: string
  readonly state: 'online' | 'asleep' | 'late' | 'lost'
  readonly version?: string
  /** A sleeper's promise: it speaks at least so often. */
  readonly promiseMs?: number
  readonly fields: readonly SinkField[]
  readonly commands: readonly SinkCommand[]
  /** Where the sink may see updates: versions installed and offered. */
  readonly update?: {
    readonly installed: string
    readonly latest: string
  }
}

/** What the far side asks for. Bounded and well formed, but not yet permitted. */
export interface SinkRequest {
  /** The device's id. */
  readonly device: string
  readonly verb: 'write' | 'invoke'
  readonly name: string
  /** As parsed: at most 16 KiB of text and 16 levels. Undefined where there was none. */
  readonly input?: JsonValue | undefined
}

/** Counts what leaves through one sink. Made by the ledger, which also keeps it. */
export interface Meter {
  /**
   * Count every byte written to this socket until it closes. Under TLS it must be the socket below,
   * so that what is counted is what leaves; mqtt-connection.ts opens such ones.
   */
  watch(socket: { readonly bytesWritten: number; readonly bytesRead?: number } & Duplex): void
  /** Of the bytes counted, so many told this item. Once for each time that it was sent. */
  told(item: Pick<OutItem, 'deviceId' | 'sensor'>, bytes: number): void
}

export interface SinkDeps {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly meter: Meter
  /** This sink's own folder, which may not be there yet, for what must outlast a start. */
  readonly folder?: string
  /** This gateway. */
  readonly gateway: { readonly id: string; readonly name: string; readonly version: string }
  /** The far side asks. Never rejects. */
  readonly ask: (request: SinkRequest) => Promise<CommandAnswer>
}

export interface Sink extends AsyncDisposable {
  /** As in `[gateway.sink.NAME]`. */
  readonly name: string
  /** Whether the far side keeps the time of measuring, so that what arrives late is still true. */
  readonly keepsTime: boolean
  /**
   * After the far side was away, what is new goes before what waited: then a device's items are in
   * order among those that are `late` and among those that are not. Without it they are in order.
   */
  readonly newFirst?: boolean
  /**
   * At most 500 items, in order per device. One outcome per item; after a `retry` or a failure the
   * rest of that device is `retry` as well.
   *
   * @throws SinkDown where the far side is not there: nothing of it counts as tried
   */
  send(items: readonly OutItem[], signal: AbortSignal): Promise<readonly Outcome[]>
  /** All devices that this sink may know, whenever one changes. What is no longer there was removed. */
  devices?(devices: readonly SinkDevice[]): Promise<void>
}

/**
 * Makes the sink of checked settings; a far side that is not there is no reason to fail.
 *
 * @throws NodeError where a file that the settings name cannot be used
 */
export type SinkFactory<Settings> = (
  settings: Settings,
  deps: SinkDeps,
  signal: AbortSignal,
) => Promise<Sink>

export interface Sampled {
  readonly items: readonly OutItem[]
  /** As `devices` would tell them. */
  readonly devices: readonly SinkDevice[]
  readonly gateway: SinkDeps['gateway']
}

/**
 * What a sink of these settings would send, made by the code that sends it, but without a sink: it
 * opens nothing and reads no file, so that no secret is in it.
 *
 * @throws NodeError where the settings do not fit together
 */
export type Sampler<Settings> = (settings: Settings, of: Sampled) => readonly Sample[]

/** The far side is not there. The message has no secrets. */
export class SinkDown extends Error {
  override readonly name = 'SinkDown'
  /** The far side asks not to be tried before then. */
  readonly retryAfterMs: number | undefined
  /** Resolves when it is worth another try, where the sink can tell. */
  readonly back: Promise<void> | undefined

  constructor(
    message: string,
    options?: ErrorOptions & { retryAfterMs?: number; back?: Promise<void> },
  ) {
    super(message, options)
    this.retryAfterMs = options?.retryAfterMs
    this.back = options?.back
  }
}
