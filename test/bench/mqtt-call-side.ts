/**
 * One end of calls the MQTT way, in a process of its own: MQTT 5 over TLS 1.3, QoS 1, JSON, a
 * response topic and correlation data. The callee writes a file and reads from its memory as the
 * device of `call-side.ts` does; it judges, signs and remembers nothing.
 *
 *   mqtt-call-side.ts caller|callee PORT CA-FILE FILE
 */
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { setTimeout } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'

import mqtt from 'mqtt'

import { writeSmallFile } from '../../node/machine/bounded.ts'

const [role = '', port = '', caFile = '', file = ''] = process.argv.slice(2)
const ASKED = 'home/lamp/level'
const ANSWERS = 'home/switch/answers'
const PACED_MS = 10

interface Asked {
  readonly verb: 'read' | 'write'
  readonly value?: number
}

const client = await mqtt.connectAsync({
  protocol: 'mqtts',
  host: '::1',
  port: Number(port),
  protocolVersion: 5,
  ca: readFileSync(caFile),
  properties: { receiveMaximum: 65_535 },
})
// Else an answer waits 40 ms for the acknowledgement before it (RFC 1122, 4.2.3.2).
;(client.stream as TLSSocket).setNoDelay(true)
const waiting = new Map<string, () => void>()

client.on('message', (_topic, payload, { properties }) => {
  const id = properties?.correlationData ?? Buffer.alloc(0)
  if (role === 'caller') waiting.get(id.toString('hex'))?.()
  else void answer(JSON.parse(payload.toString()) as Asked, properties?.responseTopic ?? '', id)
})
await client.subscribeAsync(role === 'caller' ? ANSWERS : ASKED, { qos: 1 })
process.on('message', (message) => void ask(message as { verb: Asked['verb']; count: number }))
process.once('SIGTERM', () => void client.endAsync(true).finally(() => process.exit(0)))
process.send?.({ type: 'connected' })

async function answer({ verb, value }: Asked, topic: string, id: Buffer): Promise<void> {
  const result = verb === 'read' ? 50 : undefined
  if (verb === 'write') await writeSmallFile(file, String(value))
  await client.publishAsync(topic, JSON.stringify({ status: 'done', result }), {
    qos: 1,
    properties: { correlationData: id },
  })
}

/** One question after the other, each until its answer is here. */
async function ask({ verb, count }: { verb: Asked['verb']; count: number }): Promise<void> {
  const tookMs: number[] = []
  for (let i = 0; i < count; i++) {
    const correlationData = Buffer.alloc(4)
    correlationData.writeUInt32BE(i)
    const id = correlationData.toString('hex')
    const asked: Asked = verb === 'read' ? { verb } : { verb, value: i % 100 }
    const { promise, resolve } = Promise.withResolvers<void>()
    waiting.set(id, resolve)
    const startedMs = performance.now()
    const properties = { responseTopic: ANSWERS, correlationData }
    void client.publishAsync(ASKED, JSON.stringify(asked), { qos: 1, properties })
    await promise
    tookMs.push(performance.now() - startedMs)
    waiting.delete(id)
    await setTimeout(PACED_MS)
  }
  process.send?.({ type: 'called', tookMs })
}
