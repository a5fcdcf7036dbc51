import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readFileSync, renameSync, symlinkSync } from 'node:fs'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { machineOf, type Machine } from '../helpers/actuators.ts'
import { tree, type Tree } from '../helpers/sensors.ts'

let files: Tree
beforeEach(() => {
  files = tree()
})
afterEach(() => files[Symbol.dispose]())

const LAMP = `
export function create({ name, settings, changed, happened }) {
  let level = settings.level ?? 0
  return {
    properties: {
      level: { schema: { type: 'number', minimum: 0, maximum: 1 }, writable: true, coalesce: true },
    },
    actions: {
      blink: {
        input: { type: 'object', properties: { times: { type: 'integer' } }, required: ['times'] },
        output: { type: 'string' },
        deadlineMs: 2000,
      },
    },
    events: { blinked: { description: 'It has blinked' } },
    read: () => level,
    write(property, value) {
      level = value
      changed(property, value)
    },
    async invoke(action, { times }) {
      await new Promise((resolve) => setTimeout(resolve, 1))
      happened('blinked', { times })
      return name + ' blinked ' + times
    },
  }
}
`

/** A plug-in with what is written in `parts`, running or known not to. */
async function plugged(parts: string, more = ''): Promise<Machine> {
  files.write('lamp.mjs', `export function create(context) { return { ${parts} } }`)
  const machine = machineOf(`[plugin.lamp]\nmodule = "lamp.mjs"\n${more}`, files)
  await machine.actuators.started
  return machine
}

const problem = ({ actuators }: Machine): string => actuators.problems().get('plugin.lamp') ?? ''
const LEVEL = "properties: { level: { schema: { type: 'number' }, writable: true } }"

