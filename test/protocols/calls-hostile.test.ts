import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  BOUNDS,
  CALLS,
  Request,
  Response,
  serveCalls,
  type CallsError,
} from '../../protocols/calls/index.ts'
import {
  concatBytes,
  openChannel,
  utf8,
  type ByteStream,
  type Channel,
} from '../../protocols/wire/index.ts'
import { boundedPair } from '../helpers/bounded-stream.ts'
import { connectFake, connectRaw, deviceThat, forever } from '../helpers/calls.ts'
import { channelPair } from '../helpers/channels.ts'
import { virtualClock } from '../helpers/clock.ts'

describe('a callee ends the stream of a caller that', () => {
  const refused: Record<string, { code: string; run: (near: Channel) => Promise<void> }> = {
    'has more than 32 open': {
      code: 'CALLS_TOO_MANY_OPEN',
      run: async (near) => {
        for (let n = 1; n <= BOUNDS.maxOpen + 1; n++)
          await near.send(Request, { n, call: utf8('x') })
      },
    },
    'uses a number again': {
      code: 'CALLS_BAD_REQUEST',
      run: async (near) => {
        for (const n of [2, 2]) await near.send(Request, { n, describe: true })
      },
    },
    'asks nothing': { code: 'CALLS_BAD_REQUEST', run: (near) => near.send(Request, { n: 1 }) },
    'asks two things at once': {
      code: 'CALLS_BAD_REQUEST',
      run: (near) => near.send(Request, { n: 1, describe: true, observe: 'on' }),
    },
    'stops what it never asked': {
      code: 'CALLS_BAD_REQUEST',
      run: (near) => near.send(Request, { n: 1, stop: true }),
    },
    'says no to its own question': {
      code: 'CALLS_BAD_REQUEST',
      run: (near) => near.send(Request, { n: 1, describe: false }),
    },
  }
  for (const [name, { code, run }] of Object.entries(refused)) {
    it(name, async () => {
      const answer = () => new Promise<never>(() => undefined)
      const { near, serving } = await connectRaw(deviceThat({ answer }))
      const ended = assert.rejects(serving, { code })
      await run(near)
      await ended
    })
  }

  it('sends anything else than our messages', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 64 }), async (junk) => {
        const [near, far] = await channelPair(CALLS)
        const serving = serveCalls(far.channel, deviceThat(), forever)
        const ended = assert.rejects(serving, (error: unknown) =>
          /^(?:WIRE|CALLS)_/.test((error as CallsError).code),
        )
        near.stream.send(concatBytes(Uint8Array.of(junk.length), junk))
        await Promise.all([ended, near.stream.close()])
      }),
    )
  })
})

describe('a flood of questions', () => {
  it('is read at a bounded pace', async () => {
    const clock = virtualClock()
    let answered = 0
    const answer = (call: Uint8Array) => {
      answered++
      return Promise.resolve(call.subarray(0, 1))
    }
    const { near } = await connectRaw(deviceThat({ clock, answer }))
    const got = (async () => {
      for await (const _ of near.messages(Response));
    })()
    got.catch(() => undefined)
    const call = new Uint8Array(BOUNDS.maxCallBytes)
    const sending = (async () => {
      for (let n = 1; n <= 200; n++) {
        await near.send(Request, { n, call })
        // Never more than 32 open: each is answered in the turn in which it is read.
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    sending.catch(() => undefined)
    await clock.advance(1)
    await sending
    await clock.advance(1)
    const burst = Math.floor(BOUNDS.maxBurstBytes / BOUNDS.maxCallBytes)
    assert.ok(answered >= burst && answered <= burst + 2, `${answered}`)
    await clock.advance(3_000)
    const then = burst + Math.floor((3 * BOUNDS.maxBytesPerSecond) / BOUNDS.maxCallBytes)
    assert.ok(answered >= then - 2 && answered <= then + 2, `${answered} of ${then}`)
  })

  it('from a caller that reads nothing is not taken further than the bounds', async () => {
    const [near, far] = boundedPair(64 * 1024)
    const clock = virtualClock()
    const wrap = (end: unknown): Channel => openChannel(end as ByteStream, CALLS, clock, forever)
    let answered = 0
    const answer = () => {
      answered++
      return Promise.resolve(new Uint8Array(BOUNDS.maxReceiptBytes))
    }
    const serving = serveCalls(wrap(far), deviceThat({ clock, answer }), forever)
    const ended = assert.rejects(serving, { code: 'WIRE_TOO_SLOW' })
    near.pause()
    const raw = wrap(near)
    for (let n = 1; n <= 500; n++) raw.send(Request, { n, call: utf8('x') }).catch(() => undefined)
    await clock.advance(1)
    assert.ok(answered <= 2 * BOUNDS.maxOpen + 2, `${answered}`)
    assert.ok(near.mostBytes < 4 * BOUNDS.maxReceiptBytes)
    await clock.advance(CALLS.messageDeadlineMs)
    await ended
  })
})

describe('a caller resets the stream of a device that', () => {
  const parts: Record<string, Parameters<typeof Response.encode>[0]> = {
    'answers what nobody asked': { n: 7, last: true, receipt: utf8('x') },
    'answers a call with a description': { n: 1, last: true, description: utf8('x') },
    'answers a call without a receipt': { n: 1, last: true },
    'sends a receipt that is not the last word': { n: 1, last: false, receipt: utf8('x') },
    'refuses and goes on': { n: 1, last: false, status: 1 },
  }
  for (const [name, part] of Object.entries(parts)) {
    it(name, async () => {
      const { far, caller, aborted } = await connectFake()
      const call = assert.rejects(caller.call(utf8('x'), forever), { code: 'CALLS_UNASKED' })
      await far.receive(Request)
      await far.send(Response, part)
      await call
      assert.equal(await caller.closed, aborted())
    })
  }

  it('describes itself without end', async () => {
    const { far, caller } = await connectFake()
    const description = assert.rejects(caller.describe(forever), { code: 'CALLS_UNASKED' })
    await far.receive(Request)
    const chunk = new Uint8Array(BOUNDS.maxChunkBytes)
    const pour = async (): Promise<void> => {
      for (let i = 0; i < 5; i++) {
        await far.send(Response, { n: 1, last: false, description: chunk })
      }
    }
    // It is cut off while it still speaks, or right after.
    await Promise.allSettled([pour()])
    await description
  })

  it('gives more rows than were asked for', async () => {
    const { far, caller } = await connectFake()
    const rows = assert.rejects(caller.why(undefined, 1, forever), { code: 'CALLS_UNASKED' })
    await far.receive(Request)
    const row = { call: utf8('c'), receipt: utf8('r') }
    for (let i = 0; i < 2; i++) await far.send(Response, { n: 1, last: false, row })
    await rows
  })

  it('describes itself in what is no text', async () => {
    const { far, caller } = await connectFake()
    const description = assert.rejects(caller.describe(forever), { code: 'CALLS_UNASKED' })
    await far.receive(Request)
    await far.send(Response, { n: 1, last: true, description: Uint8Array.of(0xff) })
    await description
  })

  it('gives a number that this version does not know', async () => {
    const { far, caller } = await connectFake()
    const call = assert.rejects(caller.call(utf8('x'), forever), { code: 'CALLS_FAILED' })
    await far.receive(Request)
    await far.send(Response, { n: 1, last: true, status: 200 })
    await call
  })
})
