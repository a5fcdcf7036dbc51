/**
 * The program that this code is part of, installed by itself: it ends, a launcher starts the next
 * version, and that one judges itself. To whatever its release asks of it, one thing is added: a
 * version that reaches no other device, where the one before did, could never be replaced again.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Clock } from '../../env.ts'
import { writeFileAtomic } from '../../storage/files.ts'
import { removeSafely } from './disk.ts'
import { InstallError } from './errors.ts'
import type { Site } from './site.ts'
import type { Installer } from './types.ts'

/** How long a new version may take to find others. */
const REACH_MS = 60_000
const LOOK_MS = 250
const FILE = 'reached'

export interface Own {
  /** End, to be started again. */
  readonly again: () => void
  /** Other devices that are reached now. */
  readonly reached: () => number
}

/** `plain` without its restart: the process itself is what is started anew. */
export function ownInstaller(
  plain: (site: Site) => Installer,
  site: Site,
  { again, reached }: Own,
): Installer {
  const { root, clock } = site
  const installer = plain({ ...site, restart: {} })
  const file = join(root, FILE)
  return {
    ...installer,
    async switch(context) {
      await writeFileAtomic(file, Buffer.from(`${reached()}\n`))
      await installer.switch(context)
    },
    reboot: async () => again(),
    async confirm(context) {
      const before = Number(await readFile(file, 'utf8').catch(() => '0'))
      if (before > 0) await requireOthers(clock, reached, context.signal)
      await installer.confirm(context)
      await removeSafely(file)
    },
  }
}

async function requireOthers(
  clock: Clock,
  reached: () => number,
  signal: AbortSignal,
): Promise<void> {
  const endMs = clock.monotonic() + REACH_MS
  while (reached() === 0) {
    if (clock.monotonic() >= endMs) {
      throw new InstallError('INSTALL_PROGRAM', 'it reaches no other device')
    }
    await clock.sleep(LOOK_MS, signal)
  }
}
