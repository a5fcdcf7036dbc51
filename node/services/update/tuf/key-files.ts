/**
 * Keys that sign a channel, one file each: JSON with an Ed25519 key in PKCS #8, plain or under a
 * passphrase (scrypt, AES-256-GCM). Keys for root and targets belong on a stick in a drawer; those
 * for snapshot and timestamp stay with the device that renews them. SPEC.md "Key files".
 */
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  scrypt,
  type KeyObject,
} from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

import type { Random } from '../../../env.ts'
import { createFileAtomic, ensurePrivateFolder, readPrivateFile } from '../../../storage/files.ts'
import { CHANNEL } from '../../../../protocols/update/index.ts'
import { TufError } from './errors.ts'
import { readBounded } from './folder.ts'
import { keyId, ROLES, type Role } from './metadata.ts'

export interface PublicUpdateKey {
  readonly role: Role
  /** 64 hex digits. */
  readonly id: string
  /** 32 bytes. */
  readonly publicKey: Uint8Array
}

export interface UpdateKey extends PublicUpdateKey {
  readonly channel: string
  readonly secret: KeyObject
}

/** What a key file says without its passphrase. */
export interface KeyFileInfo extends PublicUpdateKey {
  readonly path: string
  readonly channel: string
  readonly encrypted: boolean
}

/** Asked once for each file that is encrypted; undefined gives up. */
export type AskPassphrase = (key: KeyFileInfo) => Promise<string | undefined>

const MAX_FILE_BYTES = 8_192
const KIND = 'kith-update-key'
const SUFFIX = '.key.json'
/** 128 MiB and about half a second on a small computer. */
const KDF = { n: 131_072, r: 8, p: 1 } as const
const KDF_MAX_MEMORY = 160 * 1024 * 1024
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** A fresh key, not yet on disk. */
export function newUpdateKey(channel: string, role: Role, random: Random): UpdateKey {
  const secret = createPrivateKey({
    key: Buffer.concat([PKCS8_ED25519, random.bytes(32)]),
    format: 'der',
    type: 'pkcs8',
  })
  return { channel, role, secret, ...publicOf(secret) }
}

/**
 * Write it, mode 0600; an existing file stays. Gives the path.
 *
 * @throws TufError TUF_KEY_FILE; NodeError NODE_DENIED
 */
export async function writeKeyFile(
  folder: string,
  key: UpdateKey,
  options: { readonly random: Random; readonly passphrase?: string },
): Promise<string> {
  await ensurePrivateFolder(folder)
  const path = join(folder, `${key.channel}.${key.role}.${key.id.slice(0, 12)}${SUFFIX}`)
  const pkcs8 = key.secret.export({ format: 'der', type: 'pkcs8' })
  const head = headOf(key)
  const { passphrase, random } = options
  const body =
    passphrase === undefined
      ? { private: pkcs8.toString('base64') }
      : { encrypted: await seal(pkcs8, { passphrase, random, head }) }
  const text = `${JSON.stringify({ ...head, ...body }, undefined, 2)}\n`
  try {
    await createFileAtomic(path, new TextEncoder().encode(text))
  } catch (cause) {
    throw new TufError('TUF_KEY_FILE', path, 'it could not be written', { cause })
  }
  return path
}

/** What the file says, without its secret. @throws TufError TUF_KEY_FILE */
export async function inspectKeyFile(path: string): Promise<KeyFileInfo> {
  return (await read(path)).info
}

/**
 * The key, where the file may be used: an unencrypted one only where nobody else can read it.
 *
 * @throws TufError TUF_KEY_FILE, TUF_PASSPHRASE
 */
export async function readKeyFile(path: string, ask: AskPassphrase): Promise<UpdateKey> {
  const { info, body } = await read(path)
  const secret = secretOf(path, await pkcs8Of(path, { info, body, ask }))
  const found = publicOf(secret)
  if (found.id !== info.id) bad(path, 'its two halves do not belong together')
  return { channel: info.channel, role: info.role, secret, ...found }
}

/** All key files of a folder, by name; other files are passed over. @throws TufError TUF_KEY_FILE */
export async function listKeyFiles(folder: string): Promise<readonly KeyFileInfo[]> {
  const names = await readdir(folder).catch((cause: Error) => {
    throw new TufError('TUF_FOLDER', folder, cause.message, { cause })
  })
  const found: KeyFileInfo[] = []
  for (const name of names.filter((one) => one.endsWith(SUFFIX)).toSorted()) {
    found.push(await inspectKeyFile(join(folder, name)))
  }
  return found
}

interface Head {
  readonly kind: typeof KIND
  readonly v: 1
  readonly channel: string
  readonly role: Role
  readonly id: string
  readonly public: string
}

interface Sealed {
  readonly kdf: 'scrypt'
  readonly n: number
  readonly r: number
  readonly p: number
  readonly salt: string
  readonly nonce: string
  readonly box: string
}

type Body = { readonly plain: Buffer } | { readonly sealed: Sealed }

function headOf({ channel, role, id, publicKey }: Omit<KeyFileInfo, 'path' | 'encrypted'>): Head {
  return { kind: KIND, v: 1, channel, role, id, public: Buffer.from(publicKey).toString('hex') }
}

