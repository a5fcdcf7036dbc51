/**
 * The membership ops that a device knows: a hash DAG that only grows. It keeps what is well formed,
 * signed and in its parents' order, within bounds; it does not decide what an op is worth, which is
 * `reduce`. Nothing here is on disk: the caller stores what `add` returns.
 */
import { sha256, type Verifier } from '../identity/index.ts'
import { compareBytes, equalBytes, toHex } from '../wire/index.ts'
import type { Grant } from './authority.ts'
import { judge, rootGrants, type Entry } from './form.ts'
import { openOp, parentsOf, type Op } from './op.ts'
import { addPast, covers, pastOf } from './past.ts'
import { CAPS, MembersError } from './protocol.ts'

export type AddResult =
  /** Kept, with those that had waited for it: all new ops, parents first. */
  | { readonly status: 'added'; readonly ops: readonly Op[] }
  | { readonly status: 'known' }
  /** Some parents are not known yet. Held for a while, in memory alone. */
  | { readonly status: 'waiting' }

export interface OpSet {
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  /** Ops kept, parents first; `entries[0]` is genesis. */
  readonly entries: readonly Entry[]
  /** The recovery key's authority; undefined before genesis is there. */
  readonly recovery: Grant | undefined
  /** Ops that wait for parents, or to be needed: see CAPS.maxRetirements. */
  readonly waiting: number
  /**
   * Take one op as received.
   *
   * @throws MembersError MEMBERS_BAD_OP, MEMBERS_BAD_SIGNATURE, MEMBERS_WRONG_HOME,
   * MEMBERS_NOT_PERMITTED, MEMBERS_UNKNOWN_DEVICE, MEMBERS_TOO_DEEP, MEMBERS_FULL: it is not kept
   */
  add(bytes: Uint8Array): AddResult
  get(id: Uint8Array): Entry | undefined
  /** Ids of ops that no other op has as a parent, sorted. */
  heads(): readonly Uint8Array[]
  /** Whether `ancestor` is `id` or in its causal past. False where either is unknown. */
  isAncestor(ancestor: Uint8Array, id: Uint8Array): boolean
  /** Every grant that names the key (hexadecimal), effective or not. */
  grantsTo(holder: string): readonly Grant[]
  /** Ops that are none of `ids` nor in their past, parents first. Unknown ids cover nothing. */
  missingFor(ids: readonly Uint8Array[]): readonly Op[]
  /** Heads, then samples further and further back, at most CAPS.maxHave: tells a peer what is here. */
  have(): readonly Uint8Array[]
  /** An independent copy. */
  fork(): OpSet
}

/** An empty set for the home whose genesis op has the id `home`. */
export function createOpSet(home: Uint8Array, verifier: Verifier): OpSet {
  return new MemoryOpSet(home, verifier)
}

class MemoryOpSet implements OpSet {
  readonly home: Uint8Array
  readonly entries: Entry[] = []
  recovery: Grant | undefined
  readonly #verifier: Verifier
  readonly #byId = new Map<string, number>()
  /** SHA-256 of whole envelopes: spares the signature check of what comes again. */
  readonly #envelopes = new Set<string>()
  readonly #heads = new Set<number>()
  readonly #grants = new Map<string, Grant[]>()
  readonly #bySigner = new Map<string, number>()
  /** Retirements by the grant (hexadecimal) that they end. */
  readonly #retired = new Map<string, number>()
  readonly #waiting = new Map<string, Op>()

  constructor(home: Uint8Array, verifier: Verifier) {
    this.home = home
    this.#verifier = verifier
  }

  get waiting(): number {
    return this.#waiting.size
  }

