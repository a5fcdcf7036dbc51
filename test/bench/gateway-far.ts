/**
 * Behind the broker: a subscriber that counts readings and keeps what came, and a publisher that says
 * the same again with mqtt.js alone.
 *
 *   gateway-far.ts subscriber|publisher PORT CA-FILE FILE
 */
import { readFileSync, writeFileSync } from 'node:fs'
import process from 'node:process'
import { setTimeout } from 'node:timers/promises'

import mqtt from 'mqtt'

const [role = '', port = '', caFile = '', file = ''] = process.argv.slice(2)
const WINDOW = 256

interface Said {
  readonly _id: string
  readonly _i: readonly number[]
}

type Kept = readonly [topic: string, payload: string]

const client = mqtt.connect({
  protocol: 'mqtts',
  host: '::1',
  port: Number(port),
  protocolVersion: 5,
  ca: readFileSync(caFile),
  properties: { receiveMaximum: 65_535 },
  reconnectPeriod: 20,
})
client.on('error', () => undefined)
const got = new Set<string>()
let kept: Kept[] = []
let messages = 0
let expected = Infinity
let keeps = false
const arrivals: [string, number][] = []

client.on('message', (topic, payload) => {
  if (!/^(again|kith)\/[^/]+(\/late)?$/.test(topic)) return
  const text = payload.toString()
  const { _id: id, _i: indexes, latency } = JSON.parse(text) as Said & { latency?: number }
  messages++
  if (latency !== undefined) arrivals.push([id, nowMs()])
  for (const i of indexes) got.add(`${topic.slice(0, 5)} ${id}/${i}`)
  if (keeps) kept.push([topic, text])
  if (got.size >= expected) {
    expected = Infinity
    process.send?.({ type: 'done', atMs: nowMs(), messages })
  }
})
client.on('connect', () => {
  if (role === 'subscriber') client.subscribe(['kith/#', 'again/#'], { qos: 1 }, connected)
  else connected()
})

function connected(): void {
  process.send?.({ type: 'connected' })
}

type Wish =
  | { readonly type: 'expect'; readonly readings: number; readonly keep?: boolean }
  | { readonly type: 'keep' | 'again' | 'arrivals' }
  | { readonly type: 'single'; readonly count: number }

process.on('message', (message) => void obey(message as Wish))
process.once('SIGTERM', () => process.exit(0))

async function obey(wish: Wish): Promise<void> {
  if (wish.type === 'expect') {
    got.clear()
    kept = []
    messages = 0
    keeps = wish.keep === true
    expected = wish.readings
    process.send?.({ type: 'ready' })
  } else if (wish.type === 'keep') {
    writeFileSync(file, JSON.stringify(kept))
    process.send?.({ type: 'kept' })
  } else if (wish.type === 'again') await again()
  else if (wish.type === 'single') await single(wish.count)
  else process.send?.({ type: 'arrivals', arrivals: arrivals.splice(0) })
}

/** The same messages, under another name, with the same properties. */
async function again(): Promise<void> {
  const list = JSON.parse(readFileSync(file, 'utf8')) as readonly Kept[]
  process.send?.({ type: 'started', atMs: nowMs() })
  const waiting = new Set<Promise<unknown>>()
  for (const [topic, payload] of list) {
    const sent: Promise<unknown> = say(topic, payload).finally(() => waiting.delete(sent))
    waiting.add(sent)
    if (waiting.size >= WINDOW) await Promise.race(waiting)
  }
  await Promise.all(waiting)
}

function say(topic: string, payload: string): Promise<unknown> {
  const { _id: id } = JSON.parse(payload) as Said
  const properties = { contentType: 'application/json', userProperties: { 'kith-id': id } }
  return client.publishAsync(topic.replace(/^kith/, 'again'), payload, {
    qos: 1,
    retain: true,
    properties,
  })
}

async function single(count: number): Promise<void> {
  const sent: [string, number][] = []
  for (let i = 0; i < count; i++) {
    sent.push([`alone/${i}`, nowMs()])
    void say('kith/alone', JSON.stringify({ latency: i, _id: `alone/${i}`, _i: [0] }))
    await setTimeout(10)
  }
  process.send?.({ type: 'sent', sent })
}

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
