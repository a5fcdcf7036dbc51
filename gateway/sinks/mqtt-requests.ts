/**
 * What others ask for over MQTT: `PREFIX/DEVICE/set` with `{"NAME": value, …}`, `/set/NAME` with a
 * value, `/invoke/NAME` with the input or nothing. Anybody who may publish there can send anything:
 * only what is small, well formed and about a known device becomes a request.
 */
import type { JsonValue } from '../../node/index.ts'
import type { SinkRequest } from './sink.ts'
import type { TopicNames } from './mqtt-topics.ts'

const MAX_BYTES = 16 * 1024
const MAX_DEPTH = 16
/** Properties in one message. */
const MAX_WRITES = 16
const NAME = /^[A-Za-z0-9][A-Za-z0-9\-:._]{0,127}$/

/** For subscriptions. */
export function requestTopics(prefix: string): string[] {
  return [`${prefix}/+/set`, `${prefix}/+/set/+`, `${prefix}/+/invoke/+`]
}

/** What a message asks for; a text says why it is not taken. */
export function requestsIn(
  topic: string,
  payload: Uint8Array,
  prefix: string,
  names: TopicNames,
): readonly SinkRequest[] | string {
  if (!topic.startsWith(`${prefix}/`)) return 'another topic'
  const [name = '', verb, what, ...more] = topic.slice(prefix.length + 1).split('/')
  if (more.length > 0) return 'another topic'
  const device = names.deviceOf(name)?.id
  if (device === undefined) return 'no such device'
  if (payload.length > MAX_BYTES) return 'longer than 16 KiB'
  if (what !== undefined && !NAME.test(what)) return 'not a name'
  const text = textOf(payload)
  return text === undefined ? 'not UTF-8' : wishes(device, [verb, what], text)
}

function wishes(
  device: string,
  [verb, what]: readonly (string | undefined)[],
  text: string,
): readonly SinkRequest[] | string {
  if (verb === 'invoke' && what !== undefined) return invocation(device, what, text)
  if (verb !== 'set') return 'another topic'
  return what === undefined ? writes(device, text) : write(device, what, text)
}

function invocation(device: string, name: string, text: string): readonly SinkRequest[] | string {
  if (text.trim() === '') return [{ device, verb: 'invoke', name }]
  const input = parsed(text)
  if (input === undefined) return 'not JSON'
  return [{ device, verb: 'invoke', name, input }]
}

/** Words that are not JSON are text, as users of switches send `ON`. */
function write(device: string, name: string, text: string): readonly SinkRequest[] | string {
  const input = parsed(text) ?? (/^[[{"]/.test(text.trim()) ? undefined : text)
  return input === undefined ? 'not JSON' : [{ device, verb: 'write', name, input }]
}

function writes(device: string, text: string): readonly SinkRequest[] | string {
  const value = parsed(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return 'not a JSON object'
  const entries = Object.entries(value)
  if (entries.length > MAX_WRITES) return `more than ${MAX_WRITES} properties`
  if (entries.some(([name]) => !NAME.test(name))) return 'not a name'
  return entries.map(([name, input]) => ({ device, verb: 'write' as const, name, input }))
}

function textOf(payload: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(payload)
  } catch {
    return undefined
  }
}

/** Undefined for what is not JSON, or too deep. */
function parsed(text: string): JsonValue | undefined {
  try {
    const value = JSON.parse(text) as JsonValue
    return depthOf(value, 0) > MAX_DEPTH ? undefined : value
  } catch {
    return undefined
  }
}

function depthOf(value: JsonValue, above: number): number {
  if (typeof value !== 'object' || value === null || above > MAX_DEPTH) return above
  return Math.max(above + 1, ...Object.values(value).map((inner) => depthOf(inner, above + 1)))
}
