import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { sha256 } from '../../protocols/identity/index.ts'
import {
  decide,
  DEFAULT_ROLLOUT,
  deviceLabel,
  minutesUntil,
  NOT_FOR,
  ringEnds,
  ROLLOUT,
  rolloutOrder,
  type Decision,
  type Phase,
  type Rollout,
  type RolloutHere,
  type RolloutInput,
  type RolloutRelease,
  type RolloutReport,
} from '../../protocols/update/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'

const HOUR_MS = 3_600_000
const NOW_MS = 1_800_000_000_000
const ID = sha256(new TextEncoder().encode('release'))
const EVERYBODY: RolloutRelease['for'] = { hardware: [], arch: [], groups: [], requires: [] }

function keys(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, n) => sha256(Uint8Array.of(n, n >> 8)))
}

interface Said {
  readonly release?: Partial<RolloutRelease>
  readonly rollout?: Partial<Rollout>
  readonly devices?: readonly Uint8Array[]
  readonly reports?: readonly RolloutReport[]
  readonly here?: Partial<RolloutHere>
}

function input({ release, rollout, devices = keys(1), reports = [], here }: Said): RolloutInput {
  return {
    release: { id: ID, name: 'app', build: 2, for: EVERYBODY, ...release },
    rollout: { ...DEFAULT_ROLLOUT, ...rollout },
    devices,
    reports,
    here: {
      device: devices[0] ?? ID,
      hardware: ['pi-zero-2w'],
      arch: ['arm64'],
      installed: [],
      busy: false,
      minute: 600,
      nowMs: NOW_MS,
      knownMs: NOW_MS,
      ...here,
    },
  }
}

function report(
  device: Uint8Array,
  phase: Phase,
  more: Partial<RolloutReport> = {},
): RolloutReport {
  return { device, index: ID, build: 2, phase, sinceMs: NOW_MS - 2 * HOUR_MS, ...more }
}

/** What every device decides. */
function all(said: Said, devices: readonly Uint8Array[]): Decision[] {
  return devices.map((device) =>
    decide(input({ ...said, devices, here: { ...said.here, device } })),
  )
}

function whyOf(decision: Decision): string {
  return decision.go ? 'go' : decision.why
}

