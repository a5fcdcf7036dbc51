/**
 * Proof that a device signed two histories: two of its packs that no honest device makes both. It
 * convicts by itself, so any device may pass it on, and nobody has to have the log.
 */
import { equalBytes } from '../wire/index.ts'
import { openPack, type Pack, type PackContext } from './pack.ts'
import { TelemetryError } from './protocol.ts'

/** The one with the lower number first. */
export type ForkProof = readonly [Pack, Pack]

/**
 * Check two packs from anywhere.
 *
 * @throws TelemetryError TELEMETRY_NO_PROOF where they can both be true, and as `openPack` does
 */
export function openProof(
  packs: readonly [Uint8Array, Uint8Array],
  context: PackContext,
  claimed: Uint8Array,
): ForkProof {
  const [a, b] = packs.map((bytes) => openPack(bytes, context, claimed))
  if (a === undefined || b === undefined) throw new TelemetryError('TELEMETRY_NO_PROOF')
  const [first, second] = a.seq <= b.seq ? [a, b] : [b, a]
  if (!contradict(first, second)) throw new TelemetryError('TELEMETRY_NO_PROOF')
  return [first, second]
}

/** Two packs with one number, or one that is not linked to the other, though it comes right after. */
function contradict(first: Pack, second: Pack): boolean {
  if (first.seq === second.seq) return !equalBytes(first.hash, second.hash)
  return second.seq === first.seq + 1 && !equalBytes(second.prev, first.hash)
}
