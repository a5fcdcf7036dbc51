import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { readGatewayText, type GatewaySettings } from '../../gateway/config.ts'
import { policyOf } from '../../gateway/policy.ts'

const ATTIC = { id: 'id-attic', fingerprint: 'abcd2345', name: 'attic' }
const LAMP = { id: 'id-lamp', fingerprint: 'efgh2345', name: 'lamp' }
const DEVICES = [ATTIC, LAMP]
const SINK = '[sink.m]\ntype = "mqtt"\nbroker = "mqtt://x"\n'

function settings(rules: string): GatewaySettings {
  const read = readGatewayText(SINK + rules)
  assert.ok(read.ok)
  return read.settings
}

const TEMPERATURES = settings(
  '[[forward]]\nsink = "m"\ndevice = "attic"\nsensors = ["temperature.*"]\n',
)
const ALL = settings('[[forward]]\nsink = "m"\n')
const SWITCH = settings('[[downlink]]\nsink = "m"\ndevice = "lamp"\nwrite = ["on"]\n')
const reading = { deviceId: ATTIC.id, sensor: 'temperature.roof' }

describe('what may leave', () => {
  it('is nothing where a rule asks for it and no owner signed it, and says what to sign', () => {
    const policy = policyOf(TEMPERATURES, [], DEVICES)
    assert.deepEqual(policy.rulesFor(reading), [])
    assert.equal(policy.mayLeave('m', reading), false)
    assert.equal(policy.knows('m', ATTIC.id), false)
    assert.deepEqual(policy.wanted, ['read:abcd2345/temperature.*'])
    assert.match(
      policy.refusals[0]?.why ?? '',
      /read:abcd2345\/temperature\.\*.*kith gateway policy sign/,
    )
  })

  it('is nothing where an owner signed it and no rule asks for it', () => {
    const policy = policyOf(settings(''), ['read:*'], DEVICES)
    assert.deepEqual(policy.rulesFor(reading), [])
    assert.equal(policy.knows('m', ATTIC.id), false)
  })

  it('is what both name: the narrower of the two, whichever it is', () => {
    const narrowRule = policyOf(TEMPERATURES, ['read:*'], DEVICES)
    assert.equal(narrowRule.mayLeave('m', reading), true)
    assert.equal(narrowRule.mayLeave('m', { ...reading, sensor: 'presence' }), false)
    assert.equal(narrowRule.mayLeave('m', { ...reading, deviceId: LAMP.id }), false)
    assert.equal(narrowRule.mayLeave('other', reading), false)
    const narrowRight = policyOf(ALL, ['read:abcd2345/temperature.*'], DEVICES)
    assert.equal(narrowRight.mayLeave('m', reading), true)
    assert.equal(narrowRight.mayLeave('m', { ...reading, sensor: 'presence' }), false)
    assert.equal(narrowRight.refusals.length, 1)
    assert.equal(narrowRule.refusals.length, 0)
  })

  it('asks for rights in their one spelling, with a slash in a sensor’s name too', () => {
    const both = settings('[[forward]]\nsink = "m"\nsensors = ["a/b", "c"]\n')
    const { wanted } = policyOf(both, [], DEVICES)
    assert.deepEqual(wanted, ['read:*/a/b', 'read:c'])
    assert.equal(policyOf(both, wanted, DEVICES).refusals.length, 0)
  })

  it('is no pack where a part of its sensors was signed', () => {
    const raw = settings('[[forward]]\nsink = "m"\nform = "raw"\n')
    assert.deepEqual(policyOf(raw, ['read:temperature.*'], DEVICES).packsFor(ATTIC.id), [])
    assert.equal(policyOf(raw, ['read:abcd2345/*'], DEVICES).packsFor(ATTIC.id).length, 1)
    assert.deepEqual(policyOf(raw, ['read:abcd2345/*'], DEVICES).packsFor(LAMP.id), [])
  })

  it('is nothing of a device that is not there, or whose name two have', () => {
    const away = policyOf(TEMPERATURES, ['read:*'], [LAMP])
    assert.match(away.refusals[0]?.why ?? '', /no device attic/)
    const twins = policyOf(TEMPERATURES, ['read:*'], [ATTIC, { ...LAMP, name: 'attic' }])
    assert.match(twins.refusals[0]?.why ?? '', /2 devices/)
    assert.equal(twins.mayLeave('m', reading), false)
  })

  it('follows a name to nobody who took it by being called like a fingerprint', () => {
    const byPrint = settings('[[forward]]\nsink = "m"\ndevice = "abcd2345"\n')
    const thief = { ...LAMP, name: 'abcd2345' }
    const policy = policyOf(byPrint, ['read:*'], [ATTIC, thief])
    assert.equal(policy.mayLeave('m', { deviceId: LAMP.id, sensor: 'x' }), false)
    assert.equal(policy.mayLeave('m', reading), true)
  })
})

describe('what may be asked for', () => {
  const wish = { sink: 'm', deviceId: LAMP.id, verb: 'write', name: 'on' } as const

  it('is nothing without a rule and a signature for just that', () => {
    assert.equal(policyOf(SWITCH, [], DEVICES).mayAsk(wish), undefined)
    assert.equal(policyOf(settings(''), ['write:efgh2345/on'], DEVICES).mayAsk(wish), undefined)
    const policy = policyOf(SWITCH, ['write:efgh2345/on'], DEVICES)
    assert.equal(policy.mayAsk(wish)?.index, 0)
    assert.equal(policy.mayAsk({ ...wish, verb: 'invoke' }), undefined)
    assert.equal(policy.mayAsk({ ...wish, name: 'off' }), undefined)
    assert.equal(policy.mayAsk({ ...wish, deviceId: ATTIC.id }), undefined)
    assert.equal(policy.mayAsk({ ...wish, sink: 'other' }), undefined)
  })
})
