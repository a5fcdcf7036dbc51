import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { CallView, NodeView } from '../../node/api/view.ts'
import { readValue, takesText } from '../../node/cli/schemas.ts'
import { waitText, whyText } from '../../node/cli/call-text.ts'
import { NodeError, type NodeErrorCode } from '../../node/errors.ts'
import { AT, callView, CAUSE, HELD, LAMP, POWER, WHY } from '../helpers/fake-calls.ts'
import { startFakeDevice } from '../helpers/fake-device.ts'
import { CODE, DEVICES } from '../helpers/fake-view.ts'
import { kith } from '../helpers/kith-process.ts'

const UTC = { TZ: 'UTC' }

async function run(args: readonly string[], over: Partial<NodeView> = {}, input = '') {
  await using device = await startFakeDevice(over)
  const done = await kith(args, { dir: device.dir, env: UTC, input })
  return { ...done, asked: device.view.asked }
}

/** One line with the spaces between its columns made one. */
const squeezed = (text: string): string[] =>
  text.split('\n').map((line) => line.trim().replaceAll(/ {2,}/g, ' | '))

describe('kith describe', () => {
  it('shows properties with their values, actions with what they take, and events', async () => {
    const { code, stdout, stderr } = await run(['describe', 'lamp'])
    assert.deepEqual([code, stderr], [0, ''])
    assert.deepEqual(squeezed(stdout), [
      'lamp',
      '',
      'PROPERTY | VALUE | MAY | TAKES | WHAT',
      'brightness | - | get set | whole 0 to 100 %',
      'label | - | get set | text up to 20',
      'on | true | get set | true or false | Whether it shines',
      'temperature | 41.5 °C | get | number °C',
      '',
      'ACTION | TAKES | WHAT',
      'fade | {to: whole 0 to 100}',
      'toggle | nothing | On, or off',
      '',
      'EVENT | BRINGS | WHAT',
      'overheated | number | Too hot to touch',
      '',
    ])
  })

  it('says where it is what the device told last', async () => {
    const { stdout, stderr } = await run(['describe', 'lamp'], {
      description: async () => ({
        device: LAMP,
        at: Date.now() - 7_200_000,
        live: false,
        description: {},
      }),
    })
    assert.match(stdout, /It lets this device do nothing/)
    assert.equal(stderr, 'lamp is not connected; it told this 2 h ago.\n')
  })

  it('makes what a device says of itself harmless for the terminal', async () => {
    const evil = 'a\u001B[2Jb'
    const { stdout } = await run(['describe', 'lamp'], {
      description: async () => ({
        device: { id: 'x', name: evil },
        at: AT,
        live: true,
        description: {
          description: evil,
          properties: { [evil]: { type: 'string', enum: [evil], description: evil, unit: evil } },
          actions: { [evil]: { input: { type: 'object', properties: { [evil]: {} } } } },
          events: { [evil]: { description: evil } },
        },
        values: [{ name: evil, value: evil, at: AT }],
      }),
    })
    assert.ok(!stdout.includes('\u001B'))
    assert.ok(stdout.split(String.raw`\u{1b}[2J`).length > 8)
  })
})

