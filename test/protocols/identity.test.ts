import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { describe, it } from 'node:test'

import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import * as cbor2 from 'cbor2'
import fc from 'fast-check'

import {
  createVerifier,
  fingerprintOf,
  idFromText,
  IdentityError,
  idText,
  keyOfPeerId,
  NO_HOME,
  open,
  peerIdBytes,
  peerIdOf,
  reopen,
  requireTrustableKey,
  seal,
  signerFromSeed,
  type DocumentKind,
} from '../../protocols/identity/index.ts'
import { concatBytes, fromHex, toHex, utf8, WireError } from '../../protocols/wire/index.ts'
import { seededRandom } from '../helpers/random.ts'

interface Vectors {
  readonly home: string
  readonly messages: readonly {
    name: string
    value: { seed: string; kind: DocumentKind; home: string; payload: string }
    hex: string
    id: string
    signer: string
  }[]
  readonly invalid: readonly { name: string; hex: string; code: string }[]
  readonly names: readonly { key: string; peerId: string; fingerprint: string; id: string }[]
}

/** What is used of @ldclabs/cose-ts, whose own types do not compile under nodenext. */
interface CoseLibrary {
  readonly Sign1Message: {
    new (payload: Uint8Array, header: object): { toBytes(key: object, aad: Uint8Array): Uint8Array }
    fromBytes(key: object, bytes: Uint8Array, aad: Uint8Array): { readonly payload: Uint8Array }
  }
  readonly Ed25519Key: {
    fromPublic(key: Uint8Array): object
    fromSecret(seed: Uint8Array): object
  }
  readonly Header: new () => { setParam(label: number, value: unknown): void }
}

const vectors = JSON.parse(
  readFileSync(new URL('../../protocols/identity/vectors.json', import.meta.url), 'utf8'),
) as Vectors

const HOME = fromHex(vectors.home)
const CONTEXT = { kind: 'member-op', home: HOME } as const
const signer = signerFromSeed(seededRandom('identity').bytes(32))
const verifier = createVerifier()

/** RFC 8032 section 7.1, tests 1 to 3: seed, public key, message, signature. */
const RFC_8032 = [
  [
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    '',
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  ],
  [
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    '72',
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  ],
  [
    'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    'af82',
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  ],
] as const

/** Order of Ed25519's group (RFC 8032 section 5.1). */
const L = 2n ** 252n + 27742317777372353535851937790883648493n

/** The eight points of small order, and other spellings of the same. */
const SMALL_ORDER = [
  `01${'00'.repeat(31)}`,
  `ec${'ff'.repeat(30)}7f`,
  '00'.repeat(32),
  `${'00'.repeat(31)}80`,
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  `01${'00'.repeat(30)}80`,
  `ec${'ff'.repeat(31)}`,
  `ed${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(31)}`,
  `ee${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(31)}`,
]

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof IdentityError || error instanceof WireError, String(error))
    return error.code
  }
  return 'accepted'
}

/** A 64-byte signature with its second half, little-endian, raised by `add`. */
function raised(signature: Uint8Array, add: bigint): Uint8Array {
  const s = BigInt(`0x${toHex(signature.slice(32).toReversed())}`) + add
  const half = fromHex(s.toString(16).padStart(64, '0')).toReversed()
  return concatBytes(signature.slice(0, 32), half)
}

describe('names', () => {
  for (const { key, peerId, fingerprint, id } of vectors.names) {
    it(`of ${fingerprint} are those of its key`, () => {
      assert.equal(peerIdOf(fromHex(key)), peerId)
      assert.equal(toHex(keyOfPeerId(peerId)), key)
      assert.equal(fingerprintOf(fromHex(key)), fingerprint)
      assert.equal(idText(fromHex(key)), id)
      assert.equal(toHex(idFromText(id)), key)
    })
  }

  it('are libp2p’s own for the same key', () => {
    for (let i = 0; i < 20; i++) {
      const { key } = signerFromSeed(seededRandom(`peer ${i}`).bytes(32))
      const theirs = peerIdFromPublicKey(publicKeyFromRaw(key))
      assert.equal(peerIdOf(key), theirs.toString())
      assert.deepEqual(peerIdBytes(key), theirs.toMultihash().bytes)
    }
  })

  it('are refused in any other spelling', () => {
    const peerId = peerIdOf(signer.key)
    const rsa = 'QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG'
    for (const wrong of [
      '',
      '1',
      rsa,
      `1${peerId}`,
      peerId.slice(1),
      `${peerId}1`,
      'not base58 0OIl',
    ]) {
      assert.equal(
        codeOf(() => keyOfPeerId(wrong)),
        'IDENTITY_BAD_PEER_ID',
        wrong,
      )
    }
    const id = idText(signer.key)
    for (const wrong of ['', 'b', id.slice(1), id.toUpperCase(), `${id}a`, id.slice(0, -1)]) {
      assert.equal(
        codeOf(() => idFromText(wrong)),
        'IDENTITY_BAD_PEER_ID',
        wrong,
      )
    }
    assert.equal(
      codeOf(() => peerIdOf(signer.key.slice(1))),
      'IDENTITY_BAD_KEY',
    )
  })
})

