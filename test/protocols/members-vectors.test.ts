import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  Batch,
  createOpSet,
  createRecoveryKit,
  Have,
  MembersError,
  openOp,
  parseRecoveryKit,
  Payload,
  reduce,
} from '../../protocols/members/index.ts'
import { fromHex, toHex, WireError, type Message } from '../../protocols/wire/index.ts'
import { genesisOf, grantBody, rawOp, setOf, verifier } from '../helpers/members.ts'

interface Vectors {
  readonly messages: readonly { name: string; message: string; value: unknown; hex: string }[]
  readonly invalid: readonly { name: string; message: string; hex: string; code: string }[]
  readonly runs: readonly {
    name: string
    home: string
    ops: readonly string[]
    state: unknown
  }[]
  readonly kits: readonly { secret: string; text: string; key: string }[]
}

const vectors = JSON.parse(
  readFileSync(new URL('../../protocols/members/vectors.json', import.meta.url), 'utf8'),
) as Vectors

const MESSAGES = new Map<string, Message<unknown>>(
  [Payload, Have, Batch].map((one) => [one.name, one as Message<unknown>]),
)

function messageNamed(name: string): Message<unknown> {
  const found = MESSAGES.get(name)
  assert.ok(found, name)
  return found
}

/** Bytes as `0x…`, as they are in the vectors. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return `0x${toHex(value)}`
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
}

function revive(value: unknown): unknown {
  if (typeof value === 'string' && value.startsWith('0x')) return fromHex(value.slice(2))
  if (Array.isArray(value)) return value.map(revive)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item)]))
}

const genesis = genesisOf()
const set = setOf(genesis)
const signed = rawOp(set, { by: 'ann', content: grantBody('bob', 'owner') })

describe('the vectors of members', () => {
  it('have every type of op and every message', () => {
    const types = vectors.messages.map(({ value }) => (value as { type?: string }).type)
    assert.equal(new Set(types.filter((type) => type !== undefined)).size, 9)
    assert.deepEqual(
      new Set(vectors.messages.map(({ message }) => message)),
      new Set(MESSAGES.keys()),
    )
    assert.ok(vectors.invalid.length >= 12)
  })

  for (const { name, message, value, hex } of vectors.messages) {
    it(`encode and decode: ${name}`, () => {
      assert.equal(toHex(messageNamed(message).encode(revive(value))), hex)
      assert.deepEqual(plain(messageNamed(message).decode(fromHex(hex))), value)
    })
  }

  for (const { name, message, hex, code } of vectors.invalid) {
    it(`refuse: ${name}`, () => {
      assert.throws(() => messageNamed(message).decode(fromHex(hex)), { code })
    })
  }

  for (const { name, home, ops, state } of vectors.runs) {
    it(`play: ${name}`, () => {
      const played = createOpSet(fromHex(home), verifier)
      for (const hex of ops) assert.equal(played.add(fromHex(hex)).status, 'added')
      const { devices, removed, hash, heads, epoch, name: homeName } = reduce(played)
      const found = {
        name: homeName,
        epoch,
        hash,
        heads,
        devices: [...devices.values()].map(({ key, name: called, role }) => [key, called, role]),
        removed: [...removed.values()].map(({ key, reason }) => [key, reason]),
      }
      assert.deepEqual(plain(found), state)
    })
  }

  for (const { secret, text, key } of vectors.kits) {
    it(`make the kit ${text.slice(0, 4)}`, () => {
      assert.equal(createRecoveryKit({ bytes: () => fromHex(secret) }).text, text)
      assert.equal(toHex(parseRecoveryKit(text).signer.key), key)
    })
  }
})

describe('hostile bytes', () => {
  it('are decoded only where they are exactly what encoding writes', () => {
    const seeds = vectors.messages.map(({ message, hex }) => ({ message, bytes: fromHex(hex) }))
    let refused = 0
    fc.assert(
      fc.property(fc.constantFrom(...seeds), fc.nat(), fc.nat(255), (seed, at, byte) => {
        const bytes = seed.bytes.slice()
        bytes[at % bytes.length] = byte
        const message = messageNamed(seed.message)
        try {
          assert.deepEqual(message.encode(message.decode(bytes)), bytes)
        } catch (error) {
          assert.ok(error instanceof WireError, String(error))
          refused++
        }
      }),
      { numRuns: 1500 },
    )
    assert.ok(refused > 100)
  })

  it('of an op are refused with a coded error, whichever byte differs', () => {
    for (let at = 0; at < signed.bytes.length; at++) {
      const bytes = signed.bytes.slice()
      bytes[at] = (bytes[at] ?? 0) ^ 1
      assert.throws(() => openOp(bytes, genesis.id, verifier), MembersError, `byte ${at}`)
    }
    for (const length of [0, 1, 50, signed.bytes.length - 1]) {
      assert.throws(() => openOp(signed.bytes.slice(0, length), genesis.id, verifier), MembersError)
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        assert.throws(() => openOp(bytes, genesis.id, verifier), MembersError)
      }),
    )
  })

  it('of an op name the reason: signature, home, size, or a second genesis', () => {
    const forged = signed.bytes.slice()
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
    const code = (bytes: Uint8Array, home = genesis.id): unknown => {
      try {
        return openOp(bytes, home, verifier).hex
      } catch (error) {
        return (error as MembersError).code
      }
    }
    assert.equal(code(signed.bytes), signed.hex)
    assert.equal(code(forged), 'MEMBERS_BAD_SIGNATURE')
    assert.equal(code(signed.bytes, signed.id), 'MEMBERS_WRONG_HOME')
    assert.equal(code(genesisOf('mallory').bytes), 'MEMBERS_WRONG_HOME')
    assert.equal(code(new Uint8Array(4097)), 'MEMBERS_BAD_OP')
  })
})
