import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  BOUNDS,
  CallPayload,
  CALLS_ERRORS,
  callsCode,
  openCall,
  openReceipt,
  ReceiptPayload,
  reopenCall,
  reopenReceipt,
  Request,
  Response,
  sealCall,
  sealReceipt,
  STATUSES,
  VERBS,
  type CallContent,
  type Json,
  type ReceiptContent,
} from '../../protocols/calls/index.ts'
import { sha256 } from '../../protocols/identity/index.ts'
import { fromHex, toHex, utf8, WireError } from '../../protocols/wire/index.ts'
import { CONTEXT, deviceOf, HOME, START_MS } from '../helpers/telemetry.ts'
import { assertBothWays, byName, bytesIn, readVectors } from '../helpers/vectors.ts'

const caller = deviceOf('caller')
const callee = deviceOf('callee')

function contentOf(changes: Partial<CallContent> = {}): CallContent {
  const time = { issuedMs: START_MS, ttlMs: 30_000, epoch: 0 }
  const nonce = new Uint8Array(16).fill(1)
  return { to: callee.key, verb: 'invoke', name: 'toggle', nonce, ...time, ...changes }
}

const call = sealCall(contentOf(), HOME, caller)

function receiptOf(changes: Partial<ReceiptContent> = {}): ReceiptContent {
  const about = { call: call.id, caller: caller.key }
  return { ...about, status: 'done', atMs: START_MS, clock: 'synced', ...changes }
}

interface Document {
  readonly hex: string
  readonly id: string
  readonly content: unknown
}

const vectors = readVectors<
  {
    readonly callerSeed: string
    readonly calleeSeed: string
    readonly call: Document
    readonly receipt: Document
  }[]
>('calls')
const messages = byName(CallPayload, ReceiptPayload, Request, Response)

function decodeAs(message: string, bytes: Uint8Array): unknown {
  if (message === 'call') return openCall(bytes, CONTEXT)
  if (message === 'receipt') return openReceipt(bytes, CONTEXT)
  return messages[message]?.decode(bytes)
}

describe('the vectors of calls', () => {
  it('match both ways', () => {
    assert.ok(vectors.messages.length >= 20)
    assertBothWays(vectors, messages)
  })

  it('are refused where they are invalid', () => {
    assert.ok(vectors.invalid.length >= 30)
    for (const { name, message, hex, code } of vectors.invalid) {
      assert.throws(() => decodeAs(message, fromHex(hex)), { code }, name)
    }
  })

  it('hold a call and its receipt, byte for byte', () => {
    for (const run of vectors.runs) {
      const content = bytesIn(run.call.content) as CallContent
      const sealed = sealCall(content, HOME, deviceOf(run.callerSeed))
      assert.equal(toHex(sealed.bytes), run.call.hex)
      assert.equal(toHex(sealed.id), run.call.id)
      const answer = bytesIn(run.receipt.content) as ReceiptContent
      const receipt = sealReceipt(answer, HOME, deviceOf(run.calleeSeed))
      assert.equal(toHex(receipt.bytes), run.receipt.hex)
      assert.equal(toHex(receipt.id), run.receipt.id)
      assert.deepEqual(openCall(sealed.bytes, CONTEXT), sealed)
      assert.deepEqual(openReceipt(receipt.bytes, CONTEXT), receipt)
    }
  })
})

const safeKey = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((key) => isOrdinary(key))
const json = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthIdentifier: 'json' },
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number + 0),
    fc.string({ unit: 'grapheme', maxLength: 20 }),
    fc.array(tie('value'), { maxLength: 5, depthIdentifier: 'json' }),
    fc.dictionary(safeKey, tie('value'), { maxKeys: 5, noNullPrototype: true }),
  ),
})).value

function isOrdinary(key: string): boolean {
  return !['__proto__', 'constructor', 'prototype'].includes(key)
}

const key = fc.uint8Array({ minLength: 32, maxLength: 32 })
const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/)
const time = fc.integer({ min: 0, max: 8_640_000_000_000_000 })
const cause = fc.record(
  {
    rule: name,
    device: key,
    sensor: name,
    seq: fc.nat(),
    atMs: time,
    value: fc.oneof(
      fc.boolean(),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number + 0),
      fc.string({ unit: 'grapheme', maxLength: 20 }),
    ),
  },
  { noNullPrototype: true },
)
const content: fc.Arbitrary<CallContent> = fc
  .record(
    {
      to: key,
      verb: fc.constantFrom(...VERBS),
      name,
      nonce: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      issuedMs: time,
      ttlMs: fc.integer({ min: BOUNDS.minTtlMs, max: BOUNDS.maxTtlMs }),
      epoch: fc.nat(),
      args: json,
      cause,
    },
    {
      requiredKeys: ['to', 'verb', 'name', 'nonce', 'issuedMs', 'ttlMs', 'epoch', 'args'],
      noNullPrototype: true,
    },
  )
  .map(({ args, ...rest }) => {
    if (rest.verb === 'read') return rest
    if (rest.verb !== 'cancel') return { ...rest, args }
    return { ...rest, name: '', args: toHex(rest.to) }
  })

