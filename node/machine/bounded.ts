/** Small files of the kernel and of others: never waits for their other end, never takes too much. */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

/** More than any file of the kernel and any value has. */
const MAX_BYTES = 64 * 1024
/** Any user of the machine may read or change it. */
const OTHERS = 0o006

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'is not there',
  ENOTDIR: 'is not there',
  EACCES: 'may not be read by Kith',
  EPERM: 'may not be read by Kith',
  ELOOP: 'is a chain of links without an end',
  EISDIR: 'is a folder',
  ENXIO: 'is not a file',
}

const CHANGING: Readonly<Record<string, string>> = {
  EACCES: 'may not be changed by Kith',
  EPERM: 'may not be changed by Kith',
  EROFS: 'may not be changed by anybody',
}

/** Whole text of a regular file of at most 64 KiB. @throws Error for people, without its content */
export async function readSmallFile(path: string): Promise<string> {
  return (await readBytes(path, false)).toString('utf8')
}

/** First line of a file that only its owner and group can read. @throws Error for people */
export async function readSecret(path: string): Promise<string> {
  const [line = ''] = (await readBytes(path, true)).toString('utf8').split(/\r?\n/, 1)
  if (line === '') throw new Error(`${path} is empty`)
  return line
}

/** Replace the content of a file that is there. @throws Error for people */
export async function writeSmallFile(path: string, content: string): Promise<void> {
  try {
    const { O_WRONLY, O_TRUNC, O_NONBLOCK } = constants
    await using file = await open(path, O_WRONLY | O_TRUNC | O_NONBLOCK)
    if (!(await file.stat()).isFile()) throw new Error(`${path} is not a file`)
    await file.write(content)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    const why = CHANGING[code] ?? REASONS[code] ?? `does not take the value (${code})`
    throw new Error(`${path} ${why}`, { cause: error })
  }
}

async function readBytes(path: string, secret: boolean): Promise<Buffer> {
  try {
    // Without O_NONBLOCK, opening a pipe waits for its other end.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const stat = await file.stat()
    if (!stat.isFile()) throw new Error(`${path} is not a file`)
    if (secret && (stat.mode & OTHERS) !== 0) {
      throw new Error(`${path} can be read by everybody; try: chmod 600 ${path}`)
    }
    const bytes = Buffer.alloc(MAX_BYTES + 1)
    let length = 0
    for (;;) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length)
      length += bytesRead
      if (length > MAX_BYTES) throw new Error(`${path} is larger than 64 KiB`)
      if (bytesRead === 0) return bytes.subarray(0, length)
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    const why = REASONS[code] ?? `cannot be read (${code})`
    throw new Error(`${path} ${why}`, { cause: error })
  }
}
