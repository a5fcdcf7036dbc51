import type { Clock } from '../../node/env.ts'
import { createTimekeeper, type Timekeeper } from '../../node/timekeeper.ts'
import { sha256 } from '../../protocols/identity/index.ts'
import { utf8 } from '../../protocols/wire/index.ts'

export interface TimeOptions {
  /** Another boot of the machine. */
  readonly boot?: string
  readonly synced?: () => boolean
  readonly newestSignedMs?: () => number
  readonly uptimeMs?: () => number
}

/** A machine that started a minute before its clock began to count. */
export function timeOf(clock: Clock, options: TimeOptions = {}): Timekeeper {
  const { boot = 'test', synced = () => true, newestSignedMs = () => 0 } = options
  const uptimeMs = options.uptimeMs ?? (() => clock.monotonic() + 60_000)
  return createTimekeeper({
    clock,
    boot: { id: boot, uptimeMs },
    fallback: new Uint8Array(16),
    key: sha256(utf8('machine')),
    synced,
    newestSignedMs,
  })
}
