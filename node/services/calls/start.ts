/** Joins the two sides of calls to the mesh and to each other. */
import {
  CALLS,
  CallsError,
  modelOf,
  openCall,
  openReceipt,
  serveCalls,
  type CallRow,
} from '../../../protocols/calls/index.ts'
import type { IdentityError } from '../../../protocols/identity/index.ts'
import { equalBytes, toHex } from '../../../protocols/wire/index.ts'
import { createEmitter } from '../../events.ts'
import { createCallee, type Callee } from './callee.ts'
import { createCallerSide } from './caller.ts'
import type {
  CallEvents,
  Calls,
  CallsDeps,
  Description,
  Observed,
  WantedCall,
  WhyRow,
} from './calls.ts'
import { createLinks, type Links } from './links.ts'
import { observed } from './observing.ts'
import { readRow } from './receipts.ts'

export async function joinCalls(deps: CallsDeps, signal: AbortSignal): Promise<Calls> {
  signal.throwIfAborted()
  const { clock, log, mesh, rights, signer } = deps
  const stop = new AbortController()
  const until = AbortSignal.any([signal, stop.signal])
  const events = createEmitter<CallEvents>((err) => log.error({ err }, 'listener failed'))
  const callee = createCallee(deps, (row) => events.emit('executed', row), until)
  const links = createLinks(mesh, until)
  const caller = createCallerSide(
    deps,
    {
      links,
      here: (bytes) => callee.answer(bytes, signer.key),
      tell: (record) => events.emit('call', record),
      distrust: (device, err) => distrust(deps, events, device, err),
      coalesceKey: (wanted) => coalesceKey(deps, wanted),
    },
    until,
  )
  await mesh.serve(CALLS, (channel, peer, streamSignal) =>
    serveCalls(
      channel,
      {
        peer,
        clock,
        answer: (bytes) => callee.answer(bytes, peer),
        describe: () => deps.describe(requireActive(deps, peer)),
        observe: (_, name, observing) => observed(deps, peer, name, observing),
        why: (_, name, limit) => callee.why(requireActive(deps, peer), name, limit),
        onFailure: (err) => log.error({ err }, 'question cannot be answered'),
      },
      AbortSignal.any([until, streamSignal]),
    ),
  )
  return {
    events,
    describe: (device, asking) => describe(deps, links, device, asking),
    call: (wanted, asking) => caller.call(wanted, asking),
    observe: (device, name, asking) => observe(deps, links, { device, name }, asking),
    why: (device, name, limit, asking) =>
      why({ ...deps, callee, links }, { device, name, limit }, asking),
    list: () => caller.made.list(),
    find: (idPrefix) => caller.made.find(idPrefix),
    cancel: (id, asking) => caller.cancel(id, asking),
    wait: (id, asking) => caller.wait(id, asking),
    deliver: async (calls, via) => (rights.isActive(via) ? callee.deliver(calls) : []),
    settled: (receipt) => caller.settled(receipt),
    moved: (id, view) => caller.moved(id, view),
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('stopping'))
      await caller.done()
      await callee.done()
    },
  }
}

function distrust(
  { log, mesh }: CallsDeps,
  events: Calls['events'],
  device: Uint8Array,
  err: IdentityError,
): void {
  log.error({ err, device: toHex(device) }, 'receipt of a device is signed wrongly')
  events.emit('refused', { device, code: err.code })
  mesh.cut(device)
}

/** @throws CallsError CALLS_FORBIDDEN */
function requireActive({ rights }: CallsDeps, peer: Uint8Array): Uint8Array {
  if (!rights.isActive(peer)) throw new CallsError('CALLS_FORBIDDEN')
  return peer
}

async function describe(
  { clock, describe: own, mesh, signer, store }: CallsDeps,
  links: Links,
  device: Uint8Array,
  signal: AbortSignal,
): Promise<Description> {
  signal.throwIfAborted()
  if (equalBytes(device, signer.key)) return { text: own(device), atMs: clock.now(), live: true }
  const said = store.made.description(device)
  const connected = mesh.peers().some(({ key }) => equalBytes(key, device))
  if (said !== undefined && !connected) return { ...said, live: false }
  try {
    const text = await (await links.get(device)).describe(signal)
    const now = { text, atMs: clock.now() }
    if (text !== said?.text) store.made.describe(device, now)
    return { ...now, live: true }
  } catch (error) {
    // What it says now counts, a refusal too.
    if (said === undefined || signal.aborted || error instanceof CallsError) throw error
    return { ...said, live: false }
  }
}

async function* observe(
  deps: CallsDeps,
  links: Links,
  { device, name }: { readonly device: Uint8Array; readonly name: string },
  signal: AbortSignal,
): AsyncGenerator<Observed, void, undefined> {
  const own = equalBytes(device, deps.signer.key)
  const values = own
    ? observed(deps, device, name, signal)
    : (await links.get(device)).observe(name, signal)
  for await (const { atMs, value } of values) yield { name, value, atMs }
}

interface WhyParts extends CallsDeps {
  readonly callee: Callee
  readonly links: Links
}

async function why(
  { callee, home, links, signer, verifier }: WhyParts,
  asked: { readonly device: Uint8Array; readonly name: string | undefined; readonly limit: number },
  signal: AbortSignal,
): Promise<WhyRow[]> {
  const { device, limit, name } = asked
  if (equalBytes(device, signer.key)) {
    return callee.why(device, name, limit).map((row) => readRow(row, home))
  }
  const check = (row: CallRow): WhyRow => {
    const call = openCall(row.call, { home, verifier })
    const { id, caller, to } = call
    const expected = { call: id, caller, callee: device }
    if (!equalBytes(to, device)) throw new CallsError('CALLS_WRONG_RECEIPT')
    openReceipt(row.receipt, { home, verifier }, expected)
    return readRow(row, home)
  }
  return (await (await links.get(device)).why(name, limit, signal)).map(check)
}

/** As the device itself last said. */
function coalesceKey({ store }: CallsDeps, { name, to, verb }: WantedCall): string | undefined {
  if (verb === 'read') return undefined
  const model = modelOf(store.made.description(to)?.text ?? '')
  const named = verb === 'write' ? model?.properties : model?.actions
  if (named === undefined || !Object.hasOwn(named, name)) return undefined
  return named[name]?.coalesce === true ? `${verb} ${name}` : undefined
}
