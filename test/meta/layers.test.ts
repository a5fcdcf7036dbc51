import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { codeLines, importsOf, sourceFiles, withoutComments, type SourceFile } from './tree.ts'
import { breaches } from './walls.ts'

const MAX_CODE_LINES = 300
const MAX_TEST_CODE_LINES = 400

const files = sourceFiles()

function tooLong({ path, text }: SourceFile): string[] {
  const max = path.startsWith('test/') ? MAX_TEST_CODE_LINES : MAX_CODE_LINES
  const lines = codeLines(text)
  return lines > max ? [`${path}: ${lines} of ${max} lines of code`] : []
}

function moduleState({ path, text }: SourceFile): string[] {
  if (path.startsWith('test/')) return []
  return /^(export\s+)?(let|var)\s/m.test(withoutComments(text)) ? [`${path}: let at the top`] : []
}

describe('the layers', () => {
  it('sees the sources of every folder', (t) => {
    const count = (folder: string): number =>
      files.filter(({ path }) => path.startsWith(folder)).length
    t.diagnostic(`${files.length} files, ${files.flatMap((f) => importsOf(f.text)).length} imports`)
    for (const [folder, least] of [
      ['protocols/wire/', 6],
      ['protocols/identity/', 5],
      ['node/', 5],
      ['test/', 10],
    ] as const) {
      assert.ok(count(folder) >= least, `only ${count(folder)} files in ${folder}`)
    }
  })

  it('import only what lies below them', () => {
    assert.deepEqual(files.flatMap(breaches), [])
  })

  it('have no file that is too long', () => {
    assert.deepEqual(files.flatMap(tooLong), [])
  })

  it('keep no state in modules', () => {
    assert.deepEqual(files.flatMap(moduleState), [])
  })
})

describe('the check of the layers', () => {
  const planted: readonly (readonly [from: string, specifier: string])[] = [
    ['protocols/errors.ts', './env.ts'],
    ['protocols/wire/cbor-decode.ts', '../identity/index.ts'],
    ['protocols/wire/cbor-decode.ts', 'node:crypto'],
    ['protocols/wire/cbor-decode.ts', '@libp2p/interface'],
    ['protocols/identity/keys.ts', 'cborg'],
    ['protocols/identity/keys.ts', 'node:fs'],
    ['protocols/identity/keys.ts', '../wire/cbor-decode.ts'],
    ['protocols/pairing/join.ts', '../members/index.ts'],
    ['protocols/pairing/join.ts', 'node:crypto'],
    ['protocols/pairing/join.ts', '../../node/env.ts'],
    ['protocols/pairing/join.ts', 'dns-packet'],
    ['node/events.ts', './storage/db.ts'],
    ['node/events.ts', './node.ts'],
    ['node/storage/db.ts', '../mesh/mesh.ts'],
    ['node/storage/db.ts', '@libp2p/interface'],
    ['node/mesh/mesh.ts', '../services/pairing.ts'],
    ['node/services/pairing.ts', './members.ts'],
    ['node/services/pairing.ts', './sensors/index.ts'],
    ['node/services/sensors/load.ts', '../telemetry.ts'],
    ['node/services/telemetry/live.ts', '../members.ts'],
    ['node/services/pairing.ts', 'libp2p'],
    ['node/services/pairing.ts', '../../protocols/pairing/join.ts'],
    ['node/api/routes.ts', '../services/pairing.ts'],
    ['node/api/routes.ts', '../storage/db.ts'],
    ['node/api/routes.ts', '../node.ts'],
    ['node/cli/main.ts', '../mesh/mesh.ts'],
    ['node/cli/main.ts', '../services/pairing.ts'],
    ['node/dashboard/page.ts', '../env.ts'],
    ['node/node.ts', '@multiformats/multiaddr'],
    ['node/node.ts', '../gateway/main.ts'],
    ['gateway/main.ts', '../node/env.ts'],
    ['gateway/main.ts', '../test/helpers/clock.ts'],
    ['node/main.ts', '../test/helpers/clock.ts'],
    ['other/thing.ts', './a.ts'],
  ]

  for (const [from, specifier] of planted) {
    it(`refuses ${specifier} in ${from}`, () => {
      assert.equal(breaches({ path: from, text: `import { a } from '${specifier}'\n` }).length, 1)
    })
  }

  it('sees every way to import', () => {
    const text = [
      `import {`,
      `  a,`,
      `} from './1'`,
      `import './2'`,
      `export { b } from './3'`,
      `export type { C } from './4'`,
      `const d = await import('./5')`,
      `// import { e } from './6'`,
      `/* import './7' */ import * as f from "./8"`,
    ].join('\n')
    const seen = importsOf(text).map(({ specifier }) => specifier)
    assert.deepEqual(seen.toSorted(), ['./1', './2', './3', './4', './5', './8'])
  })

  it('lets types of libp2p into wire, and nothing else of it', () => {
    const path = 'protocols/wire/frames.ts'
    const text = "import type { Stream } from '@libp2p/interface'\n"
    assert.deepEqual(breaches({ path, text }), [])
    assert.equal(breaches({ path, text: text.replace('import type', 'import') }).length, 1)
  })

  it('counts lines of code and not comments', () => {
    assert.equal(codeLines(`/*\n * a\n */\n\nconst b = 'http://c'\n// d\n`), 1)
    const long = { path: 'node/a.ts', text: 'a()\n'.repeat(MAX_CODE_LINES + 1) }
    assert.equal(tooLong(long).length, 1)
    assert.equal(tooLong({ ...long, path: 'test/a.ts' }).length, 0)
  })

  it('sees state in a module', () => {
    assert.equal(moduleState({ path: 'node/a.ts', text: 'let counter = 0\n' }).length, 1)
    assert.equal(moduleState({ path: 'node/a.ts', text: '// let us see\n  let a\n' }).length, 0)
  })
})