describe('a plug-in', () => {
  it('is read, set and told to do what it says that it can', async () => {
    files.write('lamp.mjs', LAMP)
    await using machine = machineOf(
      '[plugin.lamp]\nmodule = "lamp.mjs"\nsettings = { level = 0.5 }\n',
      files,
    )
    await machine.actuators.started
    assert.equal(problem(machine), '')
    assert.deepEqual(machine.actuators.model(), {
      properties: {
        level: {
          schema: { type: 'number', minimum: 0, maximum: 1 },
          readable: true,
          writable: true,
          observable: true,
          coalesce: true,
        },
      },
      actions: {
        blink: {
          input: {
            type: 'object',
            properties: { times: { type: 'integer' } },
            required: ['times'],
          },
          output: { type: 'string' },
          deadlineMs: 2000,
        },
      },
      events: { blinked: { description: 'It has blinked' } },
    })
    assert.equal(await machine.read('level'), 0.5)
    await machine.write('level', 0.25)
    assert.equal(await machine.next(), 'level=0.25')
    assert.equal(await machine.read('level'), 0.25)
    assert.equal(await machine.invoke('blink', { times: 2 }), 'lamp blinked 2')
    assert.equal(await machine.next(), 'blinked={"times":2}')
    await assert.rejects(machine.write('level', 2), { code: 'ACTUATOR_INVALID' })
    await assert.rejects(machine.invoke('blink', { times: 'x' }), { code: 'ACTUATOR_INVALID' })
    await assert.rejects(machine.read('toString'), { code: 'ACTUATOR_UNKNOWN' })
  })

  it('is toggled by an action of the settings', async () => {
    const parts =
      "on: false, properties: { on: { schema: { type: 'boolean' }, writable: true } }, read() { return this.on }, write(name, value) { this.on = value }"
    const action = '[action.toggle]\ntype = "toggle"\nproperty = "on"\n'
    await using machine = await plugged(parts, action)
    assert.equal(await machine.invoke('toggle'), true)
    assert.equal(await machine.read('on'), true)
  })

  it('that throws has failed, without its words, and goes on', async () => {
    await using machine = await plugged(
      `${LEVEL}, tries: 0, read() { if (this.tries++ === 0) throw new Error('secret'); return 1 }, async write() { throw null }`,
    )
    const failed = {
      code: 'ACTUATOR_FAILED',
      message: 'the plug-in says that it did not work',
    }
    await assert.rejects(machine.read('level'), failed)
    await assert.rejects(machine.write('level', 1), failed)
    assert.equal(await machine.read('level'), 1)
  })

  it('that waits for ever is not waited for', async () => {
    await using machine = await plugged(
      "actions: { wait: { deadlineMs: 200 }, go: {} }, invoke: (name, args, signal) => name === 'go' ? 1 : new Promise(() => {})",
    )
    await assert.rejects(machine.invoke('wait'), /longer than 0\.2 s$/)
    assert.equal(await machine.invoke('go'), 1)
    assert.equal(problem(machine), '')
  })

  it('hears that nobody waits any more', async () => {
    await using machine = await plugged(
      "actions: { wait: { deadlineMs: 200 } }, events: { left: {} }, invoke: (name, args, signal) => new Promise(() => signal.addEventListener('abort', () => context.happened('left')))",
    )
    await assert.rejects(machine.invoke('wait'), /longer than/)
    assert.equal(await machine.next(), 'left=null')
  })

  it('that hangs in a loop is ended, and started again', async () => {
    await using machine = await plugged(
      "actions: { hang: { deadlineMs: 200 }, go: {} }, invoke(name) { if (name === 'go') return 1; for (;;) {} }",
    )
    await assert.rejects(machine.invoke('hang'), /longer than/)
    await machine.until(() => problem(machine) !== '')
    assert.match(problem(machine), /it hung and was ended$/)
    await assert.rejects(machine.invoke('go'), /does not run$/)
    await machine.until(() => problem(machine) === '')
    assert.equal(await machine.invoke('go'), 1)
  })

  it('that ends its thread harms nobody else', async () => {
    await using machine = await plugged(
      "actions: { crash: {}, leave: {} }, invoke(name) { if (name === 'leave') process.exit(7); setTimeout(() => { throw new Error('secret') }); return new Promise(() => {}) }",
    )
    await assert.rejects(machine.invoke('crash'), /ended with an error, which is in the log$/)
    await machine.until(() => problem(machine) === '')
    await assert.rejects(machine.invoke('leave'), /does not run: it ended$/)
  })

  it('gives values that are JSON, or none', async () => {
    const cases: readonly (readonly [string, RegExp | string])[] = [
      ['JSON.parse(\'{"__proto__":{"x":1}}\')', /no value$/],
      ['{ constructor: 1 }', /no value$/],
      ['10n', /did not work$/],
      ['(() => { const a = []; a.push(a); return a })()', /did not work$/],
      ['undefined', /gave no value$/],
      ["'x'.repeat(40000)", /no value$/],
      ["JSON.parse('['.repeat(100) + ']'.repeat(100))", /no value$/],
      ['NaN', 'null'],
      ['new Map([[1, 2]])', '{}'],
    ]
    const read = cases.map(([value], i) => `v${i}: () => (${value})`).join(', ')
    const properties = cases.map((_, i) => `v${i}: { schema: {} }`).join(', ')
    await using machine = await plugged(
      `properties: { ${properties} }, read: (name) => ({ ${read} })[name]()`,
    )
    assert.equal(problem(machine), '')
    for (const [i, [value, expected]] of cases.entries()) {
      const asked = machine.read(`v${i}`)
      if (typeof expected === 'string') assert.equal(JSON.stringify(await asked), expected, value)
      else await assert.rejects(asked, { code: 'ACTUATOR_FAILED', message: expected }, value)
    }
  })

  it('has nothing of Kith’s environment and output', async () => {
    process.env['KITH_TEST_SECRET'] = 'secret'
    try {
      await using machine = await plugged(
        "actions: { env: {} }, invoke() { console.log('to nobody'); return Object.keys(process.env) }",
      )
      assert.deepEqual(await machine.invoke('env'), [])
    } finally {
      delete process.env['KITH_TEST_SECRET']
    }
  })

  it('may put things in order at the end', async () => {
    const file = files.write('state', 'on')
    const machine = await plugged(
      `close: async () => (await import('node:fs')).writeFileSync('${file}', 'off')`,
    )
    await machine[Symbol.asyncDispose]()
    assert.equal(readFileSync(file, 'utf8'), 'off')
  })
})

