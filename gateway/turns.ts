/**
 * Two gateways of one home: to each sink one of them sends at a time. Sinks are the same where their
 * names are, so that each gateway can have sinks of its own, and one that is lost is lost for its own
 * alone. Who sends tells the others how far it is through; what they keep of that goes.
 */
import type { Clock, GatewayCursor, GatewayLeases } from '../node/index.ts'
import type { SinkSettings } from './config-sinks.ts'
import type { Outbox } from './outbox/outbox.ts'
import type { Turns } from './sinks-up.ts'

export interface TurnsDeps {
  readonly leases: GatewayLeases
  readonly outbox: Pick<Outbox, 'through' | 'throughElsewhere'>
  readonly clock: Pick<Clock, 'monotonic'>
  /** Somebody else may be the one. */
  readonly onChange: () => void
}

/** A long queue is read through so seldom that it takes this part of the time at most. */
const SHARE = 0.02

export function createTurns(
  { leases, outbox, clock, onChange }: TurnsDeps,
  signal: AbortSignal,
): Turns {
  const through = paced(clock, (sink: string) => outbox.through(sink))
  const pending = new Map<string, Map<string, number>>()
  const forget = paced(clock, (sink: string) => {
    const cursor = pending.get(sink)
    pending.delete(sink)
    if (cursor !== undefined) outbox.throughElsewhere(sink, cursor)
  })
  leases.progress((sink) => through(sink) ?? new Map())
  leases.events.on('change', onChange, signal)
  leases.events.on(
    'done',
    ({ name, cursor }) => {
      pending.set(name, joined(pending.get(name), cursor))
      forget(name)
    },
    signal,
  )
  return {
    want: (sinks) => leases.want(sinks.filter(isShared).map(({ name }) => name)),
    has: (sink) => !isShared(sink) || leases.holds(sink.name),
  }
}

/** Who is asked, instead of sending, answers for itself. */
export function isShared({ type }: Pick<SinkSettings, 'type'>): boolean {
  return type !== 'prometheus'
}

function joined(
  before: ReadonlyMap<string, number> | undefined,
  cursor: GatewayCursor,
): Map<string, number> {
  return new Map([...(before ?? []), ...cursor])
}

/** The last answer, where it took long and not enough time has gone by. */
function paced<T>(clock: Pick<Clock, 'monotonic'>, work: (sink: string) => T) {
  const last = new Map<string, { readonly value: T; readonly againMs: number }>()
  return (sink: string): T | undefined => {
    const startMs = clock.monotonic()
    const before = last.get(sink)
    if (before !== undefined && startMs < before.againMs) return before.value
    const value = work(sink)
    const endMs = clock.monotonic()
    last.set(sink, { value, againMs: endMs + (endMs - startMs) / SHARE })
    return value
  }
}
