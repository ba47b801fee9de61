import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import normalize from '../../src/transforms/normalize.ts'
import { TickReader } from '../../src/transforms/bars/tick.ts'
import { type Input, messagesOf, runTransform, transformConformance } from '../conformance/transform.ts'

const format = (exchange: string): string => `pipelines/exchanges/${exchange}.format.yaml`
const run = (exchange: string, ...inputs: (Input | string)[]) =>
  runTransform(normalize, { formats: format(exchange) }, [messagesOf(inputs.map(i => (typeof i === 'string' ? { payload: i } : i)))])
const values = async (exchange: string, ...inputs: (Input | string)[]) => {
  const { out, failures } = await run(exchange, ...inputs)
  expect(failures.map(f => f.error.message)).toEqual([])
  return out.map(m => m.value)
}
const problems = async (exchange: string, ...inputs: (Input | string)[]) =>
  (await run(exchange, ...inputs)).failures.map(f => f.error.message)

const BINANCE_TICKER =
  '{"e":"24hrTicker","E":1672515782136,"s":"BTCUSDT","p":"0.0015","P":"250.00","w":"0.0018","x":"0.0009","c":"50000.10","Q":"10","b":"50000.00","B":"10","a":"50000.20","A":"100","o":"0.0010","h":"0.0025","l":"0.0010","v":"10000.500","q":"18","O":0,"C":86400000,"F":0,"L":18150,"n":18151}'
const BINANCE_DIFF =
  '{"e":"depthUpdate","E":1672515782136,"s":"BTCUSDT","U":157,"u":160,"b":[["0.0024","10"]],"a":[["0.0026","0.00000000"]]}'

describe('binance', () => {
  test('ticker, trade, diff, and snapshot over HTTP; responses are dropped', async () => {
    expect(
      await values(
        'binance',
        BINANCE_TICKER,
        '{"e":"trade","E":1672515782137,"s":"BTCUSDT","t":12345,"p":"0.001","q":"100","T":1672515782136,"m":true,"M":true}',
        BINANCE_DIFF,
        {
          payload: '{"lastUpdateId":1027024,"bids":[["4.00000000","431.00000000"]],"asks":[["4.00000200","12.00000000"]]}',
          key: 'BNBBTC',
          time: 5000,
        },
        '{"result":null,"id":1}',
      ),
    ).toEqual([
      {
        type: 'ticker',
        exchange: 'binance',
        symbol: 'BTCUSDT',
        price: '50000.10',
        volume: '10000.500',
        bid: '50000.00',
        ask: '50000.20',
        ts: 1672515782136,
      },
      { type: 'ticker', exchange: 'binance', symbol: 'BTCUSDT', price: '0.001', volume: '100', bid: null, ask: null, ts: 1672515782136 },
      {
        type: 'orderbook',
        exchange: 'binance',
        symbol: 'BTCUSDT',
        bids: [['0.0024', '10']],
        asks: [['0.0026', '0.00000000']],
        sequence: 160,
        snapshot: false,
        ts: 1672515782136,
      },
      {
        type: 'orderbook',
        exchange: 'binance',
        symbol: 'BNBBTC',
        bids: [['4.00000000', '431.00000000']],
        asks: [['4.00000200', '12.00000000']],
        sequence: 1027024,
        snapshot: true,
        ts: 5000,
      },
    ])
  })

  test('fields have the order of the contract, and the time is that of the exchange', async () => {
    const { out } = await run('binance', BINANCE_TICKER, BINANCE_DIFF)
    expect(out.map(m => Object.keys(m.value as object).join())).toEqual([
      'type,exchange,symbol,price,volume,bid,ask,ts',
      'type,exchange,symbol,bids,asks,sequence,snapshot,ts',
    ])
    expect(out.map(m => m.time)).toEqual([1672515782136, 1672515782136])
  })

  test('unknown messages and invalid known ones fail with the reason', async () => {
    const ticker = (o: object): Input => ({ value: { ...(JSON.parse(BINANCE_TICKER) as object), ...o } })
    expect(
      await problems(
        'binance',
        '{"error":{"code":2,"msg":"Invalid request"},"id":1}',
        '[1]',
        ticker({ c: '-1' }),
        ticker({ c: '0' }),
        ticker({ c: undefined }),
        ticker({ v: 'many' }),
        ticker({ E: 'now' }),
        // Seconds: 21 January 1970 as milliseconds.
        ticker({ E: 1_769_860_800 }),
        ticker({ s: 7 }),
        ticker({ b: '' }),
        '{"e":"depthUpdate","E":1,"s":"X","u":1,"b":[["1"]],"a":[]}',
        '{"e":"depthUpdate","E":1,"s":"X","u":1,"b":{},"a":[]}',
        '{"e":"depthUpdate","E":1,"s":"X","u":null,"b":[],"a":[]}',
      ),
    ).toEqual([
      'not a message of binance in its format: {"error":{"code":2,"msg":"Invalid request"},"id":1}',
      'not a message of binance in its format: [1]',
      'c is "-1"; allowed: a decimal number > 0',
      'c is "0"; allowed: a decimal number > 0',
      'c is missing; allowed: a decimal number > 0',
      'v is "many"; allowed: a decimal number >= 0',
      'E is "now"; allowed: a time: epoch milliseconds, or ISO 8601 with its zone',
      'E is 1769860800; allowed: a time: epoch milliseconds, or ISO 8601 with its zone',
      's is 7; allowed: the name of a symbol',
      'b: size is missing; allowed: a decimal number >= 0',
      'b is {}; allowed: a list of prices and sizes',
      'u is null; allowed: a whole number',
    ])
  })
})

