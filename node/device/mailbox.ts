/** The mailbox in a home: who may hold and call, what a call says, and who executes it. */
import { openCall, openReceipt } from '../../protocols/calls/index.ts'
import { boundBy, mayAct, type Device } from '../../protocols/members/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import type { Calls } from '../services/calls/calls.ts'
import { startMailbox, type Mailbox, type MailboxDeps } from '../services/mailbox/index.ts'
import { openMailStore, openMissedStore, openScheduleStore } from '../storage/mailbox.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import { isDutyMesh } from './sleepers.ts'

/** What a mailbox hands to the calls of its device. */
export type MailCalls = Pick<Calls, 'deliver' | 'moved' | 'settled'>

export async function mailboxOf(
  base: DeviceBase,
  { members, mesh, time }: Pick<Home, 'members' | 'mesh' | 'time'>,
  calls: () => MailCalls | undefined,
  signal: AbortSignal,
): Promise<Mailbox> {
  const { clock, config, db, log, packs, signer, verifier } = base
  const { period, slack, window } = config.power
  const mailbox = await startMailbox(
    {
      mesh,
      mail: openMailStore(db),
      scheduleStore: openScheduleStore(db),
      missed: openMissedStore(db),
      signer,
      verifier,
      home: members.home,
      settings: { mode: config.power.mode, periodMs: period, windowMs: window, slackMs: slack },
      time,
      clock,
      log: log.child({ part: 'mailbox' }),
      ...documentsOf(base, members.home),
      ...rightsOf(base, members),
      logHead: (device) => packs.head(device),
      onLog: (listener) => packs.onNew(listener),
      deliver(documents, via) {
        const done = calls()?.deliver(documents, via) ?? Promise.resolve([])
        // A window does not end in the middle of what was called for.
        return isDutyMesh(mesh) ? mesh.keepOpen(done, { beyond: true }) : done
      },
      settled: (receipt) => calls()?.settled(receipt),
    },
    signal,
  )
  mailbox.events.on('held', (view) => calls()?.moved(view.id, view), signal)
  members.events.on('change', () => mailbox.refresh(), signal)
  return mailbox
}

function documentsOf(
  { verifier }: DeviceBase,
  home: Uint8Array,
): Pick<MailboxDeps, 'read' | 'readReceipt'> {
  const context = { home, verifier }
  return {
    read(bytes) {
      const { id, caller, to, issuedMs, ttlMs, verb } = openCall(bytes, context)
      return { id, caller, to, issuedMs, ttlMs, cancels: verb === 'cancel' }
    },
    readReceipt(bytes) {
      const { call, caller, callee } = openReceipt(bytes, context)
      return { call, caller, callee }
    },
  }
}

function rightsOf(
  { clock, peers, signer }: DeviceBase,
  members: Home['members'],
): Pick<MailboxDeps, 'candidates' | 'isMember' | 'mayCall' | 'mayHold'> {
  const place = (key: Uint8Array): Device | undefined =>
    members.active().find((device) => equalBytes(device.key, key))
  const calls = (device: Device | undefined): device is Device =>
    device !== undefined && mayAct(device, 'call', clock.now())
  // Whoever may call without any limit is trusted with the calls of others.
  const mayHold = (key: Uint8Array): boolean => {
    const device = place(key)
    const sleeps = members.lastHello(key)?.power === 'sleepy'
    return !sleeps && calls(device) && boundBy(device.role, 'call') === undefined
  }
  return {
    isMember: (key) => place(key) !== undefined,
    mayCall: (caller, to) => calls(place(caller)) && place(to) !== undefined,
    mayHold,
    candidates: () =>
      members
        .active()
        .map(({ key }) => key)
        .filter((key) => !equalBytes(key, signer.key) && mayHold(key))
        .toSorted((a, b) => (peers.get(b)?.seenMs ?? 0) - (peers.get(a)?.seenMs ?? 0)),
  }
}
