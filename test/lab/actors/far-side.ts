/**
 * Who listens at the broker: a subscriber whose session outlasts its connections. Prints each message
 * of a device, as JSON, in a line.
 *
 *   far-side.ts PORT
 */
import process from 'node:process'

import mqtt from 'mqtt'

const client = mqtt.connect({
  host: '::1',
  port: Number(process.argv[2]),
  protocolVersion: 5,
  clientId: 'far-side',
  clean: false,
  properties: { sessionExpiryInterval: 3600 },
  reconnectPeriod: 50,
})
client.on('error', () => undefined)
client.on('message', (topic, payload) => {
  if (!/^kith\/[^/]+(\/late)?$/.test(topic)) return
  process.stdout.write(`${JSON.stringify({ topic, said: JSON.parse(String(payload)) })}\n`)
})
client.once('connect', () => {
  client.subscribe('kith/#', { qos: 1 }, () => process.stdout.write('{"ready":true}\n'))
})