test('coinbase: one message has several events, and one list for both sides', async () => {
  const l2 = {
    channel: 'l2_data',
    client_id: '',
    timestamp: '2023-02-09T20:32:50.714964855Z',
    sequence_num: 0,
    events: [
      {
        type: 'snapshot',
        product_id: 'BTC-USD',
        updates: [
          { side: 'bid', event_time: '1970-01-01T00:00:00Z', price_level: '21921.73', new_quantity: '0.06317902' },
          { side: 'offer', event_time: '1970-01-01T00:00:00Z', price_level: '21921.80', new_quantity: '0.02' },
        ],
      },
      {
        type: 'update',
        product_id: 'ETH-USD',
        updates: [{ side: 'offer', event_time: '1970-01-01T00:00:00Z', price_level: '1.5', new_quantity: '0' }],
      },
    ],
  }
  const ticker = {
    channel: 'ticker',
    client_id: '',
    timestamp: '2023-02-09T20:30:37.167359596Z',
    sequence_num: 1,
    events: [
      {
        type: 'snapshot',
        tickers: [
          {
            type: 'ticker',
            product_id: 'BTC-USD',
            price: '21932.98',
            volume_24_h: '16038.28770938',
            best_bid: '21931.98',
            best_ask: '21933.98',
          },
        ],
      },
    ],
  }
  expect(
    await values('coinbase', { value: l2 }, { value: ticker }, '{"channel":"subscriptions","events":[]}', '{"channel":"heartbeats"}'),
  ).toEqual([
    {
      type: 'orderbook',
      exchange: 'coinbase',
      symbol: 'BTCUSD',
      bids: [['21921.73', '0.06317902']],
      asks: [['21921.80', '0.02']],
      sequence: 0,
      snapshot: true,
      ts: 1675974770714,
    },
    {
      type: 'orderbook',
      exchange: 'coinbase',
      symbol: 'ETHUSD',
      bids: [],
      asks: [['1.5', '0']],
      sequence: 0,
      snapshot: false,
      ts: 1675974770714,
    },
    {
      type: 'ticker',
      exchange: 'coinbase',
      symbol: 'BTCUSD',
      price: '21932.98',
      volume: '16038.28770938',
      bid: '21931.98',
      ask: '21933.98',
      ts: 1675974637167,
    },
  ])
  // One bad event: nothing of the message passes.
  const { out, failures } = await run('coinbase', { value: { ...l2, events: [l2.events[0], { type: 'update', product_id: '' }] } })
  expect([out.length, failures.length]).toEqual([0, 1])
})

test('kraken: JSON numbers keep their printed digits', async () => {
  expect(
    await values(
      'kraken',
      '{"channel":"book","type":"snapshot","data":[{"symbol":"XBT/USD","bids":[{"price":45283.50,"qty":0.10000000},{"price":45283,"qty":1e-7}],"asks":[{"price":123456789012345678.12345,"qty":4831.75496356}],"checksum":2439117997,"timestamp":"2023-10-06T17:35:55.440295Z"}]}',
      {
        payload:
          '{"channel":"ticker","type":"snapshot","data":[{"symbol":"ALGO/USD","bid":0.10025,"ask":0.10036,"last":0.10035,"volume":997038.98383185}]}',
        time: 77,
      },
      '{"channel":"heartbeat"}',
      '{"method":"subscribe","result":{"channel":"book"},"success":true,"req_id":1}',
      '{"channel":"status","type":"update","data":[]}',
    ),
  ).toEqual([
    {
      type: 'orderbook',
      exchange: 'kraken',
      symbol: 'BTCUSD',
      bids: [
        ['45283.50', '0.10000000'],
        ['45283', '1e-7'],
      ],
      asks: [['123456789012345678.12345', '4831.75496356']],
      sequence: null,
      snapshot: true,
      ts: 1696613755440,
    },
    {
      type: 'ticker',
      exchange: 'kraken',
      symbol: 'ALGOUSD',
      price: '0.10035',
      volume: '997038.98383185',
      bid: '0.10025',
      ask: '0.10036',
      ts: 77,
    },
  ])
  expect(await problems('kraken', '{"method":"subscribe","success":false,"error":"Currency pair not supported"}')).toHaveLength(1)
})

