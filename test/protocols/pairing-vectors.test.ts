import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'

import {
  decodeQr,
  openWindow,
  type PairingIntent,
  type PairingRole,
  type PairingSecret,
  parseCode,
} from '../../protocols/pairing/index.ts'
import { sessionKey, startCpace } from '../../protocols/pairing/cpace.ts'
import { QrDocument } from '../../protocols/pairing/qr.ts'
import { cpaceInput, secretString } from '../../protocols/pairing/transcript.ts'
import { Nonce, Opening } from '../../protocols/pairing/messages.ts'
import { fromHex, type Message, toHex, utf8 } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import {
  candidateOf,
  codesOf,
  meetThrough,
  memberOf,
  memoryStore,
  MESSAGES,
  scriptedRandom,
  STEPS,
} from '../helpers/pairing.ts'

interface Run {
  readonly name: string
  readonly memberKey: string
  readonly candidateKey: string
  readonly home: string
  readonly intent: PairingIntent
  readonly role: PairingRole
  readonly secret: 'code' | 'qr'
  readonly code: string
  readonly qr: string
  readonly candidateName: string
  readonly memberRandom: readonly string[]
  readonly candidateRandom: readonly string[]
  readonly ops: readonly string[]
  readonly prs: string
  readonly sid: string
  readonly ci: string
  readonly ya: string
  readonly yb: string
  readonly k: string
  readonly isk: string
  readonly frames: readonly string[]
}

interface Vectors {
  readonly messages: readonly { name: string; message: string; value: unknown; hex: string }[]
  readonly invalid: readonly { name: string; message: string; hex: string; code: string }[]
  readonly runs: readonly Run[]
}

const FILE = new URL('../../protocols/pairing/vectors.json', import.meta.url)
const vectors = JSON.parse(readFileSync(FILE, 'utf8')) as Vectors
const KNOWN: Readonly<Record<string, Message<unknown>>> = {
  ...MESSAGES,
  QrDocument: QrDocument as Message<unknown>,
}

function messageNamed(name: string): Message<unknown> {
  const found = KNOWN[name]
  assert.ok(found, name)
  return found
}

/** Texts `hex:…` stand for byte strings. */
function revive(value: unknown): unknown {
  if (typeof value === 'string') return value.startsWith('hex:') ? bytesOf(value) : value
  if (Array.isArray(value)) return value.map(revive)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item)]))
}

function bytesOf(text: string): Uint8Array {
  assert.ok(text.startsWith('hex:'), text)
  return fromHex(text.slice(4))
}

describe('the vectors of pairing', () => {
  it('hold every message, and what no message may be', () => {
    const covered = new Set(vectors.messages.map(({ message }) => message))
    assert.deepEqual([...covered].toSorted(), [...STEPS, 'QrDocument'].toSorted())
    assert.ok(vectors.invalid.length >= 30)
    assert.equal(vectors.runs.length, 2)
  })

  for (const { name, message, value, hex } of vectors.messages) {
    it(`${name}: encodes and decodes`, () => {
      const type = messageNamed(message)
      assert.equal(toHex(type.encode(revive(value))), hex)
      assert.deepEqual(type.decode(fromHex(hex)), revive(value))
    })
  }

  for (const { name, message, hex, code } of vectors.invalid) {
    it(`${name}: refused as ${message}`, () => {
      assert.throws(() => messageNamed(message).decode(fromHex(hex)), { code })
    })
  }

  for (const run of vectors.runs) {
    it(`${run.name}: gives every frame of the run`, async () => {
      const { discriminator, digits } = parseCode(run.code)
      const ticket = decodeQr(run.qr)
      assert.equal(ticket.discriminator, discriminator)
      const window = openWindow({
        clock: virtualClock(),
        store: memoryStore(),
        random: scriptedRandom([
          bigEndian(Number(discriminator)),
          bigEndian(Number(digits)),
          ticket.secret,
        ]),
      })
      const keys = { memberKey: bytesOf(run.memberKey), candidateKey: bytesOf(run.candidateKey) }
      const ops = run.ops.map(bytesOf)
      const member = memberOf(window, {
        ...keys,
        home: bytesOf(run.home),
        intent: run.intent,
        role: run.role,
        secret: secretOf(run),
        random: scriptedRandom(run.memberRandom.map(bytesOf)),
        makeGrant: async () => ops,
      })
      const candidate = candidateOf(window, {
        ...keys,
        name: run.candidateName,
        random: scriptedRandom(run.candidateRandom.map(bytesOf)),
      })
      const outcome = await meetThrough(member, candidate)
      assert.deepEqual(codesOf(outcome), ['done', 'done'])
      assert.deepEqual(outcome.frames.map(toHex), run.frames)
      assert.deepEqual(candidate.accepted, [[ops, bytesOf(run.home), run.role, keys.memberKey]])
    })

    it(`${run.name}: gives every value on the way to the session key`, () => {
      const [first, second] = run.frames.map(fromHex)
      assert.ok(first && second)
      const meeting = {
        memberKey: bytesOf(run.memberKey),
        candidateKey: bytesOf(run.candidateKey),
        opening: Opening.decode(first),
        nonce: Nonce.decode(second).nonce,
      }
      const input = cpaceInput(meeting, secretString(secretOf(run)))
      assert.deepEqual([input.prs, input.sid, input.ci], [run.prs, run.sid, run.ci].map(bytesOf))
      const [ya, yb] = [run.memberRandom[1], run.candidateRandom[1]].map((entropy) =>
        startCpace(input, bytesOf(entropy ?? '')),
      )
      assert.ok(ya && yb)
      assert.deepEqual([ya.share, yb.share], [run.ya, run.yb].map(bytesOf))
      const k = ya.agree(yb.share)
      assert.deepEqual([k, yb.agree(ya.share)], [bytesOf(run.k), bytesOf(run.k)])
      const shares = {
        ya: ya.share,
        ada: utf8('kith-pair-v1 member'),
        yb: yb.share,
        adb: utf8('kith-pair-v1 candidate'),
      }
      assert.deepEqual(sessionKey(input.sid, k, shares), bytesOf(run.isk))
    })
  }
})

function secretOf(run: Run): PairingSecret {
  return run.secret === 'code'
    ? { kind: 'code', code: parseCode(run.code) }
    : { kind: 'qr', ticket: decodeQr(run.qr) }
}

function bigEndian(value: number): Uint8Array {
  return Uint8Array.from([24, 16, 8, 0], (shift) => (value >>> shift) & 255)
}
