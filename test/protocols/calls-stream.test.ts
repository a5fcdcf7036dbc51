import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'

import { BOUNDS, CallsError, Request, Response } from '../../protocols/calls/index.ts'
import { IdentityError } from '../../protocols/identity/index.ts'
import { utf8 } from '../../protocols/wire/index.ts'
import {
  connect,
  connectFake,
  deviceThat,
  events,
  forever,
  peer,
  source,
} from '../helpers/calls.ts'

describe('questions on one stream', () => {
  it('are answered', async () => {
    const row = { call: utf8('call'), receipt: utf8('receipt') }
    const asked: unknown[] = []
    const { caller } = await connect(
      deviceThat({
        describe: () => '{"title":"lamp"}',
        why: (who, name, limit) => {
          asked.push(who, name, limit)
          return [row, row]
        },
        observe: (_, name) => (name === 'on' ? events(1, 2, 3) : events()),
      }),
    )
    assert.deepEqual(await caller.call(utf8('hello'), forever), utf8('hello'))
    assert.equal(await caller.describe(forever), '{"title":"lamp"}')
    assert.deepEqual(await caller.why('on', 2, forever), [row, row])
    assert.deepEqual(await caller.why(undefined, 9, forever), [row, row])
    assert.deepEqual(asked, [peer, 'on', 2, peer, undefined, 9])
    const seen: unknown[] = []
    for await (const { value } of caller.observe('on', forever)) seen.push(value)
    assert.deepEqual(seen, [1, 2, 3])
  })

  it('do not wait for a slow one before them', async () => {
    const slow = Promise.withResolvers<Uint8Array>()
    const answer = (call: Uint8Array) => (call.length === 1 ? slow.promise : Promise.resolve(call))
    const { caller } = await connect(deviceThat({ answer }))
    const first = caller.call(utf8('1'), forever)
    assert.deepEqual(await caller.call(utf8('22'), forever), utf8('22'))
    slow.resolve(utf8('late'))
    assert.deepEqual(await first, utf8('late'))
  })

  it('above 32 wait their turn, in order, and none is lost', async () => {
    let open = 0
    let most = 0
    const order: number[] = []
    const full = Promise.withResolvers<void>()
    const answer = async (call: Uint8Array) => {
      most = Math.max(most, ++open)
      if (open === BOUNDS.maxOpen) full.resolve()
      order.push(call[0] ?? 0)
      await full.promise
      open--
      return call
    }
    const { caller } = await connect(deviceThat({ answer }))
    const numbers = Array.from({ length: 90 }, (_, i) => i)
    const receipts = await Promise.all(numbers.map((i) => caller.call(Uint8Array.of(i), forever)))
    assert.deepEqual(
      receipts,
      numbers.map((i) => Uint8Array.of(i)),
    )
    assert.deepEqual(order, numbers)
    assert.equal(most, BOUNDS.maxOpen)
  })

  it('are refused on our own side when the queue is full too', async () => {
    const { caller } = await connect(deviceThat({ answer: () => new Promise(() => undefined) }))
    const all = BOUNDS.maxOpen + BOUNDS.maxWaiting
    const calls = Array.from({ length: all }, () => caller.call(utf8('x'), forever))
    for (const call of calls) call.catch(() => undefined)
    await assert.rejects(caller.call(utf8('y'), forever), { code: 'CALLS_BUSY' })
  })

  it('carry the largest call, receipt and description that there can be', async () => {
    const call = new Uint8Array(BOUNDS.maxCallBytes).fill(1)
    const receipt = new Uint8Array(BOUNDS.maxReceiptBytes).fill(2)
    const text = 'ü'.repeat(BOUNDS.maxDescriptionBytes / 2)
    const { caller } = await connect(
      deviceThat({
        answer: (got) => Promise.resolve(got.length === call.length ? receipt : got),
        describe: () => text,
        why: () => [{ call, receipt }],
      }),
    )
    assert.deepEqual(await caller.call(call, forever), receipt)
    assert.equal(await caller.describe(forever), text)
    assert.deepEqual(await caller.why(undefined, 1, forever), [{ call, receipt }])
    const larger = new Uint8Array(BOUNDS.maxCallBytes + 1)
    await assert.rejects(caller.call(larger, forever), { code: 'WIRE_MALFORMED' })
    assert.deepEqual(await caller.call(utf8('still'), forever), utf8('still'))
  })
})

