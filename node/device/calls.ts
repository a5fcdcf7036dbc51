/** Calls in a home: who may call, what of this device they see, and what waits for sleepers. */
import { descriptionText, onlyAllowed } from '../../protocols/calls/index.ts'
import { startCalls, type CallMailbox, type Calls, type Thing } from '../services/calls/index.ts'
import type { Mailbox } from '../services/mailbox/index.ts'
import { openCallStore } from '../storage/calls.ts'
import type { DeviceBase } from './base.ts'
import { callersOf } from './callers.ts'
import type { Home } from './home.ts'

export function callsOf(
  base: DeviceBase,
  {
    mailbox,
    members,
    mesh,
    thing,
    time,
  }: Pick<Home, 'mailbox' | 'members' | 'mesh' | 'time'> & { readonly thing: Thing },
  signal: AbortSignal,
): Promise<Calls> {
  const { clock, db, log, random, signer, verifier } = base
  const callers = callersOf(base, { members, time })
  const waiting = waitingIn(mailbox)
  return startCalls(
    {
      mesh,
      store: openCallStore(db),
      signer,
      verifier,
      home: members.home,
      thing,
      rights: callers,
      describe: (peer) =>
        descriptionText(onlyAllowed(thing.model(), callers.allows(peer)), { key: signer.key }),
      epoch: () => members.state.epoch,
      mailbox: () => waiting,
      time,
      clock,
      random,
      log: log.child({ part: 'calls' }),
    },
    signal,
  )
}

function waitingIn(mailbox: Mailbox): CallMailbox {
  return {
    isSleeper: (device) => mailbox.sleeps(device),
    deliversByMs(device) {
      const presence = mailbox.presence(device)
      return 'dueMs' in presence ? presence.dueMs : undefined
    },
    hold: ({ coalesceKey, ...call }) =>
      mailbox.hold(coalesceKey === undefined ? call : { ...call, coalesceKey }),
    cancel: (id) => mailbox.cancel(id),
  }
}
