/** Signed reports of what went wrong, for the owners of a home. SPEC.md is the contract. */
export { serveReports } from './holder.ts'
export type { HolderDeps, ReportSource } from './holder.ts'
export {
  CODE,
  Fetch,
  INCIDENT_KINDS,
  PLACE,
  ReportFrame,
  ReportPayload,
  STAGES,
} from './messages.ts'
export type { IncidentKind, Stage } from './messages.ts'
export { BOUNDS, INCIDENTS, INCIDENTS_ERRORS, IncidentsError } from './protocol.ts'
export type { IncidentsErrorCode } from './protocol.ts'
export { readReports } from './reader.ts'
export type { ReaderDeps } from './reader.ts'
export { NO_PREV, openReport, sealReport } from './report.ts'
export type { Report, ReportContent } from './report.ts'
