/** Runs what was called, for as long as it may take. */
import type { Json, Status } from '../../../protocols/calls/index.ts'
import type { Clock } from '../../env.ts'
import type { Plan } from './plan.ts'

export interface Outcome {
  readonly status: Status
  readonly result?: Json | undefined
  readonly detail?: string | undefined
}

export interface Performance {
  /** Resolves when it has ended, or its time has. */
  readonly outcome: Promise<Outcome>
  /** Resolves when nothing of it runs any more, which may be never. */
  readonly over: Promise<void>
}

const STOPPED: Outcome = {
  status: 'failed',
  detail: 'The device was stopped meanwhile; it may have acted.',
}

/** Words of what was called are never passed on. */
const FAILURES = new Map<unknown, Outcome>([
  ['THING_UNKNOWN', { status: 'unknown', detail: 'The device does not have this any more.' }],
  ['THING_INVALID', { status: 'invalid', detail: 'The device cannot take this value.' }],
  ['THING_BUSY', { status: 'busy', detail: 'The device is busy with what came before.' }],
])
const FAILED: Outcome = { status: 'failed', detail: 'The device tried, and it did not work.' }

export function perform({ run, deadlineMs }: Plan, clock: Clock, until: AbortSignal): Performance {
  const stop = new AbortController()
  const { promise: ended, resolve: end } = Promise.withResolvers<Outcome>()
  const cancel = clock.timer(deadlineMs, () =>
    end({
      status: 'timeout',
      detail: `It did not end within ${deadlineMs / 1000} s; it may still have acted.`,
    }),
  )
  const stopped = (): void => end(STOPPED)
  until.addEventListener('abort', stopped, { once: true })
  const work = begin(run, stop.signal).then(
    (result) => end({ status: 'done', result }),
    (error: unknown) => end(FAILURES.get((error as { code?: unknown })?.code) ?? FAILED),
  )

  async function outcome(): Promise<Outcome> {
    const found = await ended
    cancel()
    until.removeEventListener('abort', stopped)
    if (found.status === 'timeout' || found === STOPPED) stop.abort(new Error(found.status))
    return found
  }

  return { outcome: outcome(), over: work }
}

async function begin(run: Plan['run'], signal: AbortSignal): Promise<Json | undefined> {
  return run(signal)
}
