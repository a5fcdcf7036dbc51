/** Tars written byte by byte, so that they can hold what no packer would write. */

export interface TarEntry {
  readonly name: string
  readonly content?: string | Uint8Array
  /** Kind as in the header: 0 file, 1 hard link, 2 link, 3 and 4 devices, 5 folder, 6 pipe. */
  readonly type?: string
  readonly link?: string
  readonly mode?: number
  /** Where the header should lie about it. */
  readonly size?: number
}

const BLOCK = 512

export function tarOf(entries: readonly TarEntry[], end = Buffer.alloc(2 * BLOCK)): Buffer {
  return Buffer.concat([...entries.map(entryBytes), end])
}

export function entryBytes(entry: TarEntry): Buffer {
  const { name, link = '' } = entry
  const long = Buffer.byteLength(name) > 100 || Buffer.byteLength(link) > 100
  const content = Buffer.from(entry.content ?? '')
  const padding = Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)
  const body = Buffer.concat([headerOf(entry, content.length), content, padding])
  if (!long) return body
  const records = Buffer.from(record('path', name) + (link === '' ? '' : record('linkpath', link)))
  return Buffer.concat([entryBytes({ name: 'pax', type: 'x', content: records }), body])
}

function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = Buffer.byteLength(rest)
  while (Buffer.byteLength(`${length}${rest}`) !== length) length++
  return `${length}${rest}`
}

function headerOf({ name, type = '0', link = '', mode, size }: TarEntry, length: number): Buffer {
  const header = Buffer.alloc(BLOCK)
  const octal = (value: number, at: number, width: number): void =>
    void header.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, 'latin1')
  header.write(name.slice(0, 100), 0, 100, 'utf8')
  octal(mode ?? (type === '5' ? 0o755 : 0o644), 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(size ?? length, 124, 12)
  octal(0, 136, 12)
  header.write(' '.repeat(8), 148)
  header.write(type, 156)
  header.write(link.slice(0, 100), 157, 100, 'utf8')
  header.write('ustar\u000000', 257)
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  )
  return header
}
