import assert from 'node:assert/strict'
import { readFile, watch, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import type { WhyView } from '../../node/api/view.ts'
import {
  addByQr,
  eventOf,
  folders,
  loopbackOf,
  makeHome,
  startDevice,
  type TestDevice,
} from '../helpers/device.ts'

const dirs = folders()
after(() => dirs[Symbol.asyncDispose]())

const BUTTON = '[sensor.button]\ntype = "push"\n'
const RULE = `[rule.light]
when = { sensor = "button", equals = 1 }
then = [{ device = "lamp", write = "on", value = true }]
`

/** A device whose property `on` is this file. */
async function lampIn(dir: string): Promise<string> {
  const file = join(dir, 'brightness')
  await writeFile(file, '0')
  const lamp = `[property.on]\ntype = "file"\npath = "${file}"\nvalue = "boolean"\n`
  await writeFile(join(dir, 'config.toml'), lamp)
  return file
}

async function press({ view }: TestDevice): Promise<void> {
  await view.push([{ sensor: 'button', value: 0 }])
  await view.push([{ sensor: 'button', value: 1 }])
}

/** Resolves when the file says something else than 0. */
async function changed(file: string, signal: AbortSignal): Promise<string> {
  const changes = watch(file, { signal })
  const said = async (): Promise<string> => (await readFile(file, 'utf8')).trim()
  for await (const _ of changes) {
    const now = await said()
    if (now !== '' && now !== '0') return now
  }
  return said()
}

/** It acts before it can tell why. */
async function firstWhy({ view }: TestDevice, name: string): Promise<WhyView> {
  const signal = AbortSignal.timeout(5000)
  for (;;) {
    const [row] = await view.why('lamp', { name, limit: 1 }, signal)
    if (row !== undefined) return row
    await setImmediate(undefined, { signal })
  }
}

describe('a button on one device and a lamp on another', () => {
  it('are joined by a rule, and the lamp tells who and why', async () => {
    const [here, there] = [await dirs.make(), await dirs.make()]
    await writeFile(join(here, 'config.toml'), `${BUTTON}${RULE}`)
    const file = await lampIn(there)
    await using button = await startDevice(here, { 'device.name': 'button' })
    await makeHome(button)
    const peers = { 'mesh.peers': await loopbackOf(button), 'device.name': 'lamp' }
    await using lamp = await startDevice(there, peers)
    const { device } = await lamp.view.status()
    const online = eventOf(button, 'device.online', ({ data }) => data['device'] === device.id)
    await addByQr(button, lamp, 'member')
    await online

    const stop = new AbortController()
    const on = changed(file, stop.signal)
    await press(button)
    assert.notEqual(await on, '0')
    stop.abort()

    const row = await firstWhy(lamp, 'on')
    assert.ok(row.cause !== undefined)
    const { by, verb, args, status, cause, verified } = row
    const told = [by.name, verb, args, status, verified, cause.rule, cause.sensor]
    assert.deepEqual(told, ['button', 'write', true, 'done', true, 'light', 'button'])
    assert.ok(cause.seq > 0, 'the reading is in no pack')
  })

  it('tells that a rule does not work, and goes on', async () => {
    const dir = await dirs.make()
    await writeFile(join(dir, 'config.toml'), `${BUTTON}${RULE}`)
    await using button = await startDevice(dir)
    await makeHome(button)
    await press(button)
    const { data } = await eventOf(button, 'rule.failed')
    assert.deepEqual(data, { rule: 'light', device: 'lamp', name: 'on', why: 'no-device' })
  })
})
