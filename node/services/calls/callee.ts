/**
 * The side that is called: judges calls, executes them once, and signs what became of them. A call
 * is on disk before it acts; one that was interrupted by the end of the process gets a receipt that
 * says so, and never acts again. The signature of a change is checked beside the main thread while its
 * row is written; should it be wrong, the row goes and nothing has happened.
 *
 * Not here: the stream, who may call, and what is moved.
 */
import {
  openCall,
  type Call,
  type CallRow,
  type Receipt,
  type ThingModel,
} from '../../../protocols/calls/index.ts'
import { IdentityError, type Verifier } from '../../../protocols/identity/index.ts'
import { equalBytes } from '../../../protocols/wire/index.ts'
import { cancelledBy, inOrder, supersededOf } from './batch.ts'
import type { CallsDeps, WhyRow } from './calls.ts'
import { createJudge, type Decision, type Judge } from './judge.ts'
import { keyed } from './keyed.ts'
import { createLedger, type Ledger } from './ledger.ts'
import { perform, type Outcome } from './perform.ts'
import { receiptFor, whyRow } from './receipts.ts'
import type { Plan } from './plan.ts'
import type { Refusal } from './refusal.ts'

export interface Callee {
  /** The receipt of a call by `peer`. @throws IdentityError, WireError, CallsError: it is no call */
  answer(bytes: Uint8Array, peer: Uint8Array): Promise<Uint8Array>
  deliver(calls: readonly Uint8Array[]): Promise<Uint8Array[]>
  /** What acted, newest first, of what `peer` may use. */
  why(peer: Uint8Array, name: string | undefined, limit: number): CallRow[]
  /** Resolves when everything that was begun has its receipt. */
  done(): Promise<void>
}

interface Arrival {
  readonly call: Call
  /** Whether the signature is right. */
  readonly verified: Promise<boolean>
  /** The caller is at the other end of the connection. */
  readonly direct: boolean
}

/** A cancelling call stops another that comes within this time: the longest that one may live. */
const CANCELS_MS = 30 * 86_400_000

const LATER = { status: 'superseded', detail: 'A later call took its place.' } as const

export function createCallee(
  deps: CallsDeps,
  onExecuted: (row: WhyRow) => void,
  until: AbortSignal,
): Callee {
  return new Engine(deps, onExecuted, until)
}

class Engine implements Callee {
  readonly #deps: CallsDeps
  readonly #until: AbortSignal
  readonly #onExecuted: (row: WhyRow) => void
  readonly #judge: Judge
  readonly #ledger: Ledger
  /** Calls that act now, by id. */
  readonly #acting = new Map<string, Promise<Uint8Array>>()
  /** The newest call of each caller: the next one starts after it. */
  readonly #turns = new Map<string, Promise<void>>()

  constructor(deps: CallsDeps, onExecuted: (row: WhyRow) => void, until: AbortSignal) {
    this.#deps = deps
    this.#onExecuted = onExecuted
    this.#until = until
    this.#ledger = createLedger(deps)
    this.#judge = createJudge(deps, this.#ledger, (id) => this.#acting.get(keyed(id)))
    for (const { no, call } of deps.store.executed.unfinished()) this.#interrupted(no, call)
  }

  answer(bytes: Uint8Array, peer: Uint8Array): Promise<Uint8Array> {
    return this.#handle({ ...this.#open(bytes), direct: true }, peer)
  }

