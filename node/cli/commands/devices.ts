/** The devices of the home, and what an owner can change about them. */
import type { DeviceRow, RemovalView, Role, StatusView } from '../../api/view.ts'
import { printable } from '../../printable.ts'
import type { Cli } from '../context.ts'
import { dueIn } from '../moments.ts'
import { ago, dateText, logText, span, stateText, table } from '../print.ts'
import { confirm } from '../prompt.ts'
import { termsFrom, type TermOptions } from '../terms.ts'

export async function status(cli: Cli): Promise<void> {
  const found = await cli.client.status()
  const { device, home, peers, addrs, version, uptimeMs } = found
  cli.result(found, () =>
    pairs([
      ['device', `${device.name} (${device.fingerprint})`],
      ['home', home === null ? 'none yet: kith home create NAME, or kith pair' : home.name],
      ['role', roleText(found)],
      ['peers', String(peers)],
      ['addresses', addressLines(addrs)],
      ['version', version],
      ['running for', span(uptimeMs)],
    ]),
  )
}

function roleText({ home, role }: StatusView): string {
  if (role !== null || home === null) return role ?? '-'
  return 'none: it was removed from the home. To use it again: kith reset, and then kith pair'
}

function addressLines(addrs: readonly string[]): readonly string[] {
  return addrs.length === 0 ? ['-'] : addrs
}

export async function devices(cli: Cli): Promise<void> {
  const rows = await cli.client.devices()
  cli.result(rows, () => (rows.length === 0 ? 'No devices yet.' : deviceTable(cli, rows)))
  for (const row of rows) if (row.quarantined) cli.note(alarmText(row))
}

function alarmText({ name }: DeviceRow): string {
  return `ALARM: ${printable(name)} signed two histories: it was copied, restored from a backup, or stolen. What came from it since does not count. Put it out with "kith remove", or, if you know why, trust it with "kith trust".`
}

/** Asks first: what a thief signed would count again. */
export async function trust(cli: Cli, ref: string): Promise<void> {
  const { id, name } = await cli.client.device(ref)
  await confirm(cli, `Trust ${printable(name)} again, with all that came from it?`)
  const row = await cli.client.trust(id)
  cli.result(row, () => `${printable(row.name)} is trusted again.`)
}

function deviceTable({ clock, options }: Cli, rows: readonly DeviceRow[]): string {
  return table(
    ['NAME', 'FINGERPRINT', 'ROLE', 'SEEN', 'VERSION', 'STATE'],
    rows.map((row) => {
      const { name, self, fingerprint, role, lastSeen, version, state } = row
      return [
        self ? `${name} (this)` : name,
        fingerprint,
        role ?? '-',
        self ? 'now' : ago(lastSeen, clock.now()),
        version ?? '-',
        [state, ...dueOf(row, clock.now())].join(', '),
      ]
    }),
    (text) => {
      const [state = '', ...due] = text.split(', ')
      return [stateText(state, options.color), ...due].join(', ')
    },
  )
}

/** When a device that sleeps wakes, or should have; nothing for others. */
function dueOf({ dueAt, state }: DeviceRow, now: number): readonly string[] {
  const tells = state === 'asleep' || state === 'late' || state === 'lost'
  return dueAt === undefined || !tells ? [] : [dueIn(dueAt, now)]
}

export async function show(cli: Cli, ref: string): Promise<void> {
  const row = await cli.client.device(ref)
  cli.result(row, () =>
    pairs([
      ['name', row.name],
      ['fingerprint', row.fingerprint],
      ['peer id', row.id],
      ['role', row.role ?? '-'],
      ['state', statesOf(row, cli.clock.now()).join(', ')],
      ['seen', row.self ? 'now' : ago(row.lastSeen, cli.clock.now())],
      ['addresses', addressLines(row.addrs)],
      ['version', row.version ?? '-'],
      ...moreOf(row),
    ]),
  )
}

function statesOf(row: DeviceRow, now: number): readonly string[] {
  const alarm = row.quarantined ? ['signed two histories'] : []
  return [row.state, ...dueOf(row, now), ...alarm]
}

/** What is not there for every device. */
function moreOf({ allow, until, log }: DeviceRow): [string, string][] {
  const rows: [string, string][] = []
  if (allow !== undefined) rows.push(['may', allow.join(' ') || 'nothing'])
  if (until !== undefined) rows.push(['until', dateText(until)])
  if (log !== undefined) rows.push(['log', logText(log)])
  return rows
}

/** Name and value on each line; a list goes on below itself. */
function pairs(rows: readonly (readonly [string, string | readonly string[]])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows
    .flatMap(([name, value]) =>
      [value].flat().map((line, index) => [index === 0 ? name : '', line] as const),
    )
    .map(([name, line]) => `${name.padEnd(width)}  ${printable(line)}`)
    .join('\n')
}

export async function rename(cli: Cli, ref: string, name: string): Promise<void> {
  const op = await cli.client.rename(ref, name)
  cli.result(op, () => `The device is called ${printable(name)} now.`)
}

export async function grant(
  cli: Cli,
  ref: string,
  role: Role,
  options: TermOptions,
): Promise<void> {
  const op = await cli.client.grant(ref, role, termsFrom(options))
  cli.result(op, () => `The device is ${role} now.`)
}

/** Says first what it cuts, and asks; then works on exactly the device that it named. */
export async function remove(
  cli: Cli,
  ref: string,
  { reason }: { readonly reason?: string },
): Promise<void> {
  const before = await cli.client.removal(ref)
  cli.note(removalText(before))
  await confirm(cli, `Remove ${printable(before.device.name)} from the home?`)
  const removed = await cli.client.remove(before.device.id, { reason })
  cli.result(removed, () => `Removed ${printable(removed.cuts.device.name)}.`)
}

function removalText({ device, connected, alsoRemoved, lastSeq }: RemovalView): string {
  return [
    `Removing ${printable(device.name)} (${printable(device.fingerprint)}):`,
    connected
      ? '  its connection is cut now'
      : '  it is not connected; others refuse it when they hear of this',
    lastSeq === null
      ? '  none of its readings are kept as trusted'
      : `  its readings up to number ${lastSeq} stay trusted`,
    ...(alsoRemoved.length === 0
      ? []
      : [
          `  these lose their place too, because it added them: ${printable(alsoRemoved.join(', '))}`,
        ]),
  ].join('\n')
}
