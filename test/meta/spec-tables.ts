/** Reads the parts of a SPEC.md that code can be held against. Not a Markdown parser. */

export interface Table {
  readonly header: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

export interface Section {
  readonly title: string
  readonly text: string
}

export interface FieldRow {
  readonly key: number
  readonly name: string
}

/** Sections by their headings, of any depth, in order; a section ends where the next one begins. */
export function sectionsOf(markdown: string): Section[] {
  return withoutFences(markdown)
    .split(/^(?=#{1,6} )/m)
    .map((part) => {
      const [first = '', ...rest] = part.split('\n')
      return { title: first.replace(/^#+\s*/, '').trim(), text: rest.join('\n') }
    })
}

/** All tables of `text`, cells without backticks. */
export function tablesOf(text: string): Table[] {
  const tables: { header: string[]; rows: string[][] }[] = []
  let open: { header: string[]; rows: string[][] } | undefined
  for (const line of withoutFences(text).split('\n')) {
    if (!line.trim().startsWith('|')) {
      open = undefined
      continue
    }
    const cells = line
      .trim()
      .replace(/^\||\|$/g, '')
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replaceAll('`', ''))
    if (cells.every((cell) => /^:?-+:?$/.test(cell))) continue
    if (open === undefined) tables.push((open = { header: cells, rows: [] }))
    else open.rows.push(cells)
  }
  return tables
}

/** The first table in a section whose heading ends in `word`. */
export function tableUnder(markdown: string, word: string): Table | undefined {
  const section = sectionsOf(markdown).find(({ title }) => title.endsWith(word))
  return section === undefined ? undefined : tablesOf(section.text)[0]
}

/** Numbers in SPECs may be grouped: `65,536`. */
export function numberIn(cell: string): number {
  const digits = /^[\d,]+/.exec(cell)?.[0].replaceAll(',', '')
  return digits === undefined ? Number.NaN : Number(digits)
}

/**
 * Rows that describe message fields: the first two columns are a key and a name. A field that is a
 * record may name its own fields in its row, as `{1: device (bytes, 32), 2: seq (uint)}`.
 */
export function fieldRows(markdown: string): FieldRow[] {
  return tablesOf(markdown)
    .filter(({ header }) => header[0] === 'key' && header[1] === 'name')
    .flatMap(({ rows }) => rows)
    .flatMap(([key = '', name = '', ...rest]) => [
      { key: Number(key), name },
      ...[...rest.join(' ').matchAll(/[{,]\s*(\d+):\s*(\w+)/g)].map((nested) => ({
        key: Number(nested[1]),
        name: nested[2] ?? '',
      })),
    ])
}

/** `name: field(1, …)` and `name: optional(1, …)` in a source. */
export function fieldsIn(source: string): FieldRow[] {
  const declared = /\b(\w+):\s*(?:field|optional)\(\s*(\d+)\s*,/g
  return [...source.matchAll(declared)].map(([, name = '', key]) => ({ key: Number(key), name }))
}

function withoutFences(markdown: string): string {
  return markdown.replaceAll(/^```[\s\S]*?^```/gm, '')
}
