import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { ristretto255 } from '@noble/curves/ed25519.js'
import fc from 'fast-check'

import {
  admit,
  decodeQr,
  encodeQr,
  isDeviceName,
  join,
  PAIRING,
  PAYLOAD,
  type PairingError,
} from '../../protocols/pairing/index.ts'
import * as messages from '../../protocols/pairing/messages.ts'
import { openChannel, WireError } from '../../protocols/wire/index.ts'
import { channelPair } from '../helpers/channels.ts'
import { virtualClock } from '../helpers/clock.ts'
import {
  CANDIDATE_KEY,
  candidateOf,
  codesOf,
  HOME,
  meet,
  MEMBER_KEY,
  memberOf,
  MESSAGES,
  onEnd,
  OPS,
  OTHER_KEY,
  STEPS,
  testWindow,
  wrongSecret,
} from '../helpers/pairing.ts'

const BASE_POINT = Uint8Array.from(ristretto255.Point.BASE.toBytes())

const ALL = STEPS.map((name) => [name, MESSAGES[name]] as const)

describe('pairing with the right code', () => {
  it('gives the candidate the home and the member its name', async () => {
    const window = testWindow()
    const member = memberOf(window)
    const candidate = candidateOf(window)
    const { admitted, joined } = await meet(member, candidate)
    assert.deepEqual(admitted, {
      status: 'fulfilled',
      value: { candidateKey: CANDIDATE_KEY, name: 'Balcony' },
    })
    assert.deepEqual(joined, {
      status: 'fulfilled',
      value: { home: HOME, intent: 'join', role: 'sensor', memberKey: MEMBER_KEY },
    })
    assert.deepEqual(member.granted, ['Balcony'])
    assert.deepEqual(candidate.accepted, [[OPS, HOME, 'sensor', MEMBER_KEY]])
    assert.equal(window.state, 'used')
  })

  it('works with a scanned QR code, and with no other device than the scanned one', async () => {
    const window = testWindow()
    const ticket = decodeQr(
      encodeQr({
        key: CANDIDATE_KEY,
        secret: window.qrSecret,
        discriminator: window.code.discriminator,
        addresses: [],
      }),
    )
    const secret = { kind: 'qr', ticket } as const
    const [a, b] = await channelPair(PAIRING)
    await assert.rejects(admit(a.channel, memberOf(window, { secret, candidateKey: OTHER_KEY })), {
      code: 'PAIRING_WRONG_PEER',
    })
    a.stream.abort(new Error('refused'))
    await assert.rejects(b.channel.receive(messages.Opening), 'nothing was sent')
    assert.equal(window.triesLeft, 5)
    assert.deepEqual(codesOf(await meet(memberOf(window, { secret }), candidateOf(window))), [
      'done',
      'done',
    ])
  })

  it('does not take the code for the secret of the QR code', async () => {
    const window = testWindow()
    const ticket = {
      key: CANDIDATE_KEY,
      secret: new Uint8Array(16),
      discriminator: '00',
      addresses: [],
    }
    const member = memberOf(window, { secret: { kind: 'qr', ticket } })
    assert.deepEqual(codesOf(await meet(member, candidateOf(window))), [
      'PAIRING_CODE_MISMATCH',
      'PAIRING_CODE_MISMATCH',
    ])
  })

  it('carries as many ops of full size as a home may have', async () => {
    const ops = Array.from({ length: PAYLOAD.maxOps }, (_, i) =>
      new Uint8Array(PAYLOAD.maxOpBytes).fill(i % 251),
    )
    const window = testWindow()
    const candidate = candidateOf(window)
    const outcome = await meet(memberOf(window, { makeGrant: async () => ops }), candidate)
    assert.deepEqual(codesOf(outcome), ['done', 'done'])
    const [got] = candidate.accepted[0] ?? []
    assert.equal(got?.length, ops.length)
    assert.ok(
      got?.every((op, i) => op.length === 4096 && op[0] === i % 251 && op[4095] === i % 251),
    )
  })

  it('carries many small ops and none at all', async () => {
    for (const count of [0, 1, 511, 512, 513, 5000]) {
      const ops = Array.from({ length: count }, (_, i) => Uint8Array.of(i % 256, i >> 8))
      const window = testWindow()
      const candidate = candidateOf(window)
      await meet(memberOf(window, { makeGrant: async () => ops }), candidate)
      assert.deepEqual(candidate.accepted[0]?.[0], ops)
    }
  })

  it('refuses to send more than the candidate takes', async () => {
    for (const ops of [
      Array.from({ length: PAYLOAD.maxOps + 1 }, () => Uint8Array.of(1)),
      [new Uint8Array(PAYLOAD.maxOpBytes + 1)],
    ]) {
      const window = testWindow()
      const member = memberOf(window, { makeGrant: async () => ops })
      assert.deepEqual(codesOf(await meet(member, candidateOf(window))), [
        'PAIRING_TOO_LARGE',
        'PAIRING_INTERRUPTED',
      ])
    }
  })
})

