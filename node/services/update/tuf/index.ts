/** The trust side of updates: TUF channels, their keys, and what a device believes of them. */
export { openChannelClient } from './client.ts'
export type { ChannelClient, FetchFile } from './client.ts'
export { missingIn, readDraft, rotation, signDraftFolder, writeDraft } from './draft-folder.ts'
export type { Draft } from './draft-folder.ts'
export { nextRoot, nextTargets, signDraft } from './drafts.ts'
export { TufError } from './errors.ts'
export type { TufErrorCode } from './errors.ts'
export { folderSource } from './folder.ts'
export {
  inspectKeyFile,
  listKeyFiles,
  newUpdateKey,
  readKeyFile,
  writeKeyFile,
} from './key-files.ts'
export type { Role } from './metadata.ts'
export { blockedText, indexFile } from './listing.ts'
export type { ChannelView, Release, TufTime } from './listing.ts'
export { inspect, inspectMetadata, signMetadata, trustRoot } from './offline.ts'
export type { Inspected } from './offline.ts'
export { acceptRoot, acceptTargets, initChannel } from './changes.ts'
export { renewChannel } from './renew.ts'
export { catchUp, openOnlineKeys, readRepository } from './repository.ts'
export type { OnlineKeys, RepositoryFiles } from './repository.ts'
export { readPublicKey, writePublicKey } from './public-keys.ts'
export { refreshOnce, httpSource } from './refresh-once.ts'
export { exportChannel, importChannel, readMark } from './transfer.ts'
export type { Chunks, Transferred, TransferOptions } from './transfer.ts'
export { parseTargetPath } from './witness.ts'