describe('a question that is given up', () => {
  it('ends at once for who asked, and the action goes on', async () => {
    const began = Promise.withResolvers<void>()
    const done = Promise.withResolvers<Uint8Array>()
    const { caller } = await connect(
      deviceThat({
        answer: (call) => {
          if (call.length > 1) return Promise.resolve(call)
          began.resolve()
          return done.promise
        },
      }),
    )
    const stop = new AbortController()
    const call = caller.call(utf8('1'), stop.signal)
    await began.promise
    stop.abort(new Error('enough'))
    await assert.rejects(call, /enough/)
    done.resolve(utf8('done'))
    assert.deepEqual(await caller.call(utf8('22'), forever), utf8('22'))
  })

  it('leaves the queue when it has not been asked yet', async () => {
    const gate = Promise.withResolvers<Uint8Array>()
    const answered: string[] = []
    const answer = async (call: Uint8Array) => {
      await gate.promise
      answered.push(new TextDecoder().decode(call))
      return call
    }
    const { caller } = await connect(deviceThat({ answer }))
    const calls = Array.from({ length: BOUNDS.maxOpen }, () => caller.call(utf8('x'), forever))
    const stop = new AbortController()
    const queued = caller.call(utf8('never'), stop.signal)
    stop.abort(new Error('enough'))
    await assert.rejects(queued, /enough/)
    gate.resolve(utf8(''))
    await Promise.all(calls)
    await caller.call(utf8('after'), forever)
    assert.ok(!answered.includes('never'))
  })

  it('ends an observation on both sides, and gives its place back', async () => {
    let begun = 0
    let ended = 0
    async function* observe(_: Uint8Array, _name: string, signal: AbortSignal) {
      const aborted = once(signal, 'abort')
      yield { value: begun, atMs: begun++ }
      await aborted
      ended++
    }
    const { caller } = await connect(deviceThat({ observe }))
    for (let i = 0; i < 2 * BOUNDS.maxOpen; i++) {
      for await (const { value } of caller.observe('on', forever)) {
        assert.equal(value, i)
        break
      }
    }
    assert.deepEqual(await caller.call(utf8('x'), forever), utf8('x'))
    assert.equal(ended, 2 * BOUNDS.maxOpen)
  })

  it('throws the reason to who observes', async () => {
    const { observe } = source()
    const { caller } = await connect(deviceThat({ observe }))
    const stop = new AbortController()
    const next = caller.observe('on', stop.signal).next()
    stop.abort(new Error('enough'))
    await assert.rejects(next, /enough/)
  })
})

describe('an observer', () => {
  it('that takes nothing is told so, and receipts still come', async () => {
    const { far, caller } = await connectFake()
    const seen = caller.observe('on', forever)
    const first = seen.next()
    const { n } = await far.receive(Request)
    const emit = (value: number) =>
      far.send(Response, { n, last: false, event: { value, atMs: value } })
    await emit(0)
    await first
    for (let i = 1; i <= BOUNDS.maxWaiting + 1; i++) await emit(i)
    const call = caller.call(utf8('x'), forever)
    const asked = await far.receive(Request)
    assert.deepEqual(await far.receive(Request), { n, stop: true })
    await far.send(Response, { n: asked.n, last: true, receipt: utf8('receipt') })
    assert.deepEqual(await call, utf8('receipt'))
    await far.send(Response, { n, last: true })
    const values: unknown[] = []
    const reading = (async () => {
      for await (const { value } of seen) values.push(value)
    })()
    await assert.rejects(reading, { code: 'CALLS_TOO_SLOW' })
    assert.deepEqual(
      values,
      Array.from({ length: BOUNDS.maxWaiting }, (_, i) => i + 1),
    )
  })

  it('hears the end of the stream', async () => {
    const { observe } = source()
    const { caller, far } = await connect(deviceThat({ observe }))
    const next = caller.observe('on', forever).next()
    far.stream.abort(new Error('gone'))
    await assert.rejects(next, { code: 'WIRE_CLOSED' })
    await caller.closed
    await assert.rejects(caller.describe(forever), { code: 'WIRE_CLOSED' })
  })
})

