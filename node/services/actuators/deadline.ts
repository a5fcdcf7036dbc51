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
  const late = new AbortController()
  const both = AbortSignal.any([signal, late.signal])
  const over = Promise.withResolvers<never>()
  both.addEventListener('abort', () => over.reject(asError(both.reason)), { once: true })
  const cancel = clock.timer(ms, () =>
    late.abort(new ActuatorError('ACTUATOR_FAILED', `it took longer than ${ms / 1000} s`)),
  )
  try {
    return await Promise.race([run(both), over.promise])
  } catch (error) {
    signal.throwIfAborted()
    throw asActuatorError(late.signal.aborted ? late.signal.reason : error)
  } finally {
    cancel()
  }
}

/** @throws ActuatorError ACTUATOR_INVALID with what is wrong, where something is */
export function must(wrong: string | undefined): void {
  if (wrong !== undefined) throw new ActuatorError('ACTUATOR_INVALID', wrong)
}
