import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  CALL_VERBS,
  CAP_BYTES,
  capsName,
  capToRead,
  formatCap,
  judgeCall,
  parseCap,
  type ArgumentLimit,
  type CallCap,
  type CallQuestion,
} from '../../protocols/members/index.ts'
import { utf8 } from '../../protocols/wire/index.ts'

const HERE = 'abcd2345'
const THERE = 'zzzz7777'

const NOON_ON_MONDAY = { minute: 720, weekday: 1 }

function question(changes: Partial<CallQuestion> = {}): CallQuestion {
  return {
    verb: 'invoke',
    device: HERE,
    name: 'toggle',
    localTime: NOON_ON_MONDAY,
    used: () => 0,
    ...changes,
  }
}

/** What one cap says to a question. */
function answer(cap: string, changes: Partial<CallQuestion> = {}): string {
  const judged = judgeCall([cap], question(changes))
  return 'deny' in judged ? judged.deny : 'allowed'
}

const words = fc.uniqueArray(fc.stringMatching(/^[a-z0-9+/#:_-]{1,4}$/), {
  minLength: 1,
  maxLength: 3,
})
const value = fc.oneof(
  fc
    .tuple(fc.integer({ min: -999, max: 999 }), fc.nat(99))
    .map(([min, more]) => ({ min: min / 2, max: min / 2 + more })),
  words.map((all) => ({ choices: all.toSorted() })),
)
const member = fc.stringMatching(/^[a-z][a-z_]{1,5}$/)
const limits: fc.Arbitrary<readonly ArgumentLimit[]> = fc.oneof(
  value.map((one) => [one]),
  fc
    .uniqueArray(fc.tuple(member, value), {
      minLength: 1,
      maxLength: 2,
      selector: ([name]) => name,
    })
    .map((all) =>
      all
        .map(([field, one]) => ({ field, ...one }))
        .toSorted((a, b) => (a.field < b.field ? -1 : 1)),
    ),
)
const span = (min: number, max: number) =>
  fc.tuple(fc.integer({ min, max }), fc.integer({ min, max })).map(([from, to]) => ({ from, to }))
const terms = fc.record(
  {
    count: fc.integer({ min: 1, max: 1_000_000 }),
    limits,
    time: span(0, 1439).filter(({ from, to }) => from !== to),
    days: span(1, 7),
  },
  { requiredKeys: [] },
)
const names = fc
  .stringMatching(/^[a-zA-Z0-9*][a-z0-9*._-]{0,9}$/)
  .filter((text) => !text.includes('**'))
const called = fc.record(
  { device: fc.constantFrom(HERE, THERE), names },
  { requiredKeys: ['names'] },
)
const cap: fc.Arbitrary<CallCap> = fc
  .oneof(
    fc.tuple(fc.constantFrom('write', 'invoke'), called, terms),
    fc.tuple(
      fc.constant('observe' as const),
      called,
      terms.map(({ count: _count, limits: _limits, ...rest }) => rest),
    ),
  )
  .map(([verb, who, rest]) => ({ verb, ...who, ...rest }))
  .filter((one) => formatCap(one).length <= CAP_BYTES)

describe('caps to call', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(cap, (one) => {
        assert.deepEqual(parseCap(formatCap(one)), one)
      }),
      { numRuns: 2000 },
    )
  })

  it('have one spelling each: any other text is no cap, or another cap', () => {
    fc.assert(
      fc.property(
        cap,
        fc.nat(CAP_BYTES),
        fc.string({ maxLength: 2 }),
        fc.nat(2),
        (one, at, slip, cut) => {
          const text = formatCap(one)
          const other = text.slice(0, at) + slip + text.slice(at + cut)
          const read = parseCap(other)
          if (read === undefined || other === text) return
          assert.equal(formatCap(read), other)
          assert.notDeepEqual(read, one)
        },
      ),
      { numRuns: 3000 },
    )
  })

  it('are at most 64 bytes of plain letters', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 70 }),
      fc
        .tuple(fc.constantFrom(...CALL_VERBS), fc.string({ unit: 'grapheme', maxLength: 60 }))
        .map(([verb, rest]) => `${verb}:*/${rest}`),
    )
    fc.assert(
      fc.property(text, (one) => {
        if (parseCap(one) !== undefined) {
          assert.ok(utf8(one).length <= CAP_BYTES)
          assert.match(one, /^[\x21-\x7e]+$/)
        }
      }),
    )
  })

  it('mean what they say', () => {
    const meanings: Record<string, object> = {
      'invoke:abcd2345/toggle': { verb: 'invoke', device: HERE, names: 'toggle' },
      'write:*/set-*': { verb: 'write', names: 'set-*' },
      'observe:*/door.*;t=2200-0600;d=6-7': {
        verb: 'observe',
        names: 'door.*',
        time: { from: 1320, to: 360 },
        days: { from: 6, to: 7 },
      },
      'write:*/level;n=3;v=-0.5..50': {
        verb: 'write',
        names: 'level',
        count: 3,
        limits: [{ min: -0.5, max: 50 }],
      },
      'invoke:*/fade;mode=eco|off;to=0..9': {
        verb: 'invoke',
        names: 'fade',
        limits: [
          { field: 'mode', choices: ['eco', 'off'] },
          { field: 'to', min: 0, max: 9 },
        ],
      },
      'write:*/on;v=true;d=7': {
        verb: 'write',
        names: 'on',
        limits: [{ choices: ['true'] }],
        days: { from: 7, to: 7 },
      },
    }
    for (const [text, meaning] of Object.entries(meanings)) {
      assert.deepEqual(parseCap(text), meaning, text)
    }
  })

  it('are refused where they are unclear, misplaced or written in another way', () => {
    const refused = [
      'invoke:toggle',
      'invoke:/toggle',
      'invoke:*/',
      'invoke:lamp/toggle',
      'INVOKE:*/toggle',
      'call:*/toggle',
      'cancel:*/toggle',
      'invoke:*/a/b',
      'invoke:*/a:b',
      'invoke:*/**',
      'invoke:*/toggle;',
      'invoke:*/toggle;;n=1',
      'invoke:*/toggle;n',
      'invoke:*/toggle;=1',
      'invoke:*/toggle;n=0',
      'invoke:*/toggle;n=01',
      'invoke:*/toggle;n=1000001',
      'invoke:*/toggle;n=1;n=1',
      'invoke:*/toggle;n=1;n=2',
      'invoke:*/toggle;d=1;n=2',
      'invoke:*/toggle;v=1..2;n=2',
      'invoke:*/toggle;v=2..1',
      'invoke:*/toggle;v=1..',
      'invoke:*/toggle;v=..2',
      'invoke:*/toggle;v=1...2',
      'invoke:*/toggle;v=01..2',
      'invoke:*/toggle;v=1.0..2',
      'invoke:*/toggle;v=-0..2',
      'invoke:*/toggle;v=0..1e9',
      'invoke:*/toggle;v=0..99999999999999999',
      'invoke:*/toggle;v=b|a',
      'invoke:*/toggle;v=a|a',
      'invoke:*/toggle;v=a|',
      'invoke:*/toggle;v=',
      'invoke:*/toggle;v=a b',
      'invoke:*/toggle;v=é',
      'invoke:*/toggle;v=1..2;v=3..4',
      'invoke:*/toggle;v=1..2;to=3..4',
      'invoke:*/toggle;to=3..4;v=1..2',
      'invoke:*/toggle;to=1..2;to=1..2',
      'invoke:*/toggle;to=1..2;mode=a',
      'invoke:*/toggle;__proto__=1..2',
      'invoke:*/toggle;t=0800-0800',
      'invoke:*/toggle;t=0800-2400',
      'invoke:*/toggle;t=0860-0900',
      'invoke:*/toggle;t=800-900',
      'invoke:*/toggle;d=0',
      'invoke:*/toggle;d=8',
      'invoke:*/toggle;d=3-3',
      'invoke:*/toggle;d=1-5;t=0800-0900',
      'invoke:*/toggle;x=1..2;q',
      'invoke:*/toggle\n',
      ' invoke:*/toggle',
      'observe:*/door;n=1',
      'observe:*/door;v=1..2',
      `invoke:*/${'a'.repeat(CAP_BYTES)}`,
    ]
    for (const text of refused) {
      assert.equal(parseCap(text), undefined, text)
      assert.equal(answer(text), 'name', text)
    }
  })
})

