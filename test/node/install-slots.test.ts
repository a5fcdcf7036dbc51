/* Whole systems in two slots, by the real SWUpdate and RAUC, over files. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { describe, it } from 'node:test'

import type { Release } from '../../node/services/install/index.ts'
import { cpioOf } from '../helpers/cpio.ts'
import {
  done,
  eachInItsFolder,
  ill,
  installs,
  put,
  root,
  script,
  setUp,
} from '../helpers/install-bench.ts'
import { NEVER, releaseOf } from '../helpers/installs.ts'
import { needs } from '../helpers/tools.ts'

eachInItsFolder()

/** What both systems in two slots need: a key, two slots, and a machine that can be started anew. */
function slots(): { booted: () => string } {
  const subject = ['-subj', '/CN=kith test', '-days', '30']
  done('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    'key',
    '-out',
    'cert',
    ...subject,
  ])
  for (const slot of ['a', 'b']) {
    writeFileSync(join(root, slot), '')
    truncateSync(join(root, slot), 2 ** 21)
  }
  writeFileSync(join(root, 'booted'), 'a')
  writeFileSync(join(root, 'next'), 'a')
  script('reboot', `cp ${root}/next ${root}/booted\n`)
  return { booted: () => readFileSync(join(root, 'booted'), 'utf8').trim() }
}

function imageOf(version: string): Buffer {
  return Buffer.concat([Buffer.from(version.padEnd(16)), randomBytes(100_000)])
}

function versionIn(slot: string): string {
  return readFileSync(join(root, slot)).toString('latin1', 0, 16).trim()
}

describe('a system in two slots by SWUpdate', needs('swupdate'), () => {
  const swu = (version: string, build: number, more: Partial<Release> = {}) =>
    releaseOf(version, build, { installer: 'swupdate', ...more })

  function bundle(version: string, key = 'key'): string {
    const image = imageOf(version)
    const sha = createHash('sha256').update(image).digest('hex')
    const copy = (slot: string): string =>
      `copy_${slot}: { images: ( { filename = "root.img"; device = "${root}/${slot}"; type = "raw"; sha256 = "${sha}"; } ); };`
    const description = `software = { version = "${version}"; hardware-compatibility = [ "1.0" ]; stable = { ${copy('a')} ${copy('b')} }; }`
    writeFileSync(join(root, 'sw-description'), description)
    const sign = [
      'cms',
      '-sign',
      '-in',
      'sw-description',
      '-out',
      'sw-description.sig',
      '-signer',
      key === 'key' ? 'cert' : 'other-cert',
    ]
    done('openssl', [...sign, '-inkey', key, '-outform', 'DER', '-nosmimecap', '-binary'])
    const parts = ['sw-description', 'sw-description.sig'].map((name) => ({
      name,
      content: readFileSync(join(root, name)),
    }))
    writeFileSync(
      join(root, `${version}.swu`),
      cpioOf([...parts, { name: 'root.img', content: image }]),
    )
    return join(root, `${version}.swu`)
  }

  it('writes the other slot, runs it after a start, and goes back where it is ill', async () => {
    const { booted } = slots()
    const slot = script(
      'slot',
      `case $1 in booted) cat ${root}/booted ;; set) echo "$2" > ${root}/next ;; esac\n`,
    )
    const argv = ['env', `TMPDIR=${root}`, 'swupdate', '-k', join(root, 'cert'), '-H', 'kith:1.0']
    await setUp({
      swupdate: argv,
      slot: [slot],
      slots: ['a=stable:copy_a', 'b=stable:copy_b'],
      reboot: [join(root, 'reboot')],
    })
    assert.deepEqual(await put(swu('2.0', 2), bundle('2.0')), {
      what: 'restarting',
      release: swu('2.0', 2),
    })
    assert.deepEqual([booted(), versionIn('b')], ['b', '2.0'])
    assert.equal((await installs.resume('app', NEVER))?.what, 'installed')
    assert.equal((await put(swu('3.0', 3, { health: ill }), bundle('3.0'))).what, 'restarting')
    assert.equal(booted(), 'a')
    assert.equal((await installs.resume('app', NEVER))?.what, 'rolled-back')
    assert.deepEqual([booted(), versionIn('b')], ['b', '2.0'])
    const changed = readFileSync(bundle('4.0'))
    changed[changed.length - 2_000] = (changed[changed.length - 2_000] ?? 0) ^ 1
    writeFileSync(join(root, '4.0.swu'), changed)
    const outcome = await put(swu('4.0', 4), join(root, '4.0.swu')).catch((error: Error) => error)
    assert.ok(outcome instanceof Error || outcome.what === 'rolled-back')
    assert.equal(booted(), 'b')
  })

  it('signed by somebody else is refused', async () => {
    slots()
    done('openssl', [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      'other',
      '-out',
      'other-cert',
      '-subj',
      '/CN=other',
    ])
    const slot = script(
      'slot',
      `case $1 in booted) cat ${root}/booted ;; set) echo "$2" > ${root}/next ;; esac\n`,
    )
    const argv = ['env', `TMPDIR=${root}`, 'swupdate', '-k', join(root, 'cert'), '-H', 'kith:1.0']
    await setUp({
      swupdate: argv,
      slot: [slot],
      slots: ['a=stable:copy_a', 'b=stable:copy_b'],
      reboot: [join(root, 'reboot')],
    })
    await assert.rejects(put(swu('2.0', 2), bundle('2.0', 'other')), { code: 'INSTALL_PROGRAM' })
    assert.equal(versionIn('b').replaceAll('\0', ''), '')
  })
})

