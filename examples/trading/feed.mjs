#!/usr/bin/env node
/**
 * A stand-in for an exchange's WebSocket feed: waits for a subscribe message, then plays a recorded session at an even pace.
 *
 *   node examples/trading/feed.mjs --port 9443 --rate 20 [--file examples/data/market-session.jsonl] [--once]
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { WebSocketServer } from 'ws'

const SESSION = fileURLToPath(new URL('../data/market-session.jsonl', import.meta.url))

/**
 * Each client is sent what no client has been sent yet, so that a session is played once, however often it is interrupted.
 * @param {{ port: number, rate: number, file?: string, once?: boolean }} options rate: messages per second
 */
export async function playFeed({ port, rate, file = SESSION, once = false }) {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  const server = new WebSocketServer({ host: '127.0.0.1', port })
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject))
  let next = 0
  let limit = Number.POSITIVE_INFINITY
  let subscribed = []
  server.on('connection', socket => {
    socket.on('error', () => {})
    socket.on('message', () => subscribed.push(socket))
    socket.on('close', () => (subscribed = subscribed.filter(s => s !== socket)))
  })
  let credit = 0
  const timer = setInterval(() => {
    const [socket] = subscribed
    if (!socket) return
    credit = Math.min(credit + rate / 20, rate)
    for (; credit >= 1 && next < Math.min(lines.length, limit); credit--) socket.send(lines[next++])
    if (once && next >= lines.length) {
      subscribed = []
      socket.close(1000)
    }
  }, 50)
  return {
    lines,
    get sent() {
      return next
    },
    /** Play up to here, then wait. */
    playTo(n) {
      limit = n
    },
    /** Cut the connection; the client has to come back. */
    cut() {
      subscribed = []
      for (const socket of server.clients) socket.terminate()
    },
    close() {
      clearInterval(timer)
      for (const socket of server.clients) socket.terminate()
      return new Promise(resolve => server.close(resolve))
    },
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { port: { type: 'string', default: '9443' }, rate: { type: 'string', default: '20' }, file: { type: 'string' }, once: { type: 'boolean' } },
  })
  await playFeed({ port: Number(values.port), rate: Number(values.rate), file: values.file, once: values.once })
  console.log(`playing on ws://127.0.0.1:${values.port}, ${values.rate} messages per second`)
}
