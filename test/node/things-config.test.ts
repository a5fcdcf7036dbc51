import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { argumentsOf, checkAction, type ActionType } from '../../node/config-actions.ts'
import { readConfigText, setInText } from '../../node/config-file.ts'
import { checkProperty, type PropertyType } from '../../node/config-properties.ts'
import { checkEvent, checkRule } from '../../node/config-rules.ts'
import { checkPlugin } from '../../node/config-things.ts'
import { fits, type ValueSettings } from '../../node/config-thing-values.ts'

const PROPERTIES: Readonly<Record<PropertyType, string>> = {
  gpio: 'line = 17\nchip = "gpiochip4"\ninvert = true\ninitial = false\ndescription = "The pump"',
  led: 'led = "ACT"\nvalue = "number"\ninitial = 0.5',
  pwm: 'chip = "pwmchip0"\nchannel = 1\nfrequency = 50\nmin = 0.05\nmax = 0.1\nstep = 0.01',
  file: 'path = "/sys/x"\nvalue = "integer"\nmin = 0\nmax = 255\nunit = "lx"\nreadable = false',
  command:
    'value = "string"\nchoices = ["eco", "warm"]\nset = ["/bin/heat", "--", "{value}"]\nget = ["/bin/heat"]\npointer = "/mode"\ntimeout = "2s"\ncoalesce = true',
  http: 'value = "boolean"\nurl = "http://[::1]/rpc?on={value}"\nmethod = "GET"\nstate_url = "http://[::1]/state"\npointer = "/on"\non = "ON"\noff = "OFF"\ntoken_file = "/t"',
  mqtt: 'value = "boolean"\nbroker = "mqtts://[::1]"\ntopic = "zigbee2mqtt/lamp/set"\npayload = \'{"state": {value}}\'\nstate_topic = "zigbee2mqtt/lamp"\npointer = "/state"\non = "ON"\noff = "OFF"\nuser = "kith"\npassword_file = "/p"\nca_file = "/c"\nretain = true',
}

const ACTIONS: Readonly<Record<ActionType, string>> = {
  toggle: 'property = "on"\ndeadline = "1s"',
  set: 'property = "on"\nvalue = true\nidempotent = true',
  command:
    'command = ["/bin/dim", "--level={level}", "{room}"]\noutput = "json"\npointer = "/a"\nargs = { level = { type = "integer", min = 0, max = 100, default = 50 }, room = { type = "string", max_length = 20 } }',
  http: 'url = "http://[::1]/dim"\nmethod = "PUT"\nbody = \'{"to": {value}}\'\ninput = { type = "number", min = 0, max = 1, step = 0.1 }',
  mqtt: 'broker = "mqtt://[::1]"\ntopic = "a/b"\npayload = "go"\nsafe = true\ncoalesce = true',
}

const LAMP = '[property.on]\ntype = "led"\nled = "ACT"\n'

function problemsOf(source: string): string[] {
  return readConfigText(source).problems.map(
    ({ key, line, why }) => `${line ?? '-'} ${key}: ${why}`,
  )
}

function things(source: string) {
  const read = readConfigText(source)
  assert.deepEqual(read.problems, [], source)
  return read.things
}

