/** Releases that spread from device to device. SPEC.md is the contract. */
export { cidText } from './cid.ts'
export { CHUNKING, createCutter, gearTable } from './chunker.ts'
export type { Cutter } from './chunker.ts'
export { CHANNEL, CODE, FILE, LABEL, MAX_BUILD, NAME, VERSION } from './forms.ts'
export { CODECS, Frame } from './messages.ts'
export type { Codec, FrameOf, FrameType, UpdateFrame } from './messages.ts'
export {
  DEFAULT_ROLLOUT,
  deviceLabel,
  formatWindow,
  parseWindow,
  UPDATE_PART,
  updatePolicyIn,
  withUpdatePolicy,
} from './policy.ts'
export type { ChannelPin, Group, Ring, Rollout, UpdatePolicy, Window } from './policy.ts'
export { BOUNDS, UPDATE, UPDATE_ERRORS, updateCode, UpdateError } from './protocol.ts'
export type { UpdateErrorCode } from './protocol.ts'
export {
  CHUNK_ROW_BYTES,
  encodeIndex,
  FORMS,
  Index,
  INSTALLERS,
  openIndex,
  targetPath,
} from './release-index.ts'
export type {
  Form,
  Health,
  IndexChunk,
  InstallerName,
  OpenedIndex,
  Patch,
  ReleaseIndex,
  Target,
} from './release-index.ts'
export {
  isNewer,
  openUpdateReport,
  PHASES,
  sealUpdateReport,
  UpdateReportPayload,
} from './report.ts'
export type { Phase, UpdateReport, UpdateReportContent } from './report.ts'
export {
  decide,
  groupsOf,
  minutesUntil,
  NOT_FOR,
  ringEnds,
  ROLLOUT,
  rolloutOrder,
} from './rollout.ts'
export type {
  Decision,
  RolloutHere,
  RolloutInput,
  RolloutRelease,
  RolloutReport,
  WhyNot,
} from './rollout.ts'
export { bitsOfRuns, countBits, hasBit, runsOfBits, setBit } from './runs.ts'
export { createSwarm, isBusy, step, TUNING } from './swarm/index.ts'
export type { SwarmAction, SwarmConfig, SwarmEvent, SwarmState, Tuning } from './swarm/index.ts'
