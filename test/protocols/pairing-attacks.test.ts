import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { ristretto255 } from '@noble/curves/ed25519.js'

import { admit, type AdmitDeps, join, PAIRING } from '../../protocols/pairing/index.ts'
import {
  Ack,
  Answer,
  Introduction,
  Nonce,
  Opening,
  Payload,
  Proof,
  Share,
} from '../../protocols/pairing/messages.ts'
import { type Channel, concatBytes, type Infer } from '../../protocols/wire/index.ts'
import { channelPair } from '../helpers/channels.ts'
import {
  CANDIDATE_KEY,
  candidateOf,
  changing,
  codeOf,
  codeOfError,
  codesOf,
  HOME,
  meet,
  meetThrough,
  MEMBER_KEY,
  memberOf,
  memoryStore,
  onEnd,
  OTHER_KEY,
  replay,
  testWindow,
  wrongSecret,
} from '../helpers/pairing.ts'
import { seededRandom } from '../helpers/random.ts'

const BASE_POINT = Uint8Array.from(ristretto255.Point.BASE.toBytes())
const OPENING: Infer<typeof Opening> = {
  nonce: new Uint8Array(16),
  home: HOME,
  intent: 'join',
  role: 'sensor',
  secret: 'code',
}
/** p + 1 in little-endian: the identity, which is 0, written as another number. */
const ABOVE_THE_FIELD = concatBytes(
  Uint8Array.of(0xee),
  new Uint8Array(30).fill(0xff),
  Uint8Array.of(0x7f),
)

describe('guessing', () => {
  it('ends after five wrong codes, and the right one comes too late', async () => {
    const window = testWindow()
    for (let guess = 1; guess <= 5; guess++) {
      const member = memberOf(window, { secret: wrongSecret(window, guess) })
      assert.deepEqual(codesOf(await meet(member, candidateOf(window))), [
        'PAIRING_CODE_MISMATCH',
        'PAIRING_CODE_MISMATCH',
      ])
      assert.equal(window.triesLeft, 5 - guess)
    }
    assert.equal(window.state, 'spent')
    assert.deepEqual(codesOf(await meet(memberOf(window), candidateOf(window))), [
      'PAIRING_CLOSED',
      'PAIRING_CLOSED',
    ])
  })

  it('two hundred at once gets five answers', async () => {
    const window = testWindow()
    let answered = 0
    const guess = async (): Promise<void> => {
      const [a, b] = await channelPair(PAIRING)
      const joining = onEnd(b, (channel) => join(channel, candidateOf(window))).then(
        () => 'done',
        codeOfError,
      )
      try {
        await a.channel.send(Opening, OPENING)
        await a.channel.receive(Nonce)
        await a.channel.send(Share, { share: BASE_POINT })
        await a.channel.receive(Answer)
        answered += 1
        await a.channel.send(Proof, { tag: new Uint8Array(32) })
      } catch {
        // Reset: no answer.
      }
      assert.match(await joining, /^PAIRING_(CODE_MISMATCH|CLOSED)$/)
    }
    await Promise.all(Array.from({ length: 200 }, guess))
    assert.equal(answered, 5)
    assert.equal(window.triesLeft, 0)
  })

  it('and leaving before the proof costs the try, which was on disk before the answer', async () => {
    const store = memoryStore()
    const window = testWindow(store)
    const [a, b] = await channelPair(PAIRING)
    const joining = assert.rejects(
      onEnd(b, (channel) => join(channel, candidateOf(window))),
      { code: 'PAIRING_CODE_MISMATCH', triesLeft: 4 },
    )
    await a.channel.send(Opening, OPENING)
    await a.channel.receive(Nonce)
    assert.equal(store.records[0]?.tries, 0)
    await a.channel.send(Share, { share: BASE_POINT })
    await a.channel.receive(Answer)
    assert.equal(store.records[0]?.tries, 1)
    a.stream.abort(new Error('gone'))
    await joining
    assert.equal(window.triesLeft, 4)
  })

  it('is not answered where the try cannot be written down', async () => {
    const store = memoryStore()
    const window = testWindow(store)
    store.save = () => {
      throw new Error('disk full')
    }
    const outcome = await meet(memberOf(window), candidateOf(window))
    assert.deepEqual(codesOf(outcome), ['PAIRING_CLOSED', 'disk full'])
    assert.equal(window.triesLeft, 4)
  })

  it('of a member that answers with a wrong proof is refused though the candidate was honest', async () => {
    const window = testWindow()
    const { joined } = await meetThrough(memberOf(window), candidateOf(window), {
      Proof: changing(Proof, ({ tag }) => ({ tag: flip(tag) })),
    })
    assert.equal(codeOf(joined), 'PAIRING_CODE_MISMATCH')
    assert.equal(window.state, 'open')
  })
})

