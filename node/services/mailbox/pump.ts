/** Tells connected peers what the outbox has for them, one stream at a time with each. */
import type { Logger } from 'pino'

import { peerIdOf } from '../../../protocols/identity/index.ts'
import { MAILBOX, tell, type Outbox } from '../../../protocols/mailbox/index.ts'
import { equalBytes, toHex } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import type { Mesh } from '../../mesh/mesh.ts'

export interface PumpDeps {
  readonly mesh: Pick<Mesh, 'open' | 'peers'>
  readonly outbox: Outbox
  readonly clock: Clock
  readonly log: Logger
}

export interface Pump {
  /** There may be something for `peer`. */
  one(peer: Uint8Array): void
  /** There may be something for anyone. */
  all(): void
  /** Resolves when nothing runs any more; after the signal aborted. */
  done(): Promise<void>
}

/** A peer that did not take it is tried again after this, while it is connected. */
const RETRY_MS = 5_000
/** Longest that one note may take. */
const NOTE_MS = 20_000

export function createPump({ clock, log, mesh, outbox }: PumpDeps, signal: AbortSignal): Pump {
  const running = new Map<string, { again: boolean; done: Promise<void> }>()

  /** False where there was nothing to tell. */
  async function once(peer: Uint8Array): Promise<boolean> {
    const notes = outbox.notes(peer)
    for (const note of notes) {
      const late = new AbortController()
      const cancel = clock.timer(NOTE_MS, () => late.abort(new Error('too slow')))
      try {
        const until = AbortSignal.any([signal, late.signal])
        await using stream = await mesh.open(peer, MAILBOX, until)
        outbox.answered(peer, note, await tell(stream.channel, note))
      } finally {
        cancel()
      }
    }
    return notes.length > 0
  }

  function isConnected(peer: Uint8Array): boolean {
    return mesh.peers().some(({ key }) => equalBytes(key, peer))
  }

  async function run(peer: Uint8Array, state: { again: boolean }): Promise<void> {
    while (!signal.aborted && isConnected(peer)) {
      state.again = false
      try {
        if (!(await once(peer)) && !state.again) break
      } catch (error) {
        log.debug({ device: peerIdOf(peer), why: asError(error).message }, 'not told now')
        await clock.sleep(RETRY_MS, signal).catch(() => undefined)
      }
    }
    // In the turn of the last look at `again`.
    running.delete(toHex(peer))
  }

  function one(peer: Uint8Array): void {
    const name = toHex(peer)
    const known = running.get(name)
    if (known !== undefined) {
      known.again = true
      return
    }
    if (signal.aborted) return
    const state = { again: false, done: Promise.resolve() }
    running.set(name, state)
    state.done = run(peer, state)
  }

  return {
    one,
    all: () => mesh.peers().forEach(({ key }) => one(key)),
    async done() {
      await Promise.all([...running.values()].map(({ done }) => done))
    },
  }
}