describe('kith get, set and call', () => {
  it('print the value, and with --json the call with its receipt', async () => {
    const text = await run(['get', 'lamp', 'on'])
    assert.deepEqual([text.code, text.stdout], [0, 'true\n'])
    const json = await run(['get', 'lamp', 'temperature', '--json'])
    assert.equal((json.json()['receipt'] as { result: number }).result, 41.5)
  })

  const written: readonly (readonly [string, string, unknown])[] = [
    ['on', 'true', true],
    ['brightness', '30', 30],
    ['label', 'night', 'night'],
    ['label', '42', '42'],
    ['label', '"quoted"', 'quoted'],
    ['other', '{"a":[1]}', { a: [1] }],
  ]
  for (const [name, typed, value] of written) {
    it(`give ${name} what was typed as ${typed}`, async () => {
      const { code, stdout, asked } = await run(['set', 'lamp', name, typed])
      assert.equal(code, 0)
      assert.deepEqual(asked.at(-1), ['writeProperty', { ref: 'lamp', name }, value, {}])
      const shown = typeof value === 'string' ? value : JSON.stringify(value)
      assert.equal(stdout, `lamp: ${name} = ${shown} done\n`)
    })
  }

  it('call actions with and without a value', async () => {
    const plain = await run(['call', 'lamp', 'toggle'])
    assert.equal(plain.stdout, 'lamp: toggle done\n')
    assert.deepEqual(plain.asked, [
      ['invokeAction', { ref: 'lamp', name: 'toggle' }, undefined, {}],
    ])
    const fade = await run(['call', 'lamp', 'fade', '{"to":5}', '--ttl', '10m', '--wait'])
    assert.equal(fade.stdout, 'lamp: fade({"to":5}) done\n')
    const options = { ttlMs: 600_000, waitMs: 86_400_000 }
    assert.deepEqual(fade.asked.at(-1), [
      'invokeAction',
      { ref: 'lamp', name: 'fade' },
      { to: 5 },
      options,
    ])
  })

  it('say what was brought back', async () => {
    const receipt = { status: 'done', result: { was: 3 }, at: AT, clock: 'synced' } as const
    const { stdout } = await run(['call', 'lamp', 'toggle'], {
      invokeAction: async () => callView({ receipt }),
    })
    assert.equal(stdout, 'lamp: toggle done: {"was":3}\n')
  })

  it('end with exit code 7 and the time where the device sleeps', async () => {
    for (const args of [
      ['set', 'garden', 'setpoint', '21.5'],
      ['call', 'garden', 'water'],
      ['get', 'garden', 'on'],
    ]) {
      const { code, stdout } = await run(args, {
        // Due in the future, by this machine's clock.
        writeProperty: async () => ({ ...HELD, deliversBy: Date.now() + 600_000 }),
        invokeAction: async () => ({ ...HELD, deliversBy: Date.now() + 600_000 }),
        readProperty: async () => ({ ...HELD, deliversBy: Date.now() + 600_000 }),
      })
      assert.equal(code, 7)
      assert.match(
        stdout,
        /^Queued: garden sleeps; delivers by \d\d:\d\d\. Kept by lamp and hall-button\.\n$/,
      )
    }
    const json = await run(['call', 'garden', 'water', '--json'])
    assert.deepEqual([json.code, json.stderr, json.json()['state']], [7, '', 'held'])
  })

  const refused: readonly (readonly [NodeErrorCode, number])[] = [
    ['NODE_DENIED', 4],
    ['NODE_NOT_FOUND', 5],
    ['NODE_TIMEOUT', 6],
    ['NODE_USAGE', 2],
    ['NODE_CONFLICT', 1],
  ]
  for (const [reason, exit] of refused) {
    it(`end with exit code ${exit} at ${reason}`, async () => {
      const fail = () =>
        Promise.reject(new NodeError(reason, 'The lamp said so.', { hint: 'Did you mean on?' }))
      const { code, stdout, stderr } = await run(['set', 'lamp', 'on', 'true'], {
        writeProperty: fail,
      })
      assert.deepEqual([code, stdout], [exit, ''])
      assert.equal(stderr, 'kith: The lamp said so.\nDid you mean on?\n')
    })
  }

  const usage: readonly (readonly string[])[] = [
    ['set', 'lamp', 'on', 'maybe'],
    ['set', 'lamp', 'on'],
    ['set', 'lamp', 'on', 'true', '--ttl', '0.5s'],
    ['set', 'lamp', 'on', 'true', '--ttl', '31d'],
    ['call', 'lamp', 'fade', '{to:5}'],
    ['call', 'lamp'],
    ['get', 'lamp'],
    ['why'],
    ['why', 'lamp', '--limit', '0'],
    ['grant', 'garden', 'guest', '--call', 'lamp'],
    ['add', CODE, '--role', 'guest', '--call', '/toggle'],
  ]
  for (const args of usage) {
    it(`refuses \`kith ${args.join(' ')}\` with exit code 2, and nothing is called`, async () => {
      const { code, stdout, stderr, asked } = await run(args)
      assert.deepEqual([code, stdout], [2, ''])
      assert.match(stderr, /^kith: /)
      assert.deepEqual(
        asked.filter(([name]) => name !== 'description'),
        [],
      )
    })
  }

  it('tell what a device takes where it does not take that', async () => {
    const { stderr } = await run(['set', 'lamp', 'brightness', 'bright'])
    assert.match(stderr, /"bright" is no JSON\.\nNothing was changed\. It takes whole 0 to 100 %\./)
  })

  it('go on without a description, which the call itself may not need', async () => {
    const description = () => Promise.reject(new NodeError('NODE_TIMEOUT', 'It sleeps.'))
    const { code, asked } = await run(['set', 'lamp', 'on', 'true'], { description })
    assert.equal(code, 0)
    assert.deepEqual(asked.at(-1)?.[2], true)
    assert.equal((await run(['set', 'lamp', 'label', 'night'], { description })).code, 2)
  })
})