  add(bytes: Uint8Array): AddResult {
    if (this.#envelopes.has(toHex(sha256(bytes)))) return { status: 'known' }
    const op = openOp(bytes, this.home, this.#verifier)
    if (this.#byId.has(op.hex)) return { status: 'known' }
    if (this.#isReady(op) && !this.#isSurplus(op)) {
      this.#keep(op)
      return { status: 'added', ops: [op, ...this.#release()] }
    }
    this.#wait(op)
    const released = this.#release()
    if (released.length > 0) return { status: 'added', ops: released }
    if (this.#isSurplus(op)) throw new MembersError('MEMBERS_FULL', 'retired already')
    return { status: 'waiting' }
  }

  get(id: Uint8Array): Entry | undefined {
    const index = this.indexOf(id)
    return index === undefined ? undefined : this.entries[index]
  }

  heads(): readonly Uint8Array[] {
    const ids = [...this.#heads].flatMap((index) => this.entries[index]?.op.id ?? [])
    return ids.toSorted(compareBytes)
  }

  isAncestor(ancestor: Uint8Array, id: Uint8Array): boolean {
    const index = this.indexOf(ancestor)
    const past = this.get(id)?.past
    return index !== undefined && past !== undefined && covers(past, index)
  }

  grantsTo(holder: string): readonly Grant[] {
    return this.#grants.get(holder) ?? []
  }

  missingFor(ids: readonly Uint8Array[]): readonly Op[] {
    const covered = new Uint32Array((this.entries.length >>> 5) + 1)
    for (const id of ids) {
      const past = this.get(id)?.past
      if (past !== undefined) addPast(covered, past)
    }
    return this.entries.filter(({ index }) => !covers(covered, index)).map(({ op }) => op)
  }

  have(): readonly Uint8Array[] {
    const chosen = new Set([...this.#heads].toSorted((a, b) => b - a).slice(0, CAPS.maxHave / 2))
    const newest = this.entries.length - 1
    for (let back = 1; back <= newest && chosen.size < CAPS.maxHave; back = nextStep(back)) {
      chosen.add(newest - back)
    }
    if (newest >= 0 && chosen.size < CAPS.maxHave) chosen.add(0)
    return [...chosen].flatMap((index) => this.entries[index]?.op.id ?? [])
  }

  fork(): OpSet {
    const copy = new MemoryOpSet(this.home, this.#verifier)
    for (const entry of this.entries) copy.#place(entry)
    for (const [hex, op] of this.#waiting) copy.#waiting.set(hex, op)
    copy.recovery = this.recovery
    return copy
  }

  indexOf(id: Uint8Array): number | undefined {
    return this.#byId.get(toHex(id))
  }

  #isReady(op: Op): boolean {
    return parentsOf(op).every((parent) => this.indexOf(parent) !== undefined)
  }

  #wait(op: Op): void {
    this.#waiting.set(op.hex, op)
    if (this.#waiting.size <= CAPS.maxWaiting) return
    for (const oldest of this.#waiting.keys()) {
      this.#waiting.delete(oldest)
      break
    }
  }

  /**
   * All that a device without an owner's grant can sign is that it leaves, so there is no use for more
   * than a few of these. They wait, and are kept only where an owner elsewhere has built on them.
   */
  #isSurplus({ payload }: Op): boolean {
    if (payload.type !== 'retire' || this.get(payload.auth)?.gives?.role === 'owner') return false
    return (this.#retired.get(toHex(payload.auth)) ?? 0) >= CAPS.maxRetirements
  }

  /** What waiting ops of owners and of the recovery key stand on, in hexadecimal. */
  #calledFor(): ReadonlySet<string> {
    const called = new Set<string>()
    const call = (op: Op): void => parentsOf(op).forEach((parent) => called.add(toHex(parent)))
    const waiting = [...this.#waiting.values()]
    for (const op of waiting) if (this.#hasHeldPower(op.signer)) call(op)
    for (let before = 0; before < called.size;) {
      before = called.size
      for (const op of waiting) if (called.has(op.hex)) call(op)
    }
    return called
  }

  #hasHeldPower(key: Uint8Array): boolean {
    if (this.recovery !== undefined && equalBytes(key, this.recovery.subject)) return true
    return this.grantsTo(toHex(key)).some(({ role }) => role === 'owner')
  }

  /** Keep whatever has all its parents by now; what turns out to be wrong is dropped. */
  #release(): Op[] {
    const released: Op[] = []
    for (let again = true; again;) {
      again = false
      const called = this.#calledFor()
      for (const [hex, op] of this.#waiting) {
        if (!this.#isReady(op) || (this.#isSurplus(op) && !called.has(hex))) continue
        this.#waiting.delete(hex)
        again = true
        try {
          this.#keep(op)
          released.push(op)
        } catch (error) {
          if (!(error instanceof MembersError)) throw error
        }
      }
    }
    return released
  }

  /** @throws MembersError */
  #keep(op: Op): void {
    const index = this.entries.length
    const { payload } = op
    if (payload.type === 'genesis') {
      const { owner, recovery } = rootGrants(op, payload)
      this.recovery = recovery
      this.#place({ op, index, past: pastOf(index, []), acts: undefined, gives: owner, cut: [] })
      return
    }
    const { recovery, entries } = this
    if (recovery === undefined) throw new MembersError('MEMBERS_BAD_OP', 'no genesis')
    this.#requireRoom(op, recovery)
    const parents = payload.prev.flatMap((id) => this.get(id)?.past ?? [])
    const past = pastOf(index, parents)
    const known = {
      entries,
      recovery,
      verifier: this.#verifier,
      indexOf: (id: Uint8Array) => this.indexOf(id),
      grantsTo: (holder: string) => this.grantsTo(holder),
    }
    this.#place(judge({ op, payload, index, past }, known))
  }

  /** The recovery key always finds room; no other key can take all of it. */
  #requireRoom(op: Op, recovery: Grant): void {
    const own = this.#bySigner.get(toHex(op.signer)) ?? 0
    if (equalBytes(op.signer, recovery.subject)) {
      if (own >= CAPS.maxRecoveryOps) throw new MembersError('MEMBERS_FULL')
      return
    }
    const others = this.entries.length - (this.#bySigner.get(recovery.holder) ?? 0)
    if (own >= CAPS.maxOpsPerKey || others >= CAPS.maxOps) throw new MembersError('MEMBERS_FULL')
  }

  #place(entry: Entry): void {
    const { op, index, gives } = entry
    this.entries.push(entry)
    this.#byId.set(op.hex, index)
    this.#envelopes.add(toHex(sha256(op.bytes)))
    for (const parent of parentsOf(op)) this.#heads.delete(this.indexOf(parent) ?? -1)
    this.#heads.add(index)
    if (op.payload.type === 'retire') {
      const ended = toHex(op.payload.auth)
      this.#retired.set(ended, (this.#retired.get(ended) ?? 0) + 1)
    }
    const signer = toHex(op.signer)
    this.#bySigner.set(signer, (this.#bySigner.get(signer) ?? 0) + 1)
    if (gives !== undefined) this.#grants.set(gives.holder, [...this.grantsTo(gives.holder), gives])
  }
}

/** Every op among the newest 32, then each time half as far again. */
function nextStep(back: number): number {
  return back < 32 ? back + 1 : Math.ceil(back * 1.5)
}
