import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { describe, it } from 'node:test'

import { projectFiles, ROOT, type SourceFile } from './tree.ts'

const CLI = path.join(ROOT, 'node/bin.mjs')
const documents = projectFiles().filter(({ path: name }) => name.endsWith('.md'))

/** Targets of links and pictures that point into the project, with their fragments. */
function linksIn(markdown: string): string[] {
  const prose = markdown.replaceAll(/^```[\s\S]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '')
  return [...prose.matchAll(/\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g)]
    .map((match) => match[1] ?? '')
    .filter((target) => !/^[a-z]+:/i.test(target))
}

/** A heading's fragment, as code hosts make it. */
function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll('`', '')
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-')
}

function anchorsOf(markdown: string): Set<string> {
  const prose = markdown.replaceAll(/^```[\s\S]*?^```/gm, '')
  return new Set([...prose.matchAll(/^#+\s+(.+)$/gm)].map((match) => slug(match[1] ?? '')))
}

function existsInProject(file: string): boolean {
  return !file.startsWith('..') && existsSync(path.join(ROOT, file))
}

function brokenLinks(file: SourceFile, all: readonly SourceFile[]): string[] {
  return linksIn(file.text).filter((link) => {
    const [target = '', fragment] = link.split('#')
    const to = target === '' ? file.path : path.posix.join(path.posix.dirname(file.path), target)
    const other = all.find((one) => one.path === to)
    if (other === undefined && !existsInProject(to)) return true
    return fragment !== undefined && other !== undefined && !anchorsOf(other.text).has(fragment)
  })
}

/** `kith …` at the beginning of lines in fenced blocks, without a prompt and without comments. */
function commandsIn(markdown: string): string[] {
  return [...markdown.matchAll(/^```[a-z]*\n([\s\S]*?)^```/gm)]
    .flatMap((block) => (block[1] ?? '').split('\n'))
    .map((line) => line.replace(/^\s*(\$\s+)?/, '').replace(/\s+#.*$/, ''))
    .filter((line) => /^(npx )?kith [a-z]/.test(line))
    .map((line) => line.replace(/^npx /, ''))
}

/** Names in the "Commands:" part of a help text. */
function namesIn(help: string): Set<string> {
  const [, part = ''] = help.split(/^Commands:$/m)
  return new Set([...part.matchAll(/^ {2}([a-z][a-z-]*)/gm)].map((match) => match[1] ?? ''))
}

function helpOf(...words: readonly string[]): string {
  const args = [CLI, ...words, '--help']
  return execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 })
}

/** Commands that the CLI's help does not know. `help` is asked for each level once. */
function unknownCommands(
  commands: readonly string[],
  help: (...words: readonly string[]) => string,
): string[] {
  const top = namesIn(help())
  const below = new Map<string, Set<string>>()
  return commands.filter((command) => {
    const [, first = '', second = ''] = command.split(/\s+/)
    if (!top.has(first)) return true
    const names = below.get(first) ?? namesIn(help(first))
    below.set(first, names)
    return names.size > 0 && /^[a-z][a-z-]*$/.test(second) && !names.has(second)
  })
}

describe('the documents', () => {
  it('are found', (t) => {
    t.diagnostic(`${documents.length} documents`)
    assert.ok(documents.length >= 2, 'no documents found')
  })

  it('have no broken link', () => {
    const broken = documents.flatMap((file) =>
      brokenLinks(file, documents).map((link) => `${file.path}: ${link}`),
    )
    assert.deepEqual(broken, [])
  })

  it('name commands that exist', (t) => {
    const commands = documents.flatMap(({ text }) => commandsIn(text))
    t.diagnostic(`${commands.length} commands`)
    if (!existsSync(CLI) || commands.length === 0) return
    assert.deepEqual(unknownCommands(commands, helpOf), [])
  })
})

describe('the check of the documents', () => {
  const page = { path: 'node/README.md', text: '# The `kith` command\n\n## Files, and where\n' }

  it('sees a broken link, a wrong fragment and a way out of the project', () => {
    const text = '[a](../package.json) [b](nowhere.md) [c](#the-kith-command) [d](#no) [e](../../x)'
    const file = { ...page, text: page.text + text }
    assert.deepEqual(brokenLinks(file, [file]), ['nowhere.md', '#no', '../../x'])
  })

  it('makes fragments as code hosts do', () => {
    assert.deepEqual([...anchorsOf(page.text)], ['the-kith-command', 'files-and-where'])
  })

  it('leaves links in code and to the world alone', () => {
    assert.deepEqual(linksIn('`[a](b)` [c](https://example.org)\n```\n[d](e)\n```\n'), [])
  })

  it('sees a command and a subcommand that do not exist', () => {
    const text = '```sh\n$ kith home create Oak  # first\nkith home burn\nkith fly\nkith up\n```\n'
    const commands = commandsIn(text)
    assert.deepEqual(commands, ['kith home create Oak', 'kith home burn', 'kith fly', 'kith up'])
    const help = (first?: string): string =>
      `Usage: kith\n\nCommands:\n${first === 'home' ? '  create NAME  makes\n' : first === 'up' ? '' : '  up  runs\n  home  homes\n'}`
    assert.deepEqual(unknownCommands(commands, help), ['kith home burn', 'kith fly'])
  })
})
