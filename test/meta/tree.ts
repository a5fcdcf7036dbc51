/** The project's own files, as the tests in this folder look at them. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** Folder of the checkout, with a slash at the end. */
export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url))

export interface SourceFile {
  /** From the root, with forward slashes. */
  readonly path: string
  readonly text: string
}

export interface Import {
  readonly specifier: string
  /** Erased before the code runs. */
  readonly typeOnly: boolean
}

const SKIPPED_FOLDERS = new Set(['node_modules', 'dist', '.git', '.kith'])
const BINARY = /\.(png|ico|woff2?|gz|db|cbor)$/

/** Every text file of the project, without what npm and the compiler made. */
export function projectFiles(folder = ''): SourceFile[] {
  return readdirSync(path.join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (entry.isDirectory()) return SKIPPED_FOLDERS.has(entry.name) ? [] : projectFiles(name)
    if (!entry.isFile() || BINARY.test(name)) return []
    return [{ path: name, text: readFileSync(path.join(ROOT, name), 'utf8') }]
  })
}

/** The TypeScript sources under the four folders. */
export function sourceFiles(): SourceFile[] {
  return projectFiles().filter(({ path: name }) =>
    /^(protocols|node|gateway|test)\/.*\.ts$/.test(name),
  )
}

/** `text` with comments blanked; line breaks stay. Strings that hold `//` or `/*` are kept whole. */
export function withoutComments(text: string): string {
  const token =
    /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g
  return text.replace(token, (found) =>
    found.startsWith('/') ? found.replaceAll(/[^\n]/g, ' ') : found,
  )
}

/** Lines that are neither blank nor comment. */
export function codeLines(text: string): number {
  return withoutComments(text)
    .split('\n')
    .filter((line) => line.trim() !== '').length
}

/** Everything that a file imports or re-exports, dynamic imports of a literal included. */
export function importsOf(text: string): Import[] {
  const code = withoutComments(text)
  const fromClause = /(?:^|\n)\s*(import|export)\s+(type\s)?[^'"`;]*?\bfrom\s*(['"])([^'"]+)\3/g
  const bare = /(?:^|\n)\s*import\s*(['"])([^'"]+)\1/g
  const dynamic = /\bimport\s*\(\s*(['"`])([^'"`]+)\1/g
  return [
    ...[...code.matchAll(fromClause)].map((match) => ({
      specifier: match[4] ?? '',
      typeOnly: match[2] !== undefined,
    })),
    ...[...code.matchAll(bare), ...code.matchAll(dynamic)].map((match) => ({
      specifier: match[2] ?? '',
      typeOnly: false,
    })),
  ]
}
