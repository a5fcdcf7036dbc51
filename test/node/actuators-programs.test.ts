import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, watch } from 'node:fs'
import process from 'node:process'
import { afterEach, beforeEach, describe, it } from 'node:test'

import fc from 'fast-check'

import { machineOf } from '../helpers/actuators.ts'
import { tree, type Tree } from '../helpers/sensors.ts'

let files: Tree
beforeEach(() => {
  files = tree()
})
afterEach(() => files[Symbol.dispose]())

const NODE = process.execPath
/** Prints its arguments as JSON. */
const ECHO = 'process.stdout.write(JSON.stringify(process.argv.slice(1)))'

/** Lines of `name`, as soon as there are `count`. */
function linesIn(name: string, count: number): Promise<string[]> {
  return new Promise((resolve) => {
    const watcher = watch(files.root, () => look())
    const look = (): void => {
      const path = files.path(name)
      const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : []
      if (lines.length < count) return
      watcher.close()
      resolve(lines)
    }
    look()
  })
}

/** Resolves when a process is gone. */
async function gone(pid: string): Promise<void> {
  const tail = spawn('tail', ['--pid', pid, '-f', '/dev/null', '-s', '0.02'])
  await new Promise((resolve) => tail.once('exit', resolve))
}

function echo(args: readonly string[], more: string): string {
  const command = JSON.stringify([NODE, '-e', ECHO, '--', ...args])
  return `[action.say]\ntype = "command"\noutput = "json"\ncommand = ${command}\n${more}\n`
}

