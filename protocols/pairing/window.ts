/**
 * The time in which a candidate can be paired: one code, five tries, ten minutes, and at most three
 * such windows an hour. Every step is synchronous, so no two runs can spend the same try or both
 * succeed; what must outlive the process is on disk before the step returns.
 *
 * No clock that can be set is asked. The ten minutes run on the monotonic clock of this process.
 * The hour runs on the machine's time since it started, which begins again at zero: an opening made
 * in an earlier life of the machine is at least as old as the present one. The age is therefore
 * never taken for more than it is, whatever happens to the wall clock, the process or the power.
 */
import type { Clock, Random } from '../env.ts'
import { newCode, type PairingCode } from './code.ts'
import { PairingError } from './errors.ts'
import { WINDOW } from './limits.ts'
import { QR_SECRET_BYTES } from './qr.ts'

/** One window in the past hour, as kept on disk. */
export interface WindowRecord {
  /** Time since the machine started when it was opened. */
  readonly openedUptimeMs: number
  /** Tries that it spent. */
  readonly tries: number
}

/** Where the counters live, and the clock that they are read against. */
export interface WindowStore {
  /** Oldest first. What was saved in an earlier life of the machine may be given as opened at 0. */
  load(): readonly WindowRecord[]
  /** Replace all records; on disk when it returns. Throws where that is not certain. */
  save(records: readonly WindowRecord[]): void
  /** Whole milliseconds since the machine started. Never faster than time; zero again after a restart. */
  uptimeMs(): number
}

export type WindowState = 'open' | 'used' | 'spent' | 'expired' | 'closed'

export interface PairingWindow {
  readonly code: PairingCode
  /** The secret in the QR code, 16 bytes. */
  readonly qrSecret: Uint8Array
  /** `used` once a member proved the code, `spent` with no try left, `closed` by `close`. */
  readonly state: WindowState
  readonly triesLeft: number
  /** 0 once it is over. */
  readonly remainingMs: number
  /** @throws PairingError PAIRING_CLOSED unless the state is `open` */
  requireOpen(): void
  /** Spend a try; it is on disk when this returns. @throws PairingError PAIRING_CLOSED */
  spend(): void
  /** True for the first caller while the window lasts, and the window is over for all others. */
  claim(): boolean
  close(): void
}

export interface WindowDeps {
  readonly clock: Clock
  readonly random: Random
  readonly store: WindowStore
}

/**
 * Open a window with a fresh code; counted on disk first. The caller closes one before it opens the
 * next.
 *
 * @throws PairingError PAIRING_TOO_OFTEN
 */
export function openWindow({ clock, random, store }: WindowDeps): PairingWindow {
  const earlier = countedWindows(store)
  const now = store.uptimeMs()
  store.save([...earlier, { openedUptimeMs: now, tries: 0 }])

  const code = newCode(random)
  const qrSecret = random.bytes(QR_SECRET_BYTES)
  const closesAtMs = clock.monotonic() + WINDOW.openMs
  let tries = 0
  let over: 'used' | 'closed' | undefined

  const remainingMs = (): number => Math.max(0, closesAtMs - clock.monotonic())
  const state = (): WindowState => {
    if (over !== undefined) return over
    if (remainingMs() === 0) return 'expired'
    return tries >= WINDOW.maxTries ? 'spent' : 'open'
  }
  const requireOpen = (): void => {
    if (state() !== 'open') throw new PairingError('PAIRING_CLOSED', { detail: state() })
  }

  return {
    code,
    qrSecret,
    get state() {
      return state()
    },
    get triesLeft() {
      return WINDOW.maxTries - tries
    },
    get remainingMs() {
      return over === undefined ? remainingMs() : 0
    },
    requireOpen,
    spend() {
      requireOpen()
      // Counted here even where the disk then refuses: a full disk must not make guesses free.
      tries += 1
      store.save([...earlier, { openedUptimeMs: now, tries }])
    },
    claim() {
      // The last try may still succeed, so `spent` is not in the way.
      if (over !== undefined || remainingMs() === 0) return false
      over = 'used'
      return true
    },
    close() {
      over ??= 'closed'
    },
  }
}

/** Windows that still count. @throws PairingError PAIRING_TOO_OFTEN where they are too many */
function countedWindows(store: WindowStore): readonly WindowRecord[] {
  const uptime = store.uptimeMs()
  const stored = store.load()
  // Opened later than now: in an earlier life of the machine, so before this one began.
  const known = stored.map((record) =>
    record.openedUptimeMs > uptime ? { ...record, openedUptimeMs: 0 } : record,
  )
  if (known.some((record, i) => record !== stored[i])) store.save(known)
  const counted = known.filter(({ openedUptimeMs }) => uptime - openedUptimeMs < WINDOW.perMs)
  if (counted.length >= WINDOW.maxWindows) {
    const oldest = Math.min(...counted.map(({ openedUptimeMs }) => openedUptimeMs))
    throw new PairingError('PAIRING_TOO_OFTEN', { retryInMs: oldest + WINDOW.perMs - uptime })
  }
  return counted
}
