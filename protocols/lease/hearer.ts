/** Hears one other gateway. */
import type { Channel } from '../wire/index.ts'
import { Word, type Done, type Stand } from './messages.ts'
import { LeaseError } from './protocol.ts'

export interface HearerDeps {
  /** The speaker is a gateway of the home; asked again for every frame. */
  readonly mayHear: () => boolean
  readonly onStands: (stands: readonly Stand[]) => void
  readonly onDone: (done: Done) => void
}

/** Until the speaker closes its side. @throws LeaseError; WireError */
export async function hearLeases(
  channel: Channel,
  { mayHear, onStands, onDone }: HearerDeps,
): Promise<void> {
  for await (const { stands, done } of channel.messages(Word)) {
    if (!mayHear()) throw new LeaseError('LEASE_FORBIDDEN')
    if ((stands === undefined) === (done === undefined)) throw new LeaseError('LEASE_BAD_WORD')
    if (stands !== undefined) onStands(checked(stands))
    if (done !== undefined) onDone(done)
  }
}

function checked(stands: readonly Stand[]): readonly Stand[] {
  const isTwice = new Set(stands.map(({ name }) => name)).size < stands.length
  const isOdd = stands.some(({ stand, holder }) => stand !== 'waits' && holder !== undefined)
  if (isTwice || isOdd) throw new LeaseError('LEASE_BAD_WORD')
  return stands
}
