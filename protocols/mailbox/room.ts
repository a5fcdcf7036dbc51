/** How much of whose mail is kept: nobody's share can be used up by another. */
import { equalBytes } from '../wire/index.ts'
import { sizeOf, waits, type MailRow } from './mail.ts'
import { BOUNDS } from './protocol.ts'

/** Whether `row` may be kept beside `rows`. What is kept is never dropped to make room. */
export function roomFor(row: MailRow, rows: Iterable<MailRow>): boolean {
  const pair = { count: 1, bytes: row.bytes.length }
  const caller = { count: 1, bytes: row.bytes.length }
  let total = row.bytes.length
  for (const other of rows) {
    const bytes = sizeOf(other)
    total += bytes
    if (!equalBytes(other.caller, row.caller) || !waits(other)) continue
    // It takes their place.
    if (row.key !== '' && other.key === row.key && equalBytes(other.to, row.to)) {
      total -= bytes
      continue
    }
    caller.count++
    caller.bytes += bytes
    if (!equalBytes(other.to, row.to)) continue
    pair.count++
    pair.bytes += bytes
  }
  return (
    pair.count <= BOUNDS.maxPerPair &&
    pair.bytes <= BOUNDS.maxPairBytes &&
    caller.count <= BOUNDS.maxPerCaller &&
    caller.bytes <= BOUNDS.maxCallerBytes &&
    total <= BOUNDS.maxBytes
  )
}
