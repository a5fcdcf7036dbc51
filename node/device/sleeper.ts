/**
 * A device that sleeps: what one of its windows does, and what it cost. The window opens the network
 * for a moment, sends what was measured, takes the mail that parents kept, and closes. Windows are
 * opened by `cycle` while the device runs, or by hand, once, where the process is the window.
 */
import type { Config } from '../config.ts'
import type { Clock } from '../env.ts'
import type { Logger } from '../log.ts'
import type { DutyMesh, WindowReport } from '../mesh/duty-mesh.ts'
import type { Wake, WakeOutcome, WakeStore } from '../storage/wakes.ts'
import { startDutyCycle, type DutyCycle, type WindowOutcome } from './duty-cycle.ts'
import type { PacketCount } from './packets.ts'

/** The part of the mailbox that a window needs. */
export interface WindowMail {
  wake(
    reason: string | undefined,
    signal: AbortSignal,
  ): Promise<{
    readonly done: boolean
    readonly parent?: Uint8Array
    readonly calls: number
    readonly receipts: number
    readonly logTaken: boolean
  }>
}

export interface SleeperDeps {
  readonly mesh: Pick<DutyMesh, 'window' | 'events'>
  readonly mail: WindowMail
  /** Whose answer is hoped for, the preferred one first, and who else may do; never this device. */
  readonly parents: () => {
    readonly chosen: readonly Uint8Array[]
    readonly others: readonly Uint8Array[]
  }
  readonly log: {
    /** What is measured at the start was measured. */
    readonly first: Promise<void>
    /** What waits goes into the log. */
    flush(): void
    /** Packs of our log, and how many of them `parent` had when it greeted us. */
    heads(parent: Uint8Array | undefined): { readonly own: number; readonly theirs: number }
  }
  readonly wakes: Pick<WakeStore, 'add' | 'last'>
  readonly packets: () => PacketCount
  readonly settings: Pick<Config['power'], 'period' | 'window'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface Sleeper extends AsyncDisposable {
  /** One window now. `beganMs`: monotonic time at which the device woke, where that was before. */
  window(reason: string, beganMs?: number): Promise<Wake>
  /** Open windows from now on, the first at once. */
  cycle(): void
  /** Open a window at once. Nothing where no cycle runs. */
  alarm(reason: string): Promise<WindowOutcome>
}

/** A parent that has not our whole log yet is asked again after this, and after twice as long. */
const LOG_AGAIN_MS = 20

export function createSleeper(deps: SleeperDeps, signal: AbortSignal): Sleeper {
  const { clock, logger, settings } = deps
  let cycle: DutyCycle | undefined
  const window = async (reason: string, beganMs = clock.monotonic()): Promise<Wake> => {
    const wake = await openWindow(deps, reason, beganMs)
    deps.wakes.add(wake)
    logger.info({ reason, outcome: wake.outcome, ms: Math.round(wake.processMs) }, 'window closed')
    return wake
  }
  return {
    window,
    cycle() {
      cycle ??= startDutyCycle(
        {
          clock,
          log: logger,
          periodMs: settings.period,
          window: async (reason) => ((await window(reason)).outcome === 'done' ? 'told' : 'missed'),
        },
        signal,
      )
    },
    alarm: async (reason) => (await cycle?.alarm(reason)) ?? 'missed',
    async [Symbol.asyncDispose]() {
      await cycle?.[Symbol.asyncDispose]()
    },
  }
}

interface Exchanged {
  readonly done: boolean
  readonly parent: Uint8Array | undefined
  readonly calls: number
  readonly receipts: number
  readonly callsMs: number
  readonly logMs: number
}

async function openWindow(deps: SleeperDeps, reason: string, beganMs: number): Promise<Wake> {
  const { clock, logger, mesh, packets, parents, settings, wakes } = deps
  const [atMs, before] = [clock.now(), packets()]
  const last = wakes.last()
  const { chosen, others } = parents()
  const openedMs = clock.monotonic()
  const report = await mesh.window(
    {
      dial: chosen,
      otherwise: others,
      // Whoever was alone last time may have been left by all it knew.
      discover: last === undefined || last.outcome === 'alone',
      limitMs: settings.window,
    },
    (signal) => exchange(deps, reason, signal),
  )
  if (report.error !== undefined) logger.warn({ err: report.error }, 'the window failed')
  const after = packets()
  const { parent, calls, receipts, logMs, callsMs } = report.value ?? NOTHING
  const { own, theirs } = deps.log.heads(parent)
  const { startMs, connectMs = 0, closeMs, traffic } = report
  const start = openedMs - beganMs + startMs
  return {
    atMs,
    reason,
    outcome: outcomeOf(report),
    parent,
    processMs: clock.monotonic() - beganMs,
    ...traffic,
    packetsIn: Math.max(0, after.received - before.received),
    packetsOut: Math.max(0, after.sent - before.sent),
    calls,
    receipts,
    packs: Math.max(0, own - theirs),
    parts: { start, connect: connectMs, log: logMs, calls: callsMs, close: closeMs },
  }
}

const NOTHING: Exchanged = {
  done: false,
  parent: undefined,
  calls: 0,
  receipts: 0,
  callsMs: 0,
  logMs: 0,
}

function outcomeOf({ connectMs, error, value }: WindowReport<Exchanged>): WakeOutcome {
  if (connectMs === undefined) return 'alone'
  if (error !== undefined) return 'failed'
  return value?.done === true ? 'done' : 'cut'
}

/** Until a parent has and gave everything. */
async function exchange(
  { clock, log, mail, settings }: SleeperDeps,
  reason: string,
  signal: AbortSignal,
): Promise<Exchanged> {
  const beganMs = clock.monotonic()
  // A sensor that is slow is told of the next time.
  await Promise.race([log.first, clock.sleep(settings.window / 2, signal).catch(() => undefined)])
  log.flush()
  let found = await mail.wake(reason, signal)
  let [calls, receipts] = [found.calls, found.receipts]
  const callsMs = clock.monotonic() - beganMs
  for (let wait = LOG_AGAIN_MS; found.done && !found.logTaken; wait *= 2) {
    await clock.sleep(wait, signal)
    found = await mail.wake(reason, signal)
    calls += found.calls
    receipts += found.receipts
  }
  const logMs = clock.monotonic() - beganMs - callsMs
  return { done: found.done, parent: found.parent, calls, receipts, callsMs, logMs }
}
