/** The trust side of updates: TUF channels, their keys, and what a device believes of them. */
export { openChannelClient } from './client.ts'
export type { ChannelClient, ChannelClientOptions, FetchFile } from './client.ts'
export {
  firstRoot,
  keysOf,
  LIFETIME_DAYS,
  nextRoot,
  nextTargets,
  signaturesOf,
  signDraft,
} from './drafts.ts'
export type { RootChange, Signatures, TargetsChange, Thresholds } from './drafts.ts'
export { TUF_ERRORS, TufError } from './errors.ts'
export type { Blame, TufErrorCode } from './errors.ts'
export { folderSource } from './folder.ts'
export {
  inspectKeyFile,
  listKeyFiles,
  newUpdateKey,
  readKeyFile,
  writeKeyFile,
} from './key-files.ts'
export type { AskPassphrase, KeyFileInfo, PublicUpdateKey, UpdateKey } from './key-files.ts'
export { indexFile } from './listing.ts'
export type { ChannelView, Release, TufTime } from './listing.ts'
export { TUF_LIMITS } from './metadata.ts'
export type { Role } from './metadata.ts'
export { inspect, inspectMetadata, signMetadata, trustRoot } from './offline.ts'
export type { Inspected, InspectedMetadata, SignOptions, SignResult } from './offline.ts'
export {
  acceptRoot,
  acceptTargets,
  initChannel,
  openOnlineKeys,
  readRepository,
  renewChannel,
} from './repository.ts'
export type { InitOptions, InitResult, OnlineKeys, RepositoryFiles } from './repository.ts'
export { httpSource, refreshOnce } from './refresh-once.ts'
export type { RefreshOnce } from './refresh-once.ts'
export { exportChannel, importChannel, readMark } from './transfer.ts'
export type { Chunks, Transferred, TransferOptions } from './transfer.ts'
export { compareWitness, parseTargetPath } from './witness.ts'
export type { Alarm, ReleaseName, Witnessed } from './witness.ts'
