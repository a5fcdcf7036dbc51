/* Installers that other programs do the work of: the real ones, and for containers a stand-in. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import type { Installs, Release, Site } from '../../node/services/install/index.ts'
import { cpioOf } from '../helpers/cpio.ts'
import { installsIn, NEVER, releaseOf } from '../helpers/installs.ts'
import { needs } from '../helpers/tools.ts'

const ill = { seconds: 1, withinSeconds: 1, command: ['/bin/false'] }

let root = ''
let installs: Installs

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kith-programs-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function setUp(site: Partial<Site>): void {
  installs = installsIn(join(root, 'installs'), { site: () => site })
}

async function put(release: Release, file: string) {
  await installs.stage(release, file, NEVER)
  return installs.switch(release.name, NEVER)
}

function done(program: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', cwd: root })
  assert.equal(status, 0, `${program} ${args[0]}: ${stderr}`)
  return stdout
}

function script(name: string, text: string): string {
  writeFileSync(join(root, name), `#!/bin/sh\nset -eu\n${text}`)
  chmodSync(join(root, name), 0o755)
  return join(root, name)
}

describe('a Debian package', needs('dpkg'), () => {
  let target = ''
  const deb = (version: string, build: number, more: Partial<Release> = {}) =>
    releaseOf(version, build, { installer: 'deb', ...more })

  beforeEach(() => {
    target = join(root, 'target')
    for (const folder of ['info', 'updates', 'triggers']) {
      mkdirSync(join(target, 'var/lib/dpkg', folder), { recursive: true })
    }
    for (const file of ['status', 'available'])
      writeFileSync(join(target, 'var/lib/dpkg', file), '')
    setUp({ dpkg: [`--root=${target}`, '--force-script-chrootless', '--log=/dev/null'] })
  })

  const packageOf = (version: string, architecture = 'all'): string => {
    const folder = join(root, `package-${version}`)
    mkdirSync(join(folder, 'DEBIAN'), { recursive: true })
    mkdirSync(join(folder, 'opt'), { recursive: true })
    writeFileSync(join(folder, 'opt/app'), version)
    const fields = [
      'Package: kith-test-app',
      `Version: ${version}`,
      `Architecture: ${architecture}`,
    ]
    const rest = ['Maintainer: Nobody <nobody@example.org>', 'Description: for a test', '']
    writeFileSync(join(folder, 'DEBIAN/control'), [...fields, ...rest].join('\n'))
    done('dpkg-deb', ['--build', '--root-owner-group', folder, `${folder}.deb`])
    return `${folder}.deb`
  }
  const running = (): string => readFileSync(join(target, 'opt/app'), 'utf8')

  it('is installed, and the one before comes back where it is ill or by hand', async () => {
    const one = deb('1.0', 1)
    assert.equal((await put(one, packageOf('1.0'))).what, 'installed')
    const bad = deb('2.0', 2, { health: ill })
    assert.equal((await put(bad, packageOf('2.0'))).what, 'rolled-back')
    assert.equal(running(), '1.0')
    assert.equal((await put(deb('3.0', 3), packageOf('3.0'))).what, 'installed')
    assert.equal(running(), '3.0')
    assert.equal((await installs.rollback('app', NEVER)).what, 'rolled-back')
    assert.equal(running(), '1.0')
  })

  it('that was the first and ill is removed', async () => {
    assert.equal((await put(deb('1.0', 1, { health: ill }), packageOf('1.0'))).what, 'rolled-back')
    assert.equal(existsSync(join(target, 'opt/app')), false)
  })

  it('that is none, or for another processor, changes nothing', async () => {
    writeFileSync(join(root, 'none'), 'no package')
    await assert.rejects(put(deb('1.0', 1), join(root, 'none')), { code: 'INSTALL_PROGRAM' })
    const other = packageOf('1.0', 'sparc')
    await assert.rejects(put(deb('1.0', 1), other), /for sparc/)
    assert.equal(existsSync(join(target, 'opt')), false)
  })

  it('is not put over one that nothing leads back to, unless told so', async () => {
    const argv = [`--root=${target}`, '--force-script-chrootless', '--log=/dev/null']
    done('dpkg', [...argv, '--install', packageOf('0.9')])
    const file = packageOf('1.0')
    await assert.rejects(put(deb('1.0', 1), file), { code: 'INSTALL_NO_WAY_BACK' })
    assert.equal(running(), '0.9')
    const told = deb('1.0', 1, { args: { 'no-way-back': 'yes' } })
    assert.equal((await put(told, file)).what, 'installed')
  })
})

describe('a program of the owner', () => {
  const PROGRAM = `
input=$(cat)
folder=$(printf %s "$input" | sed -n 's/.*"folder":"\\([^"]*\\)".*/\\1/p')
version=$(printf %s "$input" | sed -n 's/^{"name":"[^"]*","version":"\\([^"]*\\)","build":\\([0-9]*\\).*/\\1 \\2/p')
previous=$(printf %s "$input" | sed -n 's/.*"previous":{"version":"\\([^"]*\\)","build":\\([0-9]*\\)}.*/\\1 \\2/p')
echo "$1 $version" >> "$folder/log"
case "$1" in
  stage) test "$version" != "9.9 9" || { echo "no room for it" >&2; exit 3; } ;;
  switch) echo "$version" > "$folder/current" ;;
  revert) if [ -n "$previous" ]; then echo "$previous" > "$folder/current"; else rm -f "$folder/current"; fi ;;
  current) test ! -e "$folder/current" || { read -r v b < "$folder/current"; echo "{\\"version\\":\\"$v\\",\\"build\\":$b}"; } ;;
