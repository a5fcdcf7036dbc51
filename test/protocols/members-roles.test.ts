import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { ACTS, boundBy, permits, ROLES, type Act } from '../../protocols/members/index.ts'

/** One column for each act in the order of ACTS: y yes, c by its caps, p by the home's policy. */
const EXPECTED = {
  //         grant revoke succ retire recover check rename policy sync read publish call serve forward update inspect
  recovery:
    '-     y      -    -      y       -     -      -      -    -    -       -    -     -       -       -',
  owner:
    '   y     y      y    y      -       y     y      y      y    y    y       y    y     -       y       y',
  member:
    '  -     -      -    y      -       -     -      -      y    y    y       y    y     -       y       -',
  sensor:
    '  -     -      -    y      -       -     -      -      y    -    y       -    y     -       y       -',
  gateway:
    ' -     -      -    y      -       -     -      -      y    p    y       p    -     p       y       -',
  guest:
    '   -     -      -    y      -       -     -      -      y    c    -       c    -     -       -       -',
}

function cell(role: keyof typeof EXPECTED, act: Act): string {
  if (!permits(role, act)) return '-'
  return boundBy(role, act)?.charAt(0) ?? 'y'
}

describe('the table of roles and acts', () => {
  it('allows each role exactly what it should, and nothing by default', () => {
    for (const role of ['recovery', ...ROLES] as const) {
      const expected = EXPECTED[role].trim().split(/ +/)
      assert.equal(expected.length, ACTS.length)
      for (const [i, act] of ACTS.entries())
        assert.equal(cell(role, act), expected[i], `${role}: ${act}`)
    }
  })

  it('lets no role but an owner and the kit change who is in the home', () => {
    const acts = [
      'grant',
      'revoke',
      'successor',
      'recover',
      'checkpoint',
      'rename',
      'policy',
    ] as const
    for (const role of ROLES.slice(1)) {
      for (const act of acts) assert.equal(permits(role, act), false)
    }
  })
})
