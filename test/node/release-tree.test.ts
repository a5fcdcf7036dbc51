import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, lutimes, mkdir, readdir, rename, symlink, truncate } from 'node:fs/promises'
import { createServer } from 'node:net'
import path from 'node:path'
import { describe, it } from 'node:test'

import fc from 'fast-check'
import { Parser, type ReadEntry } from 'tar'

import { openTree, ReleaseError, type RawBytes } from '../../node/release/index.ts'
import { checkArchive } from '../../node/services/install/archive.ts'
import { never, noise, releaseRoom, type ReleaseRoom } from '../helpers/release.ts'

async function allOf(folder: string): Promise<Uint8Array> {
  await using tree = await openTree(folder, never)
  return await tree.read(0, tree.size)
}

interface Listed {
  readonly path: string
  readonly type: string
  readonly mode: number | undefined
  readonly link: string | undefined
  readonly bytes: string
}

async function listOf(archive: Uint8Array): Promise<Listed[]> {
  const entries: Listed[] = []
  await new Promise<void>((resolve, reject) => {
    const parser = new Parser({ strict: true })
    parser.on('entry', (entry: ReadEntry) => {
      const parts: Buffer[] = []
      entry.on('data', (part: Buffer) => parts.push(part))
      entry.on('end', () =>
        entries.push({
          path: entry.path,
          type: entry.type,
          mode: entry.mode,
          link: entry.linkpath,
          bytes: Buffer.concat(parts).toString('latin1'),
        }),
      )
      assert.deepEqual([entry.uid, entry.gid, entry.mtime?.getTime()], [0, 0, 0])
      assert.deepEqual([entry.uname ?? '', entry.gname ?? ''], ['', ''])
    })
    parser.on('end', () => resolve())
    parser.on('error', reject)
    parser.end(Buffer.from(archive))
  })
  return entries
}

async function sample(room: ReleaseRoom, name: string, reverse = false): Promise<string> {
  const files: [string, string, number][] = [
    ['b', 'second', 0o600],
    ['a/run', '#!/bin/sh', 0o700],
    ['a.b', 'between', 0o666],
    ['a/ü', 'not ascii', 0o644],
    ['Z', '', 0o755],
    [`deep/${'n'.repeat(120)}/${'m'.repeat(150)}`, 'long', 0o644],
  ]
  for (const [file, text, mode] of reverse ? files.toReversed() : files) {
    await room.write(`${name}/${file}`, text)
    await chmod(room.at(`${name}/${file}`), mode)
  }
  await mkdir(room.at(`${name}/empty`))
  await symlink('../b', room.at(`${name}/a/link`))
  await symlink(`deep/${'n'.repeat(120)}`, room.at(`${name}/to-deep`))
  return room.at(name)
}

function refusal(pattern: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof ReleaseError && error.code === 'RELEASE_INPUT' && pattern.test(error.message)
}

describe('the archive of a folder', () => {
  it('holds what the folder holds, sorted by bytes, without owners and times', async () => {
    await using room = await releaseRoom()
    const listed = await listOf(await allOf(await sample(room, 'tree')))
    assert.deepEqual(
      listed.map(({ path: name, type, mode }) => [name, type, mode]),
      [
        ['Z', 'File', 0o755],
        ['a/', 'Directory', 0o755],
        ['a/link', 'SymbolicLink', 0o755],
        ['a/run', 'File', 0o755],
        ['a/ü', 'File', 0o644],
        ['a.b', 'File', 0o644],
        ['b', 'File', 0o644],
        ['deep/', 'Directory', 0o755],
        [`deep/${'n'.repeat(120)}/`, 'Directory', 0o755],
        [`deep/${'n'.repeat(120)}/${'m'.repeat(150)}`, 'File', 0o644],
        ['empty/', 'Directory', 0o755],
        ['to-deep', 'SymbolicLink', 0o755],
      ],
    )
    const byPath = new Map(listed.map((one) => [one.path, one]))
    assert.equal(byPath.get('a/link')?.link, '../b')
    assert.equal(byPath.get('to-deep')?.link, `deep/${'n'.repeat(120)}`)
    assert.equal(byPath.get('a/run')?.bytes, '#!/bin/sh')
    assert.equal(byPath.get('a/ü')?.bytes, 'not ascii')
  })

  it('is the same for a copy with other times, modes of others and order on the disk', async () => {
    await using room = await releaseRoom()
    const one = await sample(room, 'one')
    const other = await sample(room, 'other', true)
    for (const name of await readdir(other, { recursive: true })) {
      await lutimes(path.join(other, name), 1_000_000, 1_000_000)
    }
    await chmod(path.join(other, 'a'), 0o700)
    await chmod(path.join(other, 'b'), 0o604)
    assert.deepEqual(await allOf(other), await allOf(one))
    await chmod(path.join(other, 'b'), 0o704)
    assert.notDeepEqual(await allOf(other), await allOf(one))
  })

  it('is one that the installer takes, and that GNU tar reads', async () => {
    await using room = await releaseRoom()
    const archive = await room.write('out.tar', await allOf(await sample(room, 'tree')))
    assert.equal((await checkArchive(archive)).entries, 12)
    const names = execFileSync('tar', ['-tf', archive], { encoding: 'utf8' })
    assert.equal(names.trimEnd().split('\n').length, 12)
  })

  it('reads the same at any place and length', async () => {
    await using room = await releaseRoom()
    await room.write('tree/large', noise('large', 5_000))
    await room.write('tree/small', 'x')
    await room.write('tree/zero', '')
    const whole = await allOf(room.at('tree'))
    await using tree: RawBytes = await openTree(room.at('tree'), never)
    const place = fc.nat(whole.length + 600)
    await fc.assert(
      fc.asyncProperty(place, place, async (at, length) => {
        assert.deepEqual(await tree.read(at, length), whole.slice(at, at + length))
      }),
      { numRuns: 200 },
    )
  })

  it('notices a file that changes after it was listed', async () => {
    await using room = await releaseRoom()
    const file = await room.write('tree/file', 'long enough')
    for (const change of [
      () => truncate(file, 4),
      () => room.write('tree/file', 'as long as.'),
      () => rename(file, room.at('elsewhere')),
    ]) {
      await room.write('tree/file', 'long enough')
      await using tree = await openTree(room.at('tree'), never)
      await change()
      await assert.rejects(tree.read(0, tree.size), { code: 'RELEASE_CHANGED' })
    }
  })
})