describe('the tables of what others may do here', () => {
  for (const [type, keys] of Object.entries(PROPERTIES)) {
    it(`take a property of type ${type}`, () => {
      const [property] = things(`[property.a]\ntype = "${type}"\n${keys}\n`).properties
      assert.equal(property?.type, type)
      assert.equal(property.name, 'a')
    })
  }

  for (const [type, keys] of Object.entries(ACTIONS)) {
    it(`take an action of type ${type}`, () => {
      const [action] = things(`${LAMP}[action.a]\ntype = "${type}"\n${keys}\n`).actions
      assert.equal(action?.type, type)
    })
  }

  it('give arguments by their names, and the one without a name as value', () => {
    const source = Object.entries(ACTIONS)
      .map(([type, keys]) => `[action.${type}]\ntype = "${type}"\n${keys}\n`)
      .join('')
    const names = things(`${LAMP}${source}`).actions.map((one) => [...argumentsOf(one).keys()])
    assert.deepEqual(names, [[], [], ['level', 'room'], ['value'], []])
  })

  it('take plug-ins with settings of their own', () => {
    const { plugins } = things(
      '[plugin.lamp]\nmodule = "lamp.mjs"\nsettings = { pin = 17, names = ["a"] }\n',
    )
    assert.deepEqual(plugins, [
      { name: 'lamp', module: 'lamp.mjs', settings: { pin: 17, names: ['a'] } },
    ])
  })

  it('give events and rules in milliseconds, with what was said alone', () => {
    const { events, rules } = things(
      [
        '[event.pressed]',
        'sensor = "button"',
        'equals = true',
        'for = "2s"',
        '[rule.light]',
        'when = { device = "hall", sensor = "lux", below = 10, hysteresis = 2, for = "1m" }',
        'then = [{ device = "lamp", invoke = "dim", args = { level = 5 }, ttl = "1h" }, { write = "on", value = true }]',
        'cooldown = "1s"',
        '',
      ].join('\n'),
    )
    assert.deepEqual(events, [
      { name: 'pressed', when: { sensor: 'button', equals: true, forMs: 2000 } },
    ])
    assert.deepEqual(rules, [
      {
        name: 'light',
        enabled: true,
        when: { device: 'hall', sensor: 'lux', below: 10, hysteresis: 2, forMs: 60_000 },
        calls: [
          { device: 'lamp', verb: 'invoke', name: 'dim', args: { level: 5 }, ttlMs: 3_600_000 },
          { verb: 'write', name: 'on', args: true },
        ],
        cooldownMs: 1000,
      },
    ])
  })

  it('stay as they are where a setting changes', () => {
    const text = `${LAMP}[rule.a]\nwhen = { sensor = "b", equals = 1 } # why\nthen = [{ invoke = "c" }]\n`
    assert.equal(setInText(text, 'mesh.port', 1), `${text}\n[mesh]\nport = 1\n`)
  })
})

