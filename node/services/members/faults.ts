/** What no honest device does, as far as membership shows it: for incident reports. */
import { MembersError, type HomeState, type Op } from '../../../protocols/members/index.ts'
import { toHex, WireError } from '../../../protocols/wire/index.ts'

/** The name of what the peer did, where an exchange broke off by its fault and not by chance. */
export function faultOf(error: unknown): string | undefined {
  if (error instanceof MembersError) {
    return ['MEMBERS_PEER_FAULT', 'MEMBERS_WRONG_HOME'].includes(error.code)
      ? error.code
      : undefined
  }
  if (!(error instanceof WireError)) return undefined
  return ['WIRE_CLOSED', 'WIRE_TOO_SLOW'].includes(error.code) ? undefined : error.code
}

/** Keys that were removed and signed ops among `ops` that have no effect. A key each time. */
export function removedSigners(ops: readonly Op[], state: HomeState): readonly Uint8Array[] {
  return ops
    .filter(({ hex, payload, signer }) => {
      // To leave again is no harm.
      if (payload.type === 'retire' || state.isEffective(hex)) return false
      return state.removed.has(toHex(signer))
    })
    .map(({ signer }) => signer)
}