async function read(path: string): Promise<{ info: KeyFileInfo; body: Body }> {
  const bytes = await readBounded(path, MAX_FILE_BYTES)
  if (bytes === undefined) bad(path, 'it is not there')
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder().decode(bytes))
  } catch (cause) {
    throw new TufError('TUF_KEY_FILE', path, 'it is damaged', { cause })
  }
  const said = (json ?? {}) as Readonly<Record<string, unknown>>
  const { channel, role } = said
  const publicKey = said['public']
  const known = ROLES.find((one) => one === role)
  if (said['kind'] !== KIND || said['v'] !== 1 || known === undefined)
    bad(path, 'it is no key file')
  if (typeof channel !== 'string' || !CHANNEL.test(channel)) bad(path, 'channel')
  if (typeof publicKey !== 'string' || !/^[0-9a-f]{64}$/.test(publicKey)) bad(path, 'public key')
  const key = new Uint8Array(Buffer.from(publicKey, 'hex'))
  if (keyId(key) !== said['id']) bad(path, 'its name is not that of its key')
  const body = bodyOf(path, said)
  const encrypted = 'sealed' in body
  return { info: { path, channel, role: known, id: keyId(key), publicKey: key, encrypted }, body }
}

function bodyOf(path: string, said: Readonly<Record<string, unknown>>): Body {
  const plain = said['private']
  if (typeof plain === 'string') return { plain: Buffer.from(plain, 'base64') }
  const sealed = said['encrypted'] as Partial<Sealed> | undefined
  const { kdf, n, r, p, salt, nonce, box } = sealed ?? {}
  // Only what this software writes: a file that asks for 64 GiB of memory is not tried.
  if (kdf !== 'scrypt' || n !== KDF.n || r !== KDF.r || p !== KDF.p) bad(path, 'encryption')
  if (typeof salt !== 'string' || typeof nonce !== 'string' || typeof box !== 'string') {
    bad(path, 'encryption')
  }
  return { sealed: { kdf, n, r, p, salt, nonce, box } }
}

async function pkcs8Of(
  path: string,
  { info, body, ask }: { info: KeyFileInfo; body: Body; ask: AskPassphrase },
): Promise<Buffer> {
  if ('sealed' in body) {
    const passphrase = await ask(info)
    if (passphrase === undefined) bad(path, 'it needs its passphrase')
    return unseal(path, { sealed: body.sealed, passphrase, head: headOf(info) })
  }
  const file = await readPrivateFile(path, MAX_FILE_BYTES)
  if (file.state !== 'ok') {
    const why = file.state === 'refused' ? `${file.why}. ${file.hint}` : 'it is not there'
    bad(path, `${why} — or keep it under a passphrase`)
  }
  return body.plain
}

async function seal(
  pkcs8: Buffer,
  { passphrase, random, head }: { passphrase: string; random: Random; head: Head },
): Promise<Sealed> {
  const salt = Buffer.from(random.bytes(16))
  const nonce = Buffer.from(random.bytes(12))
  const cipher = createCipheriv('aes-256-gcm', await stretch(passphrase, salt), nonce)
  cipher.setAAD(Buffer.from(JSON.stringify(head)))
  const box = Buffer.concat([cipher.update(pkcs8), cipher.final(), cipher.getAuthTag()])
  return {
    kdf: 'scrypt',
    ...KDF,
    salt: salt.toString('base64'),
    nonce: nonce.toString('base64'),
    box: box.toString('base64'),
  }
}

async function unseal(
  path: string,
  { sealed, passphrase, head }: { sealed: Sealed; passphrase: string; head: Head },
): Promise<Buffer> {
  const [salt, nonce, box] = [sealed.salt, sealed.nonce, sealed.box].map((text) =>
    Buffer.from(text, 'base64'),
  ) as [Buffer, Buffer, Buffer]
  if (salt.length !== 16 || nonce.length !== 12 || box.length < 17) bad(path, 'encryption')
  const options = { authTagLength: 16 }
  const key = await stretch(passphrase, salt)
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, options)
  decipher.setAAD(Buffer.from(JSON.stringify(head)))
  decipher.setAuthTag(box.subarray(-16))
  try {
    return Buffer.concat([decipher.update(box.subarray(0, -16)), decipher.final()])
  } catch (cause) {
    throw new TufError('TUF_PASSPHRASE', path, undefined, { cause })
  }
}

function stretch(passphrase: string, salt: Buffer): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const options = { N: KDF.n, r: KDF.r, p: KDF.p, maxmem: KDF_MAX_MEMORY }
  scrypt(passphrase.normalize('NFKC'), salt, 32, options, (error, key) => {
    if (error === null) resolve(key)
    else reject(error)
  })
  return promise
}

function secretOf(path: string, pkcs8: Buffer): KeyObject {
  try {
    const secret = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
    if (secret.asymmetricKeyType === 'ed25519') return secret
  } catch (cause) {
    throw new TufError('TUF_KEY_FILE', path, 'it is damaged', { cause })
  }
  return bad(path, 'it is not Ed25519')
}

function publicOf(secret: KeyObject): { id: string; publicKey: Uint8Array } {
  const spki = createPublicKey(secret).export({ format: 'der', type: 'spki' })
  const publicKey = new Uint8Array(spki.subarray(-32))
  return { id: keyId(publicKey), publicKey }
}

function bad(path: string, detail: string): never {
  throw new TufError('TUF_KEY_FILE', path, detail)
}