describe('an action that runs a program', () => {
  it('gives it each value as one argument, whatever is in it', async () => {
    const toml = echo(['{text}', '--is={text}'], 'args = { text = { type = "string" } }')
    await using machine = machineOf(toml, files)
    const nasty = [
      '$(id)',
      '; rm -rf /',
      '`id`',
      '"quoted" \'twice\'',
      'two\nlines\r\n',
      '-rf',
      '--help',
      '*',
      '~',
      '',
      '{text}',
      '%s',
      '\\',
      '\u{1F4A1}',
    ]
    for (const text of nasty) {
      assert.deepEqual(await machine.invoke('say', { text }), [text, `--is=${text}`])
    }
  })

  it('gives any text as it is, or refuses it', async () => {
    const toml = echo(['{value}'], 'input = { type = "string" }')
    await using machine = machineOf(toml, files)
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 50 }), async (text) => {
        if (!text.includes('\0')) return assert.deepEqual(await machine.invoke('say', text), [text])
        await assert.rejects(machine.invoke('say', text), { code: 'ACTUATOR_INVALID' })
      }),
      { numRuns: 30 },
    )
  })

  it('gives numbers and what is true or false as words, and what is not given by default', async () => {
    const toml = echo(
      ['{level}', '{on}', '{room}'],
      'args = { level = { type = "integer", min = 0, max = 100 }, on = { type = "boolean" }, room = { type = "string", default = "hall" } }',
    )
    await using machine = machineOf(toml, files)
    assert.deepEqual(await machine.invoke('say', { level: 5, on: false }), ['5', 'false', 'hall'])
    assert.deepEqual(machine.actuators.model().actions['say']?.input?.required, ['level', 'on'])
  })

  it('is not run with arguments that do not fit', async () => {
    const command = JSON.stringify(['/bin/sh', '-c', `echo ran >> ${files.path('ran')}`])
    const toml = `[action.dim]\ntype = "command"\ncommand = ${command}\nargs = { level = { type = "integer", min = 0, max = 100 } }\n`
    await using machine = machineOf(toml, files)
    const wrong = [
      undefined,
      {},
      { level: 101 },
      { level: 1.5 },
      { level: '5' },
      { level: [5] },
      { level: null },
      [5],
      5,
    ]
    for (const args of wrong) {
      await assert.rejects(machine.invoke('dim', args), { code: 'ACTUATOR_INVALID' })
    }
    assert.equal(existsSync(files.path('ran')), false)
    await machine.invoke('dim', { level: 100 })
    assert.equal(existsSync(files.path('ran')), true)
  })

  it('ends it with everything that it started, when its time is over', async () => {
    const script = `sleep 1000 & echo $! > ${files.path('pids')}; echo $$ >> ${files.path('pids')}; wait`
    const command = JSON.stringify(['/bin/sh', '-c', script])
    const toml = `[action.hang]\ntype = "command"\ndeadline = "500ms"\ncommand = ${command}\n`
    await using machine = machineOf(toml, files)
    const ended = assert.rejects(machine.invoke('hang'), {
      code: 'ACTUATOR_FAILED',
      message: /longer than 0\.5 s$/,
    })
    const pids = await linesIn('pids', 2)
    await ended
    await Promise.all(pids.map(gone))
  })

  it('ends it when nobody waits any more', async () => {
    const command = JSON.stringify([
      '/bin/sh',
      '-c',
      `echo $$ > ${files.path('pids')}; exec sleep 1000`,
    ])
    await using machine = machineOf(
      `[action.hang]\ntype = "command"\ncommand = ${command}\n`,
      files,
    )
    const stop = new AbortController()
    const ended = assert.rejects(
      machine.actuators.invoke('hang', undefined, stop.signal),
      /no longer/,
    )
    const [pid = ''] = await linesIn('pids', 1)
    stop.abort(new Error('no longer'))
    await ended
    await gone(pid)
  })

  it('says that it failed, and nothing that the program said', async () => {
    const command = JSON.stringify(['/bin/sh', '-c', 'echo secret; echo secret >&2; exit 3'])
    await using machine = machineOf(
      `[action.fail]\ntype = "command"\noutput = "text"\ncommand = ${command}\n`,
      files,
    )
    await assert.rejects(machine.invoke('fail'), {
      code: 'ACTUATOR_FAILED',
      message: 'the program ended with 3',
    })
  })

  it('gives text, JSON at a place, or nothing, and no more than a receipt holds', async () => {
    const action = (name: string, command: readonly string[], more = ''): string =>
      `[action.${name}]\ntype = "command"\ncommand = ${JSON.stringify(command)}\n${more}\n`
    const toml = [
      action('text', ['/bin/echo', 'done'], 'output = "text"'),
      action('json', ['/bin/echo', '{"a":[1,{"b":true}]}'], 'output = "json"\npointer = "/a/1"'),
      action('none', ['/bin/echo', 'x']),
      action('bad', ['/bin/echo', 'no json'], 'output = "json"'),
      action('proto', ['/bin/echo', '{"__proto__":{"x":1}}'], 'output = "json"'),
      action('big', [NODE, '-e', 'process.stdout.write("x".repeat(40000))'], 'output = "text"'),
    ].join('')
    await using machine = machineOf(toml, files)
    assert.equal(await machine.invoke('text'), 'done')
    assert.deepEqual(await machine.invoke('json'), { b: true })
    assert.equal(await machine.invoke('none'), undefined)
    await assert.rejects(machine.invoke('bad'), /is not JSON$/)
    await assert.rejects(machine.invoke('proto'), /more than a receipt can hold/)
    await assert.rejects(machine.invoke('big'), /more than a receipt can hold/)
  })
})

describe('a property that a program has', () => {
  it('is set and read', async () => {
    const set = ['/bin/sh', '-c', `printf %s "$1" > ${files.path('mode')}`, 'sh', '{value}']
    const get = ['/bin/cat', files.path('mode')]
    const toml = `[property.mode]\ntype = "command"\nvalue = "string"\nchoices = ["eco", "warm"]\nset = ${JSON.stringify(set)}\nget = ${JSON.stringify(get)}\n`
    await using machine = machineOf(toml, files)
    await machine.write('mode', 'warm')
    assert.equal(await machine.read('mode'), 'warm')
    assert.equal(await machine.next(), 'mode="warm"')
    await assert.rejects(machine.write('mode', 'hot'), { code: 'ACTUATOR_INVALID' })
  })

  it('holds up no other', async () => {
    const hang = JSON.stringify(['/bin/sleep', '1000'])
    const toml = `[property.slow]\ntype = "command"\nvalue = "number"\nget = ${hang}\ntimeout = "1s"\n[property.quick]\ntype = "command"\nvalue = "number"\nget = ["/bin/echo", "21.5"]\n`
    await using machine = machineOf(toml, files)
    const slow = machine.read('slow')
    const late = assert.rejects(slow, /longer than 1 s$/)
    assert.equal(await Promise.race([slow, machine.read('quick')]), 21.5)
    await late
  })
})

