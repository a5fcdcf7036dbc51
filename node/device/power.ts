/** What the battery is spent on, and how long it may last: from the ledger of wakes and the settings. */
import type { Wake } from '../storage/wakes.ts'

/** What `kith power` shows. */
export interface PowerView {
  readonly mode: 'powered' | 'sleepy'
  /** Settings in force; 0 mAh or mA: not told. */
  readonly periodMs: number
  readonly windowMs: number
  readonly batteryMah: number
  readonly awakeMa: number
  readonly asleepMa: number
  /** Means over the wakes that are counted; undefined where there are none. */
  readonly mean: WakeCost | undefined
  readonly forecast: Forecast
  /** Newest first, a hundred at most. */
  readonly wakes: readonly WakeView[]
}

export interface WakeCost {
  readonly wakes: number
  /** Time that the means are over, by the clock of the machine that never jumps back. */
  readonly processMs: number
  readonly connectedMs: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly packetsIn: number
  readonly packetsOut: number
  readonly parts: Wake['parts']
}

export interface Forecast {
  /** Days until the battery is empty; undefined where `missing` says what is not known. */
  readonly days: number | undefined
  /** Mean current, mA. */
  readonly meanMa: number | undefined
  /** Parts of the energy, most first; shares add up to 1. */
  readonly costs: readonly { readonly what: CostName; readonly share: number }[]
  /** Settings that must be told first, and `wakes` where none was counted yet. */
  readonly missing: readonly string[]
}

export type CostName = 'asleep' | 'start' | 'connect' | 'log' | 'calls' | 'close'

/** As Wake, for people and programs: the parent as peer id. */
export type WakeView = Omit<Wake, 'parent'> & { readonly parent: string | null }
