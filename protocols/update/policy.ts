/**
 * The policy of a home: parts by number in one CBOR map. Part 1 is what owners decided about updates;
 * all other parts are kept byte for byte. SPEC.md "Policy".
 */
import { sha256 } from '../identity/index.ts'
import {
  bool,
  bytes,
  encodeCbor,
  field,
  type Infer,
  list,
  optional,
  partsOf,
  record,
  uint,
} from '../wire/index.ts'
import {
  channelName,
  id,
  label,
  matching,
  MAX_BUILD,
  MAX_TIME_MS,
  releaseName,
  where,
} from './forms.ts'
import { BOUNDS, UpdateError } from './protocol.ts'

/** Number of this part. */
export const UPDATE_PART = 1

const LIMITS = { maxBytes: BOUNDS.maxPolicyBytes, maxDepth: 12, maxItems: 2_048 }
const DEVICE_LABEL_BYTES = 8
const MINUTES = 24 * 60
const WEEK_MS = 7 * 24 * 60 * 60 * 1000

const build = uint(MAX_BUILD, 1)
const minute = uint(MINUTES - 1)

const channel = record({
  name: field(1, channelName),
  /** SHA-256 of the channel's first root. */
  root: field(2, id),
  /** How long its newest word holds; 30 days where it is not given. */
  timestampDays: optional(3, uint(365, 1)),
})

const group = record({
  name: field(1, label),
  devices: field(2, list(bytes({ length: DEVICE_LABEL_BYTES }), { max: 128 })),
})

/** Which share of the devices goes together: a number of them, or per cent. */
const ring = where(
  record({
    devices: optional(1, uint(10_000, 1)),
    percent: optional(2, uint(100, 1)),
    /** How long they must be well before the next ring. */
    minHealthyMs: field(3, uint(8 * WEEK_MS)),
  }),
  ({ devices, percent }) => (devices === undefined) !== (percent === undefined),
  'a number or per cent',
)

const rollout = record({
  groups: optional(1, list(group, { max: 32 })),
  rings: optional(2, list(ring, { min: 1, max: 8 })),
  haltPercent: optional(3, uint(100)),
  window: optional(4, record({ from: field(1, minute), to: field(2, minute) })),
  dnd: optional(5, bool),
  /** Names of releases, or `*` for all. */
  paused: optional(6, list(matching(/^(?:\*|[a-z0-9][a-z0-9._+-]*)$/, 64), { max: 32 })),
  pins: optional(
    7,
    list(record({ name: field(1, releaseName), build: field(2, build) }), { max: 32 }),
  ),
  defer: optional(
    8,
    list(
      record({
        name: field(1, releaseName),
        build: field(2, build),
        until: field(3, uint(MAX_TIME_MS)),
      }),
      { max: 32 },
    ),
  ),
  securityAtOnce: optional(9, bool),
})

const part = record({
  channels: field(1, list(channel, { max: BOUNDS.maxChannels })),
  rollout: optional(2, rollout),
})

export type ChannelPin = Infer<typeof channel>
export type Ring = Infer<typeof ring>
export type Group = Infer<typeof group>
/** Minutes since midnight, local time; `to` before `from` goes over midnight. */
export interface Window {
  readonly from: number
  readonly to: number
}
type Said = Infer<typeof rollout>
/** What owners decided, with what they left open filled in. */
export type Rollout = Required<Omit<Said, 'window'>> & { readonly window?: Window }

export interface UpdatePolicy {
  readonly channels: readonly ChannelPin[]
  readonly rollout: Rollout
}

const HOUR_MS = 60 * 60 * 1000

export const DEFAULT_ROLLOUT: Rollout = {
  groups: [],
  rings: [
    { devices: 1, minHealthyMs: HOUR_MS },
    { percent: 10, minHealthyMs: HOUR_MS },
    { percent: 100, minHealthyMs: 0 },
  ],
  haltPercent: 20,
  dnd: true,
  paused: [],
  pins: [],
  defer: [],
  securityAtOnce: false,
}

/** How a policy names a device: the first 8 bytes of the SHA-256 of its key. */
export function deviceLabel(key: Uint8Array): Uint8Array {
  return sha256(key).slice(0, DEVICE_LABEL_BYTES)
}

/**
 * What the policy of a home says about updates. An empty policy, or one without this part, has no
 * channels.
 *
 * @throws UpdateError UPDATE_BAD_POLICY
 */
export function updatePolicyIn(policy: Uint8Array): UpdatePolicy {
  const found = inPolicy(() => partsOf(policy, LIMITS)).get(UPDATE_PART)
  if (found === undefined) return { channels: [], rollout: DEFAULT_ROLLOUT }
  const { channels, rollout: said } = inPolicy(() => part.fromWire(found))
  requireOnce(channels.map(({ name }) => name))
  return { channels, rollout: { ...DEFAULT_ROLLOUT, ...said } }
}

/**
 * The policy with this part in place of its own; its other parts are what they were.
 *
 * @throws UpdateError UPDATE_BAD_POLICY where it gets longer than 2,048 bytes
 */
export function withUpdatePolicy(policy: Uint8Array, update: UpdatePolicy): Uint8Array {
  const parts = inPolicy(() => partsOf(policy, LIMITS))
  requireOnce(update.channels.map(({ name }) => name))
  parts.set(
    UPDATE_PART,
    inPolicy(() => part.toWire({ channels: update.channels, rollout: unusual(update.rollout) })),
  )
  const encoded = inPolicy(() => encodeCbor(new Map([...parts].toSorted(([a], [b]) => a - b))))
  if (encoded.length > BOUNDS.maxPolicyBytes) bad(`${encoded.length} bytes`)
  return encoded
}

/** `HH:MM-HH:MM`. @throws UpdateError UPDATE_BAD_POLICY */
export function parseWindow(text: string): Window {
  const found = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$/.exec(text)
  if (found === null) bad('a window is HH:MM-HH:MM')
  const [fromHour = 0, fromMinute = 0, toHour = 0, toMinute = 0] = found.slice(1).map(Number)
  return { from: fromHour * 60 + fromMinute, to: toHour * 60 + toMinute }
}

export function formatWindow({ from, to }: Window): string {
  const clock = (at: number): string =>
    `${String(Math.floor(at / 60)).padStart(2, '0')}:${String(at % 60).padStart(2, '0')}`
  return `${clock(from)}-${clock(to)}`
}

/** Without what is as it would be anyway: a policy has little room. */
function unusual(all: Rollout): Said {
  const kept = Object.entries(all).filter(([name, value]) => {
    const usual: unknown = (DEFAULT_ROLLOUT as Readonly<Record<string, unknown>>)[name]
    return value !== undefined && JSON.stringify(value) !== JSON.stringify(usual)
  })
  return Object.fromEntries(kept)
}

function requireOnce(names: readonly string[]): void {
  if (new Set(names).size !== names.length) bad('a channel twice')
}

function inPolicy<T>(run: () => T): T {
  try {
    return run()
  } catch (cause) {
    throw new UpdateError('UPDATE_BAD_POLICY', (cause as Error).message, { cause })
  }
}

function bad(detail: string): never {
  throw new UpdateError('UPDATE_BAD_POLICY', detail)
}
