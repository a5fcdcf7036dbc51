/** Every table of the device's database, in the order of the numbers that their owners gave them. */
import { migration as calls } from './storage/calls.ts'
import { migration as counters } from './storage/counters.ts'
import { migration as datastore } from './storage/datastore.ts'
import type { Migration } from './storage/db.ts'
import { migration as distrust } from './storage/distrust.ts'
import { migration as incidents } from './storage/incidents.ts'
import { migration as mailbox } from './storage/mailbox.ts'
import { migration as ops } from './storage/ops.ts'
import { migration as packs } from './storage/packs.ts'
import { migration as peers } from './storage/peers.ts'
import { migration as sensorChoices } from './storage/sensor-choices.ts'
import { migration as wakes } from './storage/wakes.ts'

export const MIGRATIONS: readonly Migration[] = [
  ops,
  packs,
  counters,
  datastore,
  peers,
  sensorChoices,
  incidents,
  distrust,
  calls,
  mailbox,
  wakes,
]
