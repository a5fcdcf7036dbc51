/**
 * One wake the MQTT way, in a process of its own: a persistent session over resumed TLS 1.3, ten
 * messages with QoS 1, one command that waited at the broker, its answer, and good-bye.
 *
 *   mqtt-wake-side.ts PORT CA-FILE SESSION-FILE [first]
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import process from 'node:process'
import type { TLSSocket } from 'node:tls'

import mqtt from 'mqtt'

const [port = '', caFile = '', sessionFile = '', first] = process.argv.slice(2)
const MESSAGES = 10
const READINGS = 8
const COMMAND = 'home/nap/set'

const startedMs = performance.now()
const options: mqtt.IClientOptions & { readonly session?: Buffer } = {
  protocol: 'mqtts',
  host: '::1',
  port: Number(port),
  protocolVersion: 5,
  clientId: 'nap',
  clean: false,
  properties: { sessionExpiryInterval: 3600, receiveMaximum: 65_535 },
  ca: readFileSync(caFile),
  ...(existsSync(sessionFile) ? { session: readFileSync(sessionFile) } : {}),
}
const client = mqtt.connect(options)
const commanded = new Promise<void>((resolve) => client.once('message', () => resolve()))
const stream = client.stream as TLSSocket
stream.setNoDelay(true)
stream.on('session', (session: Buffer) => writeFileSync(sessionFile, session))
await new Promise((resolve) => client.once('connect', resolve))
const resumed = stream.isSessionReused()
if (first === 'first') await client.subscribeAsync(COMMAND, { qos: 1 })
else {
  const readings = Array.from({ length: MESSAGES }, (_, i) =>
    client.publishAsync('home/nap', JSON.stringify(batch(i)), { qos: 1 }),
  )
  await commanded
  await client.publishAsync('home/nap/answer', '{"id":"0123456789abcdef","status":"done"}', {
    qos: 1,
  })
  await Promise.all(readings)
}
await client.endAsync()
process.stdout.write(`${JSON.stringify({ ms: performance.now() - startedMs, resumed })}\n`)

function batch(i: number): readonly Readonly<Record<string, unknown>>[] {
  const now = Date.now()
  return Array.from({ length: READINGS }, (_, n) => ({
    sensor: `room${n}`,
    unit: 'Cel',
    value: 20 + Math.sin(i + n),
    atMs: now - i * 1000,
  }))
}
