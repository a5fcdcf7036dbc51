/** `kith power`: what this device's battery is spent on, and how long it may last. */
import type { PowerReport, WakeCost } from '../../api/view.ts'
import { loadConfig } from '../../config.ts'
import { NodeError } from '../../errors.ts'
import type { Cli } from '../context.ts'
import { span, table } from '../print.ts'

export async function power(cli: Cli): Promise<void> {
  const found = await reportOf(cli)
  cli.result(found, () => text(found))
}

/** A device that only wakes for a moment is asked through its ledger. */
async function reportOf({ client, configInputs }: Cli): Promise<PowerReport> {
  try {
    return await client.power()
  } catch (error) {
    if (!(error instanceof NodeError) || error.code !== 'NODE_NOT_RUNNING') throw error
    const config = await loadConfig(configInputs)
    if (config.power.mode !== 'sleepy') throw error
    const { readPower } = await import('../../wake.ts')
    return readPower(config)
  }
}

function text(found: PowerReport): string {
  const { mode, periodMs, windowMs, mean, forecast } = found
  const head =
    mode === 'powered'
      ? 'This device does not sleep.'
      : `This device wakes every ${span(periodMs)}, for ${windowMs / 1000} s at most.`
  if (mode === 'powered' && mean === undefined) return head
  const parts = [head, forecastText(found)]
  if (mean !== undefined && mean.wakes > 0) parts.push(meanText(mean))
  const most = forecast.costs[0]
  if (most !== undefined) parts.push(costsText(found), `What costs most: ${WORDS[most.what]}.`)
  return parts.join('\n\n')
}

const WORDS = {
  asleep: 'being asleep',
  start: 'starting',
  connect: 'connecting',
  log: 'handing over its log',
  calls: 'taking calls and answering them',
  close: 'closing',
} as const

function forecastText({ forecast, batteryMah }: PowerReport): string {
  const { days, meanMa, missing } = forecast
  if (days !== undefined && meanMa !== undefined) {
    return `A battery of ${batteryMah} mAh lasts about ${days < 10 ? days.toFixed(1) : Math.round(days)} days, at ${meanMa.toPrecision(3)} mA on average.`
  }
  const settings = missing.filter((name) => name !== 'wakes')
  const wakes = missing.includes('wakes') ? ['No wake was counted yet.'] : []
  const told =
    settings.length === 0
      ? []
      : [
          `To know how long the battery lasts, set ${settings.join(', ')}: kith config set KEY VALUE`,
        ]
  return [...wakes, ...told].join('\n')
}

function meanText(mean: WakeCost): string {
  const { wakes, processMs, connectedMs, bytesIn, bytesOut, packetsIn, packetsOut } = mean
  const whole = Math.round
  return [
    `A wake, on average of ${wakes}: ${whole(processMs)} ms awake, ${whole(connectedMs)} ms connected,`,
    `${whole(bytesOut)} bytes sent and ${whole(bytesIn)} received in ${whole(packetsOut)} and ${whole(packetsIn)} packets (those of the whole machine).`,
  ].join('\n')
}

function costsText({ forecast, mean, periodMs }: PowerReport): string {
  const asleepMs = Math.max(0, periodMs - (mean?.processMs ?? 0))
  const ms = { ...mean?.parts, asleep: asleepMs }
  return table(
    ['PART', 'EACH TIME', 'SHARE'],
    forecast.costs.map(({ what, share }) => [
      WORDS[what],
      timeText(ms[what] ?? 0),
      `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`,
    ]),
  )
}

function timeText(ms: number): string {
  return ms < 10_000 ? `${Math.round(ms)} ms` : span(ms)
}