describe('who may install a release', () => {
  it('lets exactly one device begin, and nobody else before it is well', () => {
    const devices = keys(20)
    const decisions = all({}, devices)
    assert.equal(decisions.filter(({ go }) => go).length, 1)
    assert.deepEqual(new Set(decisions.filter(({ go }) => !go).map(whyOf)), new Set(['ring']))
    const [first] = rolloutOrder(ID, devices)
    assert.ok(decisions[devices.findIndex((key) => key === first)]?.go)
  })

  it('opens the next ring when the canary was well for long enough', () => {
    const devices = keys(20)
    const [canary = ID] = rolloutOrder(ID, devices)
    const fresh = all({ reports: [report(canary, 'healthy', { sinceMs: NOW_MS })] }, devices)
    const waiting = fresh.filter((one) => !one.go && one.untilMs === NOW_MS + HOUR_MS)
    // Ring two is one device more: 10 % of 20.
    assert.equal(waiting.length, 1)
    const open = all({ reports: [report(canary, 'healthy')] }, devices)
    assert.equal(open.filter(({ go }) => go).length, 2)
  })

  it('stops for all later devices when the canary went back', () => {
    const devices = keys(20)
    const [canary = ID] = rolloutOrder(ID, devices)
    const decisions = all({ reports: [report(canary, 'rolled-back')] }, devices)
    assert.deepEqual(new Set(decisions.map(whyOf)), new Set(['halted']))
  })

  it('waits while a device of the ring before is on trial', () => {
    const devices = keys(2)
    const rollout = {
      rings: [
        { devices: 1, minHealthyMs: 0 },
        { percent: 100, minHealthyMs: 0 },
      ],
    }
    const [canary = ID, next = ID] = rolloutOrder(ID, devices)
    const said = { rollout, devices, here: { device: next } }
    const decision = decide(input({ ...said, reports: [report(canary, 'installed')] }))
    assert.deepEqual(decision, { go: false, why: 'ring', ring: 1 })
  })

  it('counts no device that the release is not for', () => {
    const devices = keys(3)
    const [first = ID, second = ID] = rolloutOrder(ID, devices)
    const reports = [report(first, 'refused', { code: NOT_FOR })]
    assert.deepEqual(decide(input({ devices, reports, here: { device: second } })), {
      go: true,
      ring: 0,
    })
    const refusedElse = [report(first, 'refused', { code: 'INSTALL_ARCHIVE' })]
    const stays = decide(input({ devices, reports: refusedElse, here: { device: second } }))
    assert.equal(whyOf(stays), 'ring')
  })

  it('waits a day for a device that says nothing, not longer', () => {
    const devices = keys(3)
    const [, second = ID] = rolloutOrder(ID, devices)
    const at = (knownMs: number): string =>
      whyOf(decide(input({ devices, here: { device: second, knownMs } })))
    assert.equal(at(NOW_MS - ROLLOUT.silentMs + 1), 'ring')
    assert.equal(at(NOW_MS - ROLLOUT.silentMs), 'go')
  })

  it('refuses other hardware, another processor and another group, and says which', () => {
    const [device = ID] = keys(1)
    const groups = [{ name: 'kitchen', devices: [deviceLabel(device)] }]
    for (const [wanted, rollout, detail] of [
      [{ hardware: ['pi-5'] }, {}, 'hardware'],
      [{ arch: ['x64'] }, {}, 'arch'],
      [{ groups: ['attic'] }, { groups }, 'groups'],
    ] as const) {
      const said = { release: { for: { ...EVERYBODY, ...wanted } }, rollout }
      assert.deepEqual(decide(input(said)), { go: false, why: 'not-for', detail })
    }
    const fits = { hardware: ['pi-5', 'pi-zero-2w'], arch: ['arm64'], groups: ['kitchen'] }
    const said = { release: { for: { ...EVERYBODY, ...fits } }, rollout: { groups } }
    assert.equal(whyOf(decide(input(said))), 'go')
  })

  it('asks for what a release requires', () => {
    const release = { for: { ...EVERYBODY, requires: [{ name: 'base', version: '2' }] } }
    const old = { installed: [{ name: 'base', version: '1' }] }
    assert.deepEqual(decide(input({ release, here: old })), {
      go: false,
      why: 'requires',
      detail: 'base 2',
    })
    const right = { installed: [{ name: 'base', version: '2' }] }
    assert.equal(whyOf(decide(input({ release, here: right }))), 'go')
  })

  it('heeds pause, pin and defer by name', () => {
    const why = (rollout: Partial<Rollout>): string => whyOf(decide(input({ rollout })))
    assert.equal(why({ paused: ['*'] }), 'paused')
    assert.equal(why({ paused: ['app'] }), 'paused')
    assert.equal(why({ paused: ['other'] }), 'go')
    assert.equal(why({ pins: [{ name: 'app', build: 1 }] }), 'pinned')
    assert.equal(why({ pins: [{ name: 'app', build: 2 }] }), 'go')
    assert.equal(why({ defer: [{ name: 'app', build: 2, until: NOW_MS + 1 }] }), 'deferred')
    assert.equal(why({ defer: [{ name: 'app', build: 2, until: NOW_MS }] }), 'go')
    assert.equal(why({ defer: [{ name: 'app', build: 1, until: NOW_MS + 1 }] }), 'go')
  })

  it('keeps to the window and to do-not-disturb', () => {
    const window = { from: 120, to: 300 }
    const outside = decide(input({ rollout: { window } }))
    assert.deepEqual(outside, {
      go: false,
      why: 'window',
      ring: 0,
      untilMs: NOW_MS + (24 * 60 - 600 + 120) * 60_000,
    })
    assert.equal(whyOf(decide(input({ rollout: { window }, here: { minute: 120 } }))), 'go')
    assert.equal(whyOf(decide(input({ here: { busy: true } }))), 'busy')
    assert.equal(whyOf(decide(input({ rollout: { dnd: false }, here: { busy: true } }))), 'go')
  })

  it('lets what mends a hole pass rings, window and do-not-disturb where owners say so', () => {
    const devices = keys(5)
    const said = {
      rollout: { securityAtOnce: true, window: { from: 1, to: 2 } },
      here: { busy: true },
    }
    const release = { security: true }
    assert.ok(all({ ...said, release }, devices).every(({ go }) => go))
    assert.equal(all(said, devices).filter(({ go }) => go).length, 0)
    const paused = { ...said, release, rollout: { ...said.rollout, paused: ['*'] } }
    assert.ok(all(paused, devices).every((one) => whyOf(one) === 'paused'))
    const ill = devices.slice(0, 2).map((key) => report(key, 'rolled-back'))
    assert.ok(
      all({ ...said, release, reports: ill }, devices).every((one) => whyOf(one) === 'halted'),
    )
  })
})

