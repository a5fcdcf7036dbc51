/**
 * Whether a time source has set this machine's clock, whichever program does that here. A file of
 * systemd-timesyncd answers at once; for all others a program is asked that can tell, seldom and for
 * a bounded time: the kernel knows, but does not tell Node.js. Nothing here sets a clock.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'

import type { Clock } from './env.ts'

export interface ClockSource {
  /** As of the last look. */
  synced(): boolean
  /** Look now, or wait for the look that is under way. Never throws. */
  look(): Promise<void>
}

/** A program that knows, and what its output means. */
export interface TimeProgram {
  /** The whole path: nothing is looked for. */
  readonly path: string
  readonly args: readonly string[]
  /** Undefined where this output says nothing about it. */
  readonly means: (output: string) => boolean | undefined
}

export interface ClockSourceDeps {
  readonly clock: Clock
  /** There once systemd-timesyncd has set the clock in this life of the machine. */
  readonly file?: string
  /** The first that answers counts. */
  readonly programs?: readonly TimeProgram[]
}

const TIMESYNCD_FILE = '/run/systemd/timesync/synchronized'
const FILE_COUNTS_MS = 1000
/** While the clock waits to be set, and once it has been. */
const ASK_SOON_MS = 60_000
const ASK_AGAIN_MS = 15 * 60_000
const ANSWER_LIMIT_MS = 3000
const MAX_OUTPUT_BYTES = 4096

const YES_OR_NO: ReadonlyMap<string, boolean> = new Map([
  ['yes', true],
  ['no', false],
])
/** Reference id of a clock that only follows itself. */
const OWN_CLOCK = '7F7F0101'

export const TIME_PROGRAMS: readonly TimeProgram[] = [
  {
    // What the kernel was told, by chrony, ntpsec, or any other.
    path: '/usr/bin/timedatectl',
    args: ['show', '--property=NTPSynchronized', '--value'],
    means: (output) => YES_OR_NO.get(output.trim()),
  },
  {
    // Without names: they would be asked of the network.
    path: '/usr/bin/chronyc',
    args: ['-n', '-c', 'tracking'],
    means(output) {
      const fields = output.trim().split(',')
      if (fields.length < 14) return undefined
      return fields[0] !== OWN_CLOCK && fields.at(-1) !== 'Not synchronised'
    },
  },
  {
    path: '/usr/bin/ntpq',
    args: ['-n', '-c', 'rv 0 leap,refid'],
    means(output) {
      const leap = /\bleap=([01]{2})\b/.exec(output)?.[1]
      if (leap === undefined) return undefined
      return leap !== '11' && !/\brefid=(LOCL|LCL|127\.127\.1\.)/.test(output)
    },
  },
]

/** Looks at once and, where a program is needed for it, now and then until `signal` aborts. */
export function watchClockSource(deps: ClockSourceDeps, signal: AbortSignal): ClockSource {
  const { clock, file = TIMESYNCD_FILE, programs = TIME_PROGRAMS } = deps
  let said = false
  let looking: Promise<void> | undefined
  let [there, checkedMs] = [false, -Infinity]

  function fileSays(): boolean {
    const nowMs = clock.monotonic()
    if (nowMs - checkedMs >= FILE_COUNTS_MS) [there, checkedMs] = [existsSync(file), nowMs]
    return there
  }

  async function ask(): Promise<void> {
    for (const program of programs) {
      // To start one that is not there takes as long as to start one that is.
      if (!existsSync(program.path)) continue
      const answer = await answerOf(program, signal)
      if (signal.aborted) return
      if (answer === undefined) continue
      said = answer
      return
    }
    said = false
  }

  async function look(): Promise<void> {
    if (fileSays()) return
    looking ??= ask().finally(() => {
      looking = undefined
    })
    await looking
  }

  async function watch(): Promise<void> {
    while (!signal.aborted && programs.some(({ path }) => existsSync(path))) {
      await look()
      await clock.sleep(said || there ? ASK_AGAIN_MS : ASK_SOON_MS, signal).catch(() => undefined)
    }
  }

  void watch()
  return { synced: () => fileSays() || said, look }
}

/** Undefined where the program is missing, fails, is too slow, or says something else. */
function answerOf(
  { args, means, path }: TimeProgram,
  signal: AbortSignal,
): Promise<boolean | undefined> {
  const limits = { timeout: ANSWER_LIMIT_MS, maxBuffer: MAX_OUTPUT_BYTES }
  return new Promise((resolve) => {
    // English, whatever the machine speaks.
    const options = { ...limits, killSignal: 'SIGKILL', env: { LC_ALL: 'C' }, signal } as const
    execFile(path, args, options, (error, output) => {
      resolve(error === null ? means(output) : undefined)
    })
  })
}
