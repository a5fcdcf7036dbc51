/**
 * What the callee remembers: calls that act, on disk; and answers to those that did not, in memory,
 * bounded. A receipt that the disk does not take waits here, and is given out all the same.
 */
import type { Call, Receipt } from '../../../protocols/calls/index.ts'
import type { Clock } from '../../env.ts'
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
  const answers = createAnswers()
  const chores = createChores(clock)
  const unwritten = new Map<string, { readonly no: number; readonly receipt: Receipt }>()

  function attempt(what: string, work: () => void): boolean {
    try {
      work()
      return true
    } catch (err) {
      log.error({ err }, what)
      return false
    }
  }

  const write = (no: number, receipt: Receipt): boolean =>
    attempt('receipt cannot be kept yet', () => executed.finish(no, receipt.bytes))
  const flush = (): void => void store.flush()
  const tidy = (): unknown =>
    attempt('old calls cannot be removed', () => executed.prune(clock.now(), HISTORY))

  function retry(): void {
    for (const [key, { no, receipt }] of unwritten) {
      if (!write(no, receipt)) break
      unwritten.delete(key)
    }
    if (unwritten.size > 0) chores.later(RETRY_MS, retry)
  }

  return {
    begin(call, counted) {
      if (!stock.hasRoom(call.caller)) return TOO_MANY
      let no: number | undefined
      attempt('call cannot be recorded', () => (no = executed.begin(kept(call), counted)))
      if (no === undefined) return NO_ROOM
      stock.add(call.caller)
      return no
    },
    finish(no, receipt) {
      if (!write(no, receipt)) {
        unwritten.set(keyed(receipt.call), { no, receipt })
        chores.later(RETRY_MS, retry)
      }
      chores.later(FLUSH_MS, flush)
      chores.later(PRUNE_MS, tidy)
    },
    keep(call, receipt) {
      const add = (): void => executed.keep(kept(call), receipt.bytes)
      if (!attempt('call cannot be recorded', add)) answers.tell(receipt)
    },
    tell: (receipt) => answers.tell(receipt),
    told: (id) => answers.told(id) ?? unwritten.get(keyed(id))?.receipt.bytes,
    mayCancel: (caller) => executed.cancels(caller) < MAX_CANCELS,
    async close() {
      retry()
      chores.close()
      await store.flush()
    },
  }
}

function createAnswers(): Pick<Ledger, 'tell' | 'told'> {
  const answers = new Map<string, Uint8Array>()
  return {
    tell({ call, bytes }) {
      answers.set(keyed(call), bytes)
      if (answers.size <= MAX_TOLD) return
      for (const oldest of answers.keys()) {
        answers.delete(oldest)
        return
      }
    },
    told: (id) => answers.get(keyed(id)),
  }
}

/** What is to be done once after a while, however often it is asked for meanwhile. */
function createChores(clock: Clock): {
  later: (ms: number, work: () => unknown) => void
  close: () => void
} {
  const timers = new Map<() => unknown, () => void>()
  return {
    later(ms, work) {
      if (timers.has(work)) return
      const run = (): void => {
        timers.delete(work)
        work()
      }
      timers.set(work, clock.timer(ms, run))
    },
    close() {
      for (const cancel of timers.values()) cancel()
      timers.clear()
    },
  }
}

function kept({ bytes, caller, id, issuedMs, name, nonce, ttlMs, verb }: Call): CallToKeep {
  return { bytes, caller, id, issuedMs, name, nonce, ttlMs, verb }
}
