/** What a device sees of another's properties and events, while it may. */
import { CallsError, type Json, type Observed } from '../../../protocols/calls/index.ts'
import { equalBytes } from '../../../protocols/wire/index.ts'
import type { CallsDeps } from './calls.ts'

type Deps = Pick<CallsDeps, 'clock' | 'rights' | 'signer' | 'thing'>

/** Events that wait for a slow reader; of a property only the newest value waits. */
const MAX_WAITING = 64

/**
 * Values of a property, the current one first, or events, until `signal` aborts.
 *
 * @throws CallsError CALLS_UNKNOWN, CALLS_FORBIDDEN, also later when a right has ended
 */
export async function* observed(
  deps: Deps,
  peer: Uint8Array,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Observed, void, undefined> {
  const { clock, thing } = deps
  const kind = requireAllowed(deps, peer, name)
  const waiting: Observed[] = []
  let wake = (): void => undefined
  const take = (value: Json): void => {
    if (kind === 'property' || waiting.length >= MAX_WAITING) waiting.shift()
    waiting.push({ value, atMs: Math.max(0, clock.now()) })
    wake()
  }
  const stop = thing.onChange((changed, value, of) => {
    if (changed === name && of === kind) take(value)
  })
  const aborted = (): void => wake()
  signal.addEventListener('abort', aborted, { once: true })
  try {
    if (kind === 'property') {
      const current = await thing.read(name, signal).catch(() => undefined)
      if (current !== undefined && waiting.length === 0) take(current)
    }
    while (!signal.aborted) {
      const next = waiting.shift()
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        continue
      }
      requireAllowed(deps, peer, name)
      yield next
    }
  } finally {
    stop()
    signal.removeEventListener('abort', aborted)
  }
}

function requireAllowed(
  { rights, signer, thing }: Deps,
  peer: Uint8Array,
  name: string,
): 'property' | 'event' {
  const { events, properties } = thing.model()
  const isProperty = Object.hasOwn(properties, name) && properties[name]?.observable === true
  const isEvent = !isProperty && Object.hasOwn(events, name)
  const own = equalBytes(peer, signer.key)
  const verb = isProperty ? 'read' : 'observe'
  const allowed =
    own || (rights.isActive(peer) && rights.judge(peer, { verb, name }, () => 0).allow)
  if (!allowed) throw new CallsError('CALLS_FORBIDDEN')
  if (!isProperty && !isEvent) throw new CallsError('CALLS_UNKNOWN')
  return isProperty ? 'property' : 'event'
}
