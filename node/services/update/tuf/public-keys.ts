/**
 * The public half of a key in a file of its own: how a key that was made on another machine, or that
 * stays on another device, gets into the root of a channel. Nobody has to keep it secret; that it is
 * the right one, a person sees by its id.
 */
import { writeFileAtomic } from '../../../storage/files.ts'
import { CHANNEL } from '../../../../protocols/update/index.ts'
import { TufError } from './errors.ts'
import { readBounded } from './folder.ts'
import type { PublicUpdateKey } from './key-files.ts'
import { keyId, ROLES } from './metadata.ts'

const KIND = 'kith-update-public-key'
const MAX_FILE_BYTES = 1_024

/** Into `folder`. Gives the path. @throws TufError TUF_KEY_FILE */
export async function writePublicKey(
  folder: string,
  { channel, role, id, publicKey }: PublicUpdateKey & { readonly channel: string },
): Promise<string> {
  const path = `${folder}/${channel}.${role}.${id.slice(0, 12)}.pub.json`
  const hex = Buffer.from(publicKey).toString('hex')
  const text = `${JSON.stringify({ kind: KIND, v: 1, channel, role, id, public: hex }, undefined, 2)}\n`
  try {
    await writeFileAtomic(path, new TextEncoder().encode(text), 0o644)
  } catch (cause) {
    throw new TufError('TUF_KEY_FILE', path, 'it could not be written', { cause })
  }
  return path
}

/** @throws TufError TUF_KEY_FILE; TUF_WRONG_KEY for a key of another channel */
export async function readPublicKey(path: string, channel: string): Promise<PublicUpdateKey> {
  const bytes = await readBounded(path, MAX_FILE_BYTES)
  if (bytes === undefined) throw new TufError('TUF_KEY_FILE', path, 'it is not there')
  const said = fieldsOf(bytes)
  const role = ROLES.find((one) => one === said['role'])
  const named = said['channel']
  const hex = said['public']
  const fits =
    said['kind'] === KIND &&
    said['v'] === 1 &&
    role !== undefined &&
    typeof named === 'string' &&
    CHANNEL.test(named) &&
    typeof hex === 'string' &&
    /^[0-9a-f]{64}$/.test(hex)
  if (!fits) throw new TufError('TUF_KEY_FILE', path, 'it is no public key of a channel')
  const publicKey = new Uint8Array(Buffer.from(hex, 'hex'))
  const id = keyId(publicKey)
  if (said['id'] !== id) {
    throw new TufError('TUF_KEY_FILE', path, 'its name is not that of its key')
  }
  if (named !== channel) {
    throw new TufError('TUF_WRONG_KEY', path, `a key of the channel ${named}`)
  }
  return { role, id, publicKey }
}

function fieldsOf(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    return (JSON.parse(new TextDecoder().decode(bytes)) ?? {}) as Record<string, unknown>
  } catch {
    return {}
  }
}
