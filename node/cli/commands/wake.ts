/** `kith wake`: one window of a device that sleeps, in this process. */
import process from 'node:process'

import { loadConfig } from '../../config.ts'
import { EXIT } from '../../errors.ts'
import type { WakeSummary } from '../../wake.ts'
import type { Cli } from '../context.ts'

interface Options {
  readonly reason?: string
}

export async function wake(cli: Cli, { reason }: Options): Promise<void> {
  // Whatever this process makes is for this user alone.
  process.umask(0o077)
  const level = cli.options.verbose ? 'debug' : 'warn'
  const config = await loadConfig({ ...cli.configInputs, flags: new Map([['log.level', level]]) })
  const { runWake } = await import('../../wake.ts')
  const found = await runWake(config, reason === undefined ? {} : { reason }, cli.signal)
  cli.result(found, () => text(found))
  // Everything is closed; libp2p's last timers would hold the process for another second.
  process.exit(EXIT.ok)
}

function text({ parts, ...rest }: WakeSummary): string {
  const { calls, ms, outcome, packs, parent, receipts, received, sent } = rest
  const more = outcome === 'cut' ? ' There is more; the next window goes on.' : ''
  return [
    `Awake for ${ms} ms, ${rest.connectedMs} ms of it connected to ${parent ?? 'nobody'}.${more}`,
    `Sent ${sent} bytes: ${packs} packs, ${receipts} receipts. Received ${received} bytes: ${calls} calls.`,
    `Start ${parts.start} ms, connect ${parts.connect} ms, calls ${parts.calls} ms, log ${parts.log} ms, close ${parts.close} ms.`,
  ].join('\n')
}
