/** Signed, chained logs of readings, and the stream that carries them. SPEC.md is the contract. */
export { EMPTY_LOG, gapsOf, headOf, judge } from './chain.ts'
export type { JudgeContext, Judgement, LogState, Segment, SeqRange } from './chain.ts'
export { encodeExportItem, readExport } from './export.ts'
export type { ExportItem, ExportPart, PlacedItem } from './export.ts'
export { ExtractFrame, readExtracts, serveExtracts } from './extracts.ts'
export type { Extract, ExtractFrameMessage, ExtractGrant, ExtractHolderDeps } from './extracts.ts'
export { serveLogs } from './holder.ts'
export type { HeldPack, HeldProof, HolderDeps, PackSource, ProofSource } from './holder.ts'
export { Follow, PackFrame } from './messages.ts'
export type { LogEntry, PackFrameMessage } from './messages.ts'
export {
  CLOCK_QUALITIES,
  isPackFault,
  NO_PREV,
  openPack,
  PACK_OVERHEAD_BYTES,
  PackPayload,
  reopenPack,
  sealPack,
} from './pack.ts'
export type { ClockQuality, Pack, PackContent, PackContext, PackPayloadMessage } from './pack.ts'
export {
  BOUNDS,
  FLAGS,
  TELEMETRY,
  TELEMETRY_ERRORS,
  telemetryCode,
  TelemetryError,
} from './protocol.ts'
export type { TelemetryErrorCode } from './protocol.ts'
export { openProof } from './proof.ts'
export type { ForkProof } from './proof.ts'
export { readLogs } from './reader.ts'
export type { LogEvent, LogReader } from './reader.ts'
export { baseName, readingBytes, RELATIVE_BELOW_MS, requireReading } from './senml.ts'
export type { Reading } from './senml.ts'
export { timesOf, trustedTimes } from './times.ts'
export type { Receipt } from './times.ts'
export { unitKind } from './units.ts'