describe('mistakes in these tables', () => {
  const mistakes: readonly (readonly [text: string, problem: RegExp])[] = [
    [
      '[property.a]\ntype = "led"\nled = "x"\nvalu = "boolean"',
      /^4 .*a\.valu: .*did you mean value/,
    ],
    ['[property.a]\ntype = "lamp"', /^2 .*type: must be one of gpio, led, pwm, file/],
    ['[property."a b"]\ntype = "led"', /^1 .*a property’s name has letters/],
    ['[property.a]\ntype = "led"\nled = "../x"', /^3 .*must be a name, like "ACT"/],
    ['[property.a]\ntype = "led"\nled = "x"\ninitial = 1', /^4 .*initial: is not a value/],
    ['[property.a]\ntype = "gpio"', /^1 property\.a: must have either line or path/],
    ['[property.a]\ntype = "gpio"\nline = 1\npath = "/x"', /must have either line or path/],
    ['[property.a]\ntype = "pwm"\nmax = 2', /^3 .*must be from 0 to 1/],
    [
      '[property.a]\ntype = "file"\nvalue = "boolean"\npath = "/x"\nmin = 1',
      /^5 .*not for a boolean/,
    ],
    [
      '[property.a]\ntype = "file"\nvalue = "integer"\npath = "/x"\nmin = 9\nmax = 1',
      /^6 .*must not be below min/,
    ],
    [
      '[property.a]\ntype = "file"\nvalue = "integer"\npath = "/x"\nchoices = [1, 1.5]',
      /^5 .*has 1\.5, which does not fit/,
    ],
    [
      '[property.a]\ntype = "file"\nvalue = "string"\npath = "/x"\nreadable = false\nwritable = false',
      /^5 .*must be true where writable is false/,
    ],
    ['[property.a]\ntype = "command"\nvalue = "string"', /^1 .*must have set, get or both/],
    [
      '[property.a]\ntype = "command"\nvalue = "string"\nset = ["/x", "{level}"]',
      /^4 .*no value for \{level\}; there is \{value\}/,
    ],
    [
      '[property.a]\ntype = "command"\nvalue = "string"\nset = ["/bin/{value}"]',
      /^4 .*program itself is not chosen/,
    ],
    [
      '[property.a]\ntype = "command"\nvalue = "string"\nget = ["/x", "{value}"]',
      /^4 .*no value for \{value\}$/,
    ],
    [
      '[property.a]\ntype = "http"\nvalue = "string"\nurl = "http://{value}/"',
      /^4 .*(server itself|without user)/,
    ],
    [
      '[property.a]\ntype = "mqtt"\nvalue = "string"\nbroker = "mqtt://h"',
      /^1 .*topic, state_topic/,
    ],
    [
      '[property.a]\ntype = "mqtt"\nvalue = "string"\nbroker = "mqtt://h"\ntopic = "a"\npassword = "x"',
      /^6 .*write password_file$/,
    ],
    [
      '[property.a]\ntype = "mqtt"\nvalue = "string"\nbroker = "mqtt://h"\ntopic = "a"\nca_file = "/x"',
      /^6 .*needs an mqtts/,
    ],
    [`${LAMP}[sensor.on]\ntype = "push"`, /^1 property\.on: a sensor has this name/],
    [
      `${LAMP}[action.a]\ntype = "toggle"\nproperty = "no"`,
      /^6 .*no such property; did you mean on/,
    ],
    [
      '[property.level]\ntype = "pwm"\n[action.a]\ntype = "toggle"\nproperty = "level"',
      /^5 .*only what is true or false/,
    ],
    [
      `${LAMP}[action.a]\ntype = "set"\nproperty = "on"\nvalue = 1`,
      /^7 .*not a value that the property may have/,
    ],
    ['[action.a]\ntype = "command"\ncommand = "reboot"', /^3 .*must be a list/],
    [
      '[action.a]\ntype = "command"\ncommand = ["/x", "{b}"]\nargs = { c = { type = "string" } }',
      /^3 .*no value for \{b\}; there is \{c\}/,
    ],
    [
      '[action.a]\ntype = "command"\ncommand = ["/x"]\nargs = { c = { type = "string", maxx = 1 } }',
      /^4 action\.a\.args\.c\.maxx: .*did you mean max/,
    ],
    [
      '[action.a]\ntype = "command"\ncommand = ["/x"]\nargs = { c = { type = "string", max = 1 } }',
      /^4 action\.a\.args\.c\.max: is for numbers/,
    ],
    [
      '[action.a]\ntype = "command"\ncommand = ["/x"]\nargs = { constructor = { type = "string" } }',
      /^4 .*with names like level/,
    ],
    [
      '[action.a]\ntype = "command"\ncommand = ["/x"]\nargs = { c = { type = "integer", default = "x" } }',
      /^4 .*default: is not a value/,
    ],
    [
      '[action.a]\ntype = "command"\ncommand = ["/x"]\ninput = { type = "string" }\nargs = {}',
      /^4 .*either input or args/,
    ],
    ['[event.a]\nsensor = "b"', /^1 event\.a: must have one of equals/],
    ['[event.a]\nsensor = "b"\nabove = 1\nbelow = 2', /^4 .*must have one of/],
    ['[event.a]\nsensor = "b"\nequals = 1\nhysteresis = 1', /^4 .*needs above or below/],
    ['[event.a]\nsensor = "b"\nchanges = true\nfor = "1s"', /^4 .*over at once/],
    ['[event.a]\nsensors = "b"\nequals = 1', /^2 .*did you mean sensor/],
    [
      '[rule.a]\nwhen = { sensor = "b", equal = 1 }\nthen = [{ invoke = "c" }]',
      /^2 rule\.a\.when\.equal: .*did you mean equals/,
    ],
    ['[rule.a]\nthen = [{ invoke = "c" }]', /^1 rule\.a\.when: is missing/],
    [
      '[rule.a]\nwhen = { sensor = "b" }\nthen = [{ invoke = "c" }]',
      /^2 rule\.a\.when: must have one of/,
    ],
    ['[rule.a]\nwhen = { sensor = "b", equals = 1 }\nthen = []', /^3 .*must not be empty/],
    [
      '[rule.a]\nwhen = { sensor = "b", equals = 1 }\nthen = { invoke = "c" }',
      /^3 .*must be a list/,
    ],
    [
      '[rule.a]\nwhen = { sensor = "b", equals = 1 }\nthen = [{ invoke = "c", write = "d" }]',
      /^3 rule\.a\.then\.0: must have either invoke or write/,
    ],
    [
      '[rule.a]\nwhen = { sensor = "b", equals = 1 }\nthen = [{ write = "c" }]',
      /^3 .*needs the value to write/,
    ],
    [
      '[rule.a]\nwhen = { sensor = "b", equals = 1 }\nthen = [{ invoke = "c", args = 1979-05-27 }]',
      /^3 rule\.a\.then\.0\.args: must be a value as in JSON/,
    ],
    [
      '[rule.a]\nwhen = { sensor = "b", equals = 1 }\nthen = [{ invoke = "c", args = { constructor = 1 } }]',
      /^3 .*must be a value as in JSON/,
    ],
    ['[plugin.a]\nmodule = "../lamp.mjs"', /^2 .*beside the settings file/],
    ['[plugin.a]\nmodule = "/etc/lamp.mjs"', /^2 .*beside the settings file/],
    ['[plugin.a]\nmodul = "lamp.mjs"', /did you mean module/],
    ['rule = 1', /^1 rule: must be tables, written \[rule\.NAME\]/],
  ]
  for (const [text, problem] of mistakes) {
    it(`are told for ${JSON.stringify(text)}`, () => {
      assert.match(problemsOf(text)[0] ?? '', problem)
    })
  }

  it('are told of anything that is no such table', () => {
    const checks = [checkProperty, checkAction, checkEvent, checkRule, checkPlugin] as const
    fc.assert(
      fc.property(fc.string(), fc.anything(), fc.constantFrom(...checks), (name, table, check) => {
        const checked = check(name, table)
        assert.ok(!checked.ok && checked.problems.length > 0)
      }),
    )
  })
})

describe('a value', () => {
  const cases: readonly (readonly [ValueSettings, unknown, boolean])[] = [
    [{ value: 'boolean' }, true, true],
    [{ value: 'boolean' }, 1, false],
    [{ value: 'integer', min: 0, max: 10 }, 10, true],
    [{ value: 'integer', min: 0, max: 10 }, 11, false],
    [{ value: 'integer' }, 1.5, false],
    [{ value: 'number', step: 0.1 }, 0.3, true],
    [{ value: 'number', step: 0.1 }, 0.35, false],
    [{ value: 'number' }, Number.NaN, false],
    [{ value: 'number' }, '1', false],
    [{ value: 'string', choices: ['a'] }, 'a', true],
    [{ value: 'string', choices: ['a'] }, 'b', false],
    [{ value: 'string', max_length: 2 }, 'äö', true],
    [{ value: 'string', max_length: 2 }, 'abc', false],
    [{ value: 'string' }, 'x'.repeat(257), false],
  ]
  for (const [settings, given, expected] of cases) {
    it(`${expected ? 'fits' : 'does not fit'}: ${JSON.stringify([settings, given])}`, () => {
      assert.equal(fits(settings, given), expected)
    })
  }
})
