/**
 * Guests, from both sides: what this device gives to a guest, and what it gets where it is one.
 * protocols/telemetry "Extracts" says what that is.
 */
import { setImmediate } from 'node:timers/promises'

import {
  Follow,
  readExtracts,
  serveExtracts,
  serveLogs,
  type ExtractGrant,
} from '../../../protocols/telemetry/index.ts'
import type { Channel } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import type { Emitter } from '../../events.ts'
import type { PackStore } from '../../storage/packs.ts'
import type { ExtractShelf } from './extract-shelf.ts'
import type { FollowerDeps, TelemetryMesh } from './follower.ts'
import type { TelemetryEvents } from './live.ts'

export interface Guests {
  /** Gets extracts, and nothing else. */
  has(device: Uint8Array): boolean
  /** Gets logs where it may have the whole of one, and extracts where it asks for them. */
  isGateway(device: Uint8Array): boolean
  /** What `device` may read of this one now; undefined for nothing at all. */
  grant(device: Uint8Array): ExtractGrant | undefined
}

interface GuestDeps {
  readonly mesh: Pick<TelemetryMesh, 'key'>
  readonly store: PackStore
  readonly guests?: Guests | undefined
  readonly mayRead: (peer: Uint8Array, device: Uint8Array) => boolean
  readonly clock: Clock
}

/** Logs for those who may read them, extracts for guests. */
export async function serve(
  { guests, mayRead, mesh, store }: GuestDeps,
  channel: Channel,
  peer: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted()
  const asked = guests?.isGateway(peer) === true
  const first = asked ? await channel.next(Follow) : undefined
  if (asked && first === undefined) return
  if (guests?.has(peer) === true || first?.extracts === true) {
    const grant = (): ExtractGrant | undefined => guests?.grant(peer)
    const own = { key: mesh.key, source: store, grant, pause: () => setImmediate(), first }
    await serveExtracts(channel, own, signal)
    return
  }
  const logs = { source: store, proofs: store, mayRead: mayRead.bind(undefined, peer), first }
  await serveLogs(channel, logs, signal)
}

/** Tells whether the answer is another one than when it was last asked. */
export function changesOf(ask: () => boolean): () => boolean {
  let last = ask()
  return () => {
    const before = last
    last = ask()
    return last !== before
  }
}

export function isGuest({ guests, mesh }: GuestDeps): boolean {
  return guests?.has(mesh.key) === true
}

/** What this device gets where it is a guest. */
export function extractsOf(
  deps: GuestDeps,
  events: Emitter<TelemetryEvents>,
  shelf: ExtractShelf,
): FollowerDeps['extracts'] {
  const { clock, store } = deps
  return {
    wanted: () => isGuest(deps),
    async read(channel, peer) {
      const from = Math.max(shelf.head(peer), store.head(peer)) + 1
      for await (const extract of readExtracts(channel, peer, from)) {
        for (const reading of shelf.take(peer, extract, clock.now())) {
          events.emit('reading', reading)
        }
      }
    },
  }
}
