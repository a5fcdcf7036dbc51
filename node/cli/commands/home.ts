/** Making a home, getting it back with the recovery kit, and leaving everything behind. */
import { randomInt } from 'node:crypto'
import { rm } from 'node:fs/promises'
import process from 'node:process'

import { renderUnicodeCompact } from 'uqr'

import type { MembershipView, RecoveryKitView } from '../../api/view.ts'
import { NodeError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import type { Cli } from '../context.ts'
import { askText, askUntil, confirm } from '../prompt.ts'
import { readSecret, saveSecret } from '../save.ts'
import { parseTime } from './readings.ts'

interface CreateOptions {
  readonly deviceName?: string
  readonly recoveryOut?: string
}

const TYPED_GROUPS = 2

/** The home is made only after the kit is in safe hands: typed back in part, or in its file. */
export async function createHome(cli: Cli, name: string, options: CreateOptions): Promise<void> {
  const { recoveryOut, deviceName } = options
  if (recoveryOut === undefined && (!cli.terminal || cli.options.json)) {
    throw new NodeError('NODE_USAGE', 'The recovery kit must go somewhere.', {
      hint: 'Nothing was made. Run it at a terminal without --json, or name a new file: --recovery-out FILE',
    })
  }
  const { home } = await cli.client.status()
  if (home !== null) {
    throw new NodeError(
      'NODE_CONFLICT',
      `This device has a home already: ${printable(home.name)}.`,
      {
        hint: 'Nothing was changed. To leave it: kith reset',
      },
    )
  }
  const kit = await cli.client.recoveryKit()
  const make = (): Promise<MembershipView> =>
    cli.client.createHome({ name, deviceName, recoveryKey: kit.publicKey })
  const made =
    recoveryOut === undefined
      ? await showThen(cli, kit, make)
      : await saveThen(cli, recoveryOut, kit, make)
  cli.result({ home: made.home, name: made.name, device: made.device }, () =>
    madeText(made, recoveryOut),
  )
}

function madeText(made: MembershipView, recoveryOut: string | undefined): string {
  const kept =
    recoveryOut === undefined
      ? []
      : [`The recovery kit is in ${recoveryOut}. Keep it off this device.`]
  return [
    `The home ${printable(made.name)} is made, and this device is its owner.`,
    ...kept,
    'To add a device, run there: kith pair   and here: kith add',
  ].join('\n')
}

async function saveThen<T>(
  cli: Cli,
  path: string,
  kit: RecoveryKitView,
  make: () => Promise<T>,
): Promise<T> {
  await saveSecret(path, `${kit.groups.join(' ')}\n`)
  try {
    return await make()
  } catch (error) {
    // A kit for no home would only mislead; one for a home that was made after all must stay.
    if (await hasNoHome(cli)) await rm(path, { force: true })
    throw error
  }
}

/** False also where that cannot be found out. */
function hasNoHome({ client }: Cli): Promise<boolean> {
  return client.status().then(
    ({ home }) => home === null,
    () => false,
  )
}

async function showThen<T>(cli: Cli, kit: RecoveryKitView, make: () => Promise<T>): Promise<T> {
  process.stderr.write(
    [
      '',
      'This is the recovery kit. It is shown once. Write it on paper: whoever has it owns the home,',
      'and without it nobody can get back a home that has lost its owners.',
      '',
      ...kit.groups.map((group, index) => `  ${String(index + 1).padStart(2)}  ${group}`),
      '',
      renderUnicodeCompact(kit.qr),
      '',
    ].join('\n'),
  )
  for (const index of pickGroups(kit.groups.length)) {
    await askText(cli, `Type group ${index + 1} from your paper`, (typed) =>
      sameGroup(typed, kit.groups[index] ?? '') ? undefined : 'That is not what was shown.',
    )
  }
  return make()
}

/** Different groups to ask for, in order. */
function pickGroups(count: number): readonly number[] {
  const picked = new Set<number>()
  while (picked.size < Math.min(TYPED_GROUPS, count)) picked.add(randomInt(count))
  return [...picked].toSorted((a, b) => a - b)
}

function sameGroup(typed: string, group: string): boolean {
  return typed.trim().toLowerCase() === group.trim().toLowerCase()
}

interface RecoverOptions {
  readonly kitFile?: string
  readonly remove: readonly string[]
  readonly since?: string
}

export async function recover(cli: Cli, options: RecoverOptions): Promise<void> {
  const { kitFile, remove } = options
  const since = parseTime(options.since, cli.clock.now())
  if (kitFile === undefined && (!cli.terminal || cli.options.json)) {
    throw new NodeError('NODE_USAGE', 'The recovery kit is missing.', {
      hint: 'Run it at a terminal, or read the kit from a file: --kit-file FILE, - for standard input',
    })
  }
  const use = (kit: string): Promise<MembershipView> => cli.client.recover({ kit, remove, since })
  const place =
    kitFile === undefined
      ? await askUntil(cli, 'The recovery kit, all groups from your paper', use)
      : await use(await readSecret(kitFile))
  const gone = remove.length === 0 ? '' : ` Removed: ${printable(remove.join(', '))}.`
  cli.result(place, () => `This device is an owner of ${printable(place.name)} now.${gone}`)
}

export async function reset(cli: Cli): Promise<void> {
  const { device } = await cli.client.status()
  await confirm(
    cli,
    `Forget the home, the readings and the identity of ${printable(device.name)}? This cannot be undone.`,
  )
  await cli.client.reset()
  const back = await comesBack(cli, device.id)
  cli.result({ reset: true }, () =>
    [
      'This device has forgotten everything, and is nobody now.',
      back ? 'To pair it again: kith pair' : 'To pair it again: kith up, and then kith pair',
    ].join('\n'),
  )
}

const BACK_MS = 5_000
const BACK_POLL_MS = 100

/** Whether Kith answers again, as another device than `before`. */
async function comesBack({ client, clock, signal }: Cli, before: string): Promise<boolean> {
  for (const until = clock.monotonic() + BACK_MS; clock.monotonic() < until;) {
    const now = await client.status().then(
      ({ device }) => device.id,
      () => before,
    )
    if (now !== before) return true
    await clock.sleep(BACK_POLL_MS, signal)
  }
  return false
}
