/**
 * The rules of the gateway, `gateway.toml` beside the device's settings: which readings go where, and
 * what may be asked for from there. Pure: from text to checked settings with every problem found, each
 * with its line. What the home's owners have signed is held against it in policy.ts.
 */
import type { SinkSettings } from './config-sinks.ts'

/** `[[forward]]`. */
export interface ForwardRule {
  /** A device's name or id; `*` for all. */
  readonly device: string
  /** Names of sensors, in which `*` stands for anything. */
  readonly sensors: readonly string[]
  readonly sink: string
  /** One reading of a sensor in so much time, the last; undefined for all. */
  readonly everyMs: number | undefined
  /** `raw`: the signed pack, byte for byte. */
  readonly form: 'json' | 'raw'
}

/** `[[downlink]]`. */
export interface DownlinkRule {
  readonly sink: string
  readonly device: string
  readonly write: readonly string[]
  readonly invoke: readonly string[]
  readonly rate: { readonly count: number; readonly perMs: number }
}

export interface GatewaySettings {
  readonly sinks: readonly SinkSettings[]
  readonly forward: readonly ForwardRule[]
  readonly downlink: readonly DownlinkRule[]
  readonly outbox: { readonly maxBytes: number }
}

export const NOTHING: GatewaySettings = Object.freeze({
  sinks: [],
  forward: [],
  downlink: [],
  outbox: { maxBytes: 256 * 2 ** 20 },
})
