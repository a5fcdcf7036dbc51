import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  chooseCandidate,
  decodeQr,
  encodeQr,
  formatCode,
  mismatchText,
  newCode,
  PAIRING_ERRORS,
  PairingError,
  parseCode,
  type PairingSecret,
} from '../../protocols/pairing/index.ts'
import { errorOfStatus } from '../../protocols/pairing/errors.ts'
import { fromHex } from '../../protocols/wire/index.ts'
import { CANDIDATE_KEY, OTHER_KEY, scriptedRandom } from '../helpers/pairing.ts'
import { seededRandom } from '../helpers/random.ts'

const BAD = { code: 'PAIRING_BAD_CODE' }
const digits = (length: number) =>
  fc
    .array(fc.integer({ min: 0, max: 9 }), { minLength: length, maxLength: length })
    .map((d) => d.join(''))
const plain = { noNullPrototype: true }
const code = fc.record({ discriminator: digits(2), digits: digits(8) }, plain)

describe('the code', () => {
  it("has the check digits of Verhoeff's tables", () => {
    for (const shown of ['37-4820-1957-4', '00-0000-0236-9', '99-9999-9999-3', '01-2345-6789-5']) {
      const [discriminator, first, second] = shown.split('-')
      assert.equal(
        formatCode({ discriminator: discriminator ?? '', digits: `${first}${second}` }),
        shown,
      )
    }
  })

  it('is read back as it is shown, with any spaces and dashes or none', () => {
    fc.assert(
      fc.property(
        code,
        fc.constantFrom('', ' ', '-', ' – ', '\u00a0', '‐', '  '),
        (value, mark) => {
          const shown = formatCode(value)
          assert.match(shown, /^\d\d-\d{4}-\d{4}-\d$/)
          assert.deepEqual(parseCode(shown), value)
          assert.deepEqual(parseCode(` ${shown.replaceAll('-', mark)}\n`), value)
        },
      ),
    )
  })

  it('is refused with any one digit wrong and any two neighbours swapped', () => {
    fc.assert(
      fc.property(code, fc.nat(10), fc.integer({ min: 1, max: 9 }), (value, at, by) => {
        const sound = Array.from(formatCode(value).replaceAll('-', ''), Number)
        const typo = sound.with(at, ((sound[at] ?? 0) + by) % 10)
        assert.throws(() => parseCode(typo.join('')), BAD)
        const [left, right] = [sound[at], sound[at + 1]]
        if (left === undefined || right === undefined || left === right) return
        assert.throws(
          () =>
            parseCode(
              sound
                .with(at, right)
                .with(at + 1, left)
                .join(''),
            ),
          BAD,
        )
      }),
    )
  })

  it('is refused where it is too short, too long, or has anything but digits', () => {
    for (const typed of [
      '',
      '37',
      '37-4820-1957',
      '37-4820-1957-44',
      '37-482O-1957-4',
      '٣'.repeat(11),
    ]) {
      assert.throws(() => parseCode(typed), BAD, typed)
    }
    assert.throws(
      () => parseCode(`${formatCode(newCode(seededRandom('a')))}${' '.repeat(99)}`),
      BAD,
    )
  })

  it('draws again rather than favour a digit', () => {
    const above = fromHex('fa56ea00')
    const below = fromHex('fa56e9ff')
    const drawn = newCode(scriptedRandom([above, below, above, above, below]))
    assert.deepEqual(drawn, { discriminator: '99', digits: '99999999' })
  })
})

describe('the QR code', () => {
  const ticket = fc.record(
    {
      key: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      secret: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      discriminator: digits(2),
      addresses: fc.array(fc.string({ maxLength: 50 }), { maxLength: 4 }),
    },
    plain,
  )

  it('is read back as it was written', () => {
    fc.assert(
      fc.property(ticket, (value) => {
        fc.pre(value.addresses.every((a) => a.isWellFormed() && Buffer.byteLength(a) <= 100))
        assert.deepEqual(decodeQr(encodeQr(value)), value)
      }),
    )
  })

  it('is refused unless it is exactly what is written', () => {
    const sound = encodeQr({
      key: CANDIDATE_KEY,
      secret: new Uint8Array(16),
      discriminator: '07',
      addresses: ['/ip6/fe80::1/tcp/4646'],
    })
    assert.match(sound, /^kith:1:[\w-]+$/)
    const bad = [
      '',
      'kith:',
      'kith:1:',
      sound.slice(0, -1),
      `${sound}A`,
      `${sound}=`,
      ` ${sound}`,
      sound.replace('kith:1:', 'kith:2:'),
      `${sound}${'A'.repeat(5000)}`,
      'kith:1:!!!!',
    ]
    for (const scanned of bad) {
      assert.throws(() => decodeQr(scanned), { code: 'PAIRING_BAD_QR' }, scanned.slice(0, 40))
    }
  })

  it('is refused with a PairingError whatever is scanned', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.base64String().map((s) => `kith:1:${s}`),
        ),
        (scanned) => {
          assert.throws(() => decodeQr(scanned), { code: 'PAIRING_BAD_QR' })
        },
      ),
    )
  })
})

describe('choosing a candidate', () => {
  const typed: PairingSecret = { kind: 'code', code: { discriminator: '37', digits: '00000000' } }
  const scanned: PairingSecret = {
    kind: 'qr',
    ticket: { key: CANDIDATE_KEY, secret: new Uint8Array(16), discriminator: '37', addresses: [] },
  }
  const one = { key: CANDIDATE_KEY, addresses: ['/ip6/fe80::1/tcp/1'] }
  const other = { key: OTHER_KEY, addresses: ['/ip6/fe80::2/tcp/1'] }

  it('takes the only one for a code, and the scanned one for a QR code', () => {
    assert.equal(chooseCandidate([one], typed), one)
    assert.equal(chooseCandidate([other, one], scanned), one)
  })

  it('never gives two devices a guess at one code', () => {
    assert.throws(() => chooseCandidate([one, other], typed), { code: 'PAIRING_AMBIGUOUS' })
  })

  it('says so where there is none', () => {
    assert.throws(() => chooseCandidate([], typed), { code: 'PAIRING_NOT_FOUND' })
    assert.throws(() => chooseCandidate([other], scanned), { code: 'PAIRING_NOT_FOUND' })
  })
})

describe('what people read', () => {
  it('counts down the tries, and speaks of interference from the second on', () => {
    assert.equal(mismatchText(1), 'The code did not match. 4 tries left.')
    assert.match(
      mismatchText(2),
      /^The code did not match\. 3 tries left\. .*scan the QR instead\.$/,
    )
    assert.match(mismatchText(4), / 1 try left\. /)
    assert.match(mismatchText(5), / No tries left\. /)
    assert.match(mismatchText(9), / No tries left\. /)
  })

  it('has one status for each error, and an error for each status', () => {
    const entries = Object.entries(PAIRING_ERRORS)
    assert.equal(new Set(entries.map(([, { status }]) => status)).size, entries.length)
    for (const [name, { status, message }] of entries) {
      assert.ok(status > 0 && status < 256)
      const error = errorOfStatus(status)
      assert.ok(error instanceof PairingError)
      assert.deepEqual([error.code, error.status, error.message], [name, status, message])
    }
    assert.equal(errorOfStatus(200).code, 'PAIRING_REFUSED')
  })
})
