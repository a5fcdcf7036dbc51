/**
 * How far this device trusts its wall clock. Many small computers have no clock that runs while they
 * are off: they start in the past, and jump when the network tells the time. The boot clock never
 * jumps, so it is what such times are told by until then. Nothing here sets a clock.
 */
import { createHash } from 'node:crypto'

import type { Boot } from './boot.ts'
import type { Clock } from './env.ts'

export type ClockTrust = 'synced' | 'unsynced' | 'unset'

export interface Timekeeper {
  /** 16 bytes, the same for one life of the machine and one device. */
  readonly bootId: Uint8Array
  /** Whole milliseconds since the machine started. */
  monoMs(): number
  /**
   * `synced`: the system says that a time source has set it. `unset`: it is below the floor, or has
   * only ticked on since it was. Else `unsynced`.
   */
  quality(): ClockTrust
  /** The true time is not before this: UTC milliseconds. */
  floorMs(): number
}

export interface TimekeeperDeps {
  readonly clock: Pick<Clock, 'now'>
  readonly boot: Boot
  /** For a boot id where the machine has none. 16 bytes are taken. */
  readonly fallback: Uint8Array
  /** This device's public key: one machine's devices have different boot ids. */
  readonly key: Uint8Array
  /** Whether the system says that its clock was set from a time source. */
  readonly synced: () => boolean
  /** Newest time that was signed and can be relied on. */
  readonly newestSignedMs: () => number
}

/** No clock that runs is before this software: 2026-01-01. */
export const OLDEST_PLAUSIBLE_MS = Date.UTC(2026, 0, 1)
/** Clocks of one home may differ by this. */
export const CLOCK_SLACK_MS = 10 * 60_000
/** A wall clock that moved by this against the boot clock was set. */
const STEP_MS = 1000

export function createTimekeeper(deps: TimekeeperDeps): Timekeeper {
  const { clock, boot, newestSignedMs, synced } = deps
  const bootId = bootIdOf(deps)
  const monoMs = (): number => Math.max(0, Math.floor(boot.uptimeMs()))
  const floorMs = (): number => Math.max(OLDEST_PLAUSIBLE_MS, newestSignedMs() - CLOCK_SLACK_MS)
  /** Wall less boot clock while the clock was found unset. */
  let unsetOffsetMs: number | undefined

  return {
    bootId,
    monoMs,
    floorMs,
    quality() {
      const wallMs = clock.now()
      // A time source outranks whatever some device once signed, but not the age of this software.
      if (wallMs >= OLDEST_PLAUSIBLE_MS && synced()) {
        unsetOffsetMs = undefined
        return 'synced'
      }
      if (unsetOffsetMs === undefined && wallMs >= floorMs()) return 'unsynced'
      const offsetMs = wallMs - boot.uptimeMs()
      const ticking = unsetOffsetMs !== undefined && Math.abs(offsetMs - unsetOffsetMs) < STEP_MS
      if (!ticking && wallMs >= floorMs()) {
        unsetOffsetMs = undefined
        return 'unsynced'
      }
      unsetOffsetMs ??= offsetMs
      return 'unset'
    },
  }
}

function bootIdOf({ boot, fallback, key }: TimekeeperDeps): Uint8Array {
  if (boot.id === '') return fallback.slice(0, 16)
  const digest = createHash('sha256').update('kith-boot-v1').update(boot.id).update(key).digest()
  return new Uint8Array(digest.subarray(0, 16))
}
