import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { greet, Hello, HELLO, MAX_HEADS, type HelloMessage } from '../../protocols/hello/index.ts'
import { encodeVarint, fromHex, toHex, WireError } from '../../protocols/wire/index.ts'
import { channelPair } from '../helpers/channels.ts'
import { virtualClock } from '../helpers/clock.ts'

const hash = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)

function hello(changes: Partial<HelloMessage> = {}): HelloMessage {
  return {
    home: hash(1),
    heads: [hash(2)],
    epoch: 3,
    state: hash(4),
    logs: [{ device: hash(5), seq: 6 }],
    power: 'powered',
    version: '0.1.0',
    features: [],
    ...changes,
  }
}

async function exchange(a: HelloMessage, b: HelloMessage) {
  const [left, right] = await channelPair(HELLO)
  return Promise.allSettled([greet(left.channel, a), greet(right.channel, b)])
}

describe('hello', () => {
  it('gives each side what the other said, and that nothing differs', async () => {
    const [a, b] = await exchange(hello({ version: 'a' }), hello({ version: 'b' }))
    assert.ok(a.status === 'fulfilled' && b.status === 'fulfilled')
    assert.equal(a.value.theirs.version, 'b')
    assert.equal(b.value.theirs.version, 'a')
    assert.equal(a.value.differs || b.value.differs, false)
  })

  it('says on both sides that the membership logs differ', async () => {
    for (const heads of [[hash(9)], [hash(2), hash(9)]]) {
      const [a, b] = await exchange(hello(), hello({ heads }))
      assert.ok(a.status === 'fulfilled' && a.value.differs)
      assert.ok(b.status === 'fulfilled' && b.value.differs)
    }
  })

  it('takes a full list of heads for no proof of anything: more heads may have been left out', async () => {
    const heads = (count: number) => Array.from({ length: count }, (_, i) => hash(i))
    for (const [count, differs] of [
      [MAX_HEADS - 1, false],
      [MAX_HEADS, true],
    ] as const) {
      for (const side of await exchange(
        hello({ heads: heads(count) }),
        hello({ heads: heads(count) }),
      )) {
        assert.equal(side.status === 'fulfilled' && side.value.differs, differs)
      }
    }
  })

  it('refuses another home on both sides', async () => {
    for (const side of await exchange(hello(), hello({ home: hash(8) }))) {
      assert.ok(side.status === 'rejected')
      assert.equal((side.reason as { code: string }).code, 'HELLO_WRONG_HOME')
    }
  })

  it('gives up on a silent peer at the deadline', async () => {
    const clock = virtualClock()
    const [left] = await channelPair(HELLO, clock)
    const greeting = assert.rejects(greet(left.channel, hello()), { code: 'WIRE_TOO_SLOW' })
    await clock.advance(HELLO.messageDeadlineMs)
    await greeting
  })

  it('refuses a frame over the limit from its length alone', async () => {
    const [left, right] = await channelPair(HELLO)
    right.stream.send(encodeVarint(HELLO.maxFrameBytes + 1))
    await assert.rejects(greet(left.channel, hello()), { code: 'WIRE_FRAME_TOO_LARGE' })
  })

  it('decodes only what it encodes, and throws nothing but WireError', () => {
    const mutated = fc
      .tuple(fc.nat(400), fc.integer({ min: 1, max: 255 }))
      .map(([at, by]) =>
        Hello.encode(hello()).map((byte, i, all) => (i === at % all.length ? byte ^ by : byte)),
      )
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 400 })), (frame) => {
        try {
          assert.deepEqual(Hello.encode(Hello.decode(frame)), frame)
        } catch (error) {
          assert.ok(error instanceof WireError, String(error))
        }
      }),
    )
  })

  it('matches the vectors both ways', () => {
    const vectors = JSON.parse(
      readFileSync(new URL('../../protocols/hello/vectors.json', import.meta.url), 'utf8'),
    ) as {
      messages: { hex: string; value: Record<string, unknown> }[]
      invalid: { name: string; hex: string; code: string }[]
    }
    assert.ok(vectors.messages.length > 0 && vectors.invalid.length >= 5)
    for (const { hex, value } of vectors.messages) {
      const decoded = Hello.decode(fromHex(hex))
      assert.deepEqual(jsonOf(decoded), value)
      assert.equal(toHex(Hello.encode(decoded)), hex)
    }
    for (const { name, hex, code } of vectors.invalid) {
      assert.throws(() => Hello.decode(fromHex(hex)), { code }, name)
    }
  })
})

function jsonOf(value: unknown): unknown {
  if (value instanceof Uint8Array) return toHex(value)
  if (Array.isArray(value)) return value.map(jsonOf)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, jsonOf(item)]))
}
