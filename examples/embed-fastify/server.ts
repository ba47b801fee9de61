/** A pipeline inside a Fastify server: a route posts into it, `onClose` drains it. Start: `node examples/embed-fastify/main.ts`. */
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { MemoryChannel, run, type Json, type StoredRecord } from 'pipeline-runner'

export interface Options extends FastifyServerOptions {
  /** Gets each alert, in order. */
  readonly onAlert?: (alert: Json) => void | Promise<void>
  /** Gets each order that was dead-lettered. */
  readonly onRejected?: (record: StoredRecord) => void
}

export async function buildServer({ onAlert = () => {}, onRejected = () => {}, ...options }: Options = {}): Promise<FastifyInstance> {
  const app = Fastify(options)
  // A route waits while 1,000 orders are on their way: the caller feels the back-pressure, not the memory.
  const orders = new MemoryChannel({ capacity: 1000 })
  const alerts = new MemoryChannel()
  const rejected = new MemoryChannel()

  const pipeline = await run(new URL('orders.yaml', import.meta.url), { memory: { orders, alerts, rejected }, logger: app.log })
  const consumed = Promise.all([consume(alerts, r => onAlert(r.value)), consume(rejected, onRejected)])
  // A pipeline that fails must not look like a server that works.
  Promise.all([pipeline.completed, consumed]).catch((error: Error) => {
    app.log.error(error, 'the pipeline has stopped')
    void app.close()
  })

  app.post('/orders', async (request, reply) => {
    await orders.send({ value: request.body as Json, time: Date.now() })
    // 202: it is in the channel. `await orders.flushed()` before a 201 would say that it is through.
    return reply.code(202).send({ accepted: true })
  })

  app.get('/ready', async (_, reply) => {
    const { status, problems } = pipeline.status()
    return reply.code(status === 'ok' ? 200 : 503).send({ status, problems })
  })

  app.get('/metrics', async (_, reply) => {
    const registry = await pipeline.registry()
    return reply.type(registry.contentType).send(await registry.metrics())
  })

  // By now Fastify has answered every request, so nothing more comes: the pipeline ends when it has read the rest.
  app.addHook('onClose', async () => {
    orders.end()
    await Promise.allSettled([pipeline.completed, consumed])
  })
  return app
}

async function consume(channel: MemoryChannel, handle: (record: StoredRecord) => void | Promise<void>): Promise<void> {
  for await (const record of channel) await handle(record)
}
