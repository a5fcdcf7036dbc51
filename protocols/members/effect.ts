/**
 * Which ops of a set have an effect, and which grants are live: rules 1 to 3 of SPEC.md "State".
 * A pure function of the set; no clock, no order of arrival, no tie to break.
 *
 * Why the recursion ends: whether an op has an effect depends on the op that gave its authority,
 * which is in its past, and on ops that cut that authority. An owner's authority is cut only from a
 * seat above it (or by the recovery key, whose own nothing cuts), or by its holder's own retirement
 * or succession, which nothing but earlier ones of the same grant and cuts from above can undo.
 * Other roles can only retire, so nothing depends on what they do to each other.
 */
import { toHex } from '../wire/index.ts'
import { mayRevoke, type Grant } from './authority.ts'
import type { Entry } from './form.ts'
import type { OpSet } from './op-set.ts'
import { covers } from './past.ts'
import { weakness } from './roles.ts'

export interface Effects {
  /** Rule 1, by position in the set. */
  isEffective(index: number): boolean
  /** Whether the op that gives it is effective, be it cut later or not. */
  isGiven(grant: Grant): boolean
  /** Given, and no effective op cuts it. */
  isLive(grant: Grant): boolean
  /** Effective ops that cut the grant. */
  cutsOf(grant: Grant): readonly Entry[]
}

/** A device acting on its own membership. Such ops do not undo each other. */
function isSelfAct({ op }: Entry): boolean {
  return op.payload.type === 'retire' || op.payload.type === 'successor'
}

export function effectsOf({ entries }: OpSet): Effects {
  const memo = new Map<number, boolean>()
  const cutsMemo = new Map<Grant, readonly Entry[]>()
  const { bySubject, byAuthority } = indexCuts(entries)

  /** Ops that cut `grant` if they are effective: rule 2, within rule 3. In order of position. */
  function possibleCuts(grant: Grant): readonly Entry[] {
    let found = cutsMemo.get(grant)
    if (found === undefined) {
      const past = entries[grant.index]?.past ?? EMPTY
      const fromOthers = (bySubject.get(grant.holder) ?? []).filter(
        (entry) => !covers(past, entry.index) && cutsFromAbove(entry, grant),
      )
      found = [...fromOthers, ...(byAuthority.get(grant) ?? [])]
      cutsMemo.set(grant, found)
    }
    return found
  }

  function isEffective(index: number): boolean {
    let known = memo.get(index)
    if (known === undefined) {
      known = judgeEffect(index)
      memo.set(index, known)
    }
    return known
  }

  function judgeEffect(index: number): boolean {
    const entry = entries[index]
    if (entry?.acts === undefined) return entry !== undefined
    if (!isGiven(entry.acts)) return false
    return !possibleCuts(entry.acts).some((cut) => undoes(cut, entry))
  }

  function undoes(cut: Entry, entry: Entry): boolean {
    if (isSelfAct(cut) && isSelfAct(entry)) {
      // Of two self-acts that do not know each other neither undoes the other: see `isOpposed`.
      const earlier = cut.index !== entry.index && covers(entry.past, cut.index)
      return earlier && isEffective(cut.index)
    }
    return !keeps(cut, entry.index, entries) && isEffective(cut.index)
  }

  function isGiven(grant: Grant): boolean {
    if (grant.role === 'recovery') return true
    const entry = entries[grant.index]
    return entry !== undefined && isEffective(grant.index) && !isOpposed(entry)
  }

  /** A succession beside another succession or retirement of the same grant: the old key speaks with
   * two tongues, so neither of its heirs inherits. */
  function isOpposed(entry: Entry): boolean {
    if (entry.acts === undefined || entry.op.payload.type !== 'successor') return false
    return (byAuthority.get(entry.acts) ?? []).some(
      (other) => other.index !== entry.index && isEffective(other.index),
    )
  }

  const cutsOf = (grant: Grant): readonly Entry[] =>
    possibleCuts(grant).filter((cut) => isEffective(cut.index))

  return {
    isEffective,
    isGiven,
    isLive: (grant) => isGiven(grant) && cutsOf(grant).length === 0,
    cutsOf,
  }
}

const EMPTY = new Uint32Array()

/** Whether the op `cut` leaves alone the op at `index`, which acts under the grant that it cuts. */
function keeps(cut: Entry, index: number, entries: readonly Entry[]): boolean {
  const { type } = cut.op.payload
  if (type === 'revoke') return cut.cut.some((kept) => covers(entries[kept]?.past ?? EMPTY, index))
  return index !== cut.index ? covers(cut.past, index) : type === 'successor'
}

interface Cuts {
  /** Revocations and grants of a key (hexadecimal), by whoever made them. */
  readonly bySubject: ReadonlyMap<string, readonly Entry[]>
  /** Retirements and successions under a grant. */
  readonly byAuthority: ReadonlyMap<Grant, readonly Entry[]>
}

function indexCuts(entries: readonly Entry[]): Cuts {
  const bySubject = new Map<string, Entry[]>()
  const byAuthority = new Map<Grant, Entry[]>()
  for (const entry of entries) {
    const { payload } = entry.op
    if (payload.type === 'revoke' || payload.type === 'grant') {
      push(bySubject, toHex(payload.body.subject), entry)
    } else if (isSelfAct(entry) && entry.acts !== undefined) push(byAuthority, entry.acts, entry)
  }
  return { bySubject, byAuthority }
}

function push<K>(map: Map<K, Entry[]>, key: K, entry: Entry): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [entry])
  else list.push(entry)
}

/**
 * A revocation that rule 3 allows; or a lesser grant for an owner's key from above it, so that "the
 * least power wins" holds for what the key signs too.
 */
function cutsFromAbove({ op, acts }: Entry, grant: Grant): boolean {
  if (acts === undefined || !mayRevoke(acts, grant)) return false
  const { payload } = op
  if (payload.type === 'revoke') return true
  return payload.type === 'grant' && grant.role === 'owner' && weakness(payload.body.role) > 0
}
