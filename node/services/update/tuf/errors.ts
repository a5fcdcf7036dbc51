/**
 * What can be wrong with a channel, and who is to blame. tuf-js tells an attack and a lost link apart
 * by class alone, so classes are what is looked at here, never the text.
 */
import {
  CryptoError,
  LengthOrHashMismatchError,
  RepositoryError as ModelError,
  UnsignedMetadataError,
  ValueError as ModelValueError,
} from '@tufjs/models/dist/error.js'
import {
  BadVersionError,
  EqualVersionError,
  ExpiredMetadataError,
  RepositoryError,
  RuntimeError,
  ValueError,
} from 'tuf-js/dist/error.js'

import { CodedError } from '../../../../protocols/errors.ts'

/**
 * `attack`: no honest device sends this; an incident, and the source is trusted less. `link`: ask
 * another peer, or later. `time`: nothing new is installed until someone signs again or the clock is
 * right. `owner`: the channel itself is at fault. `local`: this device's files.
 */
export type Blame = 'attack' | 'link' | 'time' | 'owner' | 'local'

export const TUF_ERRORS = {
  TUF_SIGNATURE: { blame: 'attack', message: 'not signed by enough of the keys that may sign it' },
  TUF_ROLLBACK: { blame: 'attack', message: 'older than what this device has already seen' },
  TUF_HASH: { blame: 'attack', message: 'not the file that was signed' },
  TUF_MALFORMED: { blame: 'attack', message: 'breaks a rule of its format' },
  TUF_TOO_LONG: { blame: 'attack', message: 'longer than it may be' },
  TUF_FORK: { blame: 'owner', message: 'signed twice with different content' },
  TUF_PIN: { blame: 'attack', message: 'not the root that the owner pinned' },
  TUF_MISSING: { blame: 'link', message: 'the source does not have it' },
  TUF_UNREACHABLE: { blame: 'link', message: 'could not be fetched' },
  TUF_EXPIRED: { blame: 'time', message: 'has expired' },
  TUF_CLOCK: { blame: 'time', message: 'the clock of this device is not set' },
  TUF_DELEGATIONS: {
    blame: 'owner',
    message: 'hands releases on to other keys, which Kith refuses',
  },
  TUF_TOO_MANY: { blame: 'owner', message: 'more than a channel may hold' },
  TUF_CONFLICT: { blame: 'owner', message: 'two different releases have one version' },
  TUF_NOT_SIGNED: { blame: 'owner', message: 'more signatures are needed' },
  TUF_WRONG_KEY: { blame: 'owner', message: 'this key may not sign this file' },
  TUF_CHANNEL: { blame: 'owner', message: 'the channel does not allow this' },
  TUF_KEY_FILE: { blame: 'local', message: 'the key file cannot be used' },
  TUF_PASSPHRASE: { blame: 'local', message: 'the passphrase is wrong' },
  TUF_FOLDER: { blame: 'local', message: 'the folder cannot be used' },
  TUF_STORE: { blame: 'local', message: 'what this device knew of the channel is damaged' },
} as const satisfies Record<string, { blame: Blame; message: string }>

export type TufErrorCode = keyof typeof TUF_ERRORS

/** `about` is the role or the file that it is about. */
export class TufError extends CodedError<TufErrorCode> {
  readonly about: string
  readonly blame: Blame

  constructor(code: TufErrorCode, about: string, detail?: string, options?: ErrorOptions) {
    const { message, blame } = TUF_ERRORS[code]
    super(code, `${about}: ${message}${detail === undefined ? '' : ` (${detail})`}`, options)
    this.about = about
    this.blame = blame
  }
}

type Thrown = abstract new (...args: never[]) => Error

/** First match wins: subclasses before what they extend. */
const CLASSES: readonly (readonly [Thrown, TufErrorCode])[] = [
  [ExpiredMetadataError, 'TUF_EXPIRED'],
  [EqualVersionError, 'TUF_ROLLBACK'],
  [BadVersionError, 'TUF_ROLLBACK'],
  [UnsignedMetadataError, 'TUF_SIGNATURE'],
  [LengthOrHashMismatchError, 'TUF_HASH'],
  // What is left of it: a file that an older snapshot listed is gone from the new one.
  [RepositoryError, 'TUF_ROLLBACK'],
  [ModelError, 'TUF_MALFORMED'],
  [ModelValueError, 'TUF_MALFORMED'],
  [ValueError, 'TUF_MALFORMED'],
  [CryptoError, 'TUF_MALFORMED'],
  [SyntaxError, 'TUF_MALFORMED'],
  [TypeError, 'TUF_MALFORMED'],
  [RangeError, 'TUF_MALFORMED'],
  [RuntimeError, 'TUF_MALFORMED'],
]

/** What was thrown while `about` was verified, as an error of the table. Others pass as they are. */
export function asTufError(thrown: unknown, about: string): unknown {
  if (thrown instanceof TufError) return thrown
  const found = CLASSES.find(([one]) => thrown instanceof one)
  if (found === undefined) return thrown
  return new TufError(found[1], about, (thrown as Error).message.slice(0, 200), { cause: thrown })
}

/** Run, and throw what goes wrong as an error of the table. */
export function verifying<T>(about: string, run: () => T): T {
  try {
    return run()
  } catch (error) {
    throw asTufError(error, about)
  }
}
