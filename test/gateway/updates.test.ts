import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { pino } from 'pino'

import { readGatewayText } from '../../gateway/config.ts'
import { openDirectory } from '../../gateway/directory.ts'
import { policyOf } from '../../gateway/policy.ts'
import { versionsIn } from '../../gateway/updates.ts'
import type { GatewayDeviceFacts } from '../../node/index.ts'

type State = Parameters<typeof versionsIn>[0]

const release = (version: string, build: number, more = {}) => ({
  name: 'kith',
  version,
  build,
  id: 'x',
  conflict: false,
  ...more,
})
const channel = (releases: readonly ReturnType<typeof release>[]) =>
  ({ name: 'main', releases }) as unknown as State['channels'][number]
const said = (device: string, version: string, phase: string, name = 'kith') =>
  ({ device, name, channel: 'main', version, phase }) as State['devices'][number]

describe('versions that are told outside', () => {
  const channels = [
    channel([
      release('1.2', 12),
      release('1.3', 13),
      release('1.9', 19, { conflict: true }),
      release('7.0', 70, { name: 'lamp' }),
    ]),
  ]

  it('are what a device runs and the newest release of Kith that may be installed', () => {
    const devices = [
      said('attic', '1.3', 'healthy'),
      said('lamp', '1.3', 'waiting'),
      said('new', '1.3', 'fetching'),
      said('shed', '7.0', 'healthy', 'lamp'),
    ]
    const found = versionsIn({ channels, devices }, (id) => (id === 'lamp' ? '1.2' : undefined))
    assert.deepEqual(
      [...found],
      [
        ['attic', { installed: '1.3', latest: '1.3' }],
        ['lamp', { installed: '1.2', latest: '1.3' }],
      ],
    )
  })

  it('reach the sinks with the device, and the gateway itself is none without a sensor', async () => {
    const directory = await openDirectory('/nonexistent/sensors.json', pino({ level: 'silent' }))
    const facts = (id: string, self: boolean): GatewayDeviceFacts => ({
      id,
      self,
      key: new Uint8Array(32),
      fingerprint: 'abcd2345',
      name: id,
      role: 'member',
      state: 'online',
    })
    const devices = [facts('attic', false), facts('gate', true)]
    const read = readGatewayText(
      '[sink.m]\ntype = "mqtt"\nbroker = "mqtt://x"\n[[forward]]\nsink = "m"\n',
    )
    assert.ok(read.ok)
    const policy = policyOf(read.settings, ['read:*'], devices)
    const update = { installed: '1.2', latest: '1.3' }
    directory.updates(new Map([['attic', update]]))
    assert.deepEqual(
      directory.for('m', policy, devices).map((one) => [one.id, one.update]),
      [['attic', update]],
    )
    directory.see({ deviceId: 'gate', sensor: 'load', value: 1 })
    assert.equal(directory.for('m', policy, devices).length, 2)
  })
})
