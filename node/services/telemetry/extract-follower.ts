/**
 * What a gateway gets of devices whose logs it may not have as a whole: extracts, from each device
 * itself, at the pace at which they are taken. A stream that breaks is opened again, and goes on
 * where the taker is.
 */
import type { Logger } from 'pino'

import { peerIdOf } from '../../../protocols/identity/index.ts'
import { readExtracts, TELEMETRY } from '../../../protocols/telemetry/index.ts'
import { toHex } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import type { Emitter } from '../../events.ts'
import type { ExtractShelf } from './extract-shelf.ts'
import type { TelemetryMesh } from './follower.ts'
import type { LiveReading, TelemetryEvents } from './live.ts'

export interface ExtractTaker {
  /** Whether a part of this device's log is wanted now; asked again when the home changes. */
  wants(device: Uint8Array): boolean
  /** The first number wanted. */
  from(device: Uint8Array): number
  /** Readings of one pack, in order. The next is read when it resolves. */
  take(device: Uint8Array, readings: readonly LiveReading[]): Promise<void>
}

interface Deps {
  readonly mesh: TelemetryMesh
  readonly clock: Clock
  readonly log: Logger
}

interface Shown {
  readonly events: Emitter<TelemetryEvents>
  readonly shelf: ExtractShelf
}

const FIRST_WAIT_MS = 1_000
const LONGEST_WAIT_MS = 60_000

/** Resolves when every stream has ended, after the signal. */
export async function followExtracts(
  deps: Deps,
  shown: Shown,
  taker: ExtractTaker,
  signal: AbortSignal,
): Promise<void> {
  const { mesh } = deps
  const sessions = new Map<string, AbortController>()
  const running = new Set<Promise<void>>()
  const ended = Promise.withResolvers<void>()
  const look = (): void => {
    const peers = new Map(mesh.peers().map(({ key }) => [toHex(key), key]))
    for (const [name, stop] of sessions) {
      const peer = peers.get(name)
      if (peer !== undefined && taker.wants(peer)) continue
      sessions.delete(name)
      stop.abort(new Error('not wanted any more'))
    }
    for (const [name, peer] of peers) {
      if (sessions.has(name) || signal.aborted || !taker.wants(peer)) continue
      const stop = new AbortController()
      sessions.set(name, stop)
      const until = AbortSignal.any([signal, stop.signal])
      const run = follow(deps, shown, { taker, peer }, until).finally(() => running.delete(run))
      running.add(run)
    }
  }
  mesh.events.on('connect', look, signal)
  mesh.events.on('disconnect', look, signal)
  shown.events.on('members', look, signal)
  signal.addEventListener('abort', () => ended.resolve(), { once: true })
  if (signal.aborted) return
  look()
  await ended.promise
  await Promise.all(running)
}

/** One device, until the signal. Never throws. */
async function follow(
  deps: Deps,
  shown: Shown,
  one: { readonly taker: ExtractTaker; readonly peer: Uint8Array },
  signal: AbortSignal,
): Promise<void> {
  const { clock, log } = deps
  let waitMs = FIRST_WAIT_MS
  while (!signal.aborted) {
    const startedMs = clock.monotonic()
    try {
      await followOnce(deps, shown, one, signal)
    } catch (error) {
      if (signal.aborted) return
      log.warn({ peer: peerIdOf(one.peer), err: error }, 'following extracts broke off')
    }
    if (clock.monotonic() - startedMs > LONGEST_WAIT_MS) waitMs = FIRST_WAIT_MS
    await clock.sleep(waitMs, signal).catch(() => undefined)
    waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)
  }
}

async function followOnce(
  { mesh, clock }: Deps,
  { events, shelf }: Shown,
  { taker, peer }: { readonly taker: ExtractTaker; readonly peer: Uint8Array },
  signal: AbortSignal,
): Promise<void> {
  await using stream = await mesh.open(peer, TELEMETRY, signal)
  const abort = (): void => stream.abort(signal.reason as Error)
  signal.addEventListener('abort', abort, { once: true })
  try {
    signal.throwIfAborted()
    const extracts = readExtracts(stream.channel, peer, taker.from(peer), { asGateway: true })
    for await (const extract of extracts) {
      const readings = shelf.take(peer, extract, clock.now())
      for (const reading of readings) events.emit('reading', reading)
      await taker.take(peer, readings)
    }
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
