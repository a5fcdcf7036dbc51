/** Forwarding for as long as the gateway runs. */
import { asError } from '../node/index.ts'
import { forward, type ForwardDeps } from './forward.ts'

const AGAIN_MS = 5000

/** A home may come later; what fails is begun again from what the outbox has. */
export function keepForwarding(
  deps: ForwardDeps & { readonly hasHome: () => boolean },
  signal: AbortSignal,
): AsyncDisposable {
  const stop = new AbortController()
  const until = AbortSignal.any([signal, stop.signal])
  const run = async (): Promise<void> => {
    while (!until.aborted) {
      try {
        if (deps.hasHome()) await forward(deps, until)
      } catch (error) {
        deps.log.error({ why: asError(error).message }, 'readings could not be taken, trying again')
      }
      await deps.clock.sleep(deps.hasHome() ? AGAIN_MS : AGAIN_MS / 5, until).catch(() => undefined)
    }
  }
  const running = run()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('stopping'))
      await running
    },
  }
}