describe('kith observe', () => {
  it('prints changes until it is stopped', async () => {
    await using device = await startFakeDevice()
    let lines = 0
    const { code, stdout } = await kith(['observe', 'lamp', 'on'], {
      dir: device.dir,
      env: UTC,
      onLine: (_line, kill) => {
        lines += 1
        if (lines === 2) kill('SIGINT')
      },
    })
    assert.equal(code, 130)
    assert.deepEqual(
      stdout.split('\n').map((line) => line.slice('2027-01-15 08:00:00'.length)),
      ['  on = true', '  on = false', ''],
    )
  })
})

describe('kith calls and why', () => {
  it('list calls with what became of them, and take one back', async () => {
    const { stdout } = await run(['calls'])
    const [head, held, done] = squeezed(stdout)
    assert.equal(head, 'CALL | WHEN | DEVICE | WHAT | STATE')
    assert.match(held ?? '', /^beef1111 \| .* \| garden \| setpoint = 21\.5 \| held by 2, /)
    assert.match(done ?? '', /^c0ffee00 \| .* \| lamp \| toggle \| done$/)
    const same = await run(['calls', 'list', '--json'])
    assert.deepEqual(JSON.parse(same.stdout), [HELD, callView()])
    const cancelled = await run(['calls', 'cancel', 'beef'])
    assert.deepEqual(cancelled.asked, [['cancelCall', 'beef']])
    assert.equal(cancelled.stdout, 'Taken back: garden: setpoint = 21.5.\n')
    const none = await run(['calls'], { calls: async () => [] })
    assert.equal(none.stdout, 'This device has called nobody.\n')
  })

  it('tell who did what, and the chain from the reading to the receipt', async () => {
    const { stdout, asked } = await run(['why', 'lamp', 'on', '--limit', '5'])
    assert.deepEqual(asked, [['why', 'lamp', { name: 'on', limit: 5 }]])
    const at = '2027-01-15 08:00:00'
    assert.deepEqual(stdout.split('\n'), [
      `${at}  on = true  by hall-button: rule press-light because button = 1 (reading 812, ${at})  done`,
      '2027-01-15 07:59:00  fade({"to":30})  by kitchen  failed: the bulb did not answer',
      '',
    ])
    const json = await run(['why', 'lamp', '--json'])
    assert.deepEqual(JSON.parse(json.stdout), WHY)
  })

  it('name the device of a reading that another device measured, and what was not verified', () => {
    const [row] = WHY
    assert.ok(row)
    const cause = { ...CAUSE, device: LAMP, sensor: 'heat' }
    assert.match(whyText({ ...row, cause, verified: false }, AT), /lamp\/heat = 1 .*NOT VERIFIED$/)
  })
})

describe('words for calls that wait', () => {
  const cases: readonly (readonly [Partial<CallView>, RegExp])[] = [
    [{ state: 'queued', holders: [] }, /sleeps; delivers by .*Only this device has it so far\.$/],
    [{ state: 'held', deliversBy: AT - 1000 }, /^Queued: garden sleeps; it was due at /],
    [{ state: 'delivered' }, /^Delivered: garden has it/],
    [{ state: 'sent' }, /^Sent: garden has not answered yet\.$/],
  ]
  for (const [more, text] of cases) {
    it(`tell a call that is ${more.state}`, () => {
      assert.match(waitText({ ...HELD, ...more }, AT), text)
    })
  }

  it('never promise a time that nobody knows', () => {
    const { deliversBy: _, ...unknown } = HELD
    assert.match(waitText(unknown, AT), /nobody knows when it wakes/)
  })
})

