/** Whether a plug-in's file is one that only we or the machine's administrator can have written. */
import { lstat } from 'node:fs/promises'
import { join } from 'node:path'

/** Group and others may write. */
const WRITABLE = 0o022

/**
 * The whole path of `module` in `folder`.
 *
 * @throws Error for people
 */
export async function pluginFile(folder: string, module: string): Promise<string> {
  const file = join(folder, module)
  await trusted(folder, 'folder')
  await trusted(file, 'file')
  return file
}

async function trusted(path: string, kind: 'file' | 'folder'): Promise<void> {
  const stat = await lstat(path).catch((cause: NodeJS.ErrnoException) => {
    const missing = cause.code === 'ENOENT' || cause.code === 'ENOTDIR'
    throw new Error(`${path} ${missing ? 'is not there' : `cannot be read (${cause.code})`}`, {
      cause,
    })
  })
  if (stat.isSymbolicLink()) {
    throw new Error(`${path} is a link; a plug-in is a file beside the settings file`)
  }
  if (kind === 'file' ? !stat.isFile() : !stat.isDirectory()) {
    throw new Error(`${path} is not a ${kind}`)
  }
  if (stat.uid !== 0 && stat.uid !== process.getuid?.()) {
    throw new Error(`${path} belongs to another user of this machine, who could change it`)
  }
  if ((stat.mode & WRITABLE) !== 0) {
    throw new Error(`${path} can be changed by other users; try: chmod go-w ${path}`)
  }
}