describe('a callee', () => {
  it('says why with a number alone, and tells its own faults to itself alone', async () => {
    const failures: unknown[] = []
    const answers: Record<string, Error> = {
      forbidden: new CallsError('CALLS_FORBIDDEN'),
      envelope: new IdentityError('IDENTITY_BAD_SIGNATURE'),
      secret: new TypeError('the password is 1234'),
      inner: new CallsError('CALLS_UNASKED'),
    }
    const { caller } = await connect(
      deviceThat({
        answer: (call) => Promise.reject(answers[new TextDecoder().decode(call)] ?? new Error()),
        describe: () => Promise.reject(new CallsError('CALLS_FORBIDDEN')),
        observe: () => {
          throw new CallsError('CALLS_UNKNOWN')
        },
        why: () => {
          throw new CallsError('CALLS_BUSY')
        },
        onFailure: (error) => failures.push(error),
      }),
    )
    const code = async (name: string) =>
      caller.call(utf8(name), forever).catch((error: unknown) => (error as CallsError).code)
    assert.equal(await code('forbidden'), 'CALLS_FORBIDDEN')
    assert.equal(await code('envelope'), 'CALLS_BAD_CALL')
    assert.equal(await code('secret'), 'CALLS_FAILED')
    assert.equal(await code('inner'), 'CALLS_FAILED')
    await assert.rejects(caller.describe(forever), { code: 'CALLS_FORBIDDEN' })
    await assert.rejects(caller.observe('on', forever).next(), { code: 'CALLS_UNKNOWN' })
    await assert.rejects(caller.why('on', 1, forever), { code: 'CALLS_BUSY' })
    assert.deepEqual(failures, [answers['secret'], answers['inner']])
  })

  it('gives no description that is larger than one may be', async () => {
    const text = 'x'.repeat(BOUNDS.maxDescriptionBytes + 1)
    const { caller } = await connect(deviceThat({ describe: () => text }))
    await assert.rejects(caller.describe(forever), { code: 'CALLS_FAILED' })
  })

  it('gives what it still owes to a caller that has closed its side', async () => {
    const began = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<Uint8Array>()
    const answer = () => {
      began.resolve()
      return gate.promise
    }
    const { caller, near, serving } = await connect(
      deviceThat({ answer, observe: source().observe }),
    )
    const call = caller.call(utf8('x'), forever)
    const observed = caller.observe('on', forever).next()
    await began.promise
    await near.stream.close()
    gate.resolve(utf8('receipt'))
    assert.deepEqual(await call, utf8('receipt'))
    assert.equal((await observed).done, true)
    await serving
  })

  it('stops when told, though an action hangs', async () => {
    const stop = new AbortController()
    const began = Promise.withResolvers<void>()
    const answer = () => {
      began.resolve()
      return new Promise<never>(() => undefined)
    }
    const { caller, near, serving } = await connect(deviceThat({ answer }), stop.signal)
    caller.call(utf8('x'), forever).catch(() => undefined)
    await began.promise
    await near.stream.close()
    stop.abort(new Error('stopping'))
    await assert.rejects(serving, /stopping/)
  })
})