describe('a man in the middle', () => {
  const RELAYS: readonly [string, Uint8Array, Uint8Array][] = [
    ['between both', OTHER_KEY, OTHER_KEY],
    ['that only the candidate sees', OTHER_KEY, CANDIDATE_KEY],
    ['that only the member sees', MEMBER_KEY, OTHER_KEY],
  ]
  for (const [what, seenByCandidate, seenByMember] of RELAYS) {
    it(`with a key of its own ${what} is refused by both, though it passes every message on`, async () => {
      const window = testWindow()
      const member = memberOf(window, { candidateKey: seenByMember })
      const candidate = candidateOf(window, { memberKey: seenByCandidate })
      assert.deepEqual(codesOf(await meetThrough(member, candidate)), [
        'PAIRING_CODE_MISMATCH',
        'PAIRING_CODE_MISMATCH',
      ])
      assert.deepEqual([member.granted, candidate.accepted], [[], []])
    })
  }

  const CHANGES: readonly [string, Partial<Infer<typeof Opening>>][] = [
    ['home', { home: OTHER_KEY }],
    ['role', { role: 'owner' }],
    ['intent', { intent: 'recover' }],
    ['kind of secret', { secret: 'qr' }],
    ['nonce', { nonce: new Uint8Array(16).fill(9) }],
  ]
  for (const [what, change] of CHANGES) {
    it(`that changes the ${what} in the first message makes the codes differ`, async () => {
      const window = testWindow()
      const member = memberOf(window)
      const outcome = await meetThrough(member, candidateOf(window), {
        Opening: changing(Opening, (opening) => ({ ...opening, ...change })),
      })
      assert.deepEqual(codesOf(outcome), ['PAIRING_CODE_MISMATCH', 'PAIRING_CODE_MISMATCH'])
      assert.deepEqual(member.granted, [])
    })
  }

  const LATER: readonly [string, Parameters<typeof meetThrough>[2], [string, string]][] = [
    [
      'name',
      { Introduction: changing(Introduction, (m) => ({ ...m, name: 'Mallory' })) },
      ['PAIRING_BAD_MAC', 'PAIRING_INTERRUPTED'],
    ],
    [
      'status',
      { Introduction: changing(Introduction, (m) => ({ ...m, status: 1 })) },
      ['PAIRING_BAD_MAC', 'PAIRING_INTERRUPTED'],
    ],
    [
      'ops',
      { Payload: changing(Payload, (m) => ({ ...m, ops: [HOME] })) },
      ['PAIRING_NO_ACK', 'PAIRING_BAD_MAC'],
    ],
    [
      'acknowledgement',
      { Ack: changing(Ack, (m) => ({ ...m, status: 3 })) },
      ['PAIRING_BAD_MAC', 'done'],
    ],
  ]
  for (const [what, changes, codes] of LATER) {
    it(`that changes the ${what} after the proof is found out`, async () => {
      const window = testWindow()
      const candidate = candidateOf(window)
      assert.deepEqual(codesOf(await meetThrough(memberOf(window), candidate, changes)), codes)
      assert.equal(candidate.accepted.length, what === 'acknowledgement' ? 1 : 0)
    })
  }
})