describe('the plug-in of the README', () => {
  it('does what it says', async () => {
    const readme = readFileSync(new URL('../../node/README.md', import.meta.url), 'utf8')
    const [, source = ''] = /```js\n(\/\/ lamp\.mjs\n.*?)```/s.exec(readme) ?? []
    files.write('lamp.mjs', source)
    await using machine = machineOf('[plugin.lamp]\nmodule = "lamp.mjs"\n', files)
    await machine.actuators.started
    assert.equal(problem(machine), '')
    await machine.write('on', true)
    assert.equal(await machine.next(), 'on=true')
    assert.equal(await machine.read('on'), true)
    assert.deepEqual(await machine.invoke('blink', 3), { blinked: 3 })
  })
})

describe('a plug-in that is not understood', () => {
  const garbage: readonly (readonly [string, RegExp])[] = [
    ['properties: 1', /describes property in a way/],
    ["properties: { 'a b': { schema: {} } }", /the name of a property/],
    ['properties: { constructor: { schema: {} } }', /all of it|the name of a property/],
    ['properties: JSON.parse(\'{"__proto__": {}}\')', /all of it/],
    ['properties: { a: {} }', /the property a /],
    ['properties: { a: { schema: { type: 7 } } }', /the property a /],
    ['properties: { a: { schema: {}, readable: false } }', /the property a /],
    ["properties: { a: { schema: {}, writable: 'yes' } }", /the property a /],
    ['actions: { a: { deadlineMs: -1 } }', /the action a /],
    ['actions: { a: { input: [] } }', /the action a /],
    ['events: []', /describes event/],
    [
      'properties: Object.fromEntries(Array.from({ length: 65 }, (_, i) => ["p" + i, { schema: {} }]))',
      /more than 64/,
    ],
  ]
  for (const [parts, why] of garbage) {
    it(`says so: ${parts.slice(0, 60)}`, async () => {
      await using machine = await plugged(parts)
      assert.match(problem(machine), why)
      assert.deepEqual(machine.actuators.model().properties, {})
    })
  }

  it('because it takes the name of another', async () => {
    const path = files.write('x', '1')
    const own = `[property.level]\ntype = "file"\nvalue = "integer"\npath = "${path}"\n`
    await using machine = await plugged(LEVEL, own)
    assert.match(problem(machine), /it has level, which is the name of another already$/)
    assert.equal(await machine.read('level'), 1)
  })

  it('because it exports nothing, or throws at once', async () => {
    for (const text of [
      'export const x = 1',
      'throw new Error("secret")',
      'export {',
      'for (;;) ;;x(',
    ]) {
      files.write('lamp.mjs', text)
      await using machine = machineOf('[plugin.lamp]\nmodule = "lamp.mjs"\n', files)
      await machine.actuators.started
      assert.match(problem(machine), /it ended with an error, which is in the log$/, text)
    }
  })
})

describe('the file of a plug-in', () => {
  async function refusal(): Promise<string> {
    await using machine = machineOf('[plugin.lamp]\nmodule = "lamp.mjs"\n', files)
    await machine.actuators.started
    return problem(machine)
  }

  it('is there, is a file, and is no link', async () => {
    assert.match(await refusal(), /lamp\.mjs is not there$/)
    mkdirSync(files.path('lamp.mjs'))
    assert.match(await refusal(), /lamp\.mjs is not a file$/)
    renameSync(files.path('lamp.mjs'), files.path('folder'))
    files.write('elsewhere.mjs', LAMP)
    symlinkSync(files.path('elsewhere.mjs'), files.path('lamp.mjs'))
    assert.match(await refusal(), /is a link; a plug-in is a file beside the settings file$/)
  })

  it('is changed by nobody else, nor is its folder', async () => {
    files.write('lamp.mjs', LAMP, 0o620)
    assert.match(await refusal(), /can be changed by other users; try: chmod go-w .*lamp\.mjs$/)
    files.write('lamp.mjs', LAMP, 0o602)
    assert.match(await refusal(), /can be changed by other users/)
    files.write('lamp.mjs', LAMP, 0o644)
    chmodSync(files.root, 0o777)
    assert.match(await refusal(), new RegExp(`try: chmod go-w ${files.root}$`))
    chmodSync(files.root, 0o755)
    assert.equal(await refusal(), '')
  })
})
