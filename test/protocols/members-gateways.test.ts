import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  capsBeyond,
  capToRead,
  gatewayRightsIn,
  judgeCall,
  POLICY_BYTES,
  withGatewayRights,
} from '../../protocols/members/index.ts'
import { DEFAULT_ROLLOUT, updatePolicyIn, withUpdatePolicy } from '../../protocols/update/index.ts'
import { fromHex, toHex } from '../../protocols/wire/index.ts'
import { keyNamed } from '../helpers/members.ts'

interface Vectors {
  readonly gateways: readonly {
    name: string
    before: string
    gateway: string
    caps: readonly string[]
    after: string
  }[]
  readonly gatewaysInvalid: readonly { name: string; policy: string }[]
}

const vectors = JSON.parse(
  readFileSync(new URL('../../protocols/members/vectors.json', import.meta.url), 'utf8'),
) as Vectors

const BAD = { code: 'MEMBERS_BAD_OP' }
const NOTHING = new Uint8Array()
const bridge = keyNamed('bridge')
const other = keyNamed('another bridge')

const sensors = fc.constantFrom('*', 'a*', '*b', 'a*b', 'ab', 'a', 'b', 'a*a', '*a*')
const device = fc.constantFrom('abcd2345', 'zzzz7777')
const readCap = fc.oneof(
  sensors.map((one) => `read:${one}`),
  fc.tuple(device, sensors).map(([one, what]) => `read:${one}/${what}`),
)
const callCap = fc
  .tuple(
    fc.constantFrom('write', 'invoke'),
    fc.oneof(device, fc.constant('*')),
    sensors,
    fc.constantFrom('', ';v=0..5', ';n=2', ';t=0800-2000'),
  )
  .map(([verb, one, what, terms]) => `${verb}:${one}/${what}${terms}`)
const caps = fc.uniqueArray(fc.oneof(readCap, callCap), { maxLength: 8 })

describe('the rights of gateways in the policy of a home', () => {
  it('are the bytes of the vectors, both ways', () => {
    for (const { name, before, gateway, caps: wanted, after } of vectors.gateways) {
      const key = fromHex(gateway)
      const made = withGatewayRights(fromHex(before), key, { caps: wanted })
      assert.equal(toHex(made), after, name)
      assert.deepEqual(gatewayRightsIn(made, key).caps, wanted, name)
    }
  })

  it('are refused as a whole where the policy is not well-formed', () => {
    assert.ok(vectors.gatewaysInvalid.length > 0)
    for (const { name, policy } of vectors.gatewaysInvalid) {
      assert.throws(() => gatewayRightsIn(fromHex(policy), bridge), BAD, name)
    }
  })

  it('take only caps in their one spelling, and no more than there is room for', () => {
    for (const wrong of ['read:', 'read:a**', 'Read:a', 'invoke:a', 'write:abcd2345/a;n=0', '']) {
      assert.throws(() => withGatewayRights(NOTHING, bridge, { caps: [wrong] }), BAD, wrong)
    }
    const many = Array.from({ length: 128 }, (_, i) => `read:abcd2345/sensor-${i}`)
    assert.ok(many.join('').length > POLICY_BYTES)
    assert.throws(() => withGatewayRights(NOTHING, bridge, { caps: many }), BAD)
  })

  it('leave what others are given, and what the policy says of updates, as they were', () => {
    const updates = { channels: [], rollout: { ...DEFAULT_ROLLOUT, haltPercent: 7 } }
    const first = withUpdatePolicy(withGatewayRights(NOTHING, other, { caps: ['read:a'] }), updates)
    const both = withGatewayRights(first, bridge, { caps: ['read:*'] })
    assert.deepEqual(gatewayRightsIn(both, other).caps, ['read:a'])
    assert.deepEqual(updatePolicyIn(both), updates)
    assert.deepEqual(withGatewayRights(both, bridge, { caps: [] }), first)
  })

  it('are nothing for whoever is not named, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        let found: readonly string[] = []
        try {
          found = gatewayRightsIn(bytes, bridge).caps
        } catch (error) {
          assert.equal((error as { code?: unknown }).code, BAD.code)
        }
        assert.deepEqual(found, [])
      }),
    )
    fc.assert(
      fc.property(caps, (wanted) => {
        const policy = withGatewayRights(NOTHING, bridge, { caps: wanted })
        assert.deepEqual(gatewayRightsIn(policy, bridge).caps, wanted.toSorted())
        assert.deepEqual(gatewayRightsIn(policy, other).caps, [])
      }),
    )
  })
})

describe('what is beyond the caps that were signed', () => {
  it('names what must be signed', () => {
    const rows: readonly (readonly [string, readonly string[], boolean])[] = [
      ['read:abcd2345/temperature', ['read:*'], true],
      ['read:temperature', ['read:abcd2345/*'], false],
      ['read:abcd2345/*', ['read:abcd2345/temperature.*'], false],
      ['read:abcd2345/temperature.cpu', ['read:temperature.*'], true],
      ['read:a', ['write:*/a'], false],
      ['write:abcd2345/a', ['read:*'], false],
      ['write:abcd2345/a', ['invoke:*/*'], false],
      ['write:abcd2345/a;v=0..5', ['write:abcd2345/a'], true],
      ['write:abcd2345/a', ['write:abcd2345/a;v=0..5'], false],
      ['write:abcd2345/a;v=0..5', ['write:*/a;v=0..5'], true],
      ['no cap', ['read:*'], false],
    ]
    for (const [wanted, signed, within] of rows) {
      assert.deepEqual(capsBeyond([wanted], signed), within ? [] : [wanted], wanted)
    }
  })

  it('never lets through what no signed cap allows', () => {
    const name = fc.constantFrom('a', 'b', 'ab', 'aa', 'aab', 'bab', 'x')
    const args = fc.constantFrom(undefined, 3, 9)
    const asked = fc.record({ here: device, what: name, value: args })
    fc.assert(
      fc.property(caps, caps, asked, (wanted, signed, { here, what, value: given }) => {
        const within = wanted.filter((cap) => capsBeyond([cap], signed).length === 0)
        if (capToRead(within, here, what) !== undefined) {
          assert.ok(capToRead(signed, here, what) !== undefined)
        }
        const localTime = { minute: 600, weekday: 1 }
        for (const verb of ['write', 'invoke'] as const) {
          const one = { verb, device: here, name: what, args: given, localTime, used: () => 0 }
          if ('allow' in judgeCall(within, one)) assert.ok('allow' in judgeCall(signed, one))
        }
      }),
      { numRuns: 2000 },
    )
  })
})
