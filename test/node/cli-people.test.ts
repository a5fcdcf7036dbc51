import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import process from 'node:process'
import { afterEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import type { NodeView } from '../../node/api/view.ts'
import { NodeError } from '../../node/errors.ts'
import { startFakeDevice, type FakeDevice } from '../helpers/fake-device.ts'
import { CODE, fakeView } from '../helpers/fake-view.ts'
import { kith } from '../helpers/kith-process.ts'
import { findProgram, needs } from '../helpers/tools.ts'

const MAIN = fileURLToPath(new URL('../../node/cli/main.ts', import.meta.url))

const cleanup: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step()
})

async function device(over: Partial<NodeView> = {}): Promise<FakeDevice> {
  const fake = await startFakeDevice(over, { port: 0 })
  cleanup.push(async () => fake[Symbol.asyncDispose]())
  return fake
}

/** `kith` at a terminal, where each text that appears is answered once, in order. */
async function atTerminal(
  args: readonly string[],
  dir: string,
  answers: readonly (readonly [shown: string, typed: string])[],
) {
  const command = ['stty rows 40 cols 100; exec', process.execPath, MAIN, ...args].join(' ')
  const child = spawn(findProgram('script') ?? '', ['-qec', command, '/dev/null'], {
    timeout: 20_000,
    env: { PATH: process.env['PATH'], HOME: dir, KITH_DATA_DIR: dir, TERM: 'xterm' },
  })
  const open = [...answers]
  let all = ''
  let unread = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    all += chunk
    unread += chunk
    for (let next = open[0]; next !== undefined && unread.includes(next[0]); next = open[0]) {
      open.shift()
      unread = unread.slice(unread.indexOf(next[0]) + next[0].length)
      if (next[1] !== '') child.stdin.write(next[1])
    }
  })
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, all, unanswered: open.length }
}

const ENTER = '\r'
const CTRL_C = '\u0003'
const PROMPT = 'The code that the new device shows'

async function* silence(): AsyncGenerator<never> {
  await new Promise(() => undefined)
  yield* []
}

describe('kith at a terminal', needs('terminal'), () => {
  it('asks for the code again after a typo, and adds once', async () => {
    const { dir, view } = await device({
      async addDevice({ code, role }) {
        if (code !== CODE) throw new NodeError('NODE_USAGE', 'A digit is wrong.')
        return { device: 'k', name: 'garden', role, fingerprint: 'cccc4444' }
      },
    })
    const { code, all, unanswered } = await atTerminal(['add'], dir, [
      [PROMPT, `37-1234-5678-8${ENTER}`],
      ['A digit is wrong.', ''],
      [PROMPT, `${CODE}${ENTER}`],
    ])
    assert.deepEqual([code, unanswered], [0, 0], all)
    assert.match(all, /Added garden \(cccc4444\) as member\./)
    assert.equal(view.asked.filter(([name]) => name === 'addDevice').length, 2)
  })

  it('ends at Ctrl-C at a question with exit code 130, and changes nothing', async () => {
    for (const [args, shown] of [
      [['add'], PROMPT],
      [['home', 'create', 'Home'], 'Type group'],
      [['remove', 'garden'], 'Remove garden'],
      [['recover'], 'The recovery kit'],
      [['reset'], 'cannot be undone'],
    ] as const) {
      const { dir, view } = await device()
      const { code, all } = await atTerminal(args, dir, [[shown, CTRL_C]])
      assert.equal(code, 130, all)
      assert.match(all, /kith: Stopped\. Nothing was changed\./)
      assert.deepEqual(
        view.asked
          .map(([name]) => name)
          .filter((name) => !['status', 'removal', 'recoveryKit'].includes(name)),
        [],
      )
    }
  })

  it('takes no for an answer with exit code 1', async () => {
    const { dir, view } = await device()
    const { code } = await atTerminal(['remove', 'garden'], dir, [['Remove garden', 'n']])
    assert.deepEqual([code, view.asked.some(([name]) => name === 'remove')], [1, false])
  })
})

describe('kith, for people', () => {
  it('names the command whose help to read', async () => {
    const { stderr } = await kith(['home', 'create', '--nonsense'])
    assert.match(stderr, /\nSee: kith home create --help\n$/)
  })

  it('says what is wrong with a name', async () => {
    const { dir } = await device()
    const { code, stderr } = await kith(['rename', 'garden', ''], { dir })
    assert.deepEqual([code, stderr], [2, 'kith: name: must not be empty\n'])
    const long = await kith(['rename', 'garden', 'x'.repeat(65)], { dir })
    assert.equal(long.stderr, 'kith: name: must not be longer than 64 bytes\n')
  })

  it('switches several sensors at once, or none where a name is wrong', async () => {
    const { dir, view } = await device()
    const wrong = await kith(['sensors', 'enable', 'temperature', 'tempo'], { dir })
    assert.equal(wrong.code, 5)
    assert.match(wrong.stderr, /no sensor "tempo"\.\nNothing was changed/)
    assert.equal(
      view.asked.some(([name]) => name === 'setSensor'),
      false,
    )
    const right = await kith(['sensors', 'enable', 'temperature', '--json'], { dir })
    assert.deepEqual(
      (JSON.parse(right.stdout) as { name: string; on: boolean }[]).map(({ name, on }) => [
        name,
        on,
      ]),
      [['temperature', true]],
    )
  })

  it('ends a watch by --timeout in order once it has shown a reading', async () => {
    const { dir } = await device()
    const seen = await kith(['watch', '--json', '--timeout', '1s'], { dir })
    assert.deepEqual([seen.code, seen.stderr, seen.stdout.split('\n').length], [0, '', 4])
  })

  it('says why a watch may stay empty, with exit code 6', async () => {
    const { dir } = await device({
      watch: () => silence(),
    })
    const { code, stderr } = await kith(['watch', '--timeout', '500ms'], { dir })
    assert.equal(code, 6)
    assert.match(stderr, /^kith: No reading came in that time\.\n.*kith sensors enable/)
  })

  it('tells a removed device what to do', async () => {
    const plain = await fakeView().status()
    const home = { id: 'bhome', name: 'Home' }
    const { dir } = await device({ status: async () => ({ ...plain, home, role: null }) })
    const { stdout } = await kith(['status'], { dir })
    assert.match(stdout, /role +none: it was removed.*kith reset, and then kith pair/)
  })

  it('shows each address on a line of its own', async () => {
    const plain = await fakeView().status()
    const { dir } = await device({ status: async () => ({ ...plain, addrs: ['/a', '/b'] }) })
    assert.match((await kith(['status'], { dir })).stdout, /\naddresses {4}\/a\n {13}\/b\nversion/)
  })

  it('completes commands first, options after a dash, and leaves files to the shell', async () => {
    const { stdout } = await kith(['completion', 'bash'])
    const reply = (words: string): string =>
      `COMP_WORDS=(${words}); COMP_CWORD=$((\${#COMP_WORDS[@]}-1)); _kith; echo "\${COMPREPLY[*]}"`
    const shell = spawn('bash', [
      '-c',
      [
        stdout,
        reply('kith sensors ""'),
        reply('kith add --code-file ""'),
        reply('kith add --co'),
      ].join('\n'),
    ])
    let out = ''
    shell.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    await new Promise((resolve) => shell.once('close', resolve))
    assert.equal(out, 'enable disable push\n\n--code-file --config\n')
  })
})
