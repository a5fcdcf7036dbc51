/** What a device's battery is spent on, and how long it may last. Part of view.ts. */

export type WakePart = 'start' | 'connect' | 'log' | 'calls' | 'close'

/** Means over the wakes that are counted. */
export interface WakeCost {
  readonly wakes: number
  readonly processMs: number
  readonly connectedMs: number
  /** At this device's own sockets, without the headers of TCP, IP and the link. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Of the network interfaces: other programs' packets are among them. */
  readonly packetsIn: number
  readonly packetsOut: number
  /** Milliseconds. */
  readonly parts: Readonly<Record<WakePart, number>>
}

export interface PowerForecast {
  /** Until the battery is empty; undefined where `missing` says what is not known. */
  readonly days?: number | undefined
  /** Mean current. */
  readonly meanMa?: number | undefined
  /** What costs most comes first; shares add up to 1. */
  readonly costs: readonly { readonly what: WakePart | 'asleep'; readonly share: number }[]
  /** Settings that must be told first, and `wakes` where none was counted yet. */
  readonly missing: readonly string[]
}

/** One wake. */
export interface WakeView extends Omit<WakeCost, 'wakes'> {
  readonly atMs: number
  readonly reason: string
  readonly outcome: string
  /** Peer id of the parent that answered. */
  readonly parent: string | null
  readonly calls: number
  readonly receipts: number
  readonly packs: number
}

export interface PowerReport {
  readonly mode: 'powered' | 'sleepy'
  readonly periodMs: number
  readonly windowMs: number
  /** 0 mAh or mA: not told. */
  readonly batteryMah: number
  readonly awakeMa: number
  readonly asleepMa: number
  readonly mean?: WakeCost | undefined
  readonly forecast: PowerForecast
  /** Newest first, a hundred at most. */
  readonly wakes: readonly WakeView[]
}

export interface PowerView {
  /** Of this device. */
  power(): Promise<PowerReport>
}
