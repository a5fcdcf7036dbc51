/** Looking after this device: checks, the dashboard's link, the version. */
import process from 'node:process'

import { EXIT } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { kithVersion } from '../../version.ts'
import type { Cli } from '../context.ts'
import { dateText } from '../print.ts'

/** Exit code 1 where something is not ok. */
export async function doctor(cli: Cli): Promise<void> {
  const checks = await cli.client.doctor()
  cli.result(checks, () =>
    checks
      .map(({ check, ok, cause, cure }) =>
        [
          `${ok ? 'ok  ' : 'FAIL'}  ${printable(check)}: ${printable(cause)}`,
          ...(ok || cure === '' ? [] : [`      ${printable(cure)}`]),
        ].join('\n'),
      )
      .join('\n'),
  )
  if (checks.some(({ ok }) => !ok)) process.exitCode = EXIT.failed
}

export async function dashboard(cli: Cli): Promise<void> {
  const link = await cli.client.dashboardLink()
  cli.result(link, () => link.url)
  cli.note(`It opens once, on this machine, until ${dateText(link.expiresAt)}.`)
}

export function version(cli: Cli): void {
  const found = { version: kithVersion(), node: process.versions.node }
  cli.result(found, () => `kith ${found.version} (Node ${found.node})`)
}