describe('a call', () => {
  it('opens as what was sealed, whatever is in it', () => {
    fc.assert(
      fc.property(content, (one) => {
        const sealed = sealCall(one, HOME, caller)
        assert.ok(sealed.bytes.length <= BOUNDS.maxCallBytes)
        assert.deepEqual(openCall(sealed.bytes, CONTEXT), sealed)
        assert.deepEqual(reopenCall(sealed.bytes, HOME), sealed)
        assert.deepEqual(sealed.caller, caller.key)
      }),
    )
  })

  it('carries arguments of exactly the bytes that it may', () => {
    const args = 'x'.repeat(BOUNDS.maxArgsBytes - 2)
    const sealed = sealCall(contentOf({ args }), HOME, caller)
    assert.equal(openCall(sealed.bytes, CONTEXT).args, args)
    assert.throws(() => sealCall(contentOf({ args: `${args}x` }), HOME, caller), WireError)
  })

  it('has another id for another nonce, and one id however it travels', () => {
    const other = sealCall(contentOf({ nonce: new Uint8Array(16) }), HOME, caller)
    assert.notDeepEqual(other.id, call.id)
    assert.deepEqual(reopenCall(call.bytes, HOME).id, call.id)
  })

  it('does not open once a byte of it has changed', () => {
    fc.assert(
      fc.property(fc.nat(call.bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = Uint8Array.from(call.bytes)
        changed[at] = (changed[at] ?? 0) ^ flip
        assert.throws(() => openCall(changed, CONTEXT), /./)
      }),
    )
  })

  it('does not open in another home, nor as a receipt', () => {
    const home = sha256(utf8('another home'))
    const code = 'IDENTITY_BAD_SIGNATURE'
    assert.throws(() => openCall(call.bytes, { ...CONTEXT, home }), { code })
    assert.throws(() => openReceipt(call.bytes, CONTEXT), { code: 'IDENTITY_BAD_ENVELOPE' })
  })

  it('is not sealed where its form is wrong', () => {
    const wrong: Partial<CallContent>[] = [
      { verb: 'read', args: 1 },
      { verb: 'write' },
      { name: '' },
      { verb: 'cancel', name: 'toggle', args: toHex(call.id) },
      { verb: 'cancel', name: '', args: 'ABC' },
    ]
    for (const changes of wrong) {
      assert.throws(() => sealCall(contentOf(changes), HOME, caller), { code: 'CALLS_BAD_CALL' })
    }
  })

  it('opens only from what its own encoder writes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (junk) => {
        for (const message of Object.values(messages)) {
          try {
            assert.deepEqual(message.encode(message.decode(junk)), junk)
          } catch (error) {
            assert.ok(error instanceof WireError)
          }
        }
      }),
    )
  })
})

describe('a receipt', () => {
  it('opens as what was sealed, for every status', () => {
    const result = { a: [1, null], b: 'ü' }
    for (const status of STATUSES) {
      const more = status === 'done' ? { result } : { detail: 'not now' }
      const sealed = sealReceipt(receiptOf({ status, ...more }), HOME, callee)
      assert.deepEqual(openReceipt(sealed.bytes, CONTEXT), sealed)
      assert.deepEqual(reopenReceipt(sealed.bytes, HOME), sealed)
    }
  })

  it('carries a result of exactly the bytes that it may, beside the longest detail', () => {
    const result = 'x'.repeat(BOUNDS.maxResultBytes - 2)
    const detail = 'y'.repeat(BOUNDS.maxDetailBytes)
    const sealed = sealReceipt(receiptOf({ result, detail }), HOME, callee)
    assert.ok(sealed.bytes.length <= BOUNDS.maxReceiptBytes)
    assert.equal(openReceipt(sealed.bytes, CONTEXT).result, result)
    assert.throws(() => sealReceipt(receiptOf({ result: `${result}x` }), HOME, callee), WireError)
  })

  it('is for one call of one caller by one callee', () => {
    const { bytes } = sealReceipt(receiptOf(), HOME, callee)
    const expected = { call: call.id, caller: caller.key, callee: callee.key }
    assert.equal(openReceipt(bytes, CONTEXT, expected).status, 'done')
    for (const part of ['call', 'caller', 'callee'] as const) {
      const wrong = { ...expected, [part]: deviceOf('other').key }
      assert.throws(() => openReceipt(bytes, CONTEXT, wrong), { code: 'CALLS_WRONG_RECEIPT' })
    }
  })

  it('has no result of what was not done', () => {
    const wrong = receiptOf({ status: 'denied', result: 1 })
    assert.throws(() => sealReceipt(wrong, HOME, callee), { code: 'CALLS_BAD_RECEIPT' })
  })
})

describe('the numbers of errors', () => {
  it('lead back to their codes', () => {
    for (const [code, { status }] of Object.entries(CALLS_ERRORS)) {
      assert.equal(callsCode(status), code)
    }
    assert.equal(callsCode(200), undefined)
  })
})
