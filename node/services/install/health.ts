/**
 * Whether a new version is well: all checks of its release hold for a time on end, before a longer
 * time is over. A release without checks is well when it was started.
 */
import { request } from 'node:http'

import type { Health } from '../../../protocols/update/index.ts'
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import { runProgram } from './run.ts'

export interface HealthDeps {
  readonly clock: Clock
  /** Newest value of a sensor of this device, and its age. */
  readonly reading: (
    sensor: string,
  ) => { readonly value: number; readonly ageMs: number } | undefined
}

export type Verdict = { readonly well: true } | { readonly well: false; readonly why: string }

const PAUSE_MS = 1_000
/** One check may take that long. */
const CHECK_MS = 10_000
/** A check that has begun is not cut so short that it says nothing. */
const LEAST_MS = 1_000
/** Both are this machine. Programs may listen on one alone. */
const LOOPBACK = ['::1', '127.0.0.1'] as const

/** @throws only where `signal` aborts: nothing is known then */
export async function judgeHealth(
  health: Health | undefined,
  deps: HealthDeps,
  signal: AbortSignal,
): Promise<Verdict> {
  if (health === undefined) return { well: true }
  const { clock } = deps
  const startMs = clock.monotonic()
  const endMs = startMs + health.withinSeconds * 1000
  let sinceMs: number | undefined
  let why = 'no check was made'
  for (;;) {
    signal.throwIfAborted()
    const beganMs = clock.monotonic()
    const leftMs = Math.max(LEAST_MS, Math.min(CHECK_MS, endMs - beganMs))
    const fault = await faultOf(health, { ...deps, leftMs, startMs }, signal)
    const nowMs = clock.monotonic()
    if (fault === undefined) sinceMs ??= beganMs
    else {
      sinceMs = undefined
      why = fault
    }
    if (sinceMs !== undefined && nowMs - sinceMs >= health.seconds * 1000) return { well: true }
    if (nowMs >= endMs)
      return { well: false, why: sinceMs === undefined ? why : `${why}, until too late` }
    await clock.sleep(Math.min(PAUSE_MS, endMs - nowMs), signal)
  }
}

interface Check extends HealthDeps {
  readonly leftMs: number
  /** When the version was started, on the monotonic clock. */
  readonly startMs: number
}

async function faultOf(
  { command, http, reading }: Health,
  check: Check,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    if (command !== undefined) {
      await runProgram({ argv: command, clock: check.clock, timeoutMs: check.leftMs, signal })
    }
    if (http !== undefined) await requireAnswer(http, check, signal)
    return reading === undefined ? undefined : readingFault(reading, check)
  } catch (error) {
    signal.throwIfAborted()
    return asError(error).message
  }
}

function readingFault(
  { sensor, min, max }: NonNullable<Health['reading']>,
  { reading, clock, startMs }: Check,
): string | undefined {
  const found = reading(sensor)
  // One from before the start tells of the old version.
  if (found === undefined || found.ageMs > clock.monotonic() - startMs) {
    return `${sensor} was not read since the start`
  }
  const low = min !== undefined && found.value < min
  const high = max !== undefined && found.value > max
  // NaN is neither low nor high.
  const well = Number.isFinite(found.value) && !low && !high
  return well ? undefined : `${sensor} is ${found.value}, out of its range`
}

async function requireAnswer(
  http: NonNullable<Health['http']>,
  check: Check,
  signal: AbortSignal,
): Promise<void> {
  const faults: string[] = []
  for (const host of LOOPBACK) {
    const fault = await statusFault({ ...http, host }, check, signal)
    if (fault === undefined) return
    faults.push(fault)
  }
  throw new Error(faults.at(faults[0]?.includes('refused') === true ? 1 : 0))
}

/** Undefined for an answer from 200 to 399. Where it leads on to is not asked. */
function statusFault(
  { host, port, path }: { readonly host: string; readonly port: number; readonly path: string },
  { clock, leftMs }: Check,
  signal: AbortSignal,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const question = request({ host, port, path, agent: false, headers: { host: 'localhost' } })
    const stop = (): void => void question.destroy(new Error('stopped'))
    const cancel = clock.timer(leftMs, () => question.destroy(new Error('no answer in time')))
    const end = (fault: string | undefined): void => {
      cancel()
      signal.removeEventListener('abort', stop)
      question.destroy()
      resolve(fault)
    }
    signal.addEventListener('abort', stop, { once: true })
    question.once('error', ({ code, message }: NodeJS.ErrnoException) =>
      end(`port ${port}: ${code === 'ECONNREFUSED' ? 'connection refused' : message}`),
    )
    question.once('response', ({ statusCode = 0 }) =>
      end(statusCode >= 200 && statusCode < 400 ? undefined : `port ${port} answers ${statusCode}`),
    )
    question.end()
  })
}
