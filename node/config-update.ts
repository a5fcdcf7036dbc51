/** The settings of updates. Part of config-schema.ts. */
import type { Setting } from './config-schema.ts'

const GIB = 2 ** 30
const NAME = '[a-z0-9][a-z0-9._+-]{0,63}'

/** A program and its first arguments. */
const program = (description: string) =>
  ({
    type: 'list',
    default: [],
    maxItems: 16,
    maxBytes: 512,
    restart: true,
    description,
  }) as const satisfies Setting

export const UPDATE_SETTINGS = {
  'update.install': {
    type: 'boolean',
    default: true,
    restart: true,
    description: 'Install what owners publish; false only passes it on.',
  },
  'update.folder': {
    type: 'text',
    default: '',
    maxBytes: 512,
    restart: true,
    description:
      'Where releases are installed, one folder by name; empty for `installed` beside the key.',
  },
  'update.hardware': {
    type: 'list',
    default: [],
    maxItems: 16,
    maxBytes: 64,
    restart: true,
    description: 'What this machine is, for releases that are for some hardware only.',
  },
  'update.max_bytes': {
    type: 'size',
    unit: 'bytes',
    default: 4 * GIB,
    min: 2 ** 20,
    max: 1024 * GIB,
    restart: true,
    description: 'How much room releases take while they are passed on; the oldest go first.',
  },
  'update.upload_limit': {
    type: 'size',
    unit: 'bytes',
    default: 0,
    min: 0,
    max: GIB,
    restart: true,
    description: 'How much of releases may leave this device in a second; 0 for as much as can.',
  },
  'update.quiet_hours': {
    type: 'list',
    default: [],
    maxItems: 8,
    maxBytes: 11,
    entry: {
      pattern: /^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$/,
      form: 'is HH:MM-HH:MM',
    },
    restart: true,
    description:
      'Hours, like `18:00-23:00`, local time, in which nothing of releases leaves this device or is fetched; what came goes on after them.',
  },
  'update.restart': {
    type: 'list',
    default: [],
    maxItems: 32,
    maxBytes: 192,
    entry: {
      pattern: new RegExp(`^${NAME}=[A-Za-z0-9][A-Za-z0-9:_.@-]{0,120}[.]service$`),
      form: 'is NAME=UNIT.service',
    },
    restart: true,
    description:
      'Services to start anew after a release of a name, as `NAME=UNIT.service`; goes before what the release says.',
  },
  'update.exec': program(
    'Program, and its first arguments, that installs releases of the kind `exec`.',
  ),
  'update.dpkg': program('Options of dpkg for releases of the kind `deb`, such as `--root=/mnt`.'),
  'update.oci': program(
    'Program, and its first arguments, for releases of the kind `oci`; podman where none is named.',
  ),
  'update.rauc': program(
    'RAUC and its first arguments; where none is named, nothing of the kind `rauc` is installed.',
  ),
  'update.swupdate': program(
    'SWUpdate and its first arguments, the key among them; where none is named, nothing of the kind `swupdate` is installed.',
  ),
  'update.slot': program(
    'For `swupdate`: a program that prints the slot that runs when told `booted`, and has the next start use another when told `set SLOT`.',
  ),
  'update.slots': {
    type: 'list',
    default: [],
    maxItems: 2,
    maxBytes: 128,
    entry: {
      pattern: /^[a-z0-9]{1,16}=[\w.-]{1,48}:[\w.-]{1,48}$/,
      form: 'is SLOT=SET:MODE',
    },
    restart: true,
    description:
      'For `swupdate`: both slots, and what is selected in an image to write each, like `a=stable:copy_a`.',
  },
  'update.reboot': program(
    'Starts the machine anew for `rauc` and `swupdate`; `systemctl reboot` where none is named.',
  ),
} as const satisfies Record<string, Setting>
