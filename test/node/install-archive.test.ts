import assert from 'node:assert/strict'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'

import fc from 'fast-check'

import { checkArchive, unpackArchive } from '../../node/services/install/index.ts'
import { filesOf, listing, listingOf } from '../helpers/installs.ts'
import { entryBytes, tarOf, type TarEntry } from '../helpers/tars.ts'

const deep = Array.from({ length: 40 }, () => 'd').join('/')

/** What is refused, and a word of the reason. */
const HOSTILE: readonly (readonly [string, readonly TarEntry[], RegExp])[] = [
  ['a path upwards', [{ name: '../evil' }], /leads out/],
  ['a path upwards from within', [{ name: 'a/../../evil' }], /leads out/],
  ['a path from the root', [{ name: '/etc/evil' }], /begins at the root/],
  ['a path of dots', [{ name: './a' }], /no plain path/],
  ['an empty name in a path', [{ name: 'a//b' }], /no plain path/],
  ['a backslash', [{ name: 'a\\..\\evil' }], /mislead/],
  ['a line break in a name', [{ name: 'a\nb' }], /mislead/],
  ['a name that turns the reading direction', [{ name: 'a\u202Etxt.exe' }], /mislead/],
  ['a link from the root', [{ name: 'l', type: '2', link: '/etc' }], /not relative/],
  ['a link upwards', [{ name: 'l', type: '2', link: '../x' }], /leads out/],
  ['a link upwards from a folder', [{ name: 'a/l', type: '2', link: '../../x' }], /leads out/],
  ['a link that climbs on its way', [{ name: 'a/l', type: '2', link: 'b/../../../x' }], /no plain/],
  [
    'a link that climbs through another link',
    [
      { name: 'd/e/up', type: '2', link: '../..' },
      { name: 'l', type: '2', link: 'd/e/up/../evil' },
    ],
    /no plain path/,
  ],
  [
    'a file below a link',
    [{ name: 'a/b', type: '5' }, { name: 'l', type: '2', link: 'a' }, { name: 'l/evil' }],
    /which is no folder/,
  ],
  ['a file below a file', [{ name: 'a' }, { name: 'a/b' }], /which is no folder/],
  ['a link over a folder', [{ name: 'a/b' }, { name: 'a', type: '2', link: 'c' }], /twice/],
  ['a hard link', [{ name: 'a' }, { name: 'b', type: '1', link: 'a' }], /a hard link/],
  ['a character device', [{ name: 'null', type: '3' }], /a device/],
  ['a block device', [{ name: 'sda', type: '4' }], /a device/],
  ['a pipe', [{ name: 'p', type: '6' }], /a pipe/],
  ['an unknown kind', [{ name: 'a', type: 'Z' }], /kind/],
  ['a setuid file', [{ name: 'su', mode: 0o4755 }], /rights of another user/],
  ['a setgid file', [{ name: 'sg', mode: 0o2755 }], /rights of another user/],
  ['a sticky folder', [{ name: 't', type: '5', mode: 0o1777 }], /rights of another user/],
  ['two names that differ in case', [{ name: 'Read' }, { name: 'read' }], /one name/],
  ['two folders that differ in case', [{ name: 'A/x' }, { name: 'a/y' }], /one name/],
  ['two forms of one letter', [{ name: '\u00E9' }, { name: 'e\u0301' }], /one name/],
  [
    'a name twice',
    [
      { name: 'a', content: '1' },
      { name: 'a', content: '2' },
    ],
    /twice/,
  ],
  [
    'a folder twice',
    [
      { name: 'a', type: '5' },
      { name: 'a/', type: '5' },
    ],
    /twice/,
  ],
  ['a long name', [{ name: 'n'.repeat(256) }], /too long/],
  ['a long path', [{ name: `${'n'.repeat(200)}/`.repeat(6) + 'n' }], /too long/],
  ['a deep path', [{ name: deep }], /too deep/],
  ['a link with content', [{ name: 'l', type: '2', link: 'a', content: 'x' }], /has content/],
  ['a header that never ends', [{ name: 'pax', type: 'x', content: 'x'.repeat(20_000) }], /header/],
  [
    'a file longer than the archive',
    [{ name: 'a', content: 'x', size: 2 ** 32 }],
    /no tar|cut short/,
  ],
]