describe('what each side is told', () => {
  it('the candidate knows the tries left after a wrong code, the member only that it differs', async () => {
    const window = testWindow()
    const member = memberOf(window, { secret: wrongSecret(window) })
    const { admitted, joined } = await meet(member, candidateOf(window))
    assert.equal((joined as PromiseRejectedResult).reason.code, 'PAIRING_CODE_MISMATCH')
    assert.equal(((joined as PromiseRejectedResult).reason as PairingError).triesLeft, 4)
    assert.equal((admitted as PromiseRejectedResult).reason.code, 'PAIRING_CODE_MISMATCH')
    assert.equal(((admitted as PromiseRejectedResult).reason as PairingError).triesLeft, undefined)
    assert.deepEqual(member.granted, [])
  })

  it('both are told where the candidate refuses what it got', async () => {
    const window = testWindow()
    const refusal = new Error('genesis is not the home')
    const candidate = candidateOf(window, { accept: () => Promise.reject(refusal) })
    const { admitted, joined } = await meet(memberOf(window), candidate)
    assert.deepEqual(codesOf({ admitted, joined }), ['PAIRING_REFUSED', 'PAIRING_REFUSED'])
    assert.equal((joined as PromiseRejectedResult).reason.cause, refusal)
  })

  it('the candidate hears of nothing where the grant cannot be made', async () => {
    const window = testWindow()
    const member = memberOf(window, { makeGrant: () => Promise.reject(new Error('disk full')) })
    const candidate = candidateOf(window)
    assert.deepEqual(codesOf(await meet(member, candidate)), ['disk full', 'PAIRING_INTERRUPTED'])
    assert.deepEqual(candidate.accepted, [])
  })

  it('the candidate has joined, and says so, where only the acknowledgement is lost', async () => {
    const window = testWindow()
    const [a, b] = await channelPair(PAIRING)
    const candidate = candidateOf(window, {
      accept: async () => a.stream.abort(new Error('the cable was pulled')),
    })
    const [admitted, joined] = await Promise.allSettled([
      onEnd(a, (channel) => admit(channel, memberOf(window))),
      onEnd(b, (channel) => join(channel, candidate)),
    ])
    assert.deepEqual(codesOf({ admitted, joined }), ['PAIRING_NO_ACK', 'done'])
  })

  it('a device that calls itself what a terminal cannot show does not begin', async () => {
    for (const name of ['', 'a\u001b[2J', 'line\nline', 'a\u202eb', 'x'.repeat(65), '\ud800']) {
      assert.equal(isDeviceName(name), false)
      const window = testWindow()
      const outcome = await meet(memberOf(window), candidateOf(window, { name }))
      assert.deepEqual(codesOf(outcome), ['PAIRING_CLOSED', 'not a device name'])
      assert.equal(window.state, 'open')
    }
    assert.equal(isDeviceName('Küche 🌱'), true)
  })
})

