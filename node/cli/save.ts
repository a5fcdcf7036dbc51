/** Files that commands write for people: whole or not at all. */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import process from 'node:process'

import { NodeError } from '../errors.ts'

const MAX_SECRET_BYTES = 4096

/** A new file that only this user can read. @throws NodeError NODE_USAGE where there is one already */
export async function saveSecret(path: string, text: string): Promise<void> {
  await saveNew(path, text)
}

/** The same, of text or bytes. */
export async function saveNew(path: string, text: string | Uint8Array): Promise<void> {
  try {
    await using file = await open(path, 'wx', 0o600)
    await file.writeFile(text)
    await file.sync()
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST'
    throw cannotSave(path, exists ? 'is there already' : 'cannot be written', cause)
  }
}

/**
 * A new file that only this user can read, whole or not at all, also where this process is killed.
 * @throws NodeError NODE_USAGE where there is one already; what the source throws
 */
export async function saveStream(
  path: string,
  pieces: AsyncIterable<Uint8Array>,
  onProgress: (bytes: number) => void = () => undefined,
): Promise<number> {
  if (existsSync(path)) throw cannotSave(path, 'is there already')
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`)
  const file = await open(temporary, 'wx', 0o600).catch((cause: unknown) => {
    throw cannotSave(path, 'cannot be written', cause)
  })
  let size = 0
  try {
    for await (const piece of pieces) {
      await file.writeFile(piece)
      size += piece.length
      onProgress(size)
    }
    await file.sync()
    // Unlike rename, link never replaces.
    await link(temporary, path).catch((cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EEXIST' ? 'is there already' : 'cannot be written'
      throw cannotSave(path, why, cause)
    })
  } finally {
    await file.close()
    await rm(temporary, { force: true })
  }
  return size
}

function cannotSave(path: string, why: string, cause?: unknown): NodeError {
  return new NodeError('NODE_USAGE', `The file ${path} ${why}.`, {
    cause,
    hint: 'Nothing was changed. Name a new file in a folder that you may write to.',
  })
}

/** Replace or make a text file; an existing one keeps its mode. */
export async function saveText(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const mode = await stat(path).then(
    (found) => found.mode & 0o777,
    () => 0o644,
  )
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`)
  try {
    await using file = await open(temporary, 'wx', mode)
    await file.chmod(mode)
    await file.writeFile(text)
    await file.sync()
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

/** A secret from a file, or from standard input for `-`. @throws NodeError NODE_USAGE */
export async function readSecret(path: string): Promise<string> {
  try {
    const text = path === '-' ? await readInput() : await readFile(path, 'utf8')
    if (text.trim() !== '' && text.length <= MAX_SECRET_BYTES) return text.trim()
  } catch (cause) {
    throw new NodeError('NODE_USAGE', `The file ${path} cannot be read.`, { cause })
  }
  throw new NodeError(
    'NODE_USAGE',
    `There is no code or kit in ${path === '-' ? 'the input' : path}.`,
  )
}

async function readInput(): Promise<string> {
  let text = ''
  process.stdin.setEncoding('utf8')
  for await (const chunk of process.stdin) {
    text += chunk as string
    if (text.length > MAX_SECRET_BYTES) break
  }
  return text
}
