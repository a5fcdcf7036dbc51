/**
 * What a person does with files and keys, on a machine that needs neither network nor a running
 * device: sign, look into a file, read a root before it is pinned.
 */
import { writeFileAtomic } from '../../../storage/files.ts'
import { openIndex, targetPath, type OpenedIndex } from '../../../../protocols/update/index.ts'
import { keysOf, signaturesOf, signDraft, thresholdOf, type Signatures } from './drafts.ts'
import { TufError, verifying } from './errors.ts'
import { readBounded } from './folder.ts'
import {
  inspectKeyFile,
  listKeyFiles,
  readKeyFile,
  type AskPassphrase,
  type KeyFileInfo,
  type PublicUpdateKey,
} from './key-files.ts'
import { listedIn } from './listing.ts'
import { openMetadata, roleOf, sha256Hex, TUF_LIMITS, type Role } from './metadata.ts'
import type { Listed } from './witness.ts'

export interface SignOptions {
  /** The draft; replaced by itself with more signatures. */
  readonly file: string
  /** A folder with key files; those that fit the draft sign. */
  readonly keysFolder: string
  readonly ask: AskPassphrase
  /** Where the folder holds keys of more than one channel. */
  readonly channel?: string
  /** The root in force: says which keys count. For a new root: the one that it replaces. */
  readonly root?: Uint8Array
}

export interface SignResult {
  readonly role: Role
  readonly version: number
  /** Ids of the keys that signed now. */
  readonly signed: readonly string[]
  /** Towards the threshold of `root`, and of the new root itself; where they are known. */
  readonly towards: readonly Signatures[]
}

/** @throws TufError TUF_WRONG_KEY where no key fits, TUF_KEY_FILE, TUF_PASSPHRASE, TUF_FOLDER */
export async function signMetadata(options: SignOptions): Promise<SignResult> {
  const { file, keysFolder, ask, channel, root } = options
  const draft = await readBounded(file, TUF_LIMITS.targets)
  if (draft === undefined) throw new TufError('TUF_FOLDER', file, 'it is not there')
  const role = roleOf(draft, file)
  const rules = [...(role === 'root' ? [draft] : []), ...(root === undefined ? [] : [root])]
  const fit = (await listKeyFiles(keysFolder)).filter(
    (key) => key.role === role && (channel === undefined || key.channel === channel),
  )
  const named = rules.flatMap((one) => openMetadata('root', one).signed.roles[role]?.keyIDs ?? [])
  // A root that replaces another is signed by keys of the old one too, which it need not name.
  const usable =
    named.length === 0 || (role === 'root' && root === undefined)
      ? fit
      : fit.filter(({ id }) => named.includes(id))
  if (usable.length === 0)
    throw new TufError('TUF_WRONG_KEY', file, `no key for it in ${keysFolder}`)
  if (new Set(usable.map((key) => key.channel)).size > 1) {
    throw new TufError('TUF_WRONG_KEY', file, 'keys of several channels: say which')
  }
  const keys = []
  for (const { path } of usable) keys.push(await readKeyFile(path, ask))
  const signed = signDraft(draft, keys, root)
  await writeFileAtomic(file, signed, 0o644)
  return {
    role,
    version: openMetadata(role, signed).signed.version,
    signed: keys.map(({ id }) => id),
    towards: rules.map((one) => signaturesOf(signed, one)),
  }
}

export type Inspected =
  | { readonly kind: 'key'; readonly key: KeyFileInfo }
  | {
      readonly kind: 'index'
      readonly path: string
      readonly sha256: string
      readonly index: OpenedIndex['index']
    }
  | InspectedMetadata

export interface InspectedMetadata {
  readonly kind: 'metadata'
  readonly role: Role
  readonly version: number
  readonly expires: string
  readonly sha256: string
  /** Ids of keys that signed; whether they count is for the root to say. */
  readonly signatures: readonly string[]
  readonly releases?: readonly Listed[]
  readonly keys?: readonly (PublicUpdateKey & { readonly threshold: number })[]
}

/** What a file is and says; nothing in it is verified. @throws TufError; UpdateError; WireError */
export async function inspect(file: string): Promise<Inspected> {
  const bytes = await readBounded(file, TUF_LIMITS.targets)
  if (bytes === undefined) throw new TufError('TUF_FOLDER', file, 'it is not there')
  // CBOR maps begin with 0xa0 to 0xbf; JSON never does.
  if ((bytes[0] ?? 0) >> 5 === 5) {
    const { index } = openIndex(bytes)
    return { kind: 'index', path: targetPath(index), sha256: sha256Hex(bytes), index }
  }
  const text = new TextDecoder().decode(bytes.subarray(0, 200))
  if (text.includes('"kith-update-key"')) return { kind: 'key', key: await inspectKeyFile(file) }
  return inspectMetadata(bytes, file)
}

/** @throws TufError TUF_MALFORMED, TUF_TOO_LONG, TUF_TOO_MANY */
export function inspectMetadata(bytes: Uint8Array, about = 'file'): InspectedMetadata {
  const role = roleOf(bytes, about)
  const { signed, signatures } = openMetadata(role, bytes)
  const common = {
    kind: 'metadata',
    role,
    version: signed.version,
    expires: signed.expires,
    sha256: sha256Hex(bytes),
    signatures: Object.keys(signatures),
  } as const
  if (role === 'targets') {
    return { ...common, releases: listedIn(openMetadata('targets', bytes).signed) }
  }
  if (role !== 'root') return common
  const root = openMetadata('root', bytes).signed
  const keys = keysOf(root).map((key) => ({ ...key, threshold: thresholdOf(root, key.role) }))
  return { ...common, keys }
}

/**
 * A root that may be pinned: the first of its channel, signed by itself. Gives what the policy of the
 * home takes. That it is the right one, only a person can say: show them `pin`.
 *
 * @throws TufError TUF_PIN, TUF_SIGNATURE, TUF_MALFORMED, TUF_TOO_LONG, TUF_TOO_MANY
 */
export function trustRoot(root: Uint8Array): {
  readonly pin: Uint8Array
  readonly expires: string
} {
  const file = openMetadata('root', root)
  if (file.signed.version !== 1) {
    throw new TufError('TUF_PIN', 'root', `version ${file.signed.version}: take 1.root.json`)
  }
  verifying('root', () => file.verifyDelegate('root', file))
  return { pin: new Uint8Array(Buffer.from(sha256Hex(root), 'hex')), expires: file.signed.expires }
}