  async deliver(calls: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const { log, home, store, verifier } = this.#deps
    const opened = calls.flatMap((bytes) => {
      try {
        return [openCall(bytes, { home, verifier })]
      } catch (err) {
        log.warn({ err }, 'what was held is no call')
        return []
      }
    })
    const ordered = inOrder(opened)
    const cancelling = ordered.filter(({ verb }) => verb === 'cancel')
    const receipts: Uint8Array[] = []
    for (const call of cancelling) receipts.push(await this.#held(call))
    const rest = ordered.slice(cancelling.length)
    const superseded = supersededOf(
      rest,
      (call) => this.#coalesced(call),
      ({ caller, name, verb }) => store.executed.newestIssueMs(caller, verb, name),
    )
    for (const call of rest) {
      receipts.push(superseded.has(call) ? this.#supersede(call) : await this.#held(call))
    }
    return receipts
  }

  #held(call: Call): Promise<Uint8Array> {
    const arrival = { call, verified: Promise.resolve(true), direct: false }
    return this.#handle(arrival, call.caller)
  }

  why(peer: Uint8Array, name: string | undefined, limit: number): CallRow[] {
    const { rights, signer, store, thing } = this.#deps
    const actions = name === undefined ? [] : changersOf(name, thing.model())
    const names = name === undefined ? undefined : [name, ...actions]
    const allows = equalBytes(peer, signer.key) ? () => true : rights.allows(peer)
    const rows: CallRow[] = []
    for (const row of store.executed.history(names)) {
      const verb = row.verb === 'write' ? 'write' : 'invoke'
      if (name !== undefined && row.name !== name && verb === 'write') continue
      if (!allows(verb, row.name) && !allows('read', row.name)) continue
      if (rows.length >= limit) break
      rows.push({ call: row.call, receipt: row.receipt })
    }
    return rows
  }

  async done(): Promise<void> {
    await Promise.allSettled(this.#acting.values())
    await this.#ledger.close()
  }

  /**
   * The form first. A change waits for the disk, so its signature is checked beside that; a read
   * waits for nothing, and to hand the check to another thread and back takes longer than to do it.
   */
  #open(bytes: Uint8Array): { call: Call; verified: Promise<boolean> } {
    const { home, verifier } = this.#deps
    let check = (_late: boolean): boolean | Promise<boolean> => false
    const verify = (...signed: Parameters<Verifier['verify']>): boolean => {
      check = (late) => (late ? verifier.verifyLater(...signed) : verifier.verify(...signed))
      return true
    }
    const call = openCall(bytes, { home, verifier: { verify } })
    return { call, verified: Promise.resolve(check(call.verb !== 'read')) }
  }

  async #handle(arrival: Arrival, peer: Uint8Array): Promise<Uint8Array> {
    const { call } = arrival
    if (!equalBytes(call.caller, peer)) {
      const detail = 'It was brought by another device than the one that signed it.'
      return this.#refuse(arrival, { status: 'refused', detail })
    }
    const decision = this.#judge.decide(call, arrival.direct)
    if (decision.kind === 'refused') return this.#refuse(arrival, decision.refusal)
    if (decision.kind === 'known') {
      await requireValid(arrival)
      return decision.receipt
    }
    return this.#inTurn(arrival, decision)
  }

  /** Calls of one caller start in the order in which they came, whatever is verified first. */
  async #inTurn(arrival: Arrival, decision: Decision): Promise<Uint8Array> {
    const key = keyed(arrival.call.caller)
    const before = this.#turns.get(key)
    const { promise, resolve: started } = Promise.withResolvers<void>()
    this.#turns.set(key, promise)
    void promise.then(() => {
      if (this.#turns.get(key) === promise) this.#turns.delete(key)
    })
    try {
      if (decision.kind === 'go' && !decision.plan.reads && decision.counted === undefined) {
        return await this.#act(arrival, decision, { before, started })
      }
      if (before === undefined && mayRead(arrival, decision)) {
        const reading = this.#perform(arrival.call, decision.plan)
        started()
        // Nothing is moved, and nothing is told before the signature is known to be right.
        const { bytes } = this.#seal(arrival.call, await reading)
        await requireValid(arrival)
        return bytes
      }
      await requireValid(arrival)
      await before
      // What is counted is judged again when the one before has been counted.
      const now = this.#judge.decide(arrival.call, arrival.direct)
      if (now.kind === 'refused') return this.#sign(arrival.call, now.refusal)
      if (now.kind === 'known') return now.receipt
      if (now.kind === 'cancel') return this.#cancel(arrival.call)
      if (!now.plan.reads) return await this.#act(arrival, now, { before: undefined, started })
      const reading = this.#perform(arrival.call, now.plan)
      started()
      return this.#seal(arrival.call, await reading).bytes
    } finally {
      started()
    }
  }

