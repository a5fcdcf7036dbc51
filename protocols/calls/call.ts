/**
 * A call: what one device asks of another, under the caller's signature. SPEC.md "Call". Whoever has
 * the bytes can check who asked for what, without trusting whoever passed them on; whether it may be
 * done is the callee's to decide.
 */
import {
  ENVELOPE_OVERHEAD_BYTES,
  KEY_BYTES,
  open,
  reopen,
  seal,
  type Envelope,
  type Signer,
  type Verifier,
} from '../identity/index.ts'
import {
  bool,
  bytes,
  field,
  finite,
  message,
  oneOf,
  optional,
  record,
  text,
  uint,
  type Type,
} from '../wire/index.ts'
import { ARGS, formatJson, parseJson, type Json, type JsonBounds } from './json.ts'
import { NAME } from './model.ts'
import { BOUNDS, CallsError } from './protocol.ts'

/** What a call can ask for. To observe is a request of the stream, not a document. */
export const VERBS = ['read', 'write', 'invoke', 'cancel'] as const
export type Verb = (typeof VERBS)[number]

/** Bytes that tell two calls with the same content apart. */
export const NONCE_BYTES = 16
/** Milliseconds since 1970 that a date can have. */
export const MAX_TIME_MS = 8_640_000_000_000_000

/** The reading because of which a rule called. */
export interface Cause {
  readonly rule: string
  /** Whose reading, 32 bytes. */
  readonly device: Uint8Array
  readonly sensor: string
  /** The pack that has the reading; 0 where it is in none yet. */
  readonly seq: number
  readonly atMs: number
  readonly value: boolean | number | string
}

export interface CallContent {
  /** The device that shall do it, 32 bytes. */
  readonly to: Uint8Array
  readonly verb: Verb
  /** Of the property or action; empty where a call is cancelled. */
  readonly name: string
  /** Of `write` always, of `invoke` where it takes some; of `cancel` the id of a call as hex. */
  readonly args?: Json
  /** 16 fresh bytes. */
  readonly nonce: Uint8Array
  /** UTC milliseconds by the caller's clock. */
  readonly issuedMs: number
  /** Not executed later than this after `issuedMs`: 1 s to 30 days. */
  readonly ttlMs: number
  /** Number of effective revocations that the caller knew. */
  readonly epoch: number
  readonly cause?: Cause
}

export type Call = CallContent & {
  /** The signer's public key, 32 bytes. */
  readonly caller: Uint8Array
  /** Names the call; 32 bytes. */
  readonly id: Uint8Array
  /** The whole envelope. */
  readonly bytes: Uint8Array
}

export interface CallsContext {
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  readonly verifier: Verifier
}

const key = bytes({ length: KEY_BYTES })

/** JSON as text within `bounds`. */
export function json(bounds: JsonBounds): Type<Json> {
  const words = text(bounds.maxBytes)
  return {
    toWire: (value) => words.toWire(formatJson(value, bounds)),
    fromWire: (value) => parseJson(words.fromWire(value), bounds),
  }
}

/** Text of the form `pattern`. */
export function matching(pattern: RegExp, maxBytes: number): Type<string> {
  const words = text(maxBytes)
  const check = (value: unknown): string => {
    const found = words.fromWire(value)
    if (!pattern.test(found)) throw new RangeError('not of the form')
    return found
  }
  return { toWire: check, fromWire: check }
}

const CAUSE_TEXT = text(256)
const causeValue: Type<Cause['value']> = { toWire: checkValue, fromWire: checkValue }

function checkValue(value: unknown): Cause['value'] {
  if (typeof value === 'string') return CAUSE_TEXT.fromWire(value)
  // Adding 0 turns -0 into 0, which has one encoding.
  return typeof value === 'boolean' ? bool.fromWire(value) : finite.fromWire(value) + 0
}

const cause = record({
  rule: field(1, matching(NAME, 64)),
  device: field(2, key),
  sensor: field(3, matching(/^[A-Za-z0-9][A-Za-z0-9\-:./_]*$/, 64)),
  seq: field(4, uint()),
  atMs: field(5, uint(MAX_TIME_MS)),
  value: field(6, causeValue),
})

/** What is signed. SPEC.md "Call". */
export const CallPayload = message(
  'calls.call',
  {
    to: field(1, key),
    verb: field(2, oneOf(...VERBS)),
    name: field(3, matching(/^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,63})?$/, 64)),
    args: optional(4, json(ARGS)),
    nonce: field(5, bytes({ length: NONCE_BYTES })),
    issuedMs: field(6, uint(MAX_TIME_MS)),
    ttlMs: field(7, uint(BOUNDS.maxTtlMs, BOUNDS.minTtlMs)),
    epoch: field(8, uint()),
    cause: optional(9, cause),
  },
  { maxBytes: BOUNDS.maxCallBytes - ENVELOPE_OVERHEAD_BYTES, maxDepth: 2, maxItems: 64 },
)

/** @throws CallsError CALLS_BAD_CALL; WireError where a value is not of its form */
export function sealCall(content: CallContent, home: Uint8Array, signer: Signer): Call {
  requireForm(content)
  return callOf(content, seal(CallPayload.encode(content), contextOf(home), signer))
}

/**
 * Check and read a call from anywhere.
 *
 * @throws CallsError CALLS_BAD_CALL; IdentityError; WireError
 */
export function openCall(input: Uint8Array, { home, verifier }: CallsContext): Call {
  return read(open(input, contextOf(home), verifier, BOUNDS.maxCallBytes))
}

/** Read a call that `openCall` accepted before, from where only we can write. */
export function reopenCall(input: Uint8Array, home: Uint8Array): Call {
  return read(reopen(input, contextOf(home), BOUNDS.maxCallBytes))
}

function read(envelope: Envelope): Call {
  const content = CallPayload.decode(envelope.payload)
  requireForm(content)
  return callOf(content, envelope)
}

function callOf(content: CallContent, { signer, id, bytes: whole }: Envelope): Call {
  return { ...content, caller: signer, id, bytes: whole }
}

function requireForm({ verb, name, args }: CallContent): void {
  const cancels = verb === 'cancel'
  const wrong =
    ((name === '') !== cancels && 'name') ||
    (verb === 'read' && args !== undefined && 'arguments of a read') ||
    (verb === 'write' && args === undefined && 'nothing to write') ||
    (cancels && !isCallId(args) && 'call to cancel')
  if (wrong !== false) throw new CallsError('CALLS_BAD_CALL', wrong)
}

function isCallId(args: Json | undefined): boolean {
  return typeof args === 'string' && /^[0-9a-f]{64}$/.test(args)
}

function contextOf(home: Uint8Array): { kind: 'call'; home: Uint8Array } {
  return { kind: 'call', home }
}
