import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterEach, describe, it } from 'node:test'

import type { NodeView } from '../../node/api/view.ts'
import { NodeError } from '../../node/errors.ts'
import { startFakeDevice, type FakeDevice } from '../helpers/fake-device.ts'
import { CODE, DEVICES, KIT_GROUPS, READINGS, INCIDENT } from '../helpers/fake-view.ts'
import { kith } from '../helpers/kith-process.ts'

const cleanup: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step()
})

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'kith-cli-'))
  cleanup.push(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** A fake device in its folder, as `kith up --data-dir` would run there. */
async function device(over: Partial<NodeView> = {}): Promise<FakeDevice> {
  const fake = await startFakeDevice(over, { port: 0 })
  cleanup.push(async () => fake[Symbol.asyncDispose]())
  return fake
}

describe('kith without a device', () => {
  it('says how to start one, with exit code 3', async () => {
    const { code, stdout, stderr } = await kith(['devices'], { dir: await folder() })
    assert.equal(code, 3)
    assert.equal(stdout, '')
    assert.match(stderr, /^kith: Kith is not running here .*\nStart it with: kith up\n$/)
  })

  it('puts errors with --json on standard error as one line of JSON', async () => {
    const { code, stdout, stderr } = await kith(['devices', '--json'], { dir: await folder() })
    assert.deepEqual([code, stdout, stderr.split('\n').length], [3, '', 2])
    const { code: reason, detail } = JSON.parse(stderr) as { code: string; detail: string }
    assert.deepEqual([reason, detail], ['NODE_NOT_RUNNING', 'Start it with: kith up'])
  })

  const usage: readonly (readonly string[])[] = [
    ['nonsense'],
    ['devices', '--nonsense'],
    ['show'],
    ['grant', 'garden', 'king'],
    ['--timeout', 'soon', 'devices'],
    ['pair', '--minutes', '11'],
    ['completion', 'cmd'],
    ['home', 'create', 'Home'],
    ['add'],
    ['recover'],
    ['history', 'garden', '--since', 'yesterday-ish'],
    ['up', '--set', 'mesh.prot=1'],
    ['config', 'set', 'mesh.port', 'many'],
  ]
  for (const args of usage) {
    it(`refuses \`kith ${args.join(' ')}\` with exit code 2`, async () => {
      const { code, stdout, stderr } = await kith(args, { dir: await folder() })
      assert.deepEqual([code, stdout], [2, ''])
      assert.match(stderr, /^kith: /)
    })
  }

  it('shows help and version on standard output', async () => {
    const [help, version, long] = await Promise.all([
      kith(['--help']),
      kith(['--version']),
      kith(['version', '--json']),
    ])
    assert.deepEqual([help.code, version.code, long.code], [0, 0, 0])
    assert.match(help.stdout, /Usage: kith/)
    const { version: own } = JSON.parse(
      await readFile(new URL('../../package.json', import.meta.url), 'utf8'),
    ) as { version: string }
    assert.equal(version.stdout, `${own}\n`)
    assert.deepEqual(long.json(), { version: own, node: process.versions.node })
  })

  it('makes completions that name every command', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { code, stdout } = await kith(['completion', shell])
      assert.equal(code, 0)
      for (const word of ['devices', 'history', 'validate', 'recovery-out', 'describe', 'cancel'])
        assert.ok(stdout.includes(word), `${shell} ${word}`)
    }
    const { stdout } = await kith(['completion', 'bash'])
    const words = await new Promise<string>((resolve) => {
      const shell = spawn('bash', [
        '-c',
        `${stdout}\nCOMP_WORDS=(kith home cr) COMP_CWORD=2; _kith; echo "\${COMPREPLY[*]}"; COMP_WORDS=(kith show x --j) COMP_CWORD=3; _kith; echo "\${COMPREPLY[*]}"`,
      ])
      let out = ''
      shell.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
      shell.once('close', () => resolve(out))
    })
    assert.equal(words, 'create\n--json\n')
  })
})