describe('a rollout', () => {
  const rings = fc.array(
    fc.record({
      percent: fc.integer({ min: 1, max: 100 }),
      minHealthyMs: fc.integer({ min: 0, max: 1000 }),
    }),
    { minLength: 1, maxLength: 5 },
  )
  const phases = fc.constantFrom<Phase>(
    'waiting',
    'fetching',
    'installed',
    'healthy',
    'rolled-back',
  )
  const homes = fc.integer({ min: 1, max: 40 }).chain((count) =>
    fc.record({
      devices: fc.constant(keys(count)),
      phases: fc.array(fc.option(phases, { nil: undefined }), {
        minLength: count,
        maxLength: count,
      }),
      rings,
    }),
  )

  function reportsOf(devices: readonly Uint8Array[], said: readonly (Phase | undefined)[]) {
    return devices.flatMap((key, n) => {
      const phase = said[n]
      return phase === undefined ? [] : [report(key, phase)]
    })
  }

  it('is the same whatever order devices and reports come in', () => {
    fc.assert(
      fc.property(homes, fc.nat(), (home, turn) => {
        const reports = reportsOf(home.devices, home.phases)
        const by = <T>(list: readonly T[]): T[] => {
          const cut = turn % (list.length + 1)
          return [...list.slice(cut), ...list.slice(0, cut)].toReversed()
        }
        const [device = ID] = home.devices
        const said = { rollout: { rings: home.rings }, here: { device } }
        assert.deepEqual(
          decide(input({ ...said, devices: by(home.devices), reports: by(reports) })),
          decide(input({ ...said, devices: home.devices, reports })),
        )
      }),
    )
  })

  it('never goes on for it that one more device went back', () => {
    fc.assert(
      fc.property(homes, fc.nat(), (home, which) => {
        const n = which % home.devices.length
        const worse = home.phases.with(n, 'rolled-back')
        // One that was on trial held the others up; what it leaves behind may let them go on.
        fc.pre(home.phases[n] !== 'installed' && home.phases[n] !== undefined)
        const said = { rollout: { rings: home.rings } }
        const before = all({ ...said, reports: reportsOf(home.devices, home.phases) }, home.devices)
        const after = all({ ...said, reports: reportsOf(home.devices, worse) }, home.devices)
        for (const [i, { go }] of after.entries()) if (go) assert.ok(before[i]?.go)
      }),
    )
  })

  it('reaches every device where all get well, never two rings at once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), rings, (count, some) => {
        const devices = keys(count)
        const given = [...some, { percent: 100, minHealthyMs: 0 }]
        const well = new Map<string, RolloutReport>()
        let nowMs = NOW_MS
        for (let turn = 0; well.size < count; turn++) {
          assert.ok(turn <= 2 * given.length, 'it stands still')
          const said = { rollout: { rings: given }, reports: [...well.values()], here: { nowMs } }
          const going = all(said, devices).flatMap((one, n) =>
            one.go ? [{ ring: one.ring, n }] : [],
          )
          const fresh = going.filter(({ n }) => !well.has(toHex(devices[n] ?? ID)))
          assert.ok(new Set(fresh.map(({ ring }) => ring)).size <= 1)
          for (const { n } of fresh) {
            const key = devices[n] ?? ID
            well.set(toHex(key), report(key, 'healthy', { sinceMs: nowMs }))
          }
          nowMs += 1000
        }
      }),
    )
  })

  it('never makes more of the last ring ill than owners allow, and the one that shows it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 40 }),
        fc.integer({ min: 0, max: 99 }),
        (count, haltPercent) => {
          const devices = keys(count)
          const rollout = { haltPercent, rings: [{ percent: 100, minHealthyMs: 0 }] }
          const reports: RolloutReport[] = []
          for (const key of devices) {
            const { go } = decide(input({ rollout, devices, reports, here: { device: key } }))
            if (go) reports.push(report(key, 'rolled-back'))
          }
          assert.equal(reports.length, Math.min(count, Math.floor((count * haltPercent) / 100) + 1))
        },
      ),
    )
  })

  it('orders devices anew for every release', () => {
    const devices = keys(30)
    const first = new Set(
      Array.from({ length: 40 }, (_, n) =>
        toHex(rolloutOrder(sha256(Uint8Array.of(n)), devices)[0] ?? ID),
      ),
    )
    assert.ok(first.size > 10, `${first.size} canaries`)
  })
})

describe('rings and windows', () => {
  it('counts rings up to all devices', () => {
    assert.deepEqual(ringEnds(DEFAULT_ROLLOUT.rings, 1), [1, 1, 1])
    assert.deepEqual(ringEnds(DEFAULT_ROLLOUT.rings, 5), [1, 1, 5])
    assert.deepEqual(ringEnds(DEFAULT_ROLLOUT.rings, 100), [1, 10, 100])
    assert.deepEqual(ringEnds(DEFAULT_ROLLOUT.rings, 0), [0, 0, 0])
  })

  it('leaves devices out that no ring reaches', () => {
    const devices = keys(10)
    const rollout = { rings: [{ percent: 50, minHealthyMs: 0 }] }
    const decisions = all({ rollout }, devices).map(whyOf)
    assert.equal(decisions.filter((why) => why === 'go').length, 5)
    assert.equal(decisions.filter((why) => why === 'beyond').length, 5)
  })

  it('knows windows over midnight', () => {
    assert.equal(minutesUntil({ from: 1380, to: 60 }, 1400), 0)
    assert.equal(minutesUntil({ from: 1380, to: 60 }, 59), 0)
    assert.equal(minutesUntil({ from: 1380, to: 60 }, 60), 1320)
    assert.equal(minutesUntil({ from: 60, to: 60 }, 5), 0)
  })

  it('lets a device that is no member of the home go nowhere', () => {
    const [own = ID, other = ID] = keys(2)
    const decision = decide(input({ devices: [other], here: { device: own } }))
    assert.ok(!decision.go && !equalBytes(own, other))
  })
})