describe('kith power', () => {
  it('names what costs most, and how long the battery lasts', async () => {
    const { stdout } = await run(['power'])
    assert.match(stdout, /This device wakes every 10 min, for 2 s at most\./)
    assert.match(stdout, /A battery of 2400 mAh lasts about 942 days, at 0\.106 mA on average\./)
    assert.match(stdout, /420 ms awake, 310 ms connected,\n3100 bytes sent and 1800 received/)
    const rows = squeezed(stdout)
    assert.ok(rows.includes('being asleep | 9 min | 47 %'))
    assert.ok(rows.includes('connecting | 120 ms | 22 %'))
    assert.match(stdout, /What costs most: being asleep\.\n$/)
  })

  it('says of a device that does not sleep that it does not', async () => {
    const { mean: _, ...rest } = POWER
    const { stdout } = await run(['power'], {
      power: async () => ({
        ...rest,
        mode: 'powered',
        forecast: { costs: [], missing: ['wakes'] },
      }),
    })
    assert.equal(stdout, 'This device does not sleep.\n')
  })

  it('says what must be told before it can tell', async () => {
    const missing = ['power.battery_mah', 'power.awake_ma', 'wakes']
    const { mean: _, ...rest } = POWER
    const { stdout } = await run(['power'], {
      power: async () => ({ ...rest, forecast: { costs: [], missing } }),
    })
    assert.match(
      stdout,
      /No wake was counted yet\.\nTo know .* set power\.battery_mah, power\.awake_ma:/,
    )
  })
})

describe('devices that sleep, on the command line', () => {
  it('are asleep, late or lost with the time they are due', async () => {
    const now = Date.now()
    const rows = (['asleep', 'late', 'lost', 'online'] as const).map((state, index) => ({
      ...(DEVICES[2] ?? assert.fail()),
      name: `garden${index}`,
      state,
      dueAt: now + (state === 'asleep' ? 250_000 : -250_000),
    }))
    const { stdout } = await run(['devices'], { devices: async () => rows })
    assert.deepEqual(
      squeezed(stdout)
        .slice(1, 5)
        .map((line) => line.split(' | ').at(-1)),
      ['asleep, due in 4 min', 'late, was due 4 min ago', 'lost, was due 4 min ago', 'online'],
    )
    const show = await run(['show', 'garden'], { device: async () => rows[0] ?? assert.fail() })
    assert.match(show.stdout, /state +asleep, due in 4 min/)
  })
})

describe('guests who may do something, on the command line', () => {
  it('are added and granted with --call', async () => {
    const what = ['--call', 'lamp/toggle;n=3', '--call', 'lamp/dim', '--for', '2h']
    const added = await run(['add', '-', '--role', 'guest', ...what], {}, `${CODE}\n`)
    const terms = { calls: ['lamp/toggle;n=3', 'lamp/dim'], forMs: 7_200_000 }
    assert.deepEqual(added.asked, [['addDevice', { code: CODE, role: 'guest', ...terms }]])
    const granted = await run(['grant', 'garden', 'guest', ...what])
    assert.deepEqual(granted.asked, [['grant', 'garden', 'guest', terms]])
  })
})

describe('schemas in words', () => {
  const cases: readonly (readonly [Parameters<typeof takesText>[0], string])[] = [
    [{ type: 'integer', minimum: 1 }, 'whole number from 1'],
    [{ type: 'number', maximum: 2.5, unit: 'Cel' }, 'number up to 2.5 °C'],
    [{ enum: ['low', 'medium', 'high'] }, 'low, medium or high'],
    [{ type: 'array', items: { type: 'boolean' } }, 'list of true or false'],
    [{ type: 'object', properties: { a: { type: 'null' } } }, '{a?: null}'],
    [{ const: 5 }, '5'],
    [{}, 'anything'],
    [{ type: 'constructor' }, 'anything'],
  ]
  for (const [schema, text] of cases) {
    it(`say ${text}`, () => assert.equal(takesText(schema), text))
  }

  it('read a word that is one of the choices as that word', () => {
    assert.equal(readValue('low', { enum: ['low', 'high'] }), 'low')
    assert.equal(readValue('1', { enum: [1, 2] }), 1)
    assert.throws(() => readValue('mid', { enum: ['low', 'high'] }), /no JSON/)
  })
})
