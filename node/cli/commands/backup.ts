/** `kith backup` and `kith restore`: a device's past in a file, and a new device made of it. */
import process from 'node:process'

import { loadConfig } from '../../config.ts'
import { NodeError } from '../../errors.ts'
import { resolvePaths } from '../../paths.ts'
import { printable } from '../../printable.ts'
import type { Cli } from '../context.ts'
import { dateText } from '../print.ts'
import { saveStream } from '../save.ts'

const MIB = 1024 * 1024

/** Of the device that runs here, or else of the one whose folder this is. */
export async function backup(cli: Cli, file: string): Promise<void> {
  const show = progress(cli)
  const save = (pieces: AsyncIterable<Uint8Array>): Promise<number> =>
    saveStream(file, pieces, (bytes) => show.line(`${mib(bytes)} written`))
  try {
    const bytes = await save(cli.client.backup(cli.signal)).catch(async (error: unknown) => {
      if (!(error instanceof NodeError) || error.code !== 'NODE_NOT_RUNNING') throw error
      process.umask(0o077)
      const { backupStopped } = await import('../../backup.ts')
      return save(backupStopped(await loadConfig(cli.configInputs), cli.signal))
    })
    show.end()
    cli.result({ file, bytes }, () =>
      [
        `Wrote ${file} (${mib(bytes)}). The key of this device is not in it, but what it measured is: keep it safe.`,
        `To make a new device of it: kith restore ${file}`,
      ].join('\n'),
    )
  } finally {
    show.end()
  }
}

export async function restore(cli: Cli, file: string): Promise<void> {
  // Whatever this process makes is for this user alone.
  process.umask(0o077)
  const show = progress(cli)
  try {
    const { restoreBackup } = await import('../../backup.ts')
    const onProgress = (bytes: number, of: number): void =>
      show.line(`${Math.floor((100 * bytes) / Math.max(of, 1))} %`)
    const paths = resolvePaths(cli.configInputs)
    const restored = await restoreBackup(file, { paths, onProgress }, cli.signal)
    show.end()
    cli.result({ ...restored, dataDir: paths.dataDir }, () => restoredText(restored))
  } finally {
    show.end()
  }
}

interface RestoredLike {
  readonly homeName: string | null
  readonly from: { readonly device: string; readonly name: string }
  readonly at: number
  readonly packs: number
  readonly settings: string | null
}

function restoredText({ homeName, from, at, packs, settings }: RestoredLike): string {
  const name = printable(from.name === '' ? from.device.slice(-8) : from.name)
  const steps =
    homeName === null
      ? ['It was in no home. To pair it: kith pair']
      : [
          `The home “${printable(homeName)}” does not know its new key: pair it again with "kith pair" here and "kith add" on an owner’s device. Where no owner is left: kith recover`,
          `When the old device is gone for good, on an owner’s device: kith remove ${name}`,
        ]
  return [
    `Restored ${name} as of ${dateText(at)}, with ${packs} packs of readings and a new key.`,
    ...(settings === null ? [] : [`Its settings are in ${settings}.`]),
    'Start it with: kith up',
    ...steps,
  ].join('\n')
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`
}

/** One line that is written over, on a terminal alone. */
function progress(cli: Cli): { line(text: string): void; end(): void } {
  const shown = cli.terminal && !cli.options.json && !cli.options.quiet
  let open = false
  return {
    line(text) {
      if (!shown) return
      open = true
      process.stderr.write(`\r\u001B[K${text} `)
    },
    end() {
      if (open) process.stderr.write('\r\u001B[K')
      open = false
    },
  }
}
