import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, it } from 'node:test'

import { pino } from 'pino'

import { readGatewayText, type GatewaySettings } from '../../gateway/config.ts'
import { openDirectory } from '../../gateway/directory.ts'
import { previewOf, type Preview } from '../../gateway/samples.ts'
import type { OutItem } from '../../gateway/sinks/sink.ts'
import type { GatewayDeviceFacts } from '../../node/index.ts'
import { tree } from '../helpers/sensors.ts'

const log = pino({ level: 'silent' })
const GATEWAY = { id: 'gw', name: 'gate', version: '1.2.3' }
const ATTIC: GatewayDeviceFacts = {
  id: 'id-attic',
  key: new Uint8Array(32),
  fingerprint: 'abcd2345',
  name: 'attic',
  role: 'sensor',
  state: 'online',
  self: false,
}
const READING: OutItem = {
  id: 'id-attic/7/0',
  deviceId: ATTIC.id,
  device: 'attic',
  sensor: 'temperature.roof',
  unit: 'Cel',
  value: 21.5,
  atMs: 1_700_000_000_000,
}

function settings(text: string): GatewaySettings {
  const read = readGatewayText(text)
  assert.ok(read.ok, JSON.stringify(read))
  return read.settings
}

/** Every type that there is, at this port, with secrets that nobody can read. */
function everySink(port: number): GatewaySettings {
  const at = `[::1]:${port}`
  const secret = 'password_file = "/nonexistent/secret"\nuser = "kith"'
  const tables = {
    mqtt: `broker = "mqtt://${at}"\n${secret}`,
    'home-assistant': `broker = "mqtt://${at}"\n${secret}`,
    prometheus: 'port = 0',
    'remote-write': `url = "http://${at}/w"\n${secret}`,
    otlp: `url = "http://${at}"\n${secret}`,
    webhook: `url = "http://${at}/hook"\nsecret_file = "/nonexistent/secret"`,
    influx: `url = "http://${at}"\nbucket = "b"\n${secret}`,
    nats: `servers = ["nats://${at}"]\n${secret}`,
    kafka: `brokers = ["${at}"]\n${secret}`,
  }
  const lines = Object.entries(tables).map(
    ([type, keys]) =>
      `[sink.${type}]\ntype = "${type}"\n${keys}\n[[forward]]\nsink = "${type}"\nsensors = ["temperature.*"]\n`,
  )
  return settings(lines.join('\n'))
}

async function preview(
  of: GatewaySettings,
  known: readonly OutItem[],
  signed: readonly string[] = [],
): Promise<Preview> {
  using files = tree()
  const directory = await openDirectory(join(files.root, 'sensors.json'), log)
  for (const item of known) directory.see(item)
  return await previewOf({
    settings: of,
    signed,
    devices: [ATTIC],
    directory,
    known,
    gateway: GATEWAY,
  })
}

describe('what would leave', () => {
  it('is told of every type of sink without a connection and without its secrets', async () => {
    let connections = 0
    const server = createServer(() => void connections++)
    server.listen(0, '::1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const { sinks, refusals } = await preview(everySink(port), [READING])
    assert.equal(refusals.length, 9)
    for (const { sink, samples, why } of sinks) {
      assert.equal(why, undefined, sink)
      assert.ok(samples.length > 0, sink)
      assert.match(samples.map(({ body }) => body).join('\n'), /21\.5/, sink)
    }
    // Whoever had tried to connect would be here by now: the next one is this test's own.
    const own = (await import('node:net')).connect(port, '::1')
    await once(own, 'connect')
    await turn()
    assert.equal(connections, 1)
    own.destroy()
    server.close()
  })

  it('is what the rules name, and no more', async () => {
    const other = { ...READING, id: 'id-attic/7/1', sensor: 'presence', value: true }
    const [sink] = (await preview(everySink(1), [READING, other])).sinks
    assert.deepEqual(sink?.leaves, [{ device: 'attic', sensors: ['temperature.roof'] }])
    assert.equal(sink?.standIn, false)
    assert.doesNotMatch(JSON.stringify(sink?.samples), /presence/)
  })

  it('has made-up values where no reading is known, and says so', async () => {
    const [sink] = (await preview(everySink(1), [])).sinks
    assert.equal(sink?.standIn, true)
    assert.deepEqual(sink?.leaves, [{ device: 'attic', sensors: ['temperature.*'] }])
    assert.match(JSON.stringify(sink?.samples), /temperature\.x/)
  })

  it('tells why of a sink whose settings do not fit together, and goes on', async () => {
    const two = settings(
      '[sink.a]\ntype = "influx"\nurl = "http://x"\n[[forward]]\nsink = "a"\n' +
        '[sink.b]\ntype = "webhook"\nurl = "http://x"\n[[forward]]\nsink = "b"\n',
    )
    const { sinks, wanted, signed } = await preview(two, [READING], ['read:temperature.*'])
    assert.match(sinks[0]?.why ?? '', /needs bucket/)
    assert.ok((sinks[1]?.samples.length ?? 0) > 0)
    assert.deepEqual([wanted, signed], [['read:*'], ['read:temperature.*']])
  })
})