describe('an archive', () => {
  let root = ''
  let file = ''
  let count = 0

  before(() => {
    root = mkdtempSync(join(tmpdir(), 'kith-archive-'))
    file = join(root, 'archive')
  })
  after(() => rmSync(root, { recursive: true, force: true }))

  const refused = async (bytes: Uint8Array, why: RegExp): Promise<void> => {
    writeFileSync(file, bytes)
    const expected = { code: 'INSTALL_ARCHIVE', message: why }
    await assert.rejects(checkArchive(file), expected)
    // Whoever unpacks unasked gets no further.
    const parent = join(root, `into-${count++}`)
    mkdirSync(parent)
    await assert.rejects(unpackArchive(file, join(parent, 'staging')), expected)
    assert.deepEqual(readdirSync(parent), ['staging'], 'nothing beside it')
    rmSync(parent, { recursive: true })
  }

  it('of a folder is unpacked as it was, with two modes', async () => {
    writeFileSync(file, tarOf(filesOf('1.0')))
    assert.deepEqual(await checkArchive(file), { entries: 5, bytes: 9_000 + 3 + 19 })
    const into = join(root, 'whole')
    await unpackArchive(file, into)
    assert.deepEqual(listing(into), listingOf('1.0'))
    assert.equal(statSync(join(into, 'bin/app')).mode & 0o7777, 0o755)
    assert.equal(statSync(join(into, 'VERSION')).mode & 0o7777, 0o644)
  })

  it('may have long names, many levels and links that stay inside', async () => {
    const long = `${'n'.repeat(100)}/${'m'.repeat(255)}`
    writeFileSync(
      file,
      tarOf([
        { name: long, content: 'x' },
        { name: 'a/l', type: '2', link: `../${long}` },
      ]),
    )
    const into = join(root, 'long')
    await unpackArchive(file, into)
    assert.equal(listing(into)[long], 'x')
    assert.equal(listing(into)['a/l'], `-> ../${long}`)
  })

  for (const [what, entries, why] of HOSTILE) {
    it(`with ${what} is refused`, () =>
      refused(tarOf([{ name: 'good', content: 'x' }, ...entries]), why))
  }

  it('that is packed is refused before it is unpacked', async () => {
    const bomb = tarOf([{ name: 'zeros', content: Buffer.alloc(2 ** 24) }])
    await refused(gzipSync(bomb), /packed/)
    await refused(zstdCompressSync(bomb), /packed/)
  })

  it('that is empty, no tar, cut short or followed by something is refused', async () => {
    const good = tarOf(filesOf('1.0'))
    await refused(Buffer.alloc(0), /no tar/)
    await refused(Buffer.from('x'.repeat(2_000)), /no tar/)
    await refused(Buffer.alloc(10_240), /empty|no tar/)
    await refused(good.subarray(0, 5_000), /no tar|cut short/)
    await refused(tarOf(filesOf('1.0'), Buffer.alloc(0)), /cut short/)
    await refused(
      Buffer.concat([good, Buffer.alloc(2 ** 17), entryBytes({ name: 'late' })]),
      /follows/,
    )
  })

  it('of a million entries is refused, and nothing of it is written', async () => {
    const fd = openSync(file, 'w')
    const header = entryBytes({ name: 'f0000000' })
    const sum = header.reduce((all, byte, i) => all + (i >= 148 && i < 156 ? 32 : byte), 0)
    const many = Buffer.concat(Array.from({ length: 10_000 }, () => header))
    for (let i = 0; i < 1_000_000; i++) {
      const at = (i % 10_000) * 512
      const digits = String(i).padStart(7, '0')
      const more = Array.from(digits).reduce((all, digit) => all + Number(digit), 0)
      many.write(digits, at + 1, 'latin1')
      many.write((sum + more).toString(8).padStart(6, '0'), at + 148, 'latin1')
      if (i % 10_000 === 9_999) writeSync(fd, many)
    }
    writeSync(fd, Buffer.alloc(1_024))
    closeSync(fd)
    await assert.rejects(checkArchive(file), { code: 'INSTALL_ARCHIVE', message: /100000 entries/ })
  })

  it('with more bytes than it may have is refused at its header', async () => {
    writeFileSync(file, tarOf([{ name: 'a', content: Buffer.alloc(2_000) }]))
    await assert.rejects(checkArchive(file, { entries: 10, bytes: 1_999 }), /more than 1999 bytes/)
  })

  it('never lands beside its folder, whatever its bytes', async () => {
    const good = tarOf(filesOf('1.0'))
    const place = fc.record({ at: fc.nat(good.length - 1), byte: fc.nat(255) })
    await fc.assert(
      fc.asyncProperty(fc.array(place, { minLength: 1, maxLength: 8 }), async (places) => {
        const bytes = Buffer.from(good)
        for (const { at, byte } of places) bytes[at] = byte
        writeFileSync(file, bytes)
        const parent = join(root, `any-${count++}`)
        mkdirSync(parent)
        await unpackArchive(file, join(parent, 'staging')).catch((error: { code?: string }) =>
          assert.equal(error.code, 'INSTALL_ARCHIVE'),
        )
        assert.deepEqual(readdirSync(parent), ['staging'])
        rmSync(parent, { recursive: true })
      }),
      { numRuns: 100 },
    )
  })
})
