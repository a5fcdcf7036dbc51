/** What the battery is spent on, and how long it may last: from the ledger of wakes and the settings. */
import { peerIdOf } from '../../protocols/identity/index.ts'
import type { PowerForecast, PowerReport, WakeCost, WakePart, WakeView } from '../api/view-power.ts'
import type { Config } from '../config.ts'
import type { Wake, WakeStore } from '../storage/wakes.ts'

/** Wakes that the means are over, the newest. */
const COUNTED = 200
const SHOWN = 100
const HOURS_PER_DAY = 24
const PARTS: readonly WakePart[] = ['start', 'connect', 'log', 'calls', 'close']
/** The reason of a window that nobody asked for. */
export const PERIODIC = 'period'

type PowerSettings = Config['power']

export function powerReport(settings: PowerSettings, wakes: Pick<WakeStore, 'list'>): PowerReport {
  const counted = wakes.list(COUNTED)
  const mean = meanOf(counted)
  return {
    mode: settings.mode,
    periodMs: settings.period,
    windowMs: settings.window,
    batteryMah: settings.battery_mah,
    awakeMa: settings.awake_ma,
    asleepMa: settings.asleep_ma,
    ...(mean === undefined ? {} : { mean }),
    forecast: forecast(settings, mean, betweenMs(settings.period, counted)),
    wakes: counted.slice(0, SHOWN).map(viewOf),
  }
}

/** Mean time from one wake to the next, told by how many were for a reason: no wall clock is asked. */
function betweenMs(periodMs: number, wakes: readonly Wake[]): number {
  const periodic = wakes.filter(({ reason }) => reason === PERIODIC).length
  return periodic === 0 ? periodMs : (periodMs * periodic) / wakes.length
}

/**
 * The current awake counts for as long as a window took, the current asleep for the rest. Nothing is
 * known here of the battery's age, its temperature, or what it loses by itself.
 */
function forecast(
  { battery_mah: mah, awake_ma: awakeMa, asleep_ma: asleepMa }: PowerSettings,
  mean: WakeCost | undefined,
  cycleMs: number,
): PowerForecast {
  const missing = [
    ...(mah > 0 ? [] : ['power.battery_mah']),
    ...(awakeMa > 0 ? [] : ['power.awake_ma']),
    ...(asleepMa > 0 ? [] : ['power.asleep_ma']),
    ...(mean === undefined ? ['wakes'] : []),
  ]
  if (mean === undefined || awakeMa === 0 || asleepMa === 0) return { costs: [], missing }
  const asleepMs = Math.max(0, cycleMs - mean.processMs)
  const spent = [
    { what: 'asleep' as const, charge: asleepMs * asleepMa },
    ...PARTS.map((what) => ({ what, charge: mean.parts[what] * awakeMa })),
  ]
  const charge = spent.reduce((sum, part) => sum + part.charge, 0)
  const meanMa = charge / (asleepMs + mean.processMs)
  const costs = spent
    .map((part) => ({ what: part.what, share: part.charge / charge }))
    .toSorted((a, b) => b.share - a.share)
  const days = mah > 0 ? { days: mah / meanMa / HOURS_PER_DAY } : {}
  return { ...days, meanMa, costs, missing }
}

function meanOf(wakes: readonly Wake[]): WakeCost | undefined {
  if (wakes.length === 0) return undefined
  const mean = (value: (wake: Wake) => number): number =>
    wakes.reduce((sum, wake) => sum + value(wake), 0) / wakes.length
  return {
    wakes: wakes.length,
    processMs: mean((wake) => wake.processMs),
    connectedMs: mean((wake) => wake.connectedMs),
    bytesIn: mean((wake) => wake.bytesIn),
    bytesOut: mean((wake) => wake.bytesOut),
    packetsIn: mean((wake) => wake.packetsIn),
    packetsOut: mean((wake) => wake.packetsOut),
    parts: {
      start: mean(({ parts }) => parts.start),
      connect: mean(({ parts }) => parts.connect),
      log: mean(({ parts }) => parts.log),
      calls: mean(({ parts }) => parts.calls),
      close: mean(({ parts }) => parts.close),
    },
  }
}

function viewOf({ parent, ...wake }: Wake): WakeView {
  return { ...wake, parent: parent === undefined ? null : peerIdOf(parent) }
}
