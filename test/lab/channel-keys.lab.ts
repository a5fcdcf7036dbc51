/*
 *      hub (owner, publishes) ── switch "lan" ── ash (owner too)
 *
 * The keys of a channel, as a person changes them: on a machine without network where they lie, on
 * two devices that take turns, and by a stick.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'

const NAMES = ['hub', 'ash']
const LIMIT_MS = 30_000
const CLI = fileURLToPath(new URL('../../node/cli/main.ts', import.meta.url))

interface Draft {
  readonly published: boolean
  readonly draft?: string
}

describe('the keys of a channel', needs('namespaces'), () => {
  let lab: Lab
  let folder = ''
  /** Keys of people, not of devices. */
  let drawer = ''

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kith-keys-'))
    drawer = path.join(folder, 'drawer')
    const lan = NAMES.map((device) => ({ device, interface: 'eth0' }))
    lab = await startLab({ lan }, { terms: { ash: ['--role', 'owner'] } })
    await lab.makeHome()
    await lab.online(NAMES, LIMIT_MS)
    await lab.device('hub').kith(['update', 'init', '--keys', drawer])
    await lab.device('hub').kith(['update', 'rollout', '--ring', '100%'])
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function publish(at: string, version: string, more: readonly string[]): Promise<Draft> {
    const tree = path.join(folder, 'app')
    await mkdir(tree, { recursive: true })
    await writeFile(path.join(tree, 'version'), version)
    const args = ['update', 'publish', tree, '--version', version, ...more]
    const [done] = await lab.device(at).kith(args)
    return done as Draft
  }

  async function run(name: string, version: string): Promise<void> {
    const { dataDir } = lab.device(name)
    const file = path.join(dataDir, 'installed/app/current/version')
    await lab.until(`${name} runs ${version}`, LIMIT_MS, async () => {
      return (await readFile(file, 'utf8').catch(() => '')) === version
    })
  }

  /** On a machine that has no network but its own, and no device. */
  async function apart(...args: string[]): Promise<Record<string, unknown>> {
    const words = ['-rn', process.execPath, CLI, '--data-dir', path.join(folder, 'apart')]
    const { stdout } = await promisify(execFile)('unshare', [...words, '--json', '-y', ...args])
    return JSON.parse(stdout) as Record<string, unknown>
  }

  const refused = (from: Promise<unknown>, why: RegExp): Promise<void> => assert.rejects(from, why)

  it('are all replaced at once, and devices follow without a moment of doubt', async () => {
    assert.equal((await publish('hub', '1.0.0', ['--keys', drawer])).published, true)
    await run('ash', '1.0.0')
    const fresh = path.join(folder, 'fresh')
    const roles = ['root', 'targets', 'snapshot', 'timestamp']
    const args = ['update', 'keys', 'rotate', ...roles, '--keys', drawer, '--new-keys', fresh]
    const [done] = await lab.device('hub').kith(args)
    assert.equal((done as Draft).published, true)
    await refused(publish('hub', '1.5.0', ['--keys', drawer]), /TUF_WRONG_KEY|no key for it/)
    drawer = fresh
    await publish('hub', '2.0.0', ['--keys', drawer])
    await run('ash', '2.0.0')
    assert.deepEqual(lab.device('ash').logged(/could not be refreshed/), [])
  })

  it('of people sign where there is no network, as many as must', async () => {
    const second = path.join(folder, 'second')
    const made = await apart('update', 'keys', 'new', 'targets', '--keys', second, '--out', folder)
    const [key] = made['keys'] as readonly { readonly public: string }[]
    const stick = path.join(folder, 'stick')
    const hub = lab.device('hub')
    const both = ['--add', key?.public ?? '', '--targets-threshold', '2', '--out', stick]
    await hub.kith(['update', 'keys', 'rotate', ...both])
    await refused(hub.kith(['update', 'submit', stick]), /signatures are missing/)
    assert.equal((await apart('update', 'sign', stick, '--keys', drawer))['missing'], 1)
    await refused(hub.kith(['update', 'submit', stick]), /1 signature is missing/)
    assert.equal((await apart('update', 'sign', stick, '--keys', second))['missing'], 0)
    await hub.kith(['update', 'submit', stick])
    const one = await publish('hub', '3.0.0', ['--keys', drawer])
    assert.equal(one.published, false)
    await apart('update', 'sign', one.draft ?? '', '--keys', second)
    await hub.kith(['update', 'submit'])
    await run('ash', '3.0.0')
  })

  it('of another owner’s device sign when the first is gone', async () => {
    const [hub, ash] = [lab.device('hub'), lab.device('ash')]
    const online = ['snapshot', 'timestamp']
    const made = await ash.kith(['update', 'keys', 'new', ...online, '--out', folder])
    const [{ keys }] = made as [{ readonly keys: readonly { readonly public: string }[] }]
    const add = keys.flatMap((key) => ['--add', key.public])
    const stick = path.join(folder, 'ash')
    await hub.kith(['update', 'keys', 'rotate', ...add, '--out', stick])
    await apart('update', 'sign', stick, '--keys', drawer)
    await apart('update', 'sign', stick, '--keys', path.join(folder, 'second'))
    await hub.kith(['update', 'submit', stick])
    await lab.until('ash signs for the channel', LIMIT_MS, async () => {
      return (await ash.api.updates()).channels.some(({ signedHere }) => signedHere)
    })
    await hub.stop('SIGTERM')
    const one = await publish('ash', '4.0.0', ['--keys', drawer])
    await apart('update', 'sign', one.draft ?? '', '--keys', path.join(folder, 'second'))
    await ash.kith(['update', 'submit'])
    await run('ash', '4.0.0')
  })

  it('say the same of what a stick carries', async () => {
    const stick = path.join(folder, 'carried')
    await lab.device('ash').kith(['update', 'export', stick])
    const mark = JSON.parse(await readFile(path.join(stick, 'channel.json'), 'utf8')) as {
      readonly pin: string
    }
    const said = await apart('update', 'check', stick, '--pin', mark.pin)
    assert.equal(said['ok'], true)
    const targets = (await readdir(path.join(stick, 'metadata')))
      .filter((name) => name.endsWith('targets.json'))
      .toSorted()
      .at(-1)
    await writeFile(path.join(stick, 'metadata', targets ?? ''), '{}')
    await assert.rejects(apart('update', 'check', stick, '--pin', mark.pin), (error) => {
      const { ok, code } = JSON.parse((error as { readonly stdout: string }).stdout) as {
        readonly ok: boolean
        readonly code: string
      }
      return !ok && code === 'TUF_HASH'
    })
  })
})
