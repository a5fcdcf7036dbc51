import { compareBytes, toHex } from '../wire/index.ts'
import type { Entry } from './form.ts'
import type { Op } from './op.ts'
import type { Equivocation } from './state.ts'

/**
 * One proof for each signer and seq with two or more ops, in order of signer and seq. An honest
 * device numbers its ops in one chain, so a proof means that its key is in two places.
 */
export function findEquivocations(entries: readonly Entry[]): readonly Equivocation[] {
  const bySlot = Map.groupBy(
    entries.map(({ op }) => op),
    ({ signer, payload }) => `${toHex(signer)}/${payload.seq}`,
  )
  const found: Equivocation[] = []
  for (const ops of bySlot.values()) {
    const [a, b] = ops.length < 2 ? [] : ops.toSorted((x: Op, y: Op) => compareBytes(x.id, y.id))
    if (a === undefined || b === undefined) continue
    found.push({ signer: a.signer, seq: a.payload.seq, ops: [a, b] })
  }
  return found.toSorted((a, b) => compareBytes(a.signer, b.signer) || a.seq - b.seq)
}
