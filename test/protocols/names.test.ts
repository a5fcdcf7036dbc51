import assert from 'node:assert/strict'
import { it } from 'node:test'

import { createHome } from '../../protocols/members/index.ts'
import { isDeviceName } from '../../protocols/pairing/index.ts'
import { keyNamed, signerNamed } from '../helpers/members.ts'
import { seededRandom } from '../helpers/random.ts'

function isNameInHome(deviceName: string): boolean {
  try {
    createHome({
      name: 'Oak Road',
      signer: signerNamed('ann'),
      deviceName,
      recoveryKey: keyNamed('kit'),
      random: seededRandom('names'),
      nowMs: 0,
    })
    return true
  } catch {
    return false
  }
}

it('a name with which a device may pair is a name that it may have in the home, and no other', () => {
  const good = ['Küche 🌱', '👨‍👩‍👧 phone', 'ひろ', 'a b', '\u{1fadf} new', '\u{3ffff}']
  const bad = [
    ' a',
    'a ',
    '',
    '\n',
    'a\u200bb',
    'a\u202eb',
    'a\u2066b',
    'a\u00adb',
    'a\u2028b',
    '\u007f',
  ]
  for (const name of good) assert.deepEqual([isDeviceName(name), isNameInHome(name)], [true, true])
  for (const name of bad) assert.deepEqual([isDeviceName(name), isNameInHome(name)], [false, false])
})
