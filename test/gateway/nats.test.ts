import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { connect, type NatsConnection } from '@nats-io/transport-node'

import { loadPeer } from '../../gateway/sinks/kafka-peer.ts'
import { startNatsSink } from '../../gateway/sinks/nats.ts'
import {
  freePort,
  NOW_MS,
  reading,
  sinkDeps,
  sinkSettings,
  startProgram,
} from '../helpers/far-side.ts'
import { tree, type Tree } from '../helpers/sensors.ts'
import { needs } from '../helpers/tools.ts'

const signal = new AbortController().signal

async function startServer(files: Tree, ...args: string[]) {
  const port = await freePort()
  const program = await startProgram(
    'nats-server',
    ['-a', '::1', '-p', `${port}`, '-js', '-sd', files.path('js'), ...args],
    'Server is ready',
  )
  return {
    port,
    servers: `servers = ["nats://[::1]:${port}"]`,
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  }
}

async function asked(nats: NatsConnection, what: string, body: unknown): Promise<Answer> {
  return (await nats.request(`$JS.API.${what}`, JSON.stringify(body))).json()
}

describe('NATS', () => {
  it('keeps each reading once in its stream, in order, with its time', needs('nats'), async () => {
    using files = tree()
    await using server = await startServer(files)
    const deps = sinkDeps()
    await using sink = await startNatsSink(sinkSettings('nats', server.servers), deps, signal)
    await assert.rejects(sink.send([reading()], signal), {
      name: 'SinkDown',
      message: /no JetStream/,
    })
    const nats = await connect({ servers: `[::1]:${server.port}` })
    try {
      await asked(nats, 'STREAM.CREATE.kith', {
        name: 'kith',
        subjects: ['kith.>'],
        max_msg_size: 2000,
      })
      const items = [
        reading({ value: 1 }),
        reading({ atMs: NOW_MS + 1, value: 'x'.repeat(3000) }),
        reading({ atMs: NOW_MS + 2, sensor: 'a.* >\r\n', value: 2 }),
        reading({ id: 'dev1/9\r\nx: y', sensor: '', value: '', pack: new Uint8Array([1]) }),
      ]
      const outcomes = await sink.send(items, signal)
      assert.deepEqual(outcomes.toSpliced(1, 1), ['sent', 'sent', 'sent'])
      assert.match(JSON.stringify(outcomes[1]), /larger than the stream takes/)
      assert.equal((await sink.send(items, signal))[0], 'sent')
      const stored: [string, unknown][] = []
      for (let seq = 1; seq <= 3; seq++) {
        const { message } = await asked(nats, 'STREAM.MSG.GET.kith', { seq })
        const event = JSON.parse(Buffer.from(message?.data ?? '', 'base64').toString()) as {
          time: string
        }
        stored.push([message?.subject ?? '', Date.parse(event.time)])
      }
      assert.deepEqual(stored, [
        ['kith.readings.dev1.temperature', NOW_MS],
        ['kith.readings.dev1.a._____', NOW_MS + 2],
        ['kith.packs.dev1', NOW_MS],
      ])
      assert.equal((await asked(nats, 'STREAM.INFO.kith', {})).state?.messages, 3)
      assert.ok(deps.written() > (deps.told.get('dev1 temperature') ?? Infinity))
    } finally {
      await nats.close()
    }
  })

  it('is not there with the wrong password, which is told to nobody', needs('nats'), async () => {
    using files = tree()
    await using server = await startServer(files, '--user', 'kith', '--pass', 'right')
    const password = `password_file = "${files.write('password', 'hush-hush')}"`
    const deps = sinkDeps()
    await using sink = await startNatsSink(
      sinkSettings('nats', server.servers, 'user = "kith"', password),
      deps,
      signal,
    )
    await assert.rejects(sink.send([reading()], signal), (error: Error) => {
      assert.equal(error.name, 'SinkDown')
      return !`${error.stack} ${deps.logged.join('')}`.includes('hush-hush')
    })
  })

  it('needs a package, and says how to install it', async () => {
    const name = 'no-such-package-of-kith'
    const load = async (): Promise<unknown> => await import(name)
    await assert.rejects(loadPeer({ name: 'out' }, load, 'thing@3'), {
      code: 'NODE_CONFIG',
      message: /npm install thing@3/,
    })
  })
})

interface Answer {
  readonly message?: { readonly subject: string; readonly data: string }
  readonly state?: { readonly messages: number }
}
