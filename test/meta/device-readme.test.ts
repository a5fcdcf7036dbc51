import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createProgram } from '../../node/cli/program.ts'
import { tablesMarkdown, tableViews } from '../../node/config-docs-tables.ts'
import { settingsTable } from '../../node/config-docs.ts'
import { EXIT, NODE_ERRORS } from '../../node/errors.ts'
import { projectFiles } from './tree.ts'

const README = 'node/README.md'
const files = projectFiles()
const readme = textOf(README)

function textOf(name: string): string {
  return files.find(({ path }) => path === name)?.text ?? ''
}

/** The part under a heading, up to the next one of its level. */
function section(heading: string, text = readme): string {
  const [, rest = ''] = text.split(`\n## ${heading}\n`)
  return rest.split(/^## /m)[0] ?? ''
}

/** Rows of the table whose head begins with `first`, as cells without backticks. */
function table(text: string, first: string): string[][] {
  const lines = text.split('\n')
  const head = lines.findIndex((line) => line.startsWith(`| ${first} |`))
  if (head < 0) return []
  const rest = lines.slice(head + 2)
  const end = rest.findIndex((line) => !line.startsWith('|'))
  return rest.slice(0, end < 0 ? undefined : end).map((line) =>
    line
      .slice(1, -1)
      .split(' | ')
      .map((cell) => cell.replaceAll('`', '').trim()),
  )
}

interface CommandLike {
  readonly commands: readonly CommandLike[]
  name(): string
  description(): string
}

/** Every command that does something, as the help names it. */
function commandsOf(command: CommandLike, before: readonly string[] = []): string[][] {
  const words = [...before, command.name()]
  const below = command.commands.flatMap((one) => commandsOf(one, words))
  const group = command.commands.length > 0 && command.name() !== 'sensors'
  return group ? below : [[words.join(' '), command.description()], ...below]
}

describe('the README of the device', () => {
  it('has every command, each as the help says it', () => {
    const rows = table(section('Commands'), 'command').map(([name = '', what]) => [
      name.replaceAll(/ \[?[A-Z/]+\]?/g, ''),
      what,
    ])
    const known = commandsOf(createProgram({}, new AbortController().signal))
    assert.ok(known.length > 20)
    assert.deepEqual(rows, known)
  })

  it('has every setting, as the schema makes the table', () => {
    assert.ok(section('Settings').includes(settingsTable().trim()), 'kith config schema --markdown')
  })

  it('has every key of every table, as the schemas make them, and a meaning for each', () => {
    assert.ok(
      section('Settings').includes(tablesMarkdown().trim()),
      'kith config schema --markdown',
    )
    const unsaid = tableViews().filter(({ meaning }) => meaning === '')
    assert.deepEqual(unsaid, [])
  })

  it('has every exit code and every error', () => {
    const part = section('Exit codes and errors')
    assert.deepEqual(
      table(part, 'exit').map(([code, name]) => [code, name]),
      Object.entries(EXIT).map(([name, code]) => [String(code), name]),
    )
    assert.deepEqual(
      table(part, 'code').map(([code, exit, status]) => [code, exit, status]),
      Object.entries(NODE_ERRORS).map(([code, { exit, status }]) => [
        code,
        String(exit),
        String(status),
      ]),
    )
  })

  it('gives a reason for every dependency, and for no other', () => {
    const { dependencies, optionalDependencies } = JSON.parse(textOf('package.json')) as Record<
      'dependencies' | 'optionalDependencies',
      Readonly<Record<string, string>>
    >
    const rows = table(section('Dependencies'), 'package')
    const named = rows.flatMap(([names = '']) => names.split(', '))
    assert.deepEqual(
      named.toSorted(),
      Object.keys({ ...dependencies, ...optionalDependencies }).toSorted(),
    )
    for (const [names, why = ''] of rows) assert.ok(why.length > 3, names)
  })

  it('says of each decision what, why, what else, and until when', () => {
    const decisions = section('Decisions').split('\n### ').slice(1)
    assert.ok(decisions.length >= 7)
    for (const text of decisions) {
      const [title = '', ...lines] = text.split('\n').filter((line) => line !== '')
      assert.match(title, /\(20\d\d-\d\d\)$/)
      assert.deepEqual(
        lines.map((line) => line.split(':')[0]),
        ['- Decided', '- Because', '- Rejected', '- Would change if'],
        title,
      )
    }
  })

  it('leads to every folder of the device', () => {
    const map = section('Map')
    const folders = new Set(
      files.flatMap(({ path }) => /^node\/([a-z]+)\//.exec(path)?.slice(1) ?? []),
    )
    for (const folder of folders) assert.ok(map.includes(`\`${folder}/\``), folder)
  })
})

describe('the reading of its tables', () => {
  it('takes the rows of one table, and sees one that is missing', () => {
    const text =
      '\n## A\n\n| key | b |\n|---|---|\n| `x` | 1 |\n| y | `2` |\n\n| other | c |\n|---|---|\n| z | 3 |\n\n## B\n| key |\n'
    assert.deepEqual(table(section('A', text), 'key'), [
      ['x', '1'],
      ['y', '2'],
    ])
    assert.deepEqual(table(section('A', text), 'nothing'), [])
    assert.equal(section('C', text), '')
  })
})
