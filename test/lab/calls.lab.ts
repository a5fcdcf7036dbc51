/*
 *      hub (the only owner) ──┐   ┌── lamp, whose light is a file
 *                          switch "lan"
 *      button, with a rule ───┘   └── visitor, a guest who may toggle
 *
 * The hub is killed. The button goes on switching the lamp, people do so from any device, and the
 * lamp by itself keeps the guest to what was granted.
 */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'

const NAMES = ['hub', 'lamp', 'button', 'visitor']
const ONLINE_LIMIT_MS = 30_000
const NOTICE_LIMIT_MS = 30_000
const CALL_LIMIT_MS = 10_000

interface Why {
  readonly name: string
  readonly status: string
  readonly by: { readonly name: string }
  readonly cause: { readonly rule: string; readonly sensor: string; readonly value: unknown } | null
}

describe('devices without their hub', needs('namespaces'), () => {
  let lab: Lab
  let folder = ''
  const light = (): Promise<string> => readFile(path.join(folder, 'light'), 'utf8')
  const lit = async (want: string): Promise<boolean> => (await light()).trim() === want

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kith-light-'))
    await writeFile(path.join(folder, 'light'), '0\n')
    lab = await startLab(
      { lan: NAMES.map((device) => ({ device, interface: 'eth0' })) },
      {
        files: {
          lamp: `
            [property.on]
            type = "file"
            path = "${path.join(folder, 'light')}"
            value = "boolean"
            [action.toggle]
            type = "toggle"
            property = "on"`,
          button: `
            [sensor.button]
            type = "push"
            interval = "10ms"
            [rule.press]
            when = { sensor = "button", equals = 1 }
            then = [{ device = "lamp", invoke = "toggle" }]`,
        },
        settings: { button: { 'telemetry.sensors': 'button' } },
        terms: { visitor: ['--role', 'guest', '--for', '1h', '--call', 'lamp/toggle'] },
      },
    )
    await lab.makeHome()
    await lab.online(['hub', 'lamp', 'button'], ONLINE_LIMIT_MS)
    await lab.until('the lamp knows the guest', NOTICE_LIMIT_MS, async () => {
      return (await lab.row('lamp', 'visitor'))?.state === 'online'
    })
    await lab.device('hub').stop('SIGKILL')
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  it('call each other', async () => {
    const [receipt] = await lab.device('button').kith(['set', 'lamp', 'on', 'true'])
    assert.equal((receipt as { state: string }).state, 'executed')
    assert.ok(await lit('1'))
    const [read] = await lab.device('button').kith(['get', 'lamp', 'on'])
    assert.equal((read as { receipt: { result: unknown } }).receipt.result, true)
  })

  it('follow their own rules, and say why', async () => {
    const button = lab.device('button')
    await button.kith(['sensors', 'push', 'button', '0'])
    await button.kith(['sensors', 'push', 'button', '1'])
    await lab.until('the lamp is off', CALL_LIMIT_MS, () => lit('0'))
    const rows = await lab.until('the lamp has said why', CALL_LIMIT_MS, async () => {
      const found = (await button.kith(['why', 'lamp'])).flat() as Why[]
      return found.some(({ cause }) => cause !== null) && found
    })
    const [last] = rows
    assert.equal(last?.name, 'toggle')
    assert.equal(last.status, 'done')
    assert.equal(last.by.name, 'button')
    assert.equal(last.cause?.rule, 'press')
    assert.equal(last.cause?.sensor, 'button')
    assert.equal(last.cause?.value, 1)
  })

  it('keep a guest to what it was granted, with every owner away', async () => {
    const visitor = lab.device('visitor')
    await lab.until('the guest is connected', NOTICE_LIMIT_MS, async () => {
      return (await lab.row('visitor', 'lamp'))?.state === 'online'
    })
    const [receipt] = await visitor.kith(['call', 'lamp', 'toggle'])
    assert.equal((receipt as { state: string }).state, 'executed')
    assert.ok(await lit('1'))
    await assert.rejects(visitor.kith(['set', 'lamp', 'on', 'false']), /exit [45]/)
    await assert.rejects(visitor.kith(['call', 'button', 'toggle']), /exit [45]/)
    assert.ok(await lit('1'), 'nothing was switched')
    const text = JSON.stringify(await visitor.kith(['describe', 'lamp']))
    assert.match(text, /toggle/)
    assert.doesNotMatch(text, /"on"/, 'nor told of what it may not use')
  })
})
