import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'
import { pino } from 'pino'

import { readGatewayText } from '../../gateway/config.ts'
import { createDownlink, type Downlink, type Wanted } from '../../gateway/downlink.ts'
import { policyOf } from '../../gateway/policy.ts'
import type { CallView, GatewayCall } from '../../node/index.ts'
import { virtualClock } from '../helpers/clock.ts'

const LAMP = { id: 'id-lamp', fingerprint: 'efgh2345', name: 'lamp' }
const RULES = `[sink.m]
type = "mqtt"
broker = "mqtt://x"
[[downlink]]
sink = "m"
device = "lamp"
write = ["on"]
rate = "2/m"
`
const ON: Wanted = { device: LAMP.id, verb: 'write', name: 'on', input: true }
const signal = new AbortController().signal

function world(caps: readonly string[] = ['write:efgh2345/on'], view: Partial<CallView> = {}) {
  const clock = virtualClock()
  const calls: GatewayCall[] = []
  const read = readGatewayText(RULES)
  assert.ok(read.ok)
  const policy = policyOf(read.settings, caps, [LAMP])
  const done: CallView = {
    id: 'c1',
    device: { id: LAMP.id, name: 'lamp' },
    verb: 'write',
    name: 'on',
    state: 'executed',
    issuedAt: 0,
    expiresAt: 0,
    holders: [],
    receipt: { status: 'done', at: 0, clock: 'synced' },
    ...view,
  }
  const downlink: Downlink = createDownlink({
    clock,
    log: pino({ level: 'silent' }),
    policy: () => policy,
    device: {
      call: async (call) => {
        calls.push(call)
        return done
      },
    },
  })
  return { downlink, calls, clock }
}

describe('what is asked from outside', () => {
  it('is called under the gateway’s role, says through which sink, and is answered by its receipt', async () => {
    const { downlink, calls } = world()
    assert.deepEqual(await downlink.ask('m', ON, signal), { status: 'done', call: 'c1' })
    assert.equal(calls.length, 1)
    assert.equal(calls[0]?.origin, 'gateway:m')
    assert.deepEqual([calls[0]?.device, calls[0]?.name, calls[0]?.input], [LAMP.id, 'on', true])
  })

  it('calls nothing where no owner signed it, and tells nothing about the home', async () => {
    const { downlink, calls } = world([])
    const refused = await downlink.ask('m', ON, signal)
    const { downlink: other } = world()
    const nobody = await other.ask('m', { ...ON, device: 'id-nobody' }, signal)
    assert.equal(refused.status, 'refused')
    assert.deepEqual(refused, nobody)
    assert.equal(calls.length, 0)
  })

  it('is refused above the rate of its rule, and again allowed as time passes', async () => {
    const { downlink, calls, clock } = world()
    const asked = async (): Promise<string> => (await downlink.ask('m', ON, signal)).status
    assert.deepEqual([await asked(), await asked(), await asked()], ['done', 'done', 'refused'])
    await clock.advance(30_000)
    assert.deepEqual([await asked(), await asked()], ['done', 'refused'])
    assert.equal(calls.length, 3)
  })

  it('waits for a sleeper, and fails in the words of the receipt', async () => {
    const { downlink } = world(undefined, { state: 'held', receipt: undefined as never })
    assert.equal((await downlink.ask('m', ON, signal)).status, 'waiting')
    const failed = world(undefined, {
      receipt: { status: 'failed', detail: 'no power', at: 0, clock: 'synced' },
    })
    const answer = await failed.downlink.ask('m', ON, signal)
    assert.deepEqual([answer.status, answer.why], ['failed', 'no power'])
  })

  it('calls nothing for hostile names, devices and values', async () => {
    const { downlink, calls } = world(['write:*/*', 'invoke:*/*'])
    const deep = JSON.parse(`${'['.repeat(40)}${']'.repeat(40)}`) as Wanted['input']
    const hostile: readonly Wanted[] = [
      { ...ON, name: '../on' },
      { ...ON, name: 'on\0' },
      { ...ON, name: '#' },
      { ...ON, name: '' },
      { ...ON, device: '+' },
      { ...ON, device: 'lamp' },
      { ...ON, verb: 'read' as never },
      { ...ON, input: undefined },
      { ...ON, input: 'x'.repeat(20_000) },
      { ...ON, input: deep },
      { ...ON, input: JSON.parse('{"__proto__":1}') as Wanted['input'] },
      { ...ON, input: Number.NaN },
    ]
    for (const wanted of hostile) {
      assert.equal((await downlink.ask('m', wanted, signal)).status, 'refused')
    }
    await fc.assert(
      fc.asyncProperty(fc.string(), fc.string(), fc.anything(), async (device, name, input) => {
        fc.pre(name !== 'on' || device !== LAMP.id)
        const wanted = { device, name, verb: 'write' as const, input: input as never }
        assert.equal((await downlink.ask('m', wanted, signal)).status, 'refused')
      }),
    )
    assert.equal(calls.length, 0)
  })
})
