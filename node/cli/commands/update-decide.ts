/** What owners decide about releases, and going back by hand. */
import type { RolloutChange } from '../../api/view.ts'
import { parseDuration } from '../../config-values.ts'
import { printable } from '../../printable.ts'
import type { Cli } from '../context.ts'
import { dateText } from '../print.ts'
import { confirm } from '../prompt.ts'
import { cut, usage } from '../update-options.ts'
import { buildOf } from '../update-place.ts'
import { rolloutText } from '../update-text.ts'

async function change(cli: Cli, wanted: RolloutChange, done: string): Promise<void> {
  cli.result(await cli.client.changeRollout(wanted), () => done)
}

export function pause(cli: Cli, name = '*'): Promise<void> {
  const what = name === '*' ? 'Nothing new is' : `${printable(name)} is not`
  return change(cli, { pause: name }, `${what} fetched or installed in this home for now.`)
}

export function resume(cli: Cli, name = '*'): Promise<void> {
  return change(cli, { resume: name }, 'It goes on.')
}

export async function pin(cli: Cli, name: string, which: string | undefined): Promise<void> {
  if (which === undefined) {
    return change(cli, { unpin: name }, `${printable(name)} follows the newest build again.`)
  }
  const build = await buildOf(cli, name, which)
  await change(cli, { pin: { name, build } }, `${printable(name)} stays at build ${build}.`)
}

export async function defer(
  cli: Cli,
  name: string,
  which: string,
  ...[duration]: [string]
): Promise<void> {
  const ms = parseDuration(duration)
  if (ms === undefined || ms <= 0) throw usage(`${duration} is no duration.`, 'Write it like 2d.')
  const until = cli.clock.now() + ms
  const build = await buildOf(cli, name, which)
  await change(
    cli,
    { defer: { name, build, until } },
    `Build ${build} of ${printable(name)} waits until ${dateText(until)}.`,
  )
}

export interface RolloutOptions {
  readonly ring: readonly string[]
  readonly halt?: string
  readonly window?: string
  readonly dnd?: string
  readonly securityAtOnce?: string
  readonly group?: string
  readonly devices?: string
}

export async function rollout(cli: Cli, options: RolloutOptions): Promise<void> {
  const { ring, halt, window, dnd, securityAtOnce, group, devices } = options
  const wanted: RolloutChange = {
    ...(ring.length > 0 && { rings: ring.map(ringOf) }),
    ...(halt !== undefined && { haltPercent: numberOf(halt) }),
    ...(window !== undefined && { window: window === 'any' ? '' : window }),
    ...(dnd !== undefined && { dnd: dnd === 'on' }),
    ...(securityAtOnce !== undefined && { securityAtOnce: securityAtOnce === 'on' }),
    ...(group !== undefined && {
      group: { name: group, devices: (devices ?? '').split(',').filter((one) => one !== '') },
    }),
  }
  const found =
    Object.keys(wanted).length === 0
      ? (await cli.client.updates()).rollout
      : await cli.client.changeRollout(wanted)
  cli.result(found, () => rolloutText(found))
}

/** `1:1h`: one device, and its hour; `10%:1h`. */
function ringOf(said: string): NonNullable<RolloutChange['rings']>[number] {
  const [share, time] = cut(said, ':')
  const minHealthyMs = time === '' ? 0 : parseDuration(time)
  const [, digits, percent] = /^([1-9]\d{0,4})(%)?$/.exec(share) ?? []
  if (digits === undefined || minHealthyMs === undefined) {
    throw usage(`--ring ${said}: write it like 1:1h, 10%:2h or 100%.`)
  }
  const count = Number(digits)
  return percent === undefined ? { devices: count, minHealthyMs } : { percent: count, minHealthyMs }
}

function numberOf(said: string): number {
  if (/^\d{1,3}$/.test(said)) return Number(said)
  throw usage(`--halt ${said}: it is per cent, 0 to 100.`)
}

export async function rollback(cli: Cli, name: string): Promise<void> {
  await confirm(
    cli,
    `Go back to the version of ${printable(name)} before? The one that runs is not tried again on this device.`,
  )
  const found = await cli.client.rollbackUpdate(name)
  cli.result(found, () => `${printable(name)} is back at the version before.`)
}
