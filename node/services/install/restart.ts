/** Programs are started anew after their version has changed. */
import { restartOf, runProgram } from './run.ts'
import type { Site } from './site.ts'
import type { InstallContext } from './types.ts'

const RESTART_MS = 120_000

/** @throws InstallError */
export async function restart(
  { clock, restart: here }: Site,
  context: InstallContext,
): Promise<void> {
  const { release, signal } = context
  const argv = restartOf(release.args, here)
  if (argv !== undefined) await runProgram({ argv, clock, timeoutMs: RESTART_MS, signal })
}
