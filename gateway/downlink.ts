/**
 * What others outside ask of the home's devices. Off until a rule and a signed right both allow it;
 * what comes is strangers' text, so it is bounded, counted and refused with one sentence that tells
 * nothing about the home. What is allowed is called under the gateway's own role, and its receipt is
 * the answer.
 */
import {
  asError,
  isJsonValue,
  type CallView,
  type Clock,
  type GatewayDevice,
  type JsonValue,
  type Logger,
} from '../node/index.ts'
import type { Rate } from './config.ts'
import type { NumberedDownlink, Policy } from './policy.ts'

/** What one sink was asked for: well formed, but nothing in it is trusted. */
export interface Wanted {
  /** The device's id. */
  readonly device: string
  readonly verb: 'write' | 'invoke'
  readonly name: string
  readonly input?: JsonValue | undefined
}

export interface CommandAnswer {
  readonly status: 'done' | 'waiting' | 'refused' | 'failed'
  /** For people; absent where it was done. */
  readonly why?: string
  /** The call's id, by which `kith why` and `kith calls` name it. */
  readonly call?: string
}

export interface DownlinkDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly policy: () => Policy
  readonly device: Pick<GatewayDevice, 'call'>
}

export interface Downlink {
  /** Never rejects: what went wrong is in the answer. */
  ask(sink: string, wanted: Wanted, signal: AbortSignal): Promise<CommandAnswer>
  /** By sink: how many were asked for, and what became of them. */
  counts(): ReadonlyMap<string, DownlinkCounts>
}

export interface DownlinkCounts {
  done: number
  waiting: number
  refused: number
  failed: number
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const MAX_INPUT_BYTES = 16 * 1024
/** Calls of one sink that are on their way at a time. */
const MAX_UNDERWAY = 32
const TTL_MS = 60_000

export function createDownlink({ clock, log, policy, device }: DownlinkDeps): Downlink {
  const buckets = new Map<string, Bucket>()
  const underway = new Map<string, number>()
  const counts = new Map<string, DownlinkCounts>()

  function allowed(sink: string, wanted: Wanted): CommandAnswer | undefined {
    const { device: deviceId, verb, name, input } = wanted
    if (!isWellFormed(wanted)) return refuse('That is not a request that can be understood.')
    const rule = policy().mayAsk({ sink, deviceId, verb, name })
    // One sentence for all: who asks learns nothing about the home.
    if (rule === undefined) return refuse('This may not be asked for here.')
    if (verb === 'write' && input === undefined) return refuse('There is no value to write.')
    if ((underway.get(sink) ?? 0) >= MAX_UNDERWAY) return refuse('Too much is on its way already.')
    if (!takeOne(bucketOf(buckets, rule), rule.rate, clock.monotonic())) {
      return refuse('That was asked for too often.')
    }
    return undefined
  }

  async function run(sink: string, wanted: Wanted, signal: AbortSignal): Promise<CommandAnswer> {
    const refusal = allowed(sink, wanted)
    if (refusal !== undefined) return refusal
    underway.set(sink, (underway.get(sink) ?? 0) + 1)
    try {
      const { input, ...what } = wanted
      const call = await device.call(
        {
          ...what,
          ...(input === undefined ? {} : { input }),
          origin: `gateway:${sink}`.slice(0, 64),
          ttlMs: TTL_MS,
        },
        signal,
      )
      return answerOf(call)
    } catch (error) {
      return { status: 'failed', why: asError(error).message }
    } finally {
      underway.set(sink, (underway.get(sink) ?? 1) - 1)
    }
  }

  return {
    async ask(sink, wanted, signal) {
      const answer = await run(sink, wanted, signal)
      const count = counts.get(sink) ?? { done: 0, waiting: 0, refused: 0, failed: 0 }
      counts.set(sink, count)
      count[answer.status]++
      // What a stranger wrote is not logged where it is not even well formed.
      const { status, why, call } = answer
      const facts = isWellFormed(wanted)
        ? { device: wanted.device, verb: wanted.verb, name: wanted.name }
        : {}
      const line = { sink, ...facts, status, why, call }
      if (status === 'refused') log.warn(line, 'asked from outside')
      else log.info(line, 'asked from outside')
      return answer
    },
    counts: () => counts,
  }
}

function refuse(why: string): CommandAnswer {
  return { status: 'refused', why }
}

function isWellFormed({ device, verb, name, input }: Wanted): boolean {
  return (
    typeof device === 'string' &&
    device.length <= 128 &&
    (verb === 'write' || verb === 'invoke') &&
    typeof name === 'string' &&
    NAME.test(name) &&
    (input === undefined ||
      (isJsonValue(input) && Buffer.byteLength(JSON.stringify(input)) <= MAX_INPUT_BYTES))
  )
}

function answerOf({ id, state, receipt }: CallView): CommandAnswer {
  if (receipt?.status === 'done') return { status: 'done', call: id }
  if (receipt !== undefined) {
    return { status: 'failed', why: receipt.detail ?? receipt.status, call: id }
  }
  const waits = state === 'sent' || state === 'queued' || state === 'held' || state === 'delivered'
  if (waits) return { status: 'waiting', why: 'The device sleeps; it will have it.', call: id }
  return { status: 'failed', why: `Nobody knows what came of it (${state}).`, call: id }
}

/** Filled evenly over the rate's time. */
interface Bucket {
  left: number
  atMs: number
}

/** By what the rule says, so that another rule in the file does not fill it anew. */
function bucketOf(buckets: Map<string, Bucket>, rule: NumberedDownlink): Bucket {
  const { sink, device, write, invoke, rate } = rule
  const key = JSON.stringify([sink, device, write, invoke, rate])
  let bucket = buckets.get(key)
  if (bucket === undefined) {
    bucket = { left: rate.count, atMs: Number.NEGATIVE_INFINITY }
    buckets.set(key, bucket)
  }
  return bucket
}

function takeOne(bucket: Bucket, { count, perMs }: Rate, nowMs: number): boolean {
  bucket.left = Math.min(count, bucket.left + ((nowMs - bucket.atMs) * count) / perMs)
  bucket.atMs = nowMs
  if (bucket.left < 1) return false
  bucket.left -= 1
  return true
}
