import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { projectFiles, type SourceFile } from './tree.ts'

/** The one file that may skip tests, and this one, which plants what it looks for. */
const TOOLS = 'test/helpers/tools.ts'
const SELF = 'test/meta/words.test.ts'

interface Rule {
  readonly what: string
  readonly pattern: RegExp
  readonly files: RegExp
}

const RULES: readonly Rule[] = [
  {
    what: 'a path of one machine',
    pattern: /(?<![\w.-])\/(work|root|Users|home\/[a-z][\w-]+)(\/|\b)(?!\w)/,
    files: /./,
  },
  { what: 'an unfinished note', pattern: /\b(TODO|FIXME|XXX|HACK)\b/, files: /./ },
  {
    what: 'a test that is left out',
    pattern: /\.(only|skip|todo)\(|\b(only|todo):\s*(true|['"`])|\bskip:\s*\S/,
    files: /^test\/.*\.ts$/,
  },
  {
    what: 'a rule switched off in place',
    pattern: /(eslint|oxlint)-disable|@ts-(ignore|nocheck|expect-error)/,
    files: /\.ts$/,
  },
]

function found({ path, text }: SourceFile): string[] {
  if (path === TOOLS || path === SELF) return []
  return RULES.filter(({ files }) => files.test(path)).flatMap(({ what, pattern }) =>
    text
      .split('\n')
      .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${what}`] : [])),
  )
}

const files = projectFiles().filter(({ path }) => path !== 'package-lock.json')

describe('the words of the project', () => {
  it('are read in every folder', (t) => {
    t.diagnostic(`${files.length} files`)
    for (const folder of ['protocols/', 'node/', 'test/', '.ci/', '.github/']) {
      assert.ok(
        files.some(({ path }) => path.startsWith(folder)),
        folder,
      )
    }
  })

  it('name no machine, no unfinished work and no test left out', () => {
    assert.deepEqual(files.flatMap(found), [])
  })
})

describe('the check of the words', () => {
  const planted: readonly (readonly [path: string, line: string])[] = [
    ['README.md', 'see /Users/ann/kith for more'],
    ['node/a.ts', "const file = '/home/ann/key'"],
    ['node/a.ts', "const file = '/home/pi/key'"],
    ['node/a.ts', '// TODO: later'],
    ['test/a.test.ts', "it.only('works', () => {})"],
    ['test/a.test.ts', "describe.skip('works', () => {})"],
    ['test/a.test.ts', "it('works', { skip: true }, () => {})"],
    ['test/a.test.ts', "it('works', { todo: 'later' }, () => {})"],
    ['node/a.ts', '// eslint-disable-next-line no-console'],
    ['node/a.ts', '// @ts-expect-error wrong'],
  ]
  for (const [path, text] of planted) {
    it(`sees ${JSON.stringify(text)}`, () => assert.equal(found({ path, text }).length, 1))
  }

  it('lets ordinary words be', () => {
    for (const text of [
      'see node/home/index',
      'https://a.example/work/home',
      'a home /home too',
      'of one /home/u',
    ]) {
      assert.deepEqual(found({ path: 'README.md', text }), [], text)
    }
  })
})
