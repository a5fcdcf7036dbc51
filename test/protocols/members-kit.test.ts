import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { createVerifier } from '../../protocols/identity/index.ts'
import {
  createRecoveryKit,
  isGroup,
  MembersError,
  parseRecoveryKit,
} from '../../protocols/members/index.ts'
import { utf8 } from '../../protocols/wire/index.ts'
import { seededRandom } from '../helpers/random.ts'

const kit = createRecoveryKit(seededRandom('kit'))
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

function refusal(text: string): MembersError {
  try {
    parseRecoveryKit(text)
  } catch (error) {
    assert.ok(error instanceof MembersError)
    assert.equal(error.code, 'MEMBERS_KIT_MISTYPED')
    return error
  }
  return assert.fail(`${text} was taken`)
}

describe('the recovery kit', () => {
  it('is eight groups of four that give the same key back, however they are typed', () => {
    assert.match(kit.text, /^([0-9A-HJKMNP-TV-Z]{4}-){7}[0-9A-HJKMNP-TV-Z]{4}$/)
    const alike = kit.text.replaceAll('0', 'o').replaceAll('1', 'l').toLowerCase()
    for (const text of [
      kit.text,
      alike,
      kit.groups.join(' '),
      ` ${kit.groups.join('')}\n`,
      kit.qrText,
    ]) {
      assert.deepEqual(parseRecoveryKit(text).signer.key, kit.signer.key)
    }
  })

  it('signs as the key that its home names', () => {
    const statement = utf8('statement')
    const signature = parseRecoveryKit(kit.text).signer.sign(statement)
    assert.ok(createVerifier().verify(kit.signer.key, statement, signature))
  })

  it('comes back from its text, whatever the secret', () => {
    fc.assert(
      fc.property(fc.string(), (seed) => {
        const made = createRecoveryKit(seededRandom(seed))
        assert.deepEqual(parseRecoveryKit(made.text).signer.key, made.signer.key)
      }),
      { numRuns: 50 },
    )
  })

  it('names the group of one wrong character, and takes no such text', () => {
    fc.assert(
      fc.property(fc.nat(31), fc.integer({ min: 1, max: 31 }), (at, step) => {
        const all = kit.groups.join('')
        const digit = DIGITS[(DIGITS.indexOf(all.charAt(at)) + step) % 32] ?? ''
        const error = refusal(all.slice(0, at) + digit + all.slice(at + 1))
        assert.equal(error.group, Math.floor(at / 4) + 1)
      }),
      { numRuns: 60 },
    )
  })

  it('names the group of swapped neighbours, a strange letter, and a group too short', () => {
    const all = kit.groups.join('')
    const at = [...Array(31).keys()].find((i) => all[i] !== all[i + 1] && i % 4 === 1) ?? 0
    const swapped = all.slice(0, at) + all.charAt(at + 1) + all.charAt(at) + all.slice(at + 2)
    assert.equal(refusal(swapped).group, Math.floor(at / 4) + 1)
    assert.equal(refusal(kit.text.replace(/.{4}$/, 'UUUU')).group, 8)
    const short = kit.groups.map((group, i) => (i === 2 ? group.slice(1) : group))
    assert.equal(refusal(short.join('-')).group, 3)
  })

  it('refuses anything else without guessing, and never repeats what was typed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 80 }), (text) => {
        assert.doesNotMatch(refusal(text).message, /[0-9A-Z]{4}-[0-9A-Z]{4}/)
      }),
      { numRuns: 50 },
    )
  })

  it('asks a group back', () => {
    assert.equal(isGroup(kit, 3, (kit.groups[2] ?? '').toLowerCase()), true)
    assert.equal(isGroup(kit, 3, kit.groups[3] ?? ''), false)
    assert.throws(() => isGroup(kit, 9, 'AAAA'), RangeError)
  })
})
