/** What the keys of tables in the settings file may be: one schema each, for tables of every kind. */
import * as v from 'valibot'

import { formatDuration, parseDuration } from './config-values.ts'

export const SECOND_MS = 1000
export const DAY_MS = 86_400_000
const MAX_TEXT_BYTES = 1024

/** Names of sensors, properties, actions and events, none of them one that all objects have. */
export const NAME = /^(?!(?:constructor|prototype)$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

export const duration = (minMs: number, maxMs: number) => {
  const range = `must be from ${formatDuration(minMs)} to ${formatDuration(maxMs)}`
  return v.pipe(
    v.string('must be like "10s"'),
    v.transform(parseDuration),
    v.number('must be like "10s"'),
    v.minValue(minMs, range),
    v.maxValue(maxMs, range),
  )
}

export const text = (maxBytes = MAX_TEXT_BYTES) =>
  v.pipe(
    v.string('must be text'),
    v.minLength(1, 'must not be empty'),
    v.maxBytes(maxBytes, `must be at most ${maxBytes} bytes long`),
    v.regex(/^[^\p{Cc}]*$/u, 'must be on one line, without control characters'),
  )

export const name = v.pipe(
  v.string('must be a name'),
  v.regex(NAME, 'must be a name of letters, digits, ., _ and -'),
)
export const number = v.pipe(v.number('must be a number'), v.finite('must be a number'))
export const positive = v.pipe(number, v.gtValue(0, 'must be more than 0'))
export const notNegative = v.pipe(number, v.minValue(0, 'must not be below 0'))
export const whole = (min: number, max: number) =>
  v.pipe(
    number,
    v.integer('must be a whole number'),
    v.minValue(min, `must be from ${min} to ${max}`),
    v.maxValue(max, `must be from ${min} to ${max}`),
  )
export const path = v.pipe(text(), v.startsWith('/', 'must be a whole path, from /'))
export const bool = v.boolean('must be true or false')
export const pointer = v.pipe(
  v.string('must be text'),
  v.maxBytes(MAX_TEXT_BYTES, `must be at most ${MAX_TEXT_BYTES} bytes long`),
  v.regex(/^(\/([^~]|~[01])*)?$/u, 'must be a JSON pointer, like "/temperature"'),
)
export const pattern = v.pipe(
  text(),
  v.check(isPattern, 'must be a regular expression with at most one group in round brackets'),
)
export const topic = v.pipe(text(), v.regex(/^[^+#]*$/, 'must be one topic, without + and #'))
export const url = v.pipe(
  text(),
  v.check(
    (address) => isUrl(address, ['http:', 'https:']),
    'must be an http:// or https:// address, without user and password',
  ),
)
export const argv = v.pipe(
  v.array(
    v.pipe(v.string('must be a list of texts'), v.maxBytes(MAX_TEXT_BYTES), v.regex(/^[^\0]*$/)),
    'must be a list, like ["/usr/bin/sensor", "-1"]',
  ),
  v.minLength(1, 'must name a program'),
  v.maxLength(64, 'must have at most 64 entries'),
  v.check(([program]) => program?.startsWith('/') === true, 'must begin with a whole path, from /'),
)
/** How long a program or a server may take. */
export const timeout = v.optional(duration(100, 10 * 60_000), '10s')

export const server = { timeout, token_file: v.optional(path), ca_file: v.optional(path) }

/** How a broker is reached; `checkBroker` goes with it. */
export const broker = {
  broker: v.pipe(
    text(),
    v.check(
      (address) => isUrl(address, ['mqtt:', 'mqtts:']),
      'must be an mqtt:// or mqtts:// address, without user and password',
    ),
  ),
  user: v.optional(text(128)),
  password_file: v.optional(path),
  ca_file: v.optional(path),
  client_id: v.optional(text(64)),
  version: v.optional(v.picklist([4, 5], 'must be 4 (MQTT 3.1.1) or 5'), 5),
}

interface BrokerKeys {
  readonly broker: string
  readonly user?: string | undefined
  readonly password_file?: string | undefined
  readonly ca_file?: string | undefined
}

export const needsUser = <T extends BrokerKeys>() =>
  v.check<T, 'needs user'>(
    ({ user, password_file: file }) => file === undefined || user !== undefined,
    'needs user',
  )
export const needsTls = <T extends BrokerKeys>() =>
  v.check<T, 'needs an mqtts:// broker'>(
    ({ ca_file: file, broker: address }) => file === undefined || address.startsWith('mqtts:'),
    'needs an mqtts:// broker',
  )

function isPattern(source: string): boolean {
  try {
    // With an empty alternative it matches anything, and the match tells the number of groups.
    const match = new RegExp(`${source}|`, 'm').exec('')
    return new RegExp(source, 'm').flags === 'm' && match !== null && match.length <= 2
  } catch {
    // Not a regular expression.
    return false
  }
}

export function isUrl(address: string, protocols: readonly string[]): boolean {
  if (!URL.canParse(address)) return false
  const { protocol, username, password, hostname } = new URL(address)
  return protocols.includes(protocol) && username === '' && password === '' && hostname !== ''
}