describe('reflection', () => {
  /** A candidate that knows no code, and does with M3 what `answer` says. */
  async function against(
    answer: (share: Uint8Array) => { share: Uint8Array; tag: Uint8Array },
    deps: AdmitDeps,
  ): Promise<string> {
    const [a, b] = await channelPair(PAIRING)
    const admitting = onEnd(a, (channel) => admit(channel, deps)).then(() => 'done', codeOfError)
    await b.channel.receive(Opening)
    await b.channel.send(Nonce, { nonce: new Uint8Array(16) })
    const { share } = await b.channel.receive(Share)
    await b.channel.send(Answer, answer(share))
    const proof = await b.channel.receive(Proof).catch(() => undefined)
    assert.equal(proof, undefined, 'the member tags nothing for a peer that proved nothing')
    return admitting
  }

  it("of the member's own share is refused before any tag is looked at", async () => {
    const member = memberOf(testWindow())
    const echo = (share: Uint8Array) => ({ share, tag: new Uint8Array(32) })
    assert.equal(await against(echo, member), 'PAIRING_BAD_SHARE')
  })

  it("of another run's tags is refused: each direction has its own key", async () => {
    const window = testWindow()
    const [a, b] = await channelPair(PAIRING)
    const joining = onEnd(b, (channel) => join(channel, candidateOf(window))).catch(codeOfError)
    await a.channel.send(Opening, OPENING)
    await a.channel.receive(Nonce)
    await a.channel.send(Share, { share: BASE_POINT })
    const { tag } = await a.channel.receive(Answer)
    await a.channel.send(Proof, { tag })
    assert.equal(await joining, 'PAIRING_CODE_MISMATCH')
  })

  it('to the candidate of its own share is refused', async () => {
    // Two runs with one random source: the share of the first is the share of the second.
    const window = testWindow()
    const shareOf = async (share: Uint8Array): Promise<[Uint8Array | undefined, unknown]> => {
      const [a, b] = await channelPair(PAIRING)
      const candidate = candidateOf(window, { random: seededRandom('twice') })
      const joining = onEnd(b, (channel) => join(channel, candidate)).catch(codeOfError)
      await a.channel.send(Opening, OPENING)
      await a.channel.receive(Nonce)
      await a.channel.send(Share, { share })
      const answer = await a.channel.receive(Answer).catch(() => undefined)
      a.stream.abort(new Error('enough'))
      return [answer?.share, await joining]
    }
    const [own] = await shareOf(BASE_POINT)
    assert.ok(own)
    assert.deepEqual(await shareOf(own), [undefined, 'PAIRING_BAD_SHARE'])
  })
})

describe('points that are none', () => {
  const POINTS: readonly [string, Uint8Array][] = [
    ['the identity', new Uint8Array(32)],
    ['a number that is no point', new Uint8Array(32).fill(0x2b)],
    ['a negative number', Uint8Array.of(1, ...new Uint8Array(31))],
    ['a number above the field', ABOVE_THE_FIELD],
    ['all ones', new Uint8Array(32).fill(0xff)],
  ]
  for (const [what, share] of POINTS) {
    it(`${what}, from a member, costs a try and gets no answer`, async () => {
      const window = testWindow()
      const [a, b] = await channelPair(PAIRING)
      const joining = onEnd(b, (channel) => join(channel, candidateOf(window))).catch(codeOfError)
      await a.channel.send(Opening, OPENING)
      await a.channel.receive(Nonce)
      await a.channel.send(Share, { share })
      await assert.rejects(a.channel.receive(Answer))
      assert.equal(await joining, 'PAIRING_BAD_SHARE')
      assert.equal(window.triesLeft, 4)
    })

    it(`${what}, from a candidate, is refused`, async () => {
      const [a, b] = await channelPair(PAIRING)
      const admitting = onEnd(a, (channel) => admit(channel, memberOf(testWindow()))).catch(
        codeOfError,
      )
      await b.channel.receive(Opening)
      await b.channel.send(Nonce, { nonce: new Uint8Array(16) })
      await b.channel.receive(Share)
      await b.channel.send(Answer, { share, tag: new Uint8Array(32) })
      assert.equal(await admitting, 'PAIRING_BAD_SHARE')
    })
  }
})