describe('a folder that cannot become a release', () => {
  const links: [string, RegExp][] = [
    ['/etc/passwd', /"in\/bad" .*not relative/],
    ['../../out', /"in\/bad" .*leads out/],
    ['../..', /"in\/bad" .*leads out/],
    ['x/../../..', /"in\/bad" .*no plain path/],
    ['./x', /"in\/bad" .*no plain path/],
    ['a\\b', /"in\/bad" .*mislead/],
  ]
  for (const [target, message] of links) {
    it(`has a link to ${target}`, async () => {
      await using room = await releaseRoom()
      await room.write('tree/in/fine', 'x')
      await symlink(target, room.at('tree/in/bad'))
      await assert.rejects(openTree(room.at('tree'), never), refusal(message))
    })
  }

  const names: [string, readonly string[], RegExp][] = [
    ['a control character', ['new\nline'], /mislead/],
    ['a turn of the reading direction', ['a\u202Egnp.exe'], /mislead/],
    ['a backslash', ['a\\b'], /mislead/],
    ['names that differ by case', ['dir/Read', 'dir/READ'], /"dir\/Read" and "dir\/READ" are one/],
    ['names that differ by composition', ['\u00E9', 'e\u0301'], /are one/],
    ['33 folders in each other', [`${'d/'.repeat(32)}file`], /too deep/],
    [
      'a path of more than 1,024 bytes',
      [`${`${'n'.repeat(250)}/`.repeat(4)}${'m'.repeat(40)}`],
      /too long/,
    ],
  ]
  for (const [what, files, message] of names) {
    it(`has ${what}`, async () => {
      await using room = await releaseRoom()
      for (const file of files) await room.write(`tree/${file}`, 'x')
      await assert.rejects(openTree(room.at('tree'), never), refusal(message))
    })
  }

  it('has a name that is not UTF-8', async () => {
    await using room = await releaseRoom()
    await mkdir(room.at('tree'))
    await mkdir(Buffer.concat([Buffer.from(`${room.at('tree')}/`), Buffer.of(0x66, 0xff)]))
    await assert.rejects(openTree(room.at('tree'), never), refusal(/not UTF-8/))
  })

  it('has a pipe, a socket, or a program with the rights of another user', async () => {
    await using room = await releaseRoom()
    await mkdir(room.at('pipe'))
    execFileSync('mkfifo', [room.at('pipe/p')])
    await assert.rejects(openTree(room.at('pipe'), never), refusal(/"p" is a pipe/))
    await mkdir(room.at('socket'))
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(room.at('socket/s'), resolve))
    await assert.rejects(openTree(room.at('socket'), never), refusal(/"s" is a socket/))
    await new Promise((resolve) => server.close(resolve))
    for (const mode of [0o4755, 0o2755]) {
      await chmod(await room.write('set/id', 'x'), mode)
      await assert.rejects(openTree(room.at('set'), never), refusal(/"id" .*rights/))
    }
  })

  it('has nothing in it', async () => {
    await using room = await releaseRoom()
    await mkdir(room.at('tree'))
    await assert.rejects(openTree(room.at('tree'), never), refusal(/nothing in it/))
  })
})
