/** What is to become of a call that has come. Changes nothing. */
import type { Call } from '../../../protocols/calls/index.ts'
import { equalBytes } from '../../../protocols/wire/index.ts'
import type { CallsDeps } from './calls.ts'
import type { Ledger } from './ledger.ts'
import { planner, type Plan } from './plan.ts'
import { untimely, type Moment, type Refusal } from './refusal.ts'

export type Decision =
  /** It has its receipt, or will have it. */
  | { readonly kind: 'known'; readonly receipt: Promise<Uint8Array> | Uint8Array }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'cancel' }
  | { readonly kind: 'go'; readonly plan: Plan; readonly counted: string | undefined }

export interface Judge {
  /** `direct`: the caller is at the other end of the connection. */
  decide(call: Call, direct: boolean): Decision
  /** Something called by this name did not end in its time; `over` resolves if it does. */
  hangs(name: string, over: Promise<void>): void
}

/** Of one name: more are not begun until some of them have ended. */
const MAX_HANGING = 32

/** `acting` gives the receipt to come of a call that acts now. */
export function createJudge(
  deps: CallsDeps,
  ledger: Pick<Ledger, 'told'>,
  acting: (id: Uint8Array) => Promise<Uint8Array> | undefined,
): Judge {
  const { rights, signer, store } = deps
  const plan = planner(deps.thing)
  const hanging = new Map<string, number>()

  function hangs(name: string, over: Promise<void>): void {
    hanging.set(name, (hanging.get(name) ?? 0) + 1)
    void over.then(() => hanging.set(name, (hanging.get(name) ?? 1) - 1))
  }

  /** A call that came before, or was cancelled before it came. */
  function known({ caller, id, nonce, verb }: Call): Decision | undefined {
    const told = ledger.told(id)
    if (told !== undefined) return { kind: 'known', receipt: told }
    if (verb === 'read') return undefined
    const row = store.executed.find(caller, nonce)
    if (row !== undefined && !equalBytes(row.id, id)) {
      return refused({ status: 'refused', detail: 'Another call had the same nonce.' })
    }
    const receipt = row?.receipt ?? acting(id)
    if (receipt !== undefined) return { kind: 'known', receipt }
    if (verb === 'cancel' || !store.executed.isCancelled(id, caller)) return undefined
    return refused({ status: 'cancelled', detail: 'Its caller cancelled it.' })
  }

  function permitted(call: Call, own: boolean): Decision {
    const { caller, name } = call
    const verdict = own
      ? ({ allow: true } as const)
      : rights.judge(caller, call, (counted) => store.executed.used(caller, counted))
    if (!verdict.allow) return denied(verdict.why)
    const planned = plan(call)
    if ('status' in planned) return refused(planned)
    if ((hanging.get(name) ?? 0) >= MAX_HANGING) {
      return refused({ status: 'busy', detail: 'Earlier calls of this have not ended.' })
    }
    return { kind: 'go', plan: planned, counted: verdict.counted }
  }

  return {
    hangs,
    decide(call, direct) {
      const { caller, to, verb } = call
      const own = equalBytes(caller, signer.key)
      if (!own && !rights.isActive(caller)) {
        return denied('It is not signed by a device of the home.')
      }
      if (!equalBytes(to, signer.key)) {
        return refused({ status: 'refused', detail: 'It is for another device.' })
      }
      // Before its time: what was executed keeps its receipt.
      const before = known(call)
      if (before !== undefined) return before
      const late = untimely(call, momentOf(deps, caller, direct))
      if (late !== undefined) return refused(late)
      return verb === 'cancel' ? { kind: 'cancel' } : permitted(call, own)
    },
  }
}

function momentOf({ clock, store, time }: CallsDeps, caller: Uint8Array, direct: boolean): Moment {
  const horizonMs = store.executed.horizonMs(caller)
  return { nowMs: clock.now(), clock: time.quality(), horizonMs, direct }
}

function refused(refusal: Refusal): Decision {
  return { kind: 'refused', refusal }
}

function denied(detail: string): Decision {
  return refused({ status: 'denied', detail })
}
