/** Drafts on their way to enough signatures: `kith update sign, submit`, and what others do with them. */
import { readFile, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'

import { NodeError } from '../../errors.ts'
import type { Draft } from '../../release.ts'
import type { Cli } from '../context.ts'
import { readSecret } from '../save.ts'
import { askSecret } from '../secret.ts'
import { usage } from '../update-options.ts'
import { channelOf, foldersOf } from '../update-place.ts'

export interface HandInOptions {
  readonly channel: string
  /** Folders with keys. */
  readonly keys: readonly string[]
  /** Where it is written instead of being signed here. */
  readonly out?: string | undefined
  readonly passphraseFile?: string | undefined
}

export interface HandedIn {
  readonly published: boolean
  /** Where it waits, where it was not published. */
  readonly draft?: string
}

/** Sign a draft with the keys that are here, and give it to the device where that is enough. */
export async function handIn(
  cli: Cli,
  draft: Draft,
  { channel, keys, out, passphraseFile }: HandInOptions,
): Promise<HandedIn> {
  const door = await import('../../release.ts')
  const folder = out === undefined ? placeOf(cli, channel) : resolve(out)
  await door.writeDraft(folder, draft)
  if (out === undefined) {
    const ask = asking(cli, passphraseFile === undefined ? {} : { passphraseFile })
    for (const keysFolder of keys) await door.signDraftFolder(folder, { keysFolder, ask, channel })
  }
  const missing = await door.missingIn(folder)
  if (missing === 0) {
    await handOver(cli, channel, folder)
    return { published: true }
  }
  cli.note(
    `${missing} more ${missing === 1 ? 'signature is' : 'signatures are'} needed: kith update sign ${folder} --keys DIR, then: kith update submit ${folder}`,
  )
  return { published: false, draft: folder }
}

function placeOf(cli: Cli, channel: string): string {
  return join(foldersOf(cli).state, 'drafts', channel)
}

/** Give a draft to the device. */
async function handOver(cli: Cli, channel: string, folder: string): Promise<void> {
  const { readDraft } = await import('../../release.ts')
  const { root, targets, indexes } = await readDraft(folder)
  await cli.client.acceptSigned(channel, {
    ...(root === undefined
      ? { role: 'targets', file: base64(targets) }
      : { role: 'root', file: base64(root), targets: base64(targets) }),
    indexes: root === undefined ? indexes.map(base64) : [],
  })
}

export interface SignOptions {
  readonly keys?: string
  readonly channel?: string
  readonly root?: string
  readonly passphraseFile?: string
}

/** Needs neither network nor a running device. */
export async function sign(cli: Cli, path: string, options: SignOptions): Promise<void> {
  const door = await import('../../release.ts')
  const { channel, root } = options
  const common = {
    keysFolder: resolve(options.keys ?? foldersOf(cli).keys),
    ask: asking(cli, options),
    ...(channel === undefined ? {} : { channel }),
    ...(root === undefined ? {} : { root: new Uint8Array(await readFile(root)) }),
  }
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )
  if (!isFolder) {
    const one = await door.signMetadata({ ...common, file: path })
    cli.result({ file: path, ...withoutOpen(one) }, () => signedText(one))
    return
  }
  const signed = await door.signDraftFolder(path, common)
  const missing = await door.missingIn(path)
  cli.result({ folder: path, signed: signed.map(withoutOpen), missing }, () =>
    [
      ...signed.map(signedText),
      missing === 0
        ? `It has all its signatures: kith update submit ${path}`
        : `${missing} more ${missing === 1 ? 'signature is' : 'signatures are'} needed.`,
    ].join('\n'),
  )
}

interface Signed {
  readonly role: string
  readonly version: number
  readonly signed: readonly string[]
  readonly towards: readonly { readonly need: number; readonly have: readonly string[] }[]
}

function withoutOpen({ role, version, signed, towards }: Signed) {
  return { role, version, signed, towards }
}

function signedText({ role, version, signed, towards }: Signed): string {
  return [
    `Signed ${role} ${version} with ${signed.length} ${signed.length === 1 ? 'key' : 'keys'}.`,
    ...towards.map(({ have, need }) => `${have.length} of ${need} signatures that are needed.`),
  ].join('\n')
}

/** A draft that has its signatures. */
export async function submit(
  cli: Cli,
  path: string | undefined,
  options: { readonly channel?: string },
): Promise<void> {
  const { missingIn } = await import('../../release.ts')
  const state = await cli.client.updates()
  const channel = channelOf(state, options.channel, ({ signedHere }) => signedHere).name
  const given = resolve(path ?? placeOf(cli, channel))
  // The file in it that was named stands for all of the draft.
  const folder = basename(given).endsWith('.json') ? resolve(given, '..') : given
  const missing = await missingIn(folder)
  if (missing > 0) {
    throw new NodeError(
      'NODE_CONFLICT',
      `${missing} ${missing === 1 ? 'signature is' : 'signatures are'} missing in ${folder}.`,
      {
        hint: `kith update sign ${folder} --keys DIR`,
      },
    )
  }
  await handOver(cli, channel, folder)
  cli.result({ channel, folder }, () => `The channel ${channel} has it now.`)
}

/** Asks for a passphrase once. */
function asking(cli: Cli, { passphraseFile }: { readonly passphraseFile?: string }) {
  let typed: Promise<string> | undefined
  return async ({ path }: { readonly path: string }): Promise<string> => {
    if (passphraseFile !== undefined) return readSecret(passphraseFile)
    typed ??= askSecret(cli, `The passphrase of ${basename(path)}`)
    return typed
  }
}

/** For new keys; undefined where they stay plain. */
export async function newPassphrase(
  cli: Cli,
  {
    encrypt,
    passphraseFile,
  }: { readonly encrypt?: boolean; readonly passphraseFile?: string | undefined },
): Promise<string | undefined> {
  if (passphraseFile !== undefined) return readSecret(passphraseFile)
  if (encrypt !== true) return undefined
  const typed = await askSecret(cli, 'A passphrase for the keys')
  if (typed === '') throw usage('A passphrase cannot be empty.')
  return typed
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
