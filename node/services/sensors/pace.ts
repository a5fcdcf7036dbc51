/** Which values of one sensor are worth a reading: rounding, dead band and heartbeat. */
import type { Pace } from './source.ts'

export interface Gate {
  /** The value to keep, rounded; undefined where it says nothing new. `atMs` is monotonic. */
  take(value: number, atMs: number): number | undefined
}

/** Digits that a rounded value keeps: more than any sensor has, fewer than rounding errors need. */
const DIGITS = 12

export function createGate({ deadband, resolution, heartbeatMs = Infinity }: Pace): Gate {
  let last: { readonly value: number; readonly atMs: number } | undefined
  return {
    take(raw, atMs) {
      const value = resolution === undefined ? raw : stepped(raw, resolution)
      const due = last === undefined || atMs - last.atMs >= heartbeatMs
      if (!due && !hasChanged(value, last?.value ?? value, { deadband, resolution }))
        return undefined
      last = { value, atMs }
      return value
    },
  }
}

function hasChanged(value: number, last: number, { deadband, resolution }: Pace): boolean {
  if (deadband === undefined) return resolution === undefined || value !== last
  const far = Number(Math.abs(value - last).toPrecision(DIGITS))
  return value !== last && far >= deadband
}

/** The nearest whole multiple of `step`; the value itself where it is beyond whole numbers of it. */
function stepped(value: number, step: number): number {
  const rounded = Number((Math.round(value / step) * step).toPrecision(DIGITS))
  return Number.isFinite(rounded) ? rounded : value
}