describe('a system in two slots by RAUC', needs('rauc'), () => {
  let address = ''
  let stop: () => Promise<void>
  const rauc = (version: string, build: number, more: Partial<Release> = {}) =>
    releaseOf(version, build, { installer: 'rauc', ...more })

  const ended = (child: ReturnType<typeof spawn>): Promise<void> =>
    new Promise(
      (resolve) => void (child.exitCode === null ? child.once('exit', () => resolve()) : resolve()),
    )

  async function firstLine(child: ReturnType<typeof spawn>): Promise<string> {
    for await (const chunk of child.stdout ?? []) return String(chunk).split('\n')[0] ?? ''
    return ''
  }

  /** RAUC's service reads once which slot the machine was started from: a start is a new service. */
  async function start(): Promise<() => Promise<void>> {
    const bootedName = readFileSync(join(root, 'booted'), 'utf8').trim()
    const env = {
      ...process.env,
      DBUS_STARTER_BUS_TYPE: 'session',
      DBUS_SESSION_BUS_ADDRESS: address,
    }
    const child = spawn(
      'rauc',
      [
        '-c',
        join(root, 'system.conf'),
        `--override-boot-slot=${bootedName}`,
        '--mount',
        join(root, 'mnt'),
        'service',
      ],
      { env, stdio: 'ignore' },
    )
    const argv = ['gdbus', 'wait', '--session', '--timeout', '10', 'de.pengutronix.rauc']
    const waited = spawnSync(argv[0] ?? '', argv.slice(1), { env })
    assert.equal(waited.status, 0, String(waited.stderr))
    return async () => {
      child.kill()
      await ended(child)
    }
  }

  function bundle(version: string): string {
    const folder = join(root, `in-${version}`)
    mkdirSync(folder)
    writeFileSync(join(folder, 'root.img'), imageOf(version))
    const manifest = `[update]\ncompatible=kith-test\nversion=${version}\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=root.img\n`
    writeFileSync(join(folder, 'manifest.raucm'), manifest)
    done('rauc', ['--cert=cert', '--key=key', 'bundle', folder, `${version}.raucb`])
    return join(root, `${version}.raucb`)
  }

  it('writes the other slot, runs it after a start, goes back where it is ill, refuses a changed bundle', async () => {
    const { booted } = slots()
    const backend = script(
      'backend',
      `case $1 in
  get-primary) cat ${root}/next ;; set-primary) echo "$2" > ${root}/next ;;
  get-state) cat ${root}/state-$2 2>/dev/null || echo good ;; set-state) echo "$3" > ${root}/state-$2 ;; esac\n`,
    )
    const slot = (number: number, name: string): string =>
      `[slot.rootfs.${number}]\ndevice=${root}/${name}\ntype=raw\nbootname=${name}\n`
    writeFileSync(
      join(root, 'system.conf'),
      `[system]\ncompatible=kith-test\nbootloader=custom\nstatusfile=${root}/status\nbundle-formats=plain verity
[handlers]\nbootloader-custom-backend=${backend}\n[keyring]\npath=${root}/cert\n${slot(0, 'a')}${slot(1, 'b')}`,
    )
    mkdirSync(join(root, 'mnt'))
    const bus = spawn('dbus-daemon', ['--session', '--nofork', '--print-address=1'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    try {
      address = await firstLine(bus)
      stop = await start()
      const env = ['env', 'DBUS_STARTER_BUS_TYPE=session', `DBUS_SESSION_BUS_ADDRESS=${address}`]
      await setUp({
        rauc: [...env, 'rauc', '-c', join(root, 'system.conf')],
        reboot: [join(root, 'reboot')],
      })
      assert.equal((await put(rauc('2.0', 2), bundle('2.0'))).what, 'restarting')
      assert.deepEqual([booted(), versionIn('b')], ['b', '2.0'])
      await stop()
      stop = await start()
      assert.equal((await installs.resume('app', NEVER))?.what, 'installed')
      assert.equal((await put(rauc('3.0', 3, { health: ill }), bundle('3.0'))).what, 'restarting')
      assert.equal(booted(), 'a')
      await stop()
      stop = await start()
      assert.equal((await installs.resume('app', NEVER))?.what, 'rolled-back')
      assert.deepEqual([booted(), versionIn('b')], ['b', '2.0'])
      await stop()
      stop = await start()
      const changed = readFileSync(bundle('4.0'))
      changed[5_000] = (changed[5_000] ?? 0) ^ 1
      writeFileSync(join(root, '4.0.raucb'), changed)
      await assert.rejects(put(rauc('4.0', 4), join(root, '4.0.raucb')), {
        code: 'INSTALL_PROGRAM',
      })
      assert.deepEqual([booted(), versionIn('a')], ['b', '3.0'])
    } finally {
      await stop()
      bus.kill()
      await ended(bus)
    }
  })
})