  /** Put it on disk, then do it. Nothing is awaited before the first of these. */
  async #act(
    arrival: Arrival,
    { counted, plan }: { readonly counted: string | undefined; readonly plan: Plan },
    {
      before,
      started,
    }: { readonly before: Promise<void> | undefined; readonly started: () => void },
  ): Promise<Uint8Array> {
    const { call } = arrival
    const no = this.#ledger.begin(call, counted)
    if (typeof no !== 'number') return this.#refuse(arrival, no)
    const key = keyed(call.id)
    const acting = this.#actBegun(arrival, { no, plan, before, started })
    this.#acting.set(key, acting)
    try {
      return await acting
    } finally {
      this.#acting.delete(key)
    }
  }

  async #actBegun(
    arrival: Arrival,
    one: {
      readonly no: number
      readonly plan: Plan
      readonly before: Promise<void> | undefined
      readonly started: () => void
    },
  ): Promise<Uint8Array> {
    const { call, direct } = arrival
    const { no, plan, before, started } = one
    try {
      await requireValid(arrival)
    } catch (error) {
      this.#deps.store.executed.undo(no)
      throw error
    }
    if (before !== undefined) await before
    const own = direct && equalBytes(call.caller, this.#deps.signer.key)
    if (!own && !this.#deps.rights.isActive(call.caller)) {
      const gone = 'It is not signed by a device of the home any more.'
      return this.#finish(no, call, { status: 'denied', detail: gone })
    }
    const performing = this.#perform(call, plan)
    started()
    return this.#finish(no, call, await performing)
  }

  async #perform({ name }: Call, plan: Plan): Promise<Outcome> {
    const { outcome, over } = perform(plan, this.#deps.clock, this.#until)
    const found = await outcome
    if (found.status === 'timeout') this.#judge.hangs(name, over)
    return found
  }

  #finish(no: number, call: Call, outcome: Outcome): Uint8Array {
    const receipt = this.#seal(call, outcome)
    this.#ledger.finish(no, receipt)
    this.#onExecuted(whyRow(call, receipt))
    return receipt.bytes
  }

  #cancel(call: Call): Uint8Array {
    const { clock, store } = this.#deps
    const id = cancelledBy(call)
    if (this.#acting.has(keyed(id)) || store.executed.hasBegun(id, call.caller)) {
      return this.#sign(call, { status: 'failed', detail: 'It had begun already.' })
    }
    try {
      if (!this.#ledger.mayCancel(call.caller)) {
        return this.#sign(call, { status: 'busy', detail: 'Too many calls are cancelled.' })
      }
      const untilMs = Math.max(clock.now(), call.issuedMs) + CANCELS_MS
      store.executed.cancel(id, call.caller, untilMs)
    } catch (err) {
      this.#deps.log.error({ err }, 'call cannot be cancelled')
      return this.#sign(call, { status: 'busy', detail: 'There is no room here to record it.' })
    }
    return this.#sign(call, { status: 'done' })
  }

  /** Under which name only the last one counts; undefined where each does, or it would not act. */
  #coalesced(call: Call): string | undefined {
    const decision = this.#judge.decide(call, false)
    if (decision.kind !== 'go' || !decision.plan.coalesce) return undefined
    return `${keyed(call.caller)}/${call.verb}/${call.name}`
  }

  #supersede(call: Call): Uint8Array {
    const receipt = this.#seal(call, LATER)
    this.#ledger.keep(call, receipt)
    return receipt.bytes
  }

  async #refuse(arrival: Arrival, refusal: Refusal): Promise<Uint8Array> {
    await requireValid(arrival)
    return this.#sign(arrival.call, refusal)
  }

  /** Nothing was done. The same call gets the same answer for a while. */
  #sign(call: Call, outcome: Outcome): Uint8Array {
    const receipt = this.#seal(call, outcome)
    this.#ledger.tell(receipt)
    return receipt.bytes
  }

  #seal(call: Call, outcome: Outcome): Receipt {
    return receiptFor(this.#deps, call, outcome)
  }

  /** The process ended while it acted. */
  #interrupted(no: number, bytes: Uint8Array): void {
    const { home, log, store, verifier } = this.#deps
    const detail = 'It began before a restart; it may have acted.'
    try {
      const call = openCall(bytes, { home, verifier })
      this.#ledger.finish(no, this.#seal(call, { status: 'failed', detail }))
    } catch (err) {
      // Its signature had not been checked yet, so it had not acted.
      log.warn({ err }, 'interrupted call was none')
      store.executed.undo(no)
    }
  }
}

/** Actions that set this property, by what the device says of them now. */
function changersOf(property: string, { actions }: ThingModel): string[] {
  const all = Object.entries(actions)
  return all.filter(([, one]) => one.changes?.includes(property)).map(([name]) => name)
}

/** The connection shows who asks, and nothing was counted. */
function mayRead(
  { direct }: Arrival,
  decision: Decision,
): decision is Extract<Decision, { kind: 'go' }> {
  return direct && decision.kind === 'go' && decision.plan.reads && decision.counted === undefined
}

/** @throws IdentityError IDENTITY_BAD_SIGNATURE */
async function requireValid({ verified }: Arrival): Promise<void> {
  if (!(await verified)) throw new IdentityError('IDENTITY_BAD_SIGNATURE', 'call')
}
