import assert from 'node:assert/strict'
import { it } from 'node:test'

import { createJournal } from '../../node/journal.ts'
import { virtualClock } from '../helpers/clock.ts'

async function take(source: AsyncGenerator<{ id: number }>, count: number): Promise<number[]> {
  const ids: number[] = []
  while (ids.length < count) {
    const next = await source.next()
    if (next.done === true) break
    ids.push(next.value.id)
  }
  return ids
}

it('gives kept events after a number, then live ones', async () => {
  const journal = createJournal(virtualClock())
  const stop = new AbortController()
  for (const type of ['a', 'b', 'c']) journal.record(type)
  const reader = journal.follow(1, stop.signal)
  assert.deepEqual(await take(reader, 2), [2, 3])
  const live = take(reader, 1)
  journal.record('d')
  assert.deepEqual(await live, [4])
})

it('gives only what happens after the call where no number is named', async () => {
  const journal = createJournal(virtualClock())
  journal.record('before')
  const reader = journal.follow(undefined, new AbortController().signal)
  journal.record('after')
  assert.deepEqual(await take(reader, 1), [2])
})

it('ends when its reader leaves, even while it waits', async () => {
  const journal = createJournal(virtualClock())
  const stop = new AbortController()
  const waiting = take(journal.follow(undefined, stop.signal), 1)
  stop.abort()
  assert.deepEqual(await waiting, [])
})

it('keeps a bounded number of events, the newest', async () => {
  const journal = createJournal(virtualClock())
  for (let i = 0; i < 1500; i++) journal.record('x')
  assert.deepEqual(await take(journal.follow(0, new AbortController().signal), 1), [501])
})
