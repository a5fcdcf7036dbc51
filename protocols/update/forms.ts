/** Types that the messages, the index, the report and the policy of this folder share. */
import { KEY_BYTES } from '../identity/index.ts'
import { bytes, text, type Type } from '../wire/index.ts'

/** Name of a release: also the first part of its path in a channel. */
export const NAME = /^[a-z0-9][a-z0-9._+-]{0,63}$/
/** Version of a release as its makers write it; order is the build's. */
export const VERSION = /^[A-Za-z0-9][A-Za-z0-9.+~_-]{0,31}$/
/** Name of a channel. */
export const CHANNEL = /^[a-z0-9][a-z0-9-]{0,31}$/
/** Name of an error: never a sentence. */
export const CODE = /^[A-Za-z][A-Za-z0-9_]{0,63}$/
/** Name of a group of devices, of hardware or of a processor. */
export const LABEL = /^[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}$/
/** A file of a channel as TUF names it. */
export const FILE = /^[A-Za-z0-9][A-Za-z0-9._+~-]{0,191}(?:\/[A-Za-z0-9][A-Za-z0-9._+~-]{0,191})?$/

/** Greatest build: 32 bits. */
export const MAX_BUILD = 4_294_967_295
/** Latest time that a date can hold, in milliseconds since 1970. */
export const MAX_TIME_MS = 8_640_000_000_000_000

/** A device's key or a SHA-256. */
export const id = bytes({ length: KEY_BYTES })

/** Text of one form. */
export function matching(pattern: RegExp, maxBytes: number): Type<string> {
  const plain = text(maxBytes)
  return where(plain, (value) => pattern.test(value), 'not of the form')
}

/** A type narrowed by a rule that holds both ways. */
export function where<T>(type: Type<T>, holds: (value: T) => boolean, why: string): Type<T> {
  const check = (value: T): T => {
    if (!holds(value)) throw new RangeError(why)
    return value
  }
  return {
    toWire: (value) => type.toWire(check(value)),
    fromWire: (value) => check(type.fromWire(value)),
  }
}

export const releaseName: Type<string> = matching(NAME, 64)
export const releaseVersion: Type<string> = where(
  matching(VERSION, 32),
  (value) => !value.includes('..'),
  'two dots',
)
export const channelName: Type<string> = matching(CHANNEL, 32)
export const label: Type<string> = matching(LABEL, 64)
