/* Installers that other programs do the work of: the real ones, and for containers a stand-in. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, it } from 'node:test'

import type { Release } from '../../node/services/install/index.ts'
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

describe('a Debian package', needs('dpkg'), () => {
  let target = ''
  const deb = (version: string, build: number, more: Partial<Release> = {}) =>
    releaseOf(version, build, { installer: 'deb', ...more })

  beforeEach(async () => {
    target = join(root, 'target')
    for (const folder of ['info', 'updates', 'triggers']) {
      mkdirSync(join(target, 'var/lib/dpkg', folder), { recursive: true })
    }
    for (const file of ['status', 'available'])
      writeFileSync(join(target, 'var/lib/dpkg', file), '')
    await setUp({ dpkg: [`--root=${target}`, '--force-script-chrootless', '--log=/dev/null'] })
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
    await setUp({})
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
    await setUp({ oci: [script('engine', ENGINE)] })
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
