/** Calls that waited together: their order, and which of them a later one takes the place of. */
import type { Call } from '../../../protocols/calls/index.ts'
import { compareBytes, fromHex } from '../../../protocols/wire/index.ts'

/** As they were issued, those that cancel first. */
export function inOrder(calls: readonly Call[]): Call[] {
  return calls.toSorted((a, b) => {
    const cancels = Number(b.verb === 'cancel') - Number(a.verb === 'cancel')
    return cancels || a.issuedMs - b.issuedMs || compareBytes(a.id, b.id)
  })
}

/**
 * Those that are not to act because a later one of the same name does, or has. `name` gives under
 * what only the last counts, `newestMs` when the newest that acted was issued.
 */
export function supersededOf(
  ordered: readonly Call[],
  name: (call: Call) => string | undefined,
  newestMs: (call: Call) => number | undefined,
): Set<Call> {
  const superseded = new Set<Call>()
  const last = new Map<string, Call>()
  for (const call of ordered) {
    const key = name(call)
    if (key === undefined) continue
    const before = last.get(key)
    if (before !== undefined) superseded.add(before)
    last.set(key, call)
  }
  for (const call of last.values()) {
    if (call.issuedMs < (newestMs(call) ?? -Infinity)) superseded.add(call)
  }
  return superseded
}

/** Id of the call that this one cancels, 32 bytes. */
export function cancelledBy({ args }: Pick<Call, 'args'>): Uint8Array {
  return typeof args === 'string' ? fromHex(args) : new Uint8Array()
}