test('okx: the symbol is outside the data, and an empty bid is omitted', async () => {
  expect(
    await values(
      'okx',
      '{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":[["8476.98","415","0","13"]],"bids":[["8476.97","256","0","12"]],"ts":"1597026383085","checksum":-855196043,"prevSeqId":-1,"seqId":123456}]}',
      '{"arg":{"channel":"tickers","instId":"LTC-USDT"},"data":[{"instType":"SPOT","instId":"LTC-USDT","last":"9999.99","lastSz":"0.1","askPx":"","askSz":"","bidPx":"8888.88","bidSz":"5","vol24h":"2222","ts":"1597026383085"}]}',
      '{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a4d3ae55"}',
    ),
  ).toEqual([
    {
      type: 'orderbook',
      exchange: 'okx',
      symbol: 'BTCUSDT',
      bids: [['8476.97', '256']],
      asks: [['8476.98', '415']],
      sequence: 123456,
      snapshot: true,
      ts: 1597026383085,
    },
    { type: 'ticker', exchange: 'okx', symbol: 'LTCUSDT', price: '9999.99', volume: '2222', bid: '8888.88', ask: null, ts: 1597026383085 },
  ])
  expect(await problems('okx', '{"event":"error","code":"60012","msg":"Invalid request"}')).toHaveLength(1)
})

test('a sequence number is a JSON number of any size, also if the exchange sends it as text', async () => {
  const book = (id: string) =>
    `{"arg":{"channel":"books","instId":"A"},"action":"update","data":[{"asks":[],"bids":[],"ts":"1597026383085","seqId":${id}}]}`
  const { out } = await run('okx', ...['"7"', '"9007199254740993"', '9007199254740993', '"007"'].map(id => ({ payload: book(id) })))
  expect(out.map(m => /"sequence":([^,]*)/.exec(String(m.encode()))![1])).toEqual(['7', '9007199254740993', '9007199254740993', '7'])
})

test('every ticker is valid input for bars', async () => {
  const { out } = await run('binance', { payload: BINANCE_TICKER, time: 1672515782136 })
  const tick = new TickReader({ symbol: 'symbol', price: 'price', volume: 'volume', ts: 'ts' }, 1000)
  expect(tick.read(out[0])).toBe(undefined)
  expect([tick.symbol, tick.price, tick.volume, tick.ts]).toEqual(['BTCUSDT', 50000.1, 10000.5, 1672515782136])
})

describe('formats', () => {
  const dir = mkdtempSync(join(tmpdir(), 'formats-'))
  afterAll(() => rmSync(dir, { recursive: true }))
  const check = (text: string): string[] => {
    const file = join(dir, 'x.format.yaml')
    writeFileSync(file, text)
    return normalize.validateConfig!({ formats: file }).map(p => p.message.replace(`${dir}/`, ''))
  }

  test('the source name selects the format; a source without a format is an error with its name', async () => {
    const config = { formats: { in: format('okx'), other: format('kraken') } }
    const { out } = await runTransform(normalize, config, [messagesOf([{ payload: '{"event":"subscribe"}' }])])
    expect(out).toEqual([])
    await expect(runTransform(normalize, { formats: { other: format('kraken') } }, [])).rejects.toThrow(
      "no format for messages of source 'in'",
    )
  })

  test('errors have their position', () => {
    expect(check('exchange: Binance\nmesages: []\nmessages:\n  - type: tikcer\n')).toEqual([
      'x.format.yaml:1:11: exchange must be a name in lowercase letters, such as binance',
      'x.format.yaml:2:1: unknown key mesages; allowed are exchange, messages, aliases, drop',
      'x.format.yaml:4:11: type must be ticker or orderbook',
    ])
    expect(
      check('exchange: x\nmessages:\n  - type: ticker\n    match: {}\n    symbol: $oops\n    price: a..b\n    volume: v\n    prize: p\n'),
    ).toEqual([
      'x.format.yaml:3:5: ts is missing',
      'x.format.yaml:4:12: match must have at least one field and its value',
      expect.stringContaining('x.format.yaml:5:13: symbol must be a field path'),
      expect.stringContaining('x.format.yaml:6:12: price must be a field path'),
      expect.stringContaining('x.format.yaml:8:5: unknown key prize'),
    ])
    expect(check('exchange: [')).toHaveLength(1)
    expect(normalize.validateConfig!({ formats: '/nowhere.yaml' })).toMatchObject([
      { path: ['formats'], message: '/nowhere.yaml: does not exist' },
    ])
  })

  for (const exchange of ['binance', 'coinbase', 'kraken', 'okx'])
    test(`${exchange} is valid`, () => expect(normalize.validateConfig!({ formats: format(exchange) })).toEqual([]))
})

const someInputs = fc.array(
  fc.constantFrom<Input>(
    { payload: BINANCE_TICKER },
    { payload: BINANCE_DIFF },
    { payload: '{"result":null,"id":1}' },
    { payload: '{"e":1}' },
    { payload: '{' },
  ),
  { maxLength: 30 },
)
transformConformance('normalize', normalize, { formats: format('binance') }, someInputs, { numRuns: 30 })
