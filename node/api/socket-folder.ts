/** The folder of the Unix socket: whoever can change it could put another socket in its place. */
import { mkdir, stat } from 'node:fs/promises'
import process from 'node:process'

import { NodeError } from '../errors.ts'

const OTHERS_WRITE = 0o022

/** Made with mode 0700 where it is missing. @throws NodeError NODE_DENIED */
export async function ensureSocketFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  const { mode, uid } = await stat(path)
  if (uid !== process.getuid?.() || (mode & OTHERS_WRITE) !== 0) {
    throw new NodeError('NODE_DENIED', `Others could replace Kith's socket in ${path}.`, {
      hint: `The folder must be this user's own: chmod 700 '${path}'`,
    })
  }
}
