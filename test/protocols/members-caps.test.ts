import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { CAP_BYTES, capToRead, formatCap, parseCap } from '../../protocols/members/index.ts'

const HERE = 'abcd2345'
const THERE = 'zzzz7777'

/** By the words of the SPEC, with every way to spend a star tried. */
function naively(caps: readonly string[], fingerprint: string, sensor: string): boolean {
  return caps.some((cap) => {
    if (!cap.startsWith('read:')) return false
    const [first = '', ...rest] = cap.slice('read:'.length).split('/')
    const [device, pattern] = rest.length === 0 ? ['*', first] : [first, rest.join('/')]
    return (device === '*' || device === fingerprint) && spend(sensor, pattern)
  })
}

function spend(name: string, pattern: string): boolean {
  const [first, ...rest] = pattern.split('')
  if (first === undefined) return name === ''
  const after = rest.join('')
  if (first !== '*') return name.startsWith(first) && spend(name.slice(1), after)
  return Array.from({ length: name.length + 1 }, (_, i) => i).some((i) =>
    spend(name.slice(i), after),
  )
}

/** Few letters, so that patterns and names meet often. */
const word = fc.stringMatching(/^[ab][ab./]{0,7}$/)
const pattern = fc.stringMatching(/^[ab*][ab./*]{0,6}$/).filter((text) => !text.includes('**'))
const cap = fc
  .record({ device: fc.constantFrom(undefined, HERE, THERE), sensors: pattern })
  .map(({ device, sensors }) =>
    formatCap({ verb: 'read', sensors, ...(device === undefined ? {} : { device }) }),
  )

describe('caps to read', () => {
  it('allow what their text says, and nothing else', () => {
    fc.assert(
      fc.property(
        fc.array(cap, { maxLength: 4 }),
        fc.constantFrom(HERE, THERE),
        word,
        (caps, fingerprint, sensor) => {
          const found = capToRead(caps, fingerprint, sensor)
          assert.equal(found !== undefined, naively(caps, fingerprint, sensor))
          assert.ok(found === undefined || caps.includes(found))
        },
      ),
      { numRuns: 3000 },
    )
  })

  it('have one spelling each', () => {
    fc.assert(
      fc.property(cap, (text) => {
        const read = parseCap(text)
        assert.ok(read)
        assert.equal(formatCap(read), text)
      }),
    )
  })

  it('are read from nothing but their exact form', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `read:${text}`),
        ),
        (text) => {
          const read = parseCap(text)
          if (read === undefined) return
          assert.ok(text.length <= CAP_BYTES)
          assert.equal(formatCap(read), text)
        },
      ),
    )
    const read = {
      'read:temperature': { verb: 'read', sensors: 'temperature' },
      'read:*': { verb: 'read', sensors: '*' },
      'read:room-*.temperature': { verb: 'read', sensors: 'room-*.temperature' },
      'read:abcd2345/disk.*': { verb: 'read', device: HERE, sensors: 'disk.*' },
      'read:abcd2345/disk/mnt': { verb: 'read', device: HERE, sensors: 'disk/mnt' },
      'read:*/disk/mnt': { verb: 'read', sensors: 'disk/mnt' },
    }
    for (const [text, meaning] of Object.entries(read)) {
      assert.deepEqual(parseCap(text), meaning, text)
    }
    const refused = [
      '',
      'read:',
      'read',
      'call:light',
      'READ:load',
      ' read:load',
      'read:load ',
      'read:lo ad',
      'read:**',
      'read:a**b',
      'read:.load',
      'read:/load',
      'read:*/load',
      'read:disk/mnt',
      'read:ABCD2345/load',
      'read:abcd234/load',
      'read:abcd2345/',
      'read:abcd0189/load',
      'read:load\n',
      `read:${'a'.repeat(CAP_BYTES)}`,
    ]
    for (const text of refused) assert.equal(parseCap(text), undefined, text)
  })

  it('allow nothing where they are not understood', () => {
    assert.equal(capToRead(['porch/light', 'call:x', 'read:**'], HERE, 'load'), undefined)
    assert.equal(capToRead([], HERE, 'load'), undefined)
  })

  it('are judged at a cost that a pattern full of stars cannot raise', () => {
    const stars = `read:${'*a'.repeat(28)}*b`
    const name = 'a'.repeat(64)
    const start = process.cpuUsage()
    for (let i = 0; i < 1000; i++) assert.equal(capToRead([stars], HERE, name), undefined)
    const { user } = process.cpuUsage(start)
    assert.ok(user < 5_000_000, `${user} µs of work`)
  })
})
