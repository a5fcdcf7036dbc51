/** Who is in a home and what they may do: signed ops, their reducer, their authors, their sync. */
export {
  checkpoint,
  createHome,
  cutBefore,
  grant,
  recover,
  regrant,
  rename,
  retire,
  revoke,
  setPolicy,
  succeed,
} from './author.ts'
export type { AuthorContext, NewGrant, NewHome, NewRevocation } from './author.ts'
export type { Grant } from './authority.ts'
export { capsName, DENIALS, judgeCall } from './call-caps.ts'
export type { CallQuestion, Denial, Judgement, LocalTime } from './call-caps.ts'
export type { ArgumentLimit, CapTerms, ChoiceLimit, RangeLimit, Span } from './cap-terms.ts'
export { CALL_VERBS, capToRead, fits, formatCap, parseCap, readsAll, readsAny } from './caps.ts'
export type { CallCap, CallVerb, Cap, ReadCap } from './caps.ts'
export type { Entry } from './form.ts'
export { capsBeyond, gatewayRightsIn, NO_RIGHTS, withGatewayRights } from './gateway-policy.ts'
export type { GatewayRights } from './gateway-policy.ts'
export { Batch, CAP_BYTES, CAP_COUNT, Have, NAME_BYTES, Payload, POLICY_BYTES } from './messages.ts'
export type { OpPayload, OpType, Paired, Reason } from './messages.ts'
export { isCheckpointDue, mostSenior, newestWordMs, NEWS } from './news.ts'
export { createOpSet } from './op-set.ts'
export type { AddResult, OpSet } from './op-set.ts'
export { openOp, parentsOf, sealOp, successionStatement } from './op.ts'
export type { Op } from './op.ts'
export { CAPS, MEMBERS, MEMBERS_ERRORS, MembersError } from './protocol.ts'
export type { MembersErrorCode } from './protocol.ts'
export { createRecoveryKit, isGroup, KIT_GROUPS, parseRecoveryKit } from './recovery-kit.ts'
export type { RecoveryKit } from './recovery-kit.ts'
export { reduce } from './reduce.ts'
export { ACTS, boundBy, permits, ROLES } from './roles.ts'
export type { Act, Authority, Bound, Role } from './roles.ts'
export { isExpired, mayAct, membersAt } from './state.ts'
export type { Checkpoint, Device, Equivocation, HomeState, RemovedDevice } from './state.ts'
export { syncMembers } from './sync.ts'
export type { SyncDeps, SyncResult } from './sync.ts'
