import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { ed25519, ristretto255 } from '@noble/curves/ed25519.js'
import fc from 'fast-check'

import {
  type CpaceInput,
  ENTROPY_BYTES,
  sessionKey,
  startCpace,
} from '../../protocols/pairing/cpace.ts'
import { concatBytes, fromHex, toHex, utf8 } from '../../protocols/wire/index.ts'

/** draft-irtf-cfrg-cpace, test vectors for CPace using group ristretto255 and hash SHA-512. */
const DRAFT = {
  PRS: '50617373776F7264',
  CI: '0B415F696E69746961746F720B425F726573706F6E646572',
  sid: '7E4B4791D6A8EF019B936C79FB7F2C57',
  ya: 'DA3D23700A9E5699258AEF94DC060DFDA5EBB61F02A5EA77FAD53F4FF0976D08',
  ADa: '414461',
  Ya: 'D6BAC480F2C386C394EFC7C47ADB9925DCD2630B64F240C50F8D0EEC482B9157',
  yb: 'D2316B454718C35362D83D69DF6320F38578ED5984651435E2949762D900B80D',
  ADb: '414462',
  Yb: '3EA7E0B19560D7C0B0F5734F63B955286DFA8232B5EBE63324E2D9E7433F7258',
  K: '80B69A8A76457AB6A4D7F887A4BF6B55A2F80AC19C333F917A05FC9887C8B40F',
  ISK_IR:
    'B69EFFBF61B51D56401C0F65601ABE428DE8206FEAAF0E32198896DCAE7B35CD2B38950A39DFD5D4A79164614C2984F7DAA460B588C1E80C3FA2068AF7900447',
}
const DRAFT_POINTS = {
  s: '7CD0E075FA7955BA52C02759A6C90DBBFC10E6D40AEA8D283E407D88CF538A05',
  X: '2C3C6B8C4F3800E7AEF6864025B4ED79BD599117E427C41BD47D93D654B4A51C',
  sX: '7C13645FE790A468F62C39BEB7388E541D8405D1ADE69D1778C5FE3E7F6B600E',
  invalid: [
    '2B3C6B8C4F3800E7AEF6864025B4ED79BD599117E427C41BD47D93D654B4A51C',
    '0000000000000000000000000000000000000000000000000000000000000000',
  ],
}

describe('CPace', () => {
  it("gives the draft's shares, point and session key", () => {
    assertVectors(DRAFT)
  })

  it("gives the draft's product of a point, and refuses its invalid points", () => {
    const side = startCpace(inputOf(DRAFT), scalar(DRAFT_POINTS.s))
    assert.equal(upperHex(side.agree(fromHex(DRAFT_POINTS.X))), DRAFT_POINTS.sX)
    for (const point of DRAFT_POINTS.invalid) {
      assert.throws(() => side.agree(fromHex(point)), { code: 'PAIRING_BAD_SHARE' }, point)
    }
  })

  it('agrees where both sides put in the same, and differs where any input differs', () => {
    const any = fc.uint8Array({ maxLength: 200 })
    const inputs = fc.record({ prs: any, ci: any, sid: any })
    const entropy = fc.uint8Array({ minLength: ENTROPY_BYTES, maxLength: ENTROPY_BYTES })
    fc.assert(
      fc.property(inputs, entropy, entropy, (input, ea, eb) => {
        const a = startCpace(input, ea)
        const b = startCpace(input, eb)
        assert.deepEqual(a.agree(b.share), b.agree(a.share))
        for (const name of ['prs', 'ci', 'sid'] as const) {
          const longer = concatBytes(input[name], Uint8Array.of(0))
          const c = startCpace({ ...input, [name]: longer }, eb)
          assert.notDeepEqual(a.agree(c.share), c.agree(a.share), name)
        }
      }),
      { numRuns: 20 },
    )
  })

  it('refuses every small-order point of the curve underneath, and every point twice encoded', () => {
    const side = startCpace(inputOf(DRAFT), scalar(DRAFT.ya))
    const torsion = ed25519.Point.fromHex(
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    )
    const p = 2n ** 255n - 19n
    let seen = 0
    for (let i = 0; i < 8; i++) {
      const point = torsion.multiplyUnsafe(BigInt(i))
      assert.throws(() => side.agree(point.toBytes()), { code: 'PAIRING_BAD_SHARE' }, `${i} T`)
      seen += 1
    }
    assert.equal(seen, 8)
    const share = ristretto255.Point.BASE.toBytes()
    let value = 0n
    for (const byte of share.toReversed()) value = value * 256n + BigInt(byte)
    for (const other of [p - value, value + p, value + 2n ** 255n]) {
      const bytes = Uint8Array.from({ length: 32 }, (_, i) =>
        Number((other >> BigInt(8 * i)) & 255n),
      )
      assert.throws(() => side.agree(bytes), { code: 'PAIRING_BAD_SHARE' }, String(other))
    }
  })

  it('takes a share of 32 bytes and 64 random bytes only', () => {
    const input = { prs: utf8('a'), ci: utf8('b'), sid: utf8('c') }
    const side = startCpace(input, new Uint8Array(ENTROPY_BYTES).fill(1))
    for (const length of [0, 31, 33, 64]) {
      assert.throws(() => side.agree(new Uint8Array(length)), { code: 'PAIRING_BAD_SHARE' })
    }
    assert.throws(() => startCpace(input, new Uint8Array(32)), RangeError)
  })
})

function assertVectors(vectors: typeof DRAFT): void {
  const input = inputOf(vectors)
  const a = startCpace(input, scalar(vectors.ya))
  const b = startCpace(input, scalar(vectors.yb))
  assert.equal(upperHex(a.share), vectors.Ya)
  assert.equal(upperHex(b.share), vectors.Yb)
  assert.equal(upperHex(a.agree(b.share)), vectors.K)
  assert.equal(upperHex(b.agree(a.share)), vectors.K)
  const shares = {
    ya: a.share,
    ada: fromHex(vectors.ADa),
    yb: b.share,
    adb: fromHex(vectors.ADb),
  }
  assert.equal(upperHex(sessionKey(input.sid, fromHex(vectors.K), shares)), vectors.ISK_IR)
}

function inputOf({ PRS, CI, sid }: typeof DRAFT): CpaceInput {
  return { prs: fromHex(PRS), ci: fromHex(CI), sid: fromHex(sid) }
}

/** A scalar below the group order, as entropy that reduces to it. */
function scalar(hex: string): Uint8Array {
  return concatBytes(fromHex(hex), new Uint8Array(32))
}

function upperHex(bytes: Uint8Array): string {
  return toHex(bytes).toUpperCase()
}
