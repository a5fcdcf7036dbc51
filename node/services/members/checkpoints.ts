/** Says for its home, now and then, that it is as it is: only on the owner's device whose turn it is. */
import type { Logger } from 'pino'

import { checkpoint, isCheckpointDue, mostSenior } from '../../../protocols/members/index.ts'
import { equalBytes, toHex } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import type { Timekeeper } from '../../timekeeper.ts'
import type { Members } from './members.ts'

export interface CheckpointDeps {
  readonly members: Pick<Members, 'act' | 'active' | 'ops' | 'self' | 'state'>
  readonly mesh: Pick<Mesh, 'peers'>
  readonly time: Pick<Timekeeper, 'quality'>
  readonly clock: Clock
  readonly log: Logger
}

/** By then owners that are on have found each other. */
const FIRST_LOOK_MS = 10 * 60_000
const LOOK_EVERY_MS = 3_600_000

/** Resolves after `signal`. */
export async function keepCheckpoints(deps: CheckpointDeps, signal: AbortSignal): Promise<void> {
  const { clock, log, members } = deps
  for (let waitMs = FIRST_LOOK_MS; ; waitMs = LOOK_EVERY_MS) {
    await clock.sleep(waitMs, signal).catch(() => undefined)
    if (signal.aborted) return
    if (!isOurTurn(deps)) continue
    try {
      members.act(checkpoint)
    } catch (err) {
      log.warn({ err }, 'no checkpoint could be made')
    }
  }
}

function isOurTurn({ clock, members, mesh, time }: CheckpointDeps): boolean {
  const { ops, self, state } = members
  if (self?.role !== 'owner' || time.quality() === 'unset') return false
  if (!isCheckpointDue(ops, state, clock.now())) return false
  const on = new Set([self.key, ...mesh.peers().map(({ key }) => key)].map(toHex))
  const senior = mostSenior(members.active().filter(({ key }) => on.has(toHex(key))))
  return senior !== undefined && equalBytes(senior.key, self.key)
}
