/** `kith up`: the device itself, until it is told to stop. */
import process from 'node:process'

import { loadConfig } from '../../config.ts'
import { NodeError } from '../../errors.ts'
import type { Cli } from '../context.ts'
import { parentGone } from '../parent.ts'

/** Ctrl-C and SIGTERM are the ordinary end: exit code 0. With 75 it asks its launcher for another version. */
export async function up(cli: Cli, { set }: { readonly set: readonly string[] }): Promise<void> {
  // Whatever this process makes is for this user alone.
  process.umask(0o077)
  const config = await loadConfig({ ...cli.configInputs, flags: settingFlags(cli, set) })
  const { runDevice } = await import('../../main.ts')
  const code = await runDevice(config, AbortSignal.any([cli.signal, parentGone()]))
  // Everything is closed; libp2p's last timers would hold the process for another second.
  process.exit(code)
}

/** Settings from `--set` and the general flags. @throws NodeError NODE_USAGE */
export function settingFlags(
  { options }: Cli,
  set: readonly string[],
): ReadonlyMap<string, string> {
  const flags = new Map<string, string>()
  if (options.verbose) flags.set('log.level', 'debug')
  if (options.quiet) flags.set('log.level', 'warn')
  if (options.json) flags.set('log.format', 'json')
  for (const pair of set) {
    const at = pair.indexOf('=')
    if (at < 1) {
      throw new NodeError('NODE_USAGE', `--set ${pair} sets nothing.`, {
        hint: 'Write it like --set mesh.port=4647',
      })
    }
    flags.set(pair.slice(0, at).trim(), pair.slice(at + 1).trim())
  }
  return flags
}
