/** What the routes for updates take. */
import * as v from 'valibot'

import { text, wholeNumber } from './inputs.ts'

const channelName = v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9-]{0,31}$/))
const releaseName = v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._+-]{0,63}$/))
const anyName = v.union([v.literal('*'), releaseName])
const build = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(4_294_967_295))
const base64 = v.pipe(v.string(), v.maxLength(6 * 1024 * 1024), v.regex(/^[A-Za-z0-9+/]+={0,2}$/))
const folder = v.pipe(v.string(), v.regex(/^\/[^\0]{0,4095}$/))
const WEEKS_MS = 8 * 7 * 86_400_000

export const channel = v.strictObject({ name: channelName, root: base64 })
export const signed = v.strictObject({
  role: v.picklist(['targets', 'root']),
  file: base64,
  targets: v.optional(base64),
  indexes: v.pipe(v.array(base64), v.maxLength(16)),
})
export const forgive = v.strictObject({ build })
export const transfer = v.strictObject({ folder })
export const fetchQuery = v.strictObject({
  build: v.optional(v.pipe(wholeNumber, build)),
})

const ring = v.pipe(
  v.strictObject({
    devices: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10_000))),
    percent: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100))),
    minHealthyMs: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(WEEKS_MS)),
  }),
  v.check(
    ({ devices, percent }) => (devices === undefined) !== (percent === undefined),
    'a number of devices or per cent',
  ),
)

export const rollout = v.strictObject({
  pause: v.optional(anyName),
  resume: v.optional(anyName),
  pin: v.optional(v.strictObject({ name: releaseName, build })),
  unpin: v.optional(releaseName),
  defer: v.optional(
    v.strictObject({
      name: releaseName,
      build,
      until: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(8.64e15)),
    }),
  ),
  rings: v.optional(v.pipe(v.array(ring), v.minLength(1), v.maxLength(8))),
  haltPercent: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(100))),
  window: v.optional(v.union([v.literal(''), text(11)])),
  dnd: v.optional(v.boolean()),
  securityAtOnce: v.optional(v.boolean()),
  group: v.optional(
    v.strictObject({
      name: text(64),
      devices: v.pipe(v.array(text(128)), v.maxLength(128)),
    }),
  ),
})
