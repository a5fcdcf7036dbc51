/** What the routes of the local API take: bodies and queries, each with its bounds. */
import * as v from 'valibot'

import { ROLES } from './view.ts'

export const text = (maxBytes: number) =>
  v.pipe(v.string(), v.minLength(1), v.maxBytes(maxBytes), v.regex(/^[^\p{Cc}]*$/u))
export const name = v.pipe(text(64), v.trim(), v.minLength(1))
export const role = v.picklist(ROLES)
export const wholeNumber = v.pipe(v.string(), v.regex(/^\d{1,15}$/), v.transform(Number))

const time = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(8.64e15))

export const createHome = v.strictObject({
  name,
  deviceName: v.optional(name),
  recoveryKey: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
})
export const recover = v.strictObject({
  kit: text(1024),
  remove: v.optional(v.pipe(v.array(text(128)), v.maxLength(64))),
  since: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0))),
})
export const openPairing = v.strictObject({
  minutes: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10))),
})
/** What a grant says beside the role: ten years at most. */
const terms = {
  allow: v.optional(v.pipe(v.array(text(64)), v.maxLength(32))),
  calls: v.optional(v.pipe(v.array(text(192)), v.maxLength(32))),
  forMs: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(1000), v.maxValue(10 * 366 * 86_400_000)),
  ),
}

export const addDevice = v.pipe(
  v.strictObject({
    code: v.optional(text(64)),
    qr: v.optional(text(2048)),
    role,
    name: v.optional(name),
    ...terms,
  }),
  v.check(({ code, qr }) => (code === undefined) !== (qr === undefined), 'either code or qr'),
)
export const changeDevice = v.pipe(
  v.strictObject({ name: v.optional(name), role: v.optional(role), ...terms }),
  v.check((body) => (body.name === undefined) !== (body.role === undefined), 'either name or role'),
  v.check(
    ({ role: given, allow, calls, forMs }) =>
      given !== undefined || (allow ?? calls ?? forMs) === undefined,
    'a role with allow, calls and forMs',
  ),
)
export const removeDevice = v.strictObject({ reason: v.optional(text(64)) })
export const readings = v.strictObject({
  device: v.optional(text(128)),
  sensor: v.optional(text(64)),
})
export const pushed = v.strictObject({
  values: v.pipe(
    v.array(
      v.strictObject({ sensor: text(64), value: v.union([v.number(), v.boolean(), text(64)]) }),
    ),
    v.minLength(1),
    v.maxLength(256),
  ),
})
export const history = v.strictObject({
  sensor: v.optional(text(64)),
  since: v.optional(wholeNumber),
  until: v.optional(wholeNumber),
  everyMs: v.optional(v.pipe(wholeNumber, v.minValue(1000))),
})
export const unplaced = v.strictObject({ sensor: v.optional(text(64)) })
export const exportLogs = v.strictObject({
  devices: v.pipe(v.array(text(128)), v.maxLength(256)),
  since: v.optional(time),
  until: v.optional(time),
})
export const incidents = v.strictObject({
  device: v.optional(text(128)),
  since: v.optional(wholeNumber),
})
export const since = v.strictObject({ since: v.optional(wholeNumber) })