describe('one window', () => {
  it('takes one of two owners who both have the code, and tells the other', async () => {
    const window = testWindow()
    const members = ['first', 'second'].map((seed) =>
      memberOf(window, { random: seededRandom(seed), memberKey: MEMBER_KEY }),
    )
    const outcomes = await Promise.all(
      members.map((member, i) =>
        meet(member, candidateOf(window, { random: seededRandom(`candidate ${i}`) })),
      ),
    )
    const codes = outcomes.map((outcome) => codesOf(outcome).join(' '))
    assert.deepEqual(codes.toSorted(), ['PAIRING_CLOSED PAIRING_CLOSED', 'done done'])
    assert.equal(members.flatMap(({ granted }) => granted).length, 1)
    assert.equal(window.triesLeft, 3)
  })

  it('tells a late owner the reason after both have proved the code, so it is no rumour', async () => {
    const window = testWindow()
    const [a, b] = await channelPair(PAIRING)
    const candidate = candidateOf(window)
    const ends = Promise.allSettled([
      onEnd(a, (channel) => admit(channel, memberOf(window))),
      onEnd(b, (channel) =>
        join(
          {
            ...channel,
            receive: async (message) => {
              const value = await channel.receive(message)
              if (message.name === Proof.name) window.close()
              return value
            },
          },
          candidate,
        ),
      ),
    ])
    const [admitted, joined] = await ends
    assert.deepEqual(codesOf({ admitted, joined }), ['PAIRING_CLOSED', 'PAIRING_CLOSED'])
    assert.equal((admitted as PromiseRejectedResult).reason.cause, undefined, 'told, not cut off')
  })

  it('refuses a recorded run played again', async () => {
    const window = testWindow()
    const outcome = await meetThrough(memberOf(window), candidateOf(window))
    assert.deepEqual(codesOf(outcome), ['done', 'done'])
    const recorded = [0, 2, 4].flatMap((i) => outcome.frames[i] ?? [])

    // Played to the same randomness it works, so what refuses it below is the fresh nonce.
    const same = testWindow()
    assert.deepEqual(same.code, window.code)
    const payload = outcome.frames[6] ?? HOME
    assert.equal(codeOf(await replay([...recorded, payload], candidateOf(same))), 'done')

    // The same share too: the nonce alone must be enough.
    const fresh = testWindow()
    const random = seededRandom('candidate')
    const candidate = candidateOf(fresh, {
      random: {
        bytes: (length) => (length === 16 ? flip(random.bytes(16)) : random.bytes(length)),
      },
    })
    assert.equal(codeOf(await replay(recorded, candidate)), 'PAIRING_CODE_MISMATCH')
    assert.equal(fresh.state, 'open')
  })

  it('that is closed answers nothing at all', async () => {
    const window = testWindow()
    window.close()
    const { frames, ...outcome } = await meetThrough(memberOf(window), candidateOf(window))
    assert.deepEqual(codesOf(outcome), ['PAIRING_CLOSED', 'PAIRING_CLOSED'])
    assert.equal(frames.length, 1, 'only what the member sent')
  })

  it('takes no more ops than a home may have, even from a member that proved the code', async () => {
    const window = testWindow()
    const [a, b] = await channelPair(PAIRING)
    const flooding: Channel = {
      ...a.channel,
      async send(message, value) {
        if (message.name === Payload.name) {
          const ops = Array.from({ length: 512 }, () => Uint8Array.of(1))
          for (let i = 0; i < 10; i++) await a.channel.send(Payload, { ops })
        }
        await a.channel.send(message, value)
      },
    }
    const candidate = candidateOf(window)
    const [admitted, joined] = await Promise.allSettled([
      admit(flooding, memberOf(window)),
      onEnd(b, (channel) => join(channel, candidate)),
    ])
    assert.deepEqual(codesOf({ admitted, joined }), ['PAIRING_NO_ACK', 'PAIRING_TOO_LARGE'])
    assert.deepEqual(candidate.accepted, [])
  })

  it('is closed to a home without a name before anything is spent', async () => {
    const window = testWindow()
    const member = memberOf(window, { home: new Uint8Array(32) })
    assert.deepEqual(codesOf(await meet(member, candidateOf(window))), [
      'PAIRING_CLOSED',
      'PAIRING_REFUSED',
    ])
    assert.equal(window.triesLeft, 5)
  })
})

function flip(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte, i) => (i === 0 ? byte ^ 1 : byte))
}