describe('Ed25519', () => {
  for (const [seed, key, message, signature] of RFC_8032) {
    it(`signs and verifies RFC 8032 for ${key.slice(0, 8)}`, () => {
      const device = signerFromSeed(fromHex(seed))
      assert.equal(toHex(device.key), key)
      assert.equal(toHex(device.sign(fromHex(message))), signature)
      assert.ok(verifier.verify(fromHex(key), fromHex(message), fromHex(signature)))
    })
  }

  it('has one signature for one message: not the same with the order added', () => {
    const message = utf8('one')
    const signature = signer.sign(message)
    assert.ok(verifier.verify(signer.key, message, raised(signature, 0n)))
    assert.ok(!verifier.verify(signer.key, message, raised(signature, L)))
    assert.ok(!verifier.verify(signer.key, message, raised(signature, 2n * L)))
    assert.ok(!verifier.verify(signer.key, message, signature.slice(0, 63)))
    assert.ok(!verifier.verify(signer.key, message, concatBytes(signature, Uint8Array.of(0))))
  })

  it('trusts no key of small order, and no signature under one', () => {
    const identity = fromHex(`01${'00'.repeat(31)}`)
    for (const hex of SMALL_ORDER) {
      const key = fromHex(hex)
      assert.equal(
        codeOf(() => requireTrustableKey(key)),
        'IDENTITY_BAD_KEY',
        hex,
      )
      assert.ok(!verifier.verify(key, utf8('any'), concatBytes(identity, new Uint8Array(32))), hex)
      assert.ok(!verifier.verify(key, utf8('any'), concatBytes(key, new Uint8Array(32))), hex)
    }
    requireTrustableKey(signer.key)
  })

  it('trusts no bytes that are not a point', () => {
    for (const wrong of [new Uint8Array(0), signer.key.slice(1), `02${'00'.repeat(31)}`]) {
      const key = typeof wrong === 'string' ? fromHex(wrong) : wrong
      assert.equal(
        codeOf(() => requireTrustableKey(key)),
        'IDENTITY_BAD_KEY',
      )
      assert.ok(!verifier.verify(key, utf8('any'), new Uint8Array(64)))
    }
    assert.equal(
      codeOf(() => signerFromSeed(new Uint8Array(31))),
      'IDENTITY_BAD_KEY',
    )
  })

  it('verifies as before after more keys than it keeps', () => {
    const small = createVerifier(2)
    const devices = [1, 2, 3, 4].map((n) => signerFromSeed(new Uint8Array(32).fill(n)))
    for (let round = 0; round < 3; round++) {
      for (const device of devices) {
        const { key } = device
        assert.ok(small.verify(key, utf8('hello'), device.sign(utf8('hello'))))
        assert.ok(!small.verify(key, utf8('hello'), device.sign(utf8('other'))))
        assert.ok(!small.verify(new Uint8Array(32), utf8('hello'), device.sign(utf8('hello'))))
      }
    }
  })

  // A file of Wycheproof's ed25519_test.json form, for those who have one.
  const corpus = process.env['KITH_WYCHEPROOF_ED25519']
  if (corpus !== undefined) {
    it('agrees with Wycheproof', (t) => {
      const { testGroups } = JSON.parse(readFileSync(corpus, 'utf8')) as {
        testGroups: {
          publicKey: { pk: string }
          tests: { tcId: number; msg: string; sig: string; result: string }[]
        }[]
      }
      let seen = 0
      for (const { publicKey, tests } of testGroups) {
        for (const { tcId, msg, sig, result } of tests) {
          const ok = verifier.verify(fromHex(publicKey.pk), fromHex(msg), fromHex(sig))
          assert.equal(ok, result === 'valid', `case ${tcId}`)
          seen++
        }
      }
      t.diagnostic(`${seen} cases`)
      assert.ok(seen > 100)
    })
  }
})

