/**
 * Names and policy: what the last word about something is, where several owners spoke at once. The
 * last word is one that no other one knows of; among several the most senior author's; then the
 * lowest op id. A name gives no power, so that last tie is worth nothing to grind for.
 */
import { compareBytes, toHex } from '../wire/index.ts'
import { depthOf, type Grant } from './authority.ts'
import type { Entry } from './form.ts'
import type { OpSet } from './op-set.ts'
import type { Op } from './op.ts'
import { addPast, covers } from './past.ts'

export interface Names {
  readonly home: string
  readonly policy: Uint8Array
  /** The name of the device that holds `grant`. */
  of(grant: Grant): string
  indexOf(op: Op): number
}

/** What about: a key in hexadecimal, or one of the home's own. */
const HOME = 'home'
const POLICY = 'policy'

export function namesOf(effective: readonly Entry[], set: OpSet): Names {
  const { entries } = set
  const words = new Map<string, Entry[]>()
  for (const entry of effective) {
    const about = aboutOf(entry)
    if (about === undefined) continue
    const list = words.get(about)
    if (list === undefined) words.set(about, [entry])
    else list.push(entry)
  }
  const [genesis] = entries
  const lastWord = (about: string, first: Entry): Entry =>
    lastOf([first, ...(words.get(about) ?? [])])

  function nameIn(grant: Grant): string {
    const entry = entries[grant.index]
    if (entry === undefined) return ''
    const { payload } = lastWord(grant.holder, entry).op
    if (payload.type === 'genesis') return payload.body.deviceName
    if ('name' in payload.body) return payload.body.name
    // A successor goes by the name of the device that it replaces.
    return grant.under === undefined ? '' : nameIn(grant.under)
  }

  return {
    home: genesis === undefined ? '' : homeName(lastWord(HOME, genesis)),
    policy: genesis === undefined ? new Uint8Array() : policyIn(lastWord(POLICY, genesis)),
    of: nameIn,
    indexOf: (op) => set.get(op.id)?.index ?? 0,
  }
}

function aboutOf({ op }: Entry): string | undefined {
  const { payload } = op
  if (payload.type === 'policy') return POLICY
  if (payload.type !== 'rename') return undefined
  return payload.body.subject === undefined ? HOME : toHex(payload.body.subject)
}

function homeName({ op }: Entry): string {
  const { payload } = op
  return payload.type === 'genesis' || payload.type === 'rename' ? payload.body.name : ''
}

function policyIn({ op }: Entry): Uint8Array {
  const { payload } = op
  const says = payload.type === 'genesis' || payload.type === 'policy'
  return says ? payload.body.policy : new Uint8Array()
}

function lastOf(words: readonly [Entry, ...Entry[]]): Entry {
  const [first] = words
  // From the highest position down, what knows of an entry comes before it.
  const downwards = words.toSorted((a, b) => b.index - a.index)
  const known = new Uint32Array(downwards[0]?.past.length ?? 0)
  const last: Entry[] = []
  for (const entry of downwards) {
    if (!covers(known, entry.index)) last.push(entry)
    addPast(known, entry.past)
  }
  const [senior] = last.toSorted(
    (a, b) => seniority(a) - seniority(b) || compareBytes(a.op.id, b.op.id),
  )
  return senior ?? first
}

function seniority({ acts }: Entry): number {
  return acts === undefined ? 0 : depthOf(acts)
}
