/** Where the files of the device are that this command speaks to. */
import process from 'node:process'

import { NodeError } from '../errors.ts'
import { resolvePaths, SYSTEM_PATHS } from '../paths.ts'
import { updateFolders, type UpdateFolders } from '../update-folders.ts'
import type { ChannelStateView, UpdatesState } from '../api/view.ts'
import type { Cli } from './context.ts'
import { formatSize } from '../config-values.ts'

export function foldersOf(cli: Cli): UpdateFolders {
  const isSystem = cli.socketPath === SYSTEM_PATHS.socket
  return updateFolders(isSystem ? SYSTEM_PATHS : resolvePaths(cli.configInputs))
}

/** The channel that was named, or the only one that fits. @throws NodeError */
export function channelOf(
  { channels }: UpdatesState,
  name: string | undefined,
  fits: (channel: ChannelStateView) => boolean = () => true,
): ChannelStateView {
  const found = channels.filter((one) => (name === undefined ? fits(one) : one.name === name))
  const [first] = found
  if (found.length === 1 && first !== undefined) return first
  if (name !== undefined) {
    throw new NodeError('NODE_NOT_FOUND', `This home has no channel ${name}.`, {
      hint: 'See the channels with: kith update list',
    })
  }
  if (found.length > 1) {
    const names = found.map((one) => one.name).join(', ')
    throw new NodeError('NODE_USAGE', `There are several channels: ${names}.`, {
      hint: 'Say which with --channel.',
    })
  }
  throw new NodeError('NODE_NOT_FOUND', 'There is no channel that this device signs for.', {
    hint: 'On an owner’s device: kith update init',
  })
}

/** A build's number, or a version that is listed. */
export async function buildOf(cli: Cli, name: string, which: string): Promise<number> {
  const { channels } = await cli.client.updates()
  const known = channels.flatMap(({ releases }) => releases).filter((one) => one.name === name)
  const found =
    known.find(({ version }) => version === which) ??
    known.find(({ build }) => String(build) === which)
  if (found !== undefined) return found.build
  throw new NodeError('NODE_NOT_FOUND', `No channel lists ${name} ${which}.`, {
    hint: 'See what there is with: kith update list',
  })
}

/** A line on a terminal that is written over; `end` leaves it clean. */
export interface ProgressLine {
  show(text: string): void
  end(): void
}

const SHOW_MS = 100

export function progressLine({ terminal, options, clock }: Cli): ProgressLine {
  const isOn = terminal && !options.json && !options.quiet
  let [lastMs, used] = [-Infinity, false]
  return {
    show(text) {
      if (!isOn || clock.monotonic() - lastMs < SHOW_MS) return
      lastMs = clock.monotonic()
      used = true
      process.stderr.write(`\r${text}\u001b[K`)
    },
    end() {
      if (used) process.stderr.write('\r\u001b[K')
    },
  }
}

/** "12 MiB", also of what is not a whole number of them. */
export function sizeText(bytes: number): string {
  for (const [size, unit] of [
    [2 ** 30, 'GiB'],
    [2 ** 20, 'MiB'],
    [2 ** 10, 'KiB'],
  ] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(bytes >= 10 * size ? 0 : 1)} ${unit}`
  }
  return formatSize(bytes)
}