esac
`
  const exec = (version: string, build: number, more: Partial<Release> = {}) =>
    releaseOf(version, build, { installer: 'exec', ...more })
  const current = (): string => readFileSync(join(root, 'installs/app/program/current'), 'utf8')

  beforeEach(() => setUp({ exec: [script('program', PROGRAM)] }))

  it('is told each step, and what to go back to', async () => {
    writeFileSync(join(root, 'file'), 'x')
    assert.equal((await put(exec('1.0', 1), join(root, 'file'))).what, 'installed')
    assert.equal(
      (await put(exec('2.0', 2, { health: ill }), join(root, 'file'))).what,
      'rolled-back',
    )
    assert.equal(current(), '1.0 1\n')
    const log = readFileSync(join(root, 'installs/app/program/log'), 'utf8')
    const words = log.split('\n').filter((line) => !line.startsWith('tidy'))
    const expected = [
      'stage 1.0 1',
      'switch 1.0 1',
      'confirm 1.0 1',
      'stage 2.0 2',
      'switch 2.0 2',
      'current ',
      'revert 2.0 2',
      '',
    ]
    assert.deepEqual(words, expected)
  })

  it('whose last words say why it fails is quoted', async () => {
    await assert.rejects(put(exec('9.9', 9), join(root, 'file')), {
      code: 'INSTALL_PROGRAM',
      message: /ended with 3: no room for it/,
    })
    assert.equal((await installs.state('app')).trial, undefined)
  })

  it('is the one that this device names, or none', async () => {
    setUp({})
    await assert.rejects(put(exec('1.0', 1), join(root, 'file')), { code: 'INSTALL_ARGUMENTS' })
  })
})

describe('images of containers', () => {
  /** What podman does with the words that Kith says, over a folder of tags. */
  const ENGINE = `
tags=$(dirname "$0")/tags
mkdir -p "$tags"
file() { printf '%s/%s' "$tags" "$(printf %s "$1" | tr '/:' '@%')"; }
case "$1" in
  load) name=$(head -1 "$3"); grep -q ^image: "$3" || { echo "no image" >&2; exit 125; }
    sha256sum "$3" | cut -d' ' -f1 > "$(file "\${name#image:}")"; echo "Loaded image: \${name#image:}" ;;
  tag) cp "$(file "$2")" "$(file "$3")" ;;
  rmi) rm "$(file "$2")" ;;
  images) for one in "$tags"/*; do
      name=$(basename "$one" | tr '@%' '/:')
      case "$name" in "$5":*) echo "$name $(cat "$one")" ;; esac
    done ;;
esac
`
  it('are loaded, and the tag that runs is moved there and back', async () => {
    setUp({ engine: [script('engine', ENGINE)] })
    const image = (version: string): string => {
      writeFileSync(join(root, version), `image:example.org/app:${version}\n${version}`)
      return join(root, version)
    }
    const oci = (version: string, build: number, more: Partial<Release> = {}) =>
      releaseOf(version, build, { installer: 'oci', ...more })
    const tags = (): string[] =>
      done(join(root, 'engine'), ['images', '', '', '', 'localhost/kith/app'])
        .trim()
        .split('\n')
        .map((line) => line.split(' ')[0] ?? '')
    const hashOf = (tag: string): string =>
      readFileSync(join(root, 'tags', `localhost@kith@app%${tag}`), 'utf8')

    assert.equal((await put(oci('1.0', 1), image('1.0'))).what, 'installed')
    assert.equal((await put(oci('2.0', 2, { health: ill }), image('2.0'))).what, 'rolled-back')
    assert.equal(hashOf('current'), hashOf('1.0-1'))
    assert.equal((await put(oci('3.0', 3), image('3.0'))).what, 'installed')
    assert.equal(hashOf('current'), hashOf('3.0-3'))
    const kept = ['1.0-1', '3.0-3', 'current'].map((tag) => `localhost/kith/app:${tag}`)
    assert.deepEqual(tags().toSorted(), kept)
    writeFileSync(join(root, 'none'), 'nothing')
    await assert.rejects(put(oci('4.0', 4), join(root, 'none')), /no image/)
    assert.deepEqual(tags().toSorted(), kept)
  })
})

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
    const description = `software = { version = "${version}"; stable = { ${copy('a')} ${copy('b')} }; }`
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
    const argv = ['swupdate', '-k', join(root, 'cert'), '-p', 'true']
    setUp({
      swupdate: {
        argv,
        slot: [slot],
        slots: { a: 'stable,copy_a', b: 'stable,copy_b' },
        reboot: [join(root, 'reboot')],
      },
    })
    assert.equal((await put(swu('2.0', 2), bundle('2.0'))).what, 'restarting')
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
    const argv = ['swupdate', '-k', join(root, 'cert'), '-p', 'true']
    setUp({
      swupdate: {
        argv,
        slot: [slot],
        slots: { a: 'stable,copy_a', b: 'stable,copy_b' },
        reboot: [join(root, 'reboot')],
      },
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
      setUp({
        rauc: {
          argv: [...env, 'rauc', '-c', join(root, 'system.conf')],
          reboot: [join(root, 'reboot')],
        },
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
