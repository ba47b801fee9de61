/** Starts the application without an HTTP server: `node examples/embed-nestjs/main.ts`. Add `@nestjs/platform-express` for one. */
import 'reflect-metadata'
import { NestFactory } from '@nestjs/core'
import { AppModule, OrdersService } from './app.module.ts'

const app = await NestFactory.createApplicationContext(AppModule.forRoot())
app.enableShutdownHooks()
await app.get(OrdersService).place({ customer: 'acme', amount: 2500 })
process.stdout.write(`${JSON.stringify(app.get(OrdersService).alerts)}\n`)
await app.close()