describe('an envelope', () => {
  for (const { name, value, hex, id, signer: key } of vectors.messages) {
    it(`seals and opens ${name}`, () => {
      const context = { kind: value.kind, home: fromHex(value.home) }
      const sealed = seal(fromHex(value.payload), context, signerFromSeed(fromHex(value.seed)))
      assert.equal(toHex(sealed.bytes), hex)
      const opened = open(fromHex(hex), context, verifier, 4096)
      assert.equal(toHex(opened.payload), value.payload)
      assert.equal(toHex(opened.signer), key)
      assert.equal(toHex(opened.id), id)
      assert.deepEqual(opened.id, sealed.id)
      assert.deepEqual(reopen(fromHex(hex), context, 4096), opened)
    })
  }

  for (const { name, hex, code } of vectors.invalid) {
    it(`refuses ${name}`, () => {
      assert.equal(
        codeOf(() => open(fromHex(hex), CONTEXT, verifier, 4096)),
        code,
      )
    })
  }

  const payload = utf8('what was signed')
  const sealed = seal(payload, CONTEXT, signer)

  it('is refused with any one bit changed', () => {
    let flips = 0
    for (let at = 0; at < sealed.bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const changed = sealed.bytes.slice()
        changed[at] = (changed[at] ?? 0) ^ (1 << bit)
        const code = codeOf(() => open(changed, CONTEXT, verifier, 4096))
        assert.match(code, /^(IDENTITY|WIRE)_/, `bit ${bit} of byte ${at}`)
        flips++
      }
    }
    assert.equal(flips, sealed.bytes.length * 8)
  })

  it('of one kind, home or signer is not one of another', () => {
    const other = { kind: 'call', home: HOME } as const
    assert.equal(
      codeOf(() => open(sealed.bytes, other, verifier, 4096)),
      'IDENTITY_BAD_ENVELOPE',
    )
    for (const home of [
      NO_HOME,
      Uint8Array.from(HOME, (byte, i) => (i === 31 ? byte ^ 1 : byte)),
    ]) {
      assert.equal(
        codeOf(() => open(sealed.bytes, { ...CONTEXT, home }, verifier, 4096)),
        'IDENTITY_BAD_SIGNATURE',
      )
    }
    const ids = vectors.messages.map(({ id }) => id)
    assert.equal(new Set(ids).size, ids.length)
  })

  it('has a home of 32 bytes, so that kind and home cannot run into each other', () => {
    for (const home of [new Uint8Array(0), HOME.slice(1), concatBytes(HOME, HOME)]) {
      assert.equal(
        codeOf(() => seal(payload, { ...CONTEXT, home }, signer)),
        'IDENTITY_BAD_ENVELOPE',
      )
    }
  })

  it('is refused over the size that is asked for, whatever it holds', () => {
    const { length } = sealed.bytes
    assert.equal(
      codeOf(() => open(sealed.bytes, CONTEXT, verifier, length)),
      'accepted',
    )
    assert.equal(
      codeOf(() => open(sealed.bytes, CONTEXT, verifier, length - 1)),
      'WIRE_FRAME_TOO_LARGE',
    )
  })

  it('is never opened out of arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        assert.notEqual(
          codeOf(() => open(bytes, CONTEXT, verifier, 4096)),
          'accepted',
        )
      }),
    )
  })
})

describe('an envelope elsewhere', () => {
  const aad = concatBytes(utf8('kith-telemetry-pack-v1'), HOME)
  const context = { kind: 'telemetry-pack', home: HOME } as const
  const payload = utf8('a pack')

  it('verifies with another CBOR library and WebCrypto', async () => {
    const { bytes, id } = seal(payload, context, signer)
    const [header, unprotected, body, signature] = cbor2.decode<
      [Uint8Array, object, Uint8Array, Uint8Array<ArrayBuffer>]
    >(bytes, cbor2.cdeDecodeOptions)
    assert.equal(Object.keys(unprotected).length, 0)
    const parsed: Map<number, unknown> = cbor2.decode(header, { preferMap: true })
    assert.deepEqual(
      [...parsed],
      [
        [1, -8],
        [4, signer.key],
        [16, 'application/kith-telemetry-pack+cbor'],
      ],
    )
    const signed = Uint8Array.from(
      cbor2.encode(['Signature1', header, aad, body], cbor2.cdeEncodeOptions),
    )
    const key = await crypto.subtle.importKey('raw', Uint8Array.from(signer.key), 'Ed25519', true, [
      'verify',
    ])
    assert.ok(await crypto.subtle.verify('Ed25519', key, signature, signed))
    assert.equal(toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', signed))), toHex(id))
  })

  it('verifies in a COSE library, and we verify that library’s', async () => {
    // Its files import each other without their extensions.
    const hooks = registerHooks({
      resolve: (specifier, from, next) =>
        from.parentURL?.includes('/cose-ts/dist/') === true && /^\.\/[a-z0-9]+$/.test(specifier)
          ? next(`${specifier}.js`, from)
          : next(specifier, from),
    })
    const [{ Sign1Message }, { Ed25519Key }, { Header }] = (await Promise.all([
      import(import.meta.resolve('@ldclabs/cose-ts/sign1')),
      import(import.meta.resolve('@ldclabs/cose-ts/ed25519')),
      import(import.meta.resolve('@ldclabs/cose-ts/header')),
    ])) as [CoseLibrary, CoseLibrary, CoseLibrary]
    hooks.deregister()

    const ours = seal(payload, context, signer)
    const theirKey = Ed25519Key.fromPublic(signer.key)
    assert.deepEqual(Sign1Message.fromBytes(theirKey, ours.bytes, aad).payload, payload)
    assert.throws(() => Sign1Message.fromBytes(theirKey, ours.bytes, aad.slice(1)))

    const header = new Header()
    header.setParam(1, -8)
    header.setParam(4, signer.key)
    header.setParam(16, 'application/kith-telemetry-pack+cbor')
    const secret = Ed25519Key.fromSecret(seededRandom('identity').bytes(32))
    const theirs = new Sign1Message(payload, header).toBytes(secret, aad)
    assert.deepEqual(open(theirs, context, verifier, 4096).payload, payload)
    assert.equal(toHex(theirs), toHex(ours.bytes))
  })
})