/** A stand-in that does with a folder what libgpiod does with a chip. */
function libgpiod(version: string): void {
  const chip = files.path('chip')
  const modern = !version.startsWith('1')
  const shift = modern ? 'shift' : 'test "$1" = --mode=signal || exit 9; shift'
  files.write(
    'usr/bin/gpioset',
    `#!/bin/sh
if [ "$1" = --version ]; then echo "gpioset (libgpiod) v${version}"; exit 0; fi
echo "$@" >> ${files.path('calls')}
${modern ? 'test "$1" = --banner && test "$2" = --chip || exit 9; shift 2' : shift}
test "$1" = gpiochip4 || { echo "cannot open" >&2; exit 1; }
mkdir ${chip}/busy-$$ 2>/dev/null
echo "$2" > ${chip}/line
${modern ? 'echo "Setting line ..."' : ''}
echo $$ >> ${files.path('holders')}
exec /bin/sleep 1000
`,
    0o700,
  )
  files.write(
    'usr/bin/gpioget',
    `#!/bin/sh
if [ "$1" = --version ]; then echo "gpioget (libgpiod) v${version}"; exit 0; fi
${modern ? 'test "$1 $2 $3" = "--as-is --numeric --chip" || exit 9' : ''}
cut -d= -f2 ${chip}/line
`,
    0o700,
  )
  files.write('chip/line', '17=0\n')
}

const PUMP = '[property.pump]\ntype = "gpio"\nchip = "gpiochip4"\nline = 17\n'
const level = (): string => readFileSync(files.path('chip/line'), 'utf8').trim()

describe('a line of a GPIO chip', () => {
  for (const version of ['2.1.3', '1.6.3']) {
    it(`is set and held through libgpiod ${version}`, async () => {
      libgpiod(version)
      await using machine = machineOf(PUMP, files)
      await machine.write('pump', true)
      const [first = ''] = await linesIn('holders', 1)
      assert.equal(level(), '17=1')
      assert.equal(await machine.read('pump'), true)
      await machine.write('pump', false)
      const [, second = ''] = await linesIn('holders', 2)
      await gone(first)
      assert.equal(level(), '17=0')
      await machine.actuators[Symbol.asyncDispose]()
      await gone(second)
    })
  }

  it('is looked at as it is before it was set, where libgpiod can do so', async () => {
    libgpiod('2.1.3')
    files.write('chip/line', '17=1\n')
    await using machine = machineOf(`${PUMP}invert = true\n`, files)
    assert.equal(await machine.read('pump'), false)
  })

  it('is not made an input by looking at it', async () => {
    libgpiod('1.6.3')
    await using machine = machineOf(PUMP, files)
    await assert.rejects(machine.read('pump'), /not known before it was set/)
    await using input = machineOf(`${PUMP}writable = false\n`, files)
    assert.equal(await input.read('pump'), false)
    await assert.rejects(input.write('pump', true), { code: 'ACTUATOR_UNKNOWN' })
  })

  it('says what is missing', async () => {
    await using machine = machineOf(PUMP, files)
    await assert.rejects(machine.write('pump', true), /gpioset is not installed/)
    libgpiod('2.1.3')
    await using other = machineOf(PUMP.replace('gpiochip4', 'gpiochip9'), files)
    await assert.rejects(other.write('pump', true), /the program ended with 1$/)
  })
})
