/**
 * What the callee remembers: calls that act, on disk; and answers to those that did not, in memory,
 * bounded. A receipt that the disk does not take waits here, and is given out all the same.
 */
import type { Call, Receipt } from '../../../protocols/calls/index.ts'
import type { CallToKeep } from '../../storage/calls-executed.ts'
import type { CallsDeps } from './calls.ts'
import { keyed } from './keyed.ts'
import type { Refusal } from './refusal.ts'
import { createStock } from './stock.ts'

export interface Ledger {
  /** The number of its row, on disk when this returns; or why it may not begin. */
  begin(call: Call, counted: string | undefined): number | Refusal
  finish(no: number, receipt: Receipt): void
  /** A call that does not act, which another one is the reason of. */
  keep(call: Call, receipt: Receipt): void
  /** An answer that is given again to the same call, while there is room. */
  tell(receipt: Receipt): void
  told(id: Uint8Array): Uint8Array | undefined
  mayCancel(caller: Uint8Array): boolean
  close(): Promise<void>
}

/** Newest calls of one affordance, and of all, that stay as history. */
export const HISTORY = { perName: 1000, all: 10_000 } as const

const MAX_TOLD = 1000
const MAX_CANCELS = 256
const RETRY_MS = 5000
/** After this, what was written is safe from a power cut too. */
const FLUSH_MS = 1000
const PRUNE_MS = 60_000

const NO_ROOM: Refusal = { status: 'busy', detail: 'There is no room here to record it.' }
const TOO_MANY: Refusal = {
  status: 'busy',
  detail: 'Too many calls of this device wait for their time to be over.',
}

export function createLedger({ clock, log, store }: CallsDeps): Ledger {
  const { executed } = store
  const stock = createStock(executed, clock)
  const told = new Map<string, Uint8Array>()
  const unwritten = new Map<string, { readonly no: number; readonly receipt: Receipt }>()
  const timers = new Map<() => void, () => void>()

  /** Call `then` once after `ms`, unless it is to be called already. */
  function later(ms: number, then: () => void): void {
    if (timers.has(then)) return
    const run = (): void => {
      timers.delete(then)
      then()
    }
    timers.set(then, clock.timer(ms, run))
  }

  function tell({ call, bytes }: Receipt): void {
    told.set(keyed(call), bytes)
    if (told.size <= MAX_TOLD) return
    for (const oldest of told.keys()) {
      told.delete(oldest)
      return
    }
  }

  function write(no: number, receipt: Receipt): boolean {
    try {
      executed.finish(no, receipt.bytes)
      return true
    } catch (err) {
      log.error({ err }, 'receipt cannot be kept yet')
      return false
    }
  }

  function retry(): void {
    for (const [key, { no, receipt }] of unwritten) {
      if (!write(no, receipt)) break
      unwritten.delete(key)
    }
    if (unwritten.size > 0) later(RETRY_MS, retry)
  }

  function flush(): void {
    void store.flush()
  }

  function tidy(): void {
    try {
      executed.prune(clock.now(), HISTORY)
    } catch (err) {
      log.warn({ err }, 'old calls cannot be removed')
    }
  }

  return {
    begin(call, counted) {
      if (!stock.hasRoom(call.caller)) return TOO_MANY
      try {
        const no = executed.begin(kept(call), counted)
        stock.add(call.caller)
        return no
      } catch (err) {
        log.error({ err }, 'call cannot be recorded')
        return NO_ROOM
      }
    },
    finish(no, receipt) {
      if (!write(no, receipt)) {
        unwritten.set(keyed(receipt.call), { no, receipt })
        later(RETRY_MS, retry)
      }
      later(FLUSH_MS, flush)
      later(PRUNE_MS, tidy)
    },
    keep(call, receipt) {
      try {
        executed.keep(kept(call), receipt.bytes)
      } catch (err) {
        log.error({ err }, 'call cannot be recorded')
        tell(receipt)
      }
    },
    tell,
    told: (id) => told.get(keyed(id)) ?? unwritten.get(keyed(id))?.receipt.bytes,
    mayCancel: (caller) => executed.cancels(caller) < MAX_CANCELS,
    async close() {
      retry()
      for (const cancel of timers.values()) cancel()
      timers.clear()
      await store.flush()
    },
  }
}

function kept({ bytes, caller, id, issuedMs, name, nonce, ttlMs, verb }: Call): CallToKeep {
  return { bytes, caller, id, issuedMs, name, nonce, ttlMs, verb }
}
