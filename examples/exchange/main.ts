/** `npx node examples/exchange/main.ts`: the four exchanges on local ports, with a gap, a repeat, garbage or a lost connection now and then. */
import { parseArgs } from 'node:util'
import { Exchange } from './exchange.ts'

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '20' },
    faults: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(
    'npx node examples/exchange/main.ts [--rate 20] [--faults]\n\n  --rate    changes of books per second and exchange\n  --faults  gaps, repeats, garbage and lost connections now and then',
  )
  process.exit(0)
}

const names = ['binance', 'coinbase', 'kraken', 'okx'] as const
const exchanges = await Promise.all(names.map(name => new Exchange(name).start()))

console.log('Four exchanges are running. In another shell:\n')
exchanges.forEach((exchange, i) => {
  const name = names[i].toUpperCase()
  console.log(`export ${name}_ENABLED=true ${name}_WS_URL=${exchange.ws}${name === 'BINANCE' ? ` BINANCE_REST_URL=${exchange.http}` : ''}`)
})
console.log('export KAFKA_ENABLED=true\nnode bin/runner.js run pipelines/exchange-feed.yaml\n\nCtrl-C ends them.')

const timer = setInterval(() => {
  for (const exchange of exchanges) {
    for (const symbol of exchange.markets.keys()) {
      exchange.change(symbol)
      if (Math.random() < 0.2) exchange.trade(symbol)
    }
    if (values.faults) trouble(exchange)
  }
}, 1000 / Number(values.rate))

function trouble(exchange: Exchange): void {
  const chance = Math.random() * 200
  if (chance < 1) exchange.skip(2)
  else if (chance < 2) exchange.repeat()
  else if (chance < 3) exchange.garbage(Buffer.from('{"garbage'))
  else if (chance < 3.2) exchange.drop()
}

process.once('SIGINT', () => {
  clearInterval(timer)
  void Promise.all(exchanges.map(e => e.stop()))
})