describe('kith with a device', () => {
  it('lists devices as JSON exactly as the device tells them, and as an aligned table', async () => {
    const { dir } = await device()
    const [json, text] = await Promise.all([
      kith(['devices', '--json'], { dir }),
      kith(['devices'], { dir }),
    ])
    assert.deepEqual(JSON.parse(json.stdout), DEVICES)
    assert.equal(json.stderr, '')
    const [head = '', ...lines] = text.stdout.trimEnd().split('\n')
    const column = head.indexOf('ROLE')
    assert.deepEqual(
      lines.map((line) => line.slice(column).split(' ')[0]),
      ['owner', 'member', 'sensor'],
    )
    assert.deepEqual(
      lines.map((line) => line.split(' ').at(-1)),
      ['online', 'late', 'asleep'],
    )
  })

  it('takes global flags from the environment too, and --data-dir before it', async () => {
    const { dir } = await device()
    const { stdout } = await kith(['--data-dir', dir, 'devices'], {
      dir: '/nonexistent',
      env: { KITH_JSON: '1' },
    })
    assert.deepEqual(JSON.parse(stdout), DEVICES)
  })

  it('makes names from other devices harmless for the terminal', async () => {
    const [first] = DEVICES
    const { dir } = await device({
      devices: async () => [{ ...(first ?? assert.fail()), name: 'a\u001B[2Jb\u202Ec' }],
    })
    const { stdout } = await kith(['devices'], { dir })
    assert.match(stdout, /a\\u\{1b\}\[2Jb\\u\{202e\}c/)
  })

  it('lists the candidates of an ambiguous name, with exit code 5', async () => {
    const { dir } = await device()
    const { code, stderr } = await kith(['show', 'kitch'], { dir })
    assert.equal(code, 5)
    assert.match(stderr, /kitchen \(aaaa2222\), kitchenette \(aabb3333\)/)
  })

  it('gives up after --timeout with exit code 6', async () => {
    const { dir } = await device({ devices: () => new Promise(() => undefined) })
    const { code, stderr } = await kith(['devices', '--timeout', '300ms'], { dir })
    assert.equal(code, 6)
    assert.match(stderr, /no answer within 0\.3 s/)
  })

  it('says denied with exit code 4', async () => {
    const refuse = () => Promise.reject(new NodeError('NODE_DENIED', 'Only an owner may do that.'))
    const { dir } = await device({ rename: refuse })
    assert.equal((await kith(['rename', 'garden', 'x'], { dir })).code, 4)
  })

  it('removes only after a yes, and exactly the device that it named', async () => {
    const { dir, view } = await device()
    const unasked = await kith(['remove', 'garden'], { dir })
    assert.equal(unasked.code, 2)
    assert.match(unasked.stderr, /its connection is cut now/)
    assert.ok(!view.asked.some(([name]) => name === 'remove'))
    const sure = await kith(['remove', 'garden', '-y', '--json', '--reason', 'lost'], { dir })
    assert.equal(sure.code, 0)
    assert.deepEqual(view.asked.at(-1), ['remove', '12D3KooWgarden', { reason: 'lost' }])
    assert.equal((sure.json()['op'] as { type: string }).type, 'revoke')
  })

  it('resets only after a yes', async () => {
    const { dir, view } = await device()
    assert.equal((await kith(['reset'], { dir })).code, 2)
    assert.ok(!view.asked.some(([name]) => name === 'reset'))
    assert.equal((await kith(['reset'], { dir, env: { KITH_YES: '1' } })).code, 0)
    assert.equal(view.asked.filter(([name]) => name === 'reset').length, 1)
  })

  it('writes the recovery kit to a new private file and shows it nowhere else', async () => {
    const { dir, view } = await device()
    const file = join(dir, 'kit.txt')
    const made = await kith(['home', 'create', 'Our home', '--recovery-out', file, '--json'], {
      dir,
    })
    assert.equal(made.code, 0, made.stderr)
    assert.deepEqual(made.json(), { home: 'bhome', name: 'Our home', device: '12D3KooWkitchen' })
    assert.equal(await readFile(file, 'utf8'), `${KIT_GROUPS.join(' ')}\n`)
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    for (const group of KIT_GROUPS) assert.ok(!`${made.stdout}${made.stderr}`.includes(group))
    assert.deepEqual(view.asked.at(-1), [
      'createHome',
      { name: 'Our home', recoveryKey: 'ab'.repeat(32) },
    ])
    const again = await kith(['home', 'create', 'Other', '--recovery-out', file], { dir })
    assert.equal(again.code, 2)
    assert.equal(await readFile(file, 'utf8'), `${KIT_GROUPS.join(' ')}\n`)
  })

  it('leaves no kit behind for a home that was not made', async () => {
    const { dir } = await device({
      createHome: () => Promise.reject(new NodeError('NODE_CONFLICT', 'no')),
    })
    const file = join(dir, 'kit.txt')
    assert.equal((await kith(['home', 'create', 'H', '--recovery-out', file], { dir })).code, 1)
    await assert.rejects(stat(file), { code: 'ENOENT' })
  })

  it('takes code and kit from a file or standard input', async () => {
    const { dir, view } = await device()
    const added = await kith(['add', '--code-file', '-', '--role', 'sensor', '--json'], {
      dir,
      input: `${CODE}\n`,
    })
    assert.deepEqual(added.json(), {
      device: '12D3KooWgarden',
      name: 'garden',
      role: 'sensor',
      fingerprint: 'cccc4444',
    })
    assert.deepEqual(view.asked.at(-1), ['addDevice', { code: CODE, role: 'sensor' }])
    await writeFile(join(dir, 'kit'), 'kith:kit text\n')
    assert.equal((await kith(['recover', '--kit-file', join(dir, 'kit')], { dir })).code, 0)
    assert.deepEqual(view.asked.at(-1), ['recover', { kit: 'kith:kit text', remove: [] }])
    await kith(['add', '-'], { dir, input: 'kith:qr-text\n' })
    assert.deepEqual(view.asked.at(-1), ['addDevice', { qr: 'kith:qr-text', role: 'member' }])
  })

  it('refuses a code or a QR text as an argument, where others can see it, and says how else', async () => {
    const { dir, view } = await device()
    for (const secret of [CODE, 'kith:qr-text']) {
      const { code, stderr } = await kith(['add', secret], { dir })
      assert.equal(code, 2)
      assert.match(stderr, /not taken as an argument[\s\S]*--code-file/)
      assert.ok(!stderr.includes(secret), 'nor is it repeated')
    }
    assert.equal((await kith(['add', '-', '--code-file', 'x'], { dir, input: CODE })).code, 2)
    assert.deepEqual(view.asked, [])
  })

  it('shows the code, tells each wrong try, and ends when this device is paired', async () => {
    const { dir, view } = await device()
    const ended = kith(['pair'], {
      dir,
      onLine(line) {
        if (!line.includes('Open until')) return
        view.emit('pairing.tried', { text: 'A wrong code was tried.', triesLeft: 4 })
        view.emit('pairing.paired', {
          home: 'bhome',
          role: 'member',
          by: '12D3KooWkitchen',
          homeName: 'Our home',
          byName: 'kitchen',
        })
      },
    })
    const { code, stdout, stderr } = await ended
    assert.equal(code, 0, stderr)
    assert.match(stdout, new RegExp(`    ${CODE}\n`))
    assert.match(stdout, /[▀▄█]{10}/)
    assert.match(stderr, /A wrong code was tried\. 4 tries left\./)
    assert.match(
      stdout,
      /Paired: kitchen \(aaaa2222\) is member of “Our home”, added by kitchen\.\n.*kith sensors\n$/,
    )
  })

  it('pairs for scripts in two lines of JSON, and loses no event between them', async () => {
    const { dir, view } = await device()
    const { code, stdout } = await kith(['pair', '--json', '--minutes', '2'], {
      dir,
      onLine(line) {
        if (line.includes('"code"'))
          view.emit('pairing.paired', { home: 'H', role: 'member', by: 'k' })
      },
    })
    const [opened, paired] = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    assert.deepEqual(
      [code, Object.keys(opened ?? {}), opened?.['code']],
      [0, ['code', 'qr', 'expiresAt'], CODE],
    )
    assert.deepEqual(paired, { paired: true, home: 'H', role: 'member', by: 'k' })
    assert.deepEqual(view.asked[0], ['openPairing', { minutes: 2 }])
  })

  it('ends with exit code 6 when the window runs out and 1 when it is locked', async () => {
    for (const [reason, expected] of [
      ['expired', 6],
      ['spent', 1],
    ] as const) {
      const { dir, view } = await device()
      const { code } = await kith(['pair', '--json'], {
        dir,
        onLine: () => view.emit('pairing.closed', { reason }),
      })
      assert.equal(code, expected)
    }
  })

  it('closes the pairing window when the person gives up', async () => {
    const { dir, view } = await device()
    const closed = view.called('closePairing')
    const { code } = await kith(['pair', '--json'], {
      dir,
      onLine: (_line, kill) => kill('SIGINT'),
    })
    await closed
    assert.equal(code, 130)
  })

  it('streams live readings as JSON lines until it is stopped', async () => {
    const { dir, view } = await device()
    const rows: unknown[] = []
    const { code } = await kith(['watch', 'garden/temperature', '--json'], {
      dir,
      onLine(line, kill) {
        rows.push(JSON.parse(line))
        if (rows.length === 3) kill('SIGINT')
      },
    })
    assert.deepEqual([code, rows], [130, READINGS])
    assert.deepEqual(view.asked.at(-1), ['watch', { device: 'garden', sensor: 'temperature' }])
  })

  it('prints the past as text, JSON lines and CSV, each with its gaps', async () => {
    const { dir } = await device()
    const [text, json, csv] = await Promise.all([
      kith(['history', 'garden/temperature', '--since', '2h', '--every', '1m'], { dir }),
      kith(['history', 'garden', '--json'], { dir }),
      kith(['history', 'garden', '--csv'], { dir }),
    ])
    assert.match(text.stdout, /garden\/temperature  20\.5 °C\n.*gap until .*\n/)
    assert.match(
      text.stdout,
      /\nno date yet, .* after start 0a1b2c3d  garden\/temperature  20\.5 °C\n$/,
    )
    assert.deepEqual(
      json.stdout
        .trimEnd()
        .split('\n')
        .map((line) => Object.keys(JSON.parse(line) as object).at(-1)),
      ['verified', 'gap', 'verified', 'unplaced'],
    )
    assert.equal(
      csv.stdout.split('\n').slice(0, 3).join('\n'),
      'kind,at,until,device,name,sensor,value,unit,seq,verified,min,mean,max,last,count,boot,since_start\n' +
        'reading,2027-01-15T08:00:01.000Z,,12D3KooWgarden,garden,temperature,20.5,Cel,1,true,,,,,,,\n' +
        'gap,2027-01-15T08:00:02.000Z,2027-01-15T08:00:02.000Z,,,,,,,,,,,,,,',
    )
  })

  it('switches sensors, and reports what is wrong with a cure', async () => {
    const { dir, view } = await device()
    assert.equal((await kith(['sensors', 'disable', 'temperature'], { dir })).code, 0)
    assert.deepEqual(view.asked.at(-1), ['setSensor', 'temperature', false])
    assert.equal((await kith(['sensors', 'enable', 'nothing'], { dir })).code, 5)
    const doctor = await kith(['doctor'], { dir })
    assert.equal(doctor.code, 1)
    assert.match(doctor.stdout, /FAIL  clock: two days behind\n      Switch NTP on\./)
  })

  it('lists what went wrong, of all devices or one', async () => {
    const { dir } = await device()
    const all = await kith(['incidents'], { dir })
    assert.match(all.stdout, /garden +crash +1 +TypeError running node\/main\.ts:42/)
    const one = await kith(['incidents', 'kitchen', '--since', '2d'], { dir })
    assert.equal(one.stdout, 'No incidents.\n')
    const json = await kith(['incidents', '--json'], { dir })
    assert.deepEqual(JSON.parse(json.stdout), [INCIDENT])
  })

  it('prints a dashboard link whose secret is in the fragment', async () => {
    const { dir, api } = await device()
    const { stdout } = await kith(['dashboard', '--json'], { dir })
    const { url, expiresAt } = JSON.parse(stdout) as { url: string; expiresAt: number }
    assert.match(url, new RegExp(`^http://\\[::1\\]:${api.port}/#t=[\\w-]{43}$`))
    assert.ok(expiresAt > Date.now())
  })
})
