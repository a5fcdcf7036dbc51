/** What membership refuses, for people. */
import { MembersError } from '../../protocols/members/index.ts'
import { NodeError } from '../errors.ts'

const DENIED = new Set(['MEMBERS_NOT_PERMITTED', 'MEMBERS_TOO_DEEP'])

/** What membership refuses, for people. */
export function asNodeError<T>(act: () => T): T {
  try {
    return act()
  } catch (cause) {
    if (!(cause instanceof MembersError)) throw cause
    if (DENIED.has(cause.code)) {
      throw new NodeError('NODE_DENIED', 'This device may not do that.', {
        cause,
        hint: 'Nothing was changed. Owners add, name and remove devices; an owner can be removed only by one that stands above it, or with the recovery kit.',
      })
    }
    throw new NodeError('NODE_CONFLICT', cause.message, { cause, hint: 'Nothing was changed.' })
  }
}
