/**
 * Who may do what: the one table that every protocol asks. It says what a role can be allowed at
 * most; `boundBy` names what narrows it further for one device.
 */

/** Roles of devices, most power first. */
export const ROLES = ['owner', 'member', 'sensor', 'gateway', 'guest'] as const
export type Role = (typeof ROLES)[number]

/** A role, or the key on paper. */
export type Authority = Role | 'recovery'

/** Membership ops by type, then the verbs of the other protocols. */
export const ACTS = [
  'grant',
  'revoke',
  'successor',
  'retire',
  'recover',
  'checkpoint',
  'rename',
  'policy',
  /** Fetch and pass on membership ops. */
  'sync',
  /** Read telemetry, descriptions and properties. */
  'read',
  /** Publish own telemetry. */
  'publish',
  /** Call other devices. */
  'call',
  /** Be called. */
  'serve',
  /** Take data out of the home. */
  'forward',
  /** Fetch updates and pass them on. */
  'update',
  /** Read what went wrong on other devices. */
  'inspect',
] as const
export type Act = (typeof ACTS)[number]

/** What narrows an allowed act: the caps of the device's grant, or the policy of the home. */
export type Bound = 'caps' | 'policy'

type Row = Partial<Record<Act, true | Bound>>

const EVERY_DEVICE = { retire: true, sync: true } as const

const TABLE: Readonly<Record<Authority, Row>> = {
  recovery: { revoke: true, recover: true },
  owner: {
    ...EVERY_DEVICE,
    grant: true,
    revoke: true,
    successor: true,
    checkpoint: true,
    rename: true,
    policy: true,
    read: true,
    publish: true,
    call: true,
    serve: true,
    update: true,
    inspect: true,
  },
  member: { ...EVERY_DEVICE, read: true, publish: true, call: true, serve: true, update: true },
  sensor: { ...EVERY_DEVICE, publish: true, serve: true, update: true },
  gateway: {
    ...EVERY_DEVICE,
    read: 'policy',
    call: 'policy',
    forward: 'policy',
    publish: true,
    update: true,
  },
  guest: { ...EVERY_DEVICE, read: 'caps', call: 'caps' },
}

/** Whether `role` can be allowed `act` at all. See `boundBy`. */
export function permits(role: Authority, act: Act): boolean {
  return TABLE[role][act] !== undefined
}

/** What else must allow an act that `role` permits; undefined where nothing narrows it. */
export function boundBy(role: Authority, act: Act): Bound | undefined {
  const entry = TABLE[role][act]
  return entry === true ? undefined : entry
}

/** 0 for an owner, more for less power. */
export function weakness(role: Role): number {
  return ROLES.indexOf(role)
}
