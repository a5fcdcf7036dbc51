import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import { ActuatorError, asActuatorError } from './actuator.ts'

/** `run`, which is told to end and not waited for any more when `ms` are over or `signal` aborts. */
export async function within<T>(
  { clock, ms }: { readonly clock: Clock; readonly ms: number },
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  const stop = new AbortController()
  const over = Promise.withResolvers<never>()
  const end = (reason: unknown): void => {
    stop.abort(reason)
    over.reject(asError(reason))
  }
  const aborted = (): void => end(signal.reason)
  signal.addEventListener('abort', aborted, { once: true })
  const cancel = clock.timer(ms, () =>
    end(new ActuatorError('ACTUATOR_FAILED', `it took longer than ${ms / 1000} s`)),
  )
  try {
    return await Promise.race([run(stop.signal), over.promise])
  } catch (error) {
    signal.throwIfAborted()
    throw asActuatorError(stop.signal.aborted ? stop.signal.reason : error)
  } finally {
    cancel()
    signal.removeEventListener('abort', aborted)
  }
}

/** @throws ActuatorError ACTUATOR_INVALID with what is wrong, where something is */
export function must(wrong: string | undefined): void {
  if (wrong !== undefined) throw new ActuatorError('ACTUATOR_INVALID', wrong)
}