describe('a peer that is silent, late or loud', () => {
  it('is waited for no longer than the deadline, whichever message is due', async () => {
    const clock = virtualClock()
    const [, b] = await channelPair(PAIRING, clock)
    const waiting = assert.rejects(join(b.channel, candidateOf(testWindow())), {
      code: 'WIRE_TOO_SLOW',
    })
    await clock.advance(PAIRING.messageDeadlineMs)
    await waiting
  })

  it('costs a try once it has sent a share and then nothing', async () => {
    const clock = virtualClock()
    const window = testWindow()
    const [a, b] = await channelPair(PAIRING, clock)
    const waiting = assert.rejects(join(b.channel, candidateOf(window)), { code: 'WIRE_TOO_SLOW' })
    await a.channel.send(messages.Opening, {
      nonce: new Uint8Array(16),
      home: HOME,
      intent: 'join',
      role: 'owner',
      secret: 'code',
    })
    await a.channel.receive(messages.Nonce)
    await a.channel.send(messages.Share, { share: BASE_POINT })
    await a.channel.receive(messages.Answer)
    await clock.advance(PAIRING.messageDeadlineMs)
    await waiting
    assert.equal(window.triesLeft, 4)
  })

  it('leaves the member in doubt where it says nothing once it has the home', async () => {
    const clock = virtualClock()
    const window = testWindow()
    const [a, b] = await channelPair(PAIRING, clock)
    const stored = Promise.withResolvers<void>()
    const candidate = candidateOf(window, {
      accept: () => {
        stored.resolve()
        return Promise.withResolvers<void>().promise
      },
    })
    const admitting = assert.rejects(admit(a.channel, memberOf(window)), {
      code: 'PAIRING_NO_ACK',
    })
    const joining = join(b.channel, candidate)
    await stored.promise
    await clock.advance(PAIRING.messageDeadlineMs)
    await admitting
    joining.catch(() => undefined)
  })

  it('has its stream ended by a frame above the limit', async () => {
    const [a, b] = await channelPair(PAIRING)
    const loud = openChannel(
      a.stream,
      { ...PAIRING, maxFrameBytes: 2 ** 20 },
      virtualClock(),
      new AbortController().signal,
    )
    const encode = (): Uint8Array => new Uint8Array(PAIRING.maxFrameBytes + 1)
    const blob = { encode, encodePieces: () => [encode()] } as never
    const refused = assert.rejects(join(b.channel, candidateOf(testWindow())), {
      code: 'WIRE_FRAME_TOO_LARGE',
    })
    await loud.send(blob, undefined)
    await refused
    assert.notEqual(b.stream.status, 'open')
  })
})

describe('hostile bytes', () => {
  it('are refused by every message with a WireError, or are exactly what it would write', () => {
    assert.equal(ALL.length, 8)
    for (const [, message] of ALL) {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
          try {
            assert.deepEqual(message.encode(message.decode(bytes)), Uint8Array.from(bytes))
          } catch (error) {
            if (!(error instanceof WireError)) throw error
          }
        }),
      )
    }
  })

  it('made by changing one byte of a true message decode to another value or not at all', () => {
    const tag = new Uint8Array(32).fill(7)
    const truth: Record<string, unknown> = {
      Opening: {
        nonce: new Uint8Array(16),
        home: HOME,
        intent: 'join',
        role: 'sensor',
        secret: 'code',
      },
      Nonce: { nonce: new Uint8Array(16) },
      Share: { share: tag },
      Answer: { share: tag, tag },
      Proof: { tag },
      Introduction: { status: 0, name: 'Balcony', mac: tag },
      Payload: { ops: [...OPS], mac: tag },
      Ack: { status: 0, mac: tag },
    }
    for (const [name, message] of ALL) {
      const sound = message.encode(truth[name])
      fc.assert(
        fc.property(fc.nat(sound.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
          const changed = sound.map((byte, i) => (i === at ? byte ^ mask : byte))
          try {
            assert.notDeepEqual(message.decode(changed), truth[name])
          } catch (error) {
            if (!(error instanceof WireError)) throw error
          }
        }),
      )
    }
  })
})