describe('a call under caps', () => {
  it('needs the verb, the device and the name', () => {
    assert.equal(answer(`invoke:${HERE}/toggle`), 'allowed')
    assert.equal(answer('invoke:*/t*e'), 'allowed')
    assert.equal(answer(`invoke:${THERE}/toggle`), 'name')
    assert.equal(answer(`write:${HERE}/toggle`), 'name')
    assert.equal(answer(`invoke:${HERE}/toggl`), 'name')
    assert.equal(answer(`read:${HERE}/toggle`), 'name')
    assert.equal(answer(`read:${HERE}/toggle`, { verb: 'read' }), 'allowed')
    assert.equal(answer(`invoke:${HERE}/toggle`, { verb: 'read' }), 'name')
    assert.equal(capToRead([`invoke:${HERE}/toggle`], HERE, 'toggle'), undefined)
  })

  it('needs an argument within the limits, a number for a range and the very word for a choice', () => {
    const cases: [string, unknown, boolean][] = [
      ['v=0..50', 0, true],
      ['v=0..50', 50, true],
      ['v=0..50', 50.1, false],
      ['v=0..50', -1, false],
      ['v=0..50', '5', false],
      ['v=0..50', [5], false],
      ['v=0..50', null, false],
      ['v=0..50', Number.NaN, false],
      ['v=0..50', undefined, false],
      ['v=0..50', { v: 5 }, false],
      ['v=eco|off', 'eco', true],
      ['v=eco|off', 'Eco', false],
      ['v=eco|off', 'eco|off', false],
      ['v=eco|off', ['eco'], false],
      ['v=true', true, true],
      ['v=true', 'true', true],
      ['v=5', 5, true],
      ['v=null', null, false],
      ['to=0..9', { to: 9, other: 1 }, true],
      ['to=0..9', { to: 10 }, false],
      ['to=0..9', {}, false],
      ['to=0..9', 5, false],
      ['to=0..9', [5], false],
      ['to=0..9', undefined, false],
      ['constructor=Object', {}, false],
      ['length=0..9', [1], false],
      ['length=0..9', 'abc', false],
      ['mode=eco;to=0..9', { mode: 'eco', to: 1 }, true],
      ['mode=eco;to=0..9', { mode: 'off', to: 1 }, false],
      ['mode=eco;to=0..9', { mode: 'eco' }, false],
      ['to=0..9', JSON.parse('{"__proto__":{"to":5}}'), false],
      ['to=0..9', Object.create({ to: 5 }), false],
    ]
    for (const [limit, args, allowed] of cases) {
      const got = answer(`invoke:*/toggle;${limit}`, { args })
      assert.equal(got, allowed ? 'allowed' : 'argument', `${limit} ${JSON.stringify(args)}`)
    }
  })

  it('may come from the first minute of its time to before the last, also past midnight', () => {
    const at = (minute: number, weekday = 1) => ({ localTime: { minute, weekday } })
    const cases: [string, number, number, boolean][] = [
      ['t=0800-2200', 479, 1, false],
      ['t=0800-2200', 480, 1, true],
      ['t=0800-2200', 1319, 1, true],
      ['t=0800-2200', 1320, 1, false],
      ['t=2200-0600', 1319, 1, false],
      ['t=2200-0600', 1320, 1, true],
      ['t=2200-0600', 0, 2, true],
      ['t=2200-0600', 359, 2, true],
      ['t=2200-0600', 360, 2, false],
      ['t=2200-0000', 1439, 7, true],
      ['t=2200-0000', 0, 1, false],
      ['d=1-5', 0, 1, true],
      ['d=1-5', 1439, 5, true],
      ['d=1-5', 0, 6, false],
      ['d=6-1', 0, 7, true],
      ['d=6-1', 0, 1, true],
      ['d=6-1', 0, 2, false],
      ['d=3', 0, 3, true],
      ['d=3', 0, 4, false],
      // Friday's night ends on Saturday morning, and Sunday's on Monday.
      ['t=2200-0600;d=5', 1330, 5, true],
      ['t=2200-0600;d=5', 100, 6, true],
      ['t=2200-0600;d=5', 100, 5, false],
      ['t=2200-0600;d=5', 1330, 6, false],
      ['t=2200-0600;d=7', 100, 1, true],
      ['t=0800-2200;d=5', 600, 5, true],
      ['t=0800-2200;d=5', 600, 6, false],
    ]
    for (const [term, minute, weekday, allowed] of cases) {
      const got = answer(`invoke:*/toggle;${term}`, at(minute, weekday))
      assert.equal(got, allowed ? 'allowed' : 'time', `${term} at ${minute} on ${weekday}`)
    }
    assert.equal(answer('invoke:*/toggle;t=0800-2200', { localTime: undefined }), 'clock')
    assert.equal(answer('invoke:*/toggle;d=1-7', { localTime: undefined }), 'clock')
    assert.equal(answer('invoke:*/toggle;n=1', { localTime: undefined }), 'allowed')
  })

  it('counts under one cap, and under none where another allows it anyway', () => {
    const [one, two] = ['invoke:*/toggle;n=1', 'invoke:*/toggle;n=2']
    const free = 'invoke:*/toggle;v=1..2'
    const after = (first: number, second: number): Partial<CallQuestion> => ({
      used: (text) => (text === one ? first : second),
    })
    assert.deepEqual(judgeCall([one, two], question(after(0, 0))), { allow: one, counts: true })
    assert.deepEqual(judgeCall([one, two], question(after(1, 0))), { allow: two, counts: true })
    assert.deepEqual(judgeCall([one, two], question(after(1, 1))), { allow: two, counts: true })
    assert.deepEqual(judgeCall([one, two], question(after(1, 2))), { deny: 'count' })
    assert.deepEqual(judgeCall([one, two, free], question({ args: 1 })), {
      allow: free,
      counts: false,
    })
  })

  it('is denied by whichever cap came nearest to allowing it', () => {
    const caps = ['invoke:*/other', 'invoke:*/toggle;v=1..2', 'invoke:*/toggle;t=0000-0001']
    const deny = (all: readonly string[], changes = {}) => judgeCall(all, question(changes))
    assert.deepEqual(deny([]), { deny: 'name' })
    assert.deepEqual(deny(caps.slice(0, 1)), { deny: 'name' })
    assert.deepEqual(deny(caps.slice(0, 2)), { deny: 'argument' })
    assert.deepEqual(deny(caps), { deny: 'time' })
    assert.deepEqual(deny(caps, { localTime: undefined }), { deny: 'clock' })
  })

  it('is of something that the caps name, which is what a description shows', () => {
    fc.assert(
      fc.property(
        fc.array(cap.map(formatCap), { maxLength: 3 }),
        fc.constantFrom(...CALL_VERBS),
        fc.stringMatching(/^[a-z][a-z.]{0,3}$/),
        (caps, verb, name) => {
          const asked = { verb, device: HERE, name }
          const judged = judgeCall(caps, question({ ...asked, args: 1 }))
          const named = capsName(caps, asked)
          if ('allow' in judged) assert.ok(named)
          else assert.equal(named, judged.deny !== 'name')
        },
      ),
    )
    assert.equal(capsName(['read:on'], { verb: 'read', device: HERE, name: 'on' }), true)
    assert.equal(capsName(['read:on'], { verb: 'write', device: HERE, name: 'on' }), false)
    const full = `write:*/on;n=1;t=0000-0001`
    assert.equal(capsName([full], { verb: 'write', device: HERE, name: 'on' }), true)
  })

  it('is judged at a cost that hostile caps and names cannot raise', () => {
    const stars = `invoke:*/${'*a'.repeat(26)}*b`
    const ranges = `invoke:*/a;v=${'1.'.repeat(24)}`
    const choices = `invoke:*/a;v=${'a|'.repeat(24)}`
    const all = [stars, ranges, choices].map((text) => text.slice(0, CAP_BYTES))
    const caps = Array.from({ length: 33 }, (_, i) => all[i % 3] ?? '')
    const start = process.cpuUsage()
    for (let i = 0; i < 100; i++) {
      const judged = judgeCall(caps, question({ name: 'a'.repeat(64) }))
      assert.deepEqual(judged, { deny: 'name' })
    }
    const { user } = process.cpuUsage(start)
    assert.ok(user < 5_000_000, `${user} µs of work`)
  })
})
