import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { sha256 } from '../../protocols/identity/index.ts'
import {
  BOUNDS,
  DEFAULT_ROLLOUT,
  deviceLabel,
  formatWindow,
  parseWindow,
  UPDATE_PART,
  updatePolicyIn,
  withUpdatePolicy,
  type Rollout,
  type UpdatePolicy,
} from '../../protocols/update/index.ts'
import { decodeCbor, encodeCbor, toHex } from '../../protocols/wire/index.ts'
import { hashOf } from '../helpers/update.ts'

const CODE = { code: 'UPDATE_BAD_POLICY' }
const NOTHING = new Uint8Array()
const channels = [{ name: 'home', root: hashOf('root') }]

function policy(rollout: Partial<Rollout> = {}): UpdatePolicy {
  return { channels, rollout: { ...DEFAULT_ROLLOUT, ...rollout } }
}

const FULL: Rollout = {
  groups: [{ name: 'kitchen', devices: [deviceLabel(hashOf('a')), deviceLabel(hashOf('b'))] }],
  rings: [
    { devices: 2, minHealthyMs: 60_000 },
    { percent: 100, minHealthyMs: 0 },
  ],
  haltPercent: 0,
  window: { from: 1_380, to: 300 },
  dnd: false,
  paused: ['*'],
  pins: [{ name: 'lamp', build: 7 }],
  defer: [{ name: 'lamp', build: 8, until: 1_800_000_000_000 }],
  securityAtOnce: true,
}

describe('the policy about updates', () => {
  it('has no channel and its defaults where owners said nothing', () => {
    const none = { channels: [], rollout: DEFAULT_ROLLOUT }
    assert.deepEqual(updatePolicyIn(NOTHING), none)
    assert.deepEqual(updatePolicyIn(encodeCbor(new Map([[2, 'of others']]))), none)
    assert.deepEqual(updatePolicyIn(withUpdatePolicy(NOTHING, none)), none)
  })

  it('comes back as it was', () => {
    for (const one of [policy(), policy(FULL), policy({ haltPercent: 5 })]) {
      assert.deepEqual(updatePolicyIn(withUpdatePolicy(NOTHING, one)), one)
    }
  })

  it('takes no room for what is as it would be anyway', () => {
    const short = withUpdatePolicy(NOTHING, policy())
    assert.ok(short.length < 60, `${short.length}`)
    assert.ok(withUpdatePolicy(NOTHING, policy(FULL)).length > short.length)
  })

  it('leaves the other parts of the policy byte for byte', () => {
    const part = fc.oneof(fc.string(), fc.integer(), fc.uint8Array(), fc.array(fc.boolean()))
    const parts = fc.dictionary(fc.nat(200).map(String), part, { maxKeys: 6 })
    fc.assert(
      fc.property(parts, fc.boolean(), (found, full) => {
        const entries = Object.entries(found)
          .map(([key, value]): [number, unknown] => [Number(key), value])
          .filter(([key, value]) => key !== UPDATE_PART && !String(value).startsWith('\uFEFF'))
        const before = encodeCbor(new Map(entries.toSorted(([a], [b]) => a - b)))
        const after = withUpdatePolicy(before, full ? policy(FULL) : policy())
        const map = decodeCbor(after, { maxBytes: 2_048, maxDepth: 12, maxItems: 2_048 })
        assert.ok(map instanceof Map && map.delete(UPDATE_PART))
        assert.equal(toHex(encodeCbor(map)), toHex(before))
      }),
    )
  })

  it('is refused where it gets too long, or names a channel twice', () => {
    const groups = Array.from({ length: 20 }, (_, i) => ({
      name: `group-${i}`,
      devices: Array.from({ length: 20 }, (__, k) => deviceLabel(hashOf(`${i} ${k}`))),
    }))
    assert.throws(() => withUpdatePolicy(NOTHING, policy({ groups })), CODE)
    const twice = { ...policy(), channels: [...channels, ...channels] }
    assert.throws(() => withUpdatePolicy(NOTHING, twice), CODE)
  })

  it('holds a hundred devices in ten groups', () => {
    const groups = Array.from({ length: 10 }, (_, i) => ({
      name: `group-${i}`,
      devices: Array.from({ length: 10 }, (__, k) => deviceLabel(hashOf(`${i} ${k}`))),
    }))
    assert.ok(withUpdatePolicy(NOTHING, policy({ groups })).length < BOUNDS.maxPolicyBytes)
  })

  it('is refused where a part is not what it must be, and never half read', () => {
    const inPart = (value: unknown): Uint8Array => encodeCbor(new Map([[UPDATE_PART, value]]))
    const rollout = (key: number, value: unknown): Uint8Array =>
      inPart(
        new Map<number, unknown>([
          [1, []],
          [2, new Map([[key, value]])],
        ]),
      )
    const wrong: readonly Uint8Array[] = [
      Uint8Array.of(0xff),
      encodeCbor([]),
      encodeCbor(new Map([['update', 1]])),
      inPart('text'),
      inPart(new Map()),
      inPart(
        new Map([
          [
            1,
            [
              new Map<number, unknown>([
                [1, 'Home'],
                [2, hashOf('root')],
              ]),
            ],
          ],
        ]),
      ),
      inPart(
        new Map([
          [
            1,
            [
              new Map<number, unknown>([
                [1, 'home'],
                [2, NOTHING],
              ]),
            ],
          ],
        ]),
      ),
      rollout(2, []),
      rollout(2, [new Map([[3, 1]])]),
      rollout(2, [
        new Map([
          [1, 1],
          [2, 1],
          [3, 1],
        ]),
      ]),
      rollout(2, [
        new Map([
          [2, 101],
          [3, 1],
        ]),
      ]),
      rollout(3, 101),
      rollout(
        4,
        new Map([
          [1, 0],
          [2, 1_440],
        ]),
      ),
      rollout(6, ['../x']),
      rollout(10, 1),
    ]
    for (const one of wrong) assert.throws(() => updatePolicyIn(one), CODE, toHex(one))
    assert.throws(() => updatePolicyIn(new Uint8Array(2_049)), CODE)
  })
})

describe('how a policy names a device', () => {
  it('is the beginning of the hash of its key', () => {
    const key = hashOf('key')
    assert.equal(toHex(deviceLabel(key)), toHex(sha256(key)).slice(0, 16))
  })
})

describe('a window of the day', () => {
  it('comes back as it was written', () => {
    const minute = fc.nat(1_439)
    fc.assert(
      fc.property(minute, minute, (from, to) => {
        assert.deepEqual(parseWindow(formatWindow({ from, to })), { from, to })
      }),
    )
    assert.equal(formatWindow(parseWindow('23:05-04:00')), '23:05-04:00')
  })

  it('is refused where it is none', () => {
    for (const text of ['', '24:00-01:00', '1:00-2:00', '01:60-02:00', '01:00', '01:00-02:00 '])
      assert.throws(() => parseWindow(text), CODE, text)
  })
})
